"""Rule write_summaries: the database -> one summary per experiment."""

from pathlib import Path

from switchyard.runtime.log import logged
from switchyard.warehouse.summaries import write_summaries


def main(*, database: Path, folder: Path) -> None:
    write_summaries(database, folder)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(database=Path(snakemake.input[0]), folder=Path(snakemake.output[0]).parents[2])
