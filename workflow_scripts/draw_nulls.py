"""Rule draw_nulls: p-value histograms on held-out text, one view per null."""

from pathlib import Path

import pandas as pd

from switchyard.charts.nulls import null_histograms
from switchyard.charts.save import save
from switchyard.job import logged
from switchyard.provenance import stamp


def main(*, check: Path, folder: Path, code: str) -> None:
    made = stamp(code=code, config={}, inputs={"check": check})
    save(null_histograms(pd.read_parquet(check)), folder, "null_histograms", made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            check=Path(snakemake.input.check),
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
