"""Rule draw_figures: aggregate tables -> the whole figures and each panel of the nine-panel figure alone."""

from pathlib import Path

from switchyard.artifacts.files import read_stamp
from switchyard.artifacts.stamps import derived
from switchyard.charts.panels import PANELS
from switchyard.charts.save import save
from switchyard.charts.whole import WHOLE
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar
from switchyard.warehouse.study_tables import Tables


def main(*, name: str, aggregate: Path, publish: Path, code: str) -> None:
    tables = Tables.read(aggregate).of(name)
    made = derived(read_stamp(aggregate / "bh_routing_results.parquet"), code=code)
    with bar(len(WHOLE) + len(PANELS), f"draw_figures {name}", unit="figures") as progress:
        for folder, figures in {"figures": WHOLE, "panels": PANELS}.items():
            for figure, draw in figures.items():
                save(draw(tables), publish / folder / name, figure, made)
                progress.update(1)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            aggregate=Path(snakemake.input[0]).parent,
            publish=Path(snakemake.output[0]).parents[2],
            code=snakemake.params.code,
        )
