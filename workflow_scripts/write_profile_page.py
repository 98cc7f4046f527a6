"""Rule write_profile_page: profiles of all models -> a page of the HTML report."""

from pathlib import Path

import pandas as pd

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import stamp
from switchyard.reporting.pages import write_document
from switchyard.reporting.profile import TITLE, Evidence, document
from switchyard.runtime.log import logged


def main(*, folders: list[Path], output: Path, code: str) -> None:
    names = ("components.csv", "roofline.csv", "latency.parquet", "overhead.json", "performance_model.json")
    inputs = {f"{folder.name}/{name}": folder / name for folder in folders for name in names}
    found = [
        Evidence(
            pd.read_csv(folder / "components.csv"),
            pd.read_csv(folder / "roofline.csv"),
            read_table(folder / "latency.parquet").to_pandas(),
            read_json(folder / "overhead.json"),
            read_json(folder / "performance_model.json"),
        )
        for folder in folders
    ]
    write_document(output, document(found), title=TITLE, stamp=stamp(code=code, config={}, inputs=inputs))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            folders=[Path(path).parent for path in snakemake.input.models],
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
