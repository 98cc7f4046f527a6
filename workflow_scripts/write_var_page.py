"""Rule write_var_page: VAR's comparisons and sweeps, and ceilings of routing tables -> a page of the HTML report."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import stamp
from switchyard.reporting.pages import write_document
from switchyard.reporting.var import TITLE, Evidence, document
from switchyard.runtime.log import logged


def main(
    *,
    comparisons: list[Path],
    sweeps: list[Path],
    ceilings: list[Path],
    contexts: list[Path],
    output: Path,
    code: str,
) -> None:
    inputs = {"/".join(path.parts[-3:]): path for path in [*comparisons, *sweeps, *ceilings, *contexts]}
    found = [
        Evidence(
            read_json(comparison),
            read_table(sweep).to_pandas(),
            read_json(ceiling),
            read_table(context).to_pandas(),
        )
        for comparison, sweep, ceiling, context in zip(comparisons, sweeps, ceilings, contexts, strict=True)
    ]
    write_document(output, document(found), title=TITLE, stamp=stamp(code=code, config={}, inputs=inputs))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            comparisons=[Path(path) for path in snakemake.input.comparisons],
            sweeps=[Path(path) for path in snakemake.input.sweeps],
            ceilings=[Path(path) for path in snakemake.input.ceilings],
            contexts=[Path(path) for path in snakemake.input.contexts],
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
