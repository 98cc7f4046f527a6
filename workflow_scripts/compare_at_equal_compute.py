"""Rule compare_at_equal_compute: the database -> every configuration against mixed top-k at its own mean experts."""

from pathlib import Path

from switchyard.artifacts.stamps import derived
from switchyard.runtime.log import logged
from switchyard.warehouse.database import open_read_only, warehouse_stamp
from switchyard.warehouse.equal_compute import write_equal_compute


def main(*, database: Path, folder: Path, code: str) -> None:
    with open_read_only(database) as connection:
        made = derived(warehouse_stamp(connection), code=code)
    write_equal_compute(database, folder, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            database=Path(snakemake.input[0]),
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
