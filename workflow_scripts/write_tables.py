"""Rule write_tables: the database -> results tables in Parquet, CSV and JSON."""

from pathlib import Path

from switchyard.artifacts.stamps import derived
from switchyard.runtime.log import logged
from switchyard.warehouse.database import open_read_only, warehouse_stamp
from switchyard.warehouse.tables import write_tables


def main(*, database: Path, folder: Path, code: str) -> None:
    with open_read_only(database) as connection:
        made = derived(warehouse_stamp(connection), code=code)
    write_tables(database, folder, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            database=Path(snakemake.input[0]),
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
