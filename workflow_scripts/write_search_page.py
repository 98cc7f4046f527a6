"""Rule write_search_page: summaries and partial dependences of searches -> a page of the HTML report."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import stamp
from switchyard.reporting.pages import write_document
from switchyard.reporting.search import TITLE, Evidence, document
from switchyard.runtime.log import logged


def main(*, summaries: list[Path], sensitivities: list[Path], output: Path, code: str) -> None:
    inputs = {"/".join(path.parts[-2:]): path for path in [*summaries, *sensitivities]}
    found = [
        Evidence(read_json(summary), read_table(sensitivity).to_pandas())
        for summary, sensitivity in zip(summaries, sensitivities, strict=True)
    ]
    write_document(output, document(found), title=TITLE, stamp=stamp(code=code, config={}, inputs=inputs))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            summaries=[Path(path) for path in snakemake.input.summaries],
            sensitivities=[Path(path) for path in snakemake.input.sensitivities],
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
