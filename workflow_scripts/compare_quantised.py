"""Rule compare_quantised: traces and scores of packed models and their bases -> what quantising changed."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from switchyard.artifacts.files import write_table
from switchyard.artifacts.stamps import stamp
from switchyard.charts.quantised import quantised_routing
from switchyard.charts.save import save
from switchyard.runtime.log import logged
from switchyard.warehouse.quantised import Runs, loss_changes, routing_changes, with_formats


def main(
    *,
    pairs: list[dict[str, str]],
    quantise: dict[str, Any],
    keeps_logits: bool,
    output: dict[str, str],
    code: str,
) -> None:
    runs = [Runs.of(**one) for one in pairs]
    routing = pd.concat([routing_changes(one, keeps_logits=keeps_logits) for one in runs], ignore_index=True)
    routing, losses = with_formats(routing, quantise), with_formats(loss_changes(runs), quantise)
    inputs = {str(path): path for one in runs for path in (one.trace, one.base_trace)}
    made = stamp(code=code, config={"quantise": quantise}, inputs=inputs)
    for name, table in {"routing": routing, "losses": losses}.items():
        write_table(Path(output[name]), pa.Table.from_pandas(table, preserve_index=False), made)
    drawing = Path(output["drawing"])
    save(quantised_routing(routing, losses), drawing.parent, drawing.stem, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            pairs=snakemake.params.pairs,
            quantise=snakemake.params.quantise,
            keeps_logits=snakemake.params.keeps_logits,
            output=dict(snakemake.output.items()),
            code=snakemake.params.code,
        )
