"""Rule draw_nulls: p-value histograms and the Simes check on held-out text, one view per null."""

from pathlib import Path

from switchyard.artifacts.files import read_table
from switchyard.artifacts.stamps import stamp
from switchyard.charts.nulls import null_histograms, simes_check
from switchyard.charts.save import save
from switchyard.runtime.log import logged


def main(*, check: Path, summary: Path, folder: Path, code: str) -> None:
    made = stamp(code=code, config={}, inputs={"check": check, "summary": summary})
    save(null_histograms(read_table(check).to_pandas()), folder, "null_histograms", made)
    save(simes_check(read_table(summary).to_pandas()), folder, "simes_check", made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            check=Path(snakemake.input.check),
            summary=Path(snakemake.input.summary),
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
