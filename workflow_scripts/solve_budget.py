"""Rule solve_budget: calibration logits + nulls -> the alpha that spends a mean number of experts."""

from pathlib import Path
from typing import Any

from switchyard.artifacts.files import write_table
from switchyard.artifacts.stamps import stamp
from switchyard.routing.budgets import budget_table
from switchyard.routing.logit_table import read_logits
from switchyard.routing.nulls import read_nulls
from switchyard.runtime.log import logged


def main(*, logits: Path, nulls: Path, settings: dict[str, Any], output: Path, code: str) -> None:
    null = settings["null_distribution"]
    wanted = {"null": null, **{key: settings[key] for key in ("min_k", "max_k", "target_k")}}
    table = budget_table(
        list(read_logits(logits, as_rules_see=True)), {null: read_nulls(nulls, null)}, [wanted]
    )
    write_table(output, table, stamp(code=code, config=wanted, inputs={"logits": logits, "nulls": nulls}))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            logits=Path(snakemake.input.logits),
            nulls=Path(snakemake.input.nulls[0]),
            settings=snakemake.params.settings,
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
