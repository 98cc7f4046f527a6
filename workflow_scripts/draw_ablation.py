"""Rule draw_ablation: components of a model's rules off in turn -> its figure."""

from pathlib import Path

from switchyard.artifacts.files import read_table
from switchyard.artifacts.stamps import stamp
from switchyard.charts.names import ABLATION
from switchyard.charts.save import save
from switchyard.charts.search.ablation import ablation
from switchyard.runtime.log import logged


def main(*, name: str, table: Path, folder: Path, code: str) -> None:
    made = stamp(code=code, config={}, inputs={"ablation": table}, model={"name": name})
    save(ablation(read_table(table).to_pandas()), folder, ABLATION, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            table=Path(snakemake.input[0]),
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
