"""Rule write_routing_pages: verdicts, ceilings and analyses of all observed models -> pages of the HTML report."""

from pathlib import Path

import pandas as pd

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import stamp
from switchyard.reporting.routing import write_analyses, write_ceilings, write_hypothesis
from switchyard.runtime.log import logged


def main(
    *,
    verdicts: list[Path],
    ceilings: list[Path],
    contexts: list[Path],
    analyses: list[Path],
    hypothesis: Path,
    tables: Path,
    measures: Path,
    code: str,
) -> None:
    read = [*verdicts, *ceilings, *contexts, *analyses]
    inputs = {"/".join(path.parts[path.parts.index("observe") + 1 :]): path for path in read}
    made = stamp(code=code, config={}, inputs=inputs)
    write_hypothesis(hypothesis, [read_json(path) for path in verdicts], stamp=made)
    by_model = {path.parent.name: read_table(path).to_pandas() for path in contexts}
    write_ceilings(tables, [read_json(path) for path in ceilings], by_model, stamp=made)
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for path in analyses:
        found.setdefault(path.parents[1].name, {})[path.stem] = read_table(path).to_pandas()
    write_analyses(measures, found, stamp=made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            verdicts=[Path(path) for path in snakemake.input.verdicts],
            ceilings=[Path(path) for path in snakemake.input.ceilings],
            contexts=[Path(path) for path in snakemake.input.contexts],
            analyses=[Path(path) for path in snakemake.input.analyses],
            hypothesis=Path(snakemake.output.hypothesis),
            tables=Path(snakemake.output.tables),
            measures=Path(snakemake.output.measures),
            code=snakemake.params.code,
        )
