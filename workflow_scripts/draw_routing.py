"""Rule draw_routing: what was observed of a model -> its figures."""

from pathlib import Path

import pandas as pd

from switchyard.artifacts.files import read_json
from switchyard.artifacts.stamps import stamp
from switchyard.charts.observed import OBSERVED, Observed
from switchyard.charts.routing.token_types import TokenTypes
from switchyard.charts.save import save
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar


def main(
    *,
    name: str,
    statistics: Path,
    counts: Path,
    context: Path,
    verdict: Path,
    model: Path,
    folder: Path,
    code: str,
) -> None:
    num_experts = read_json(model / "structure.json")["num_experts"]
    found = Observed(
        TokenTypes.of(
            pd.read_parquet(statistics), read_json(verdict), num_experts=num_experts, special_ids=()
        ),
        pd.read_parquet(counts),
        pd.read_parquet(context),
        num_experts,
    )
    inputs = {"statistics": statistics, "counts": counts, "context": context, "verdict": verdict}
    made = stamp(code=code, config={}, inputs=inputs, model={"name": name})
    with bar(len(OBSERVED), f"draw_routing {name}", unit="figures") as progress:
        for figure, draw in OBSERVED.items():
            drawn = draw(found)
            save(drawn.drawing, folder, figure, made, page=drawn.page)
            progress.update(1)


if __name__ == "__main__":
    with logged(snakemake.log[0], reads=snakemake.input):
        main(
            name=snakemake.wildcards.model,
            statistics=Path(snakemake.input.statistics),
            counts=Path(snakemake.input.counts),
            context=Path(snakemake.input.context),
            verdict=Path(snakemake.input.verdict),
            model=Path(snakemake.input.model),
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
