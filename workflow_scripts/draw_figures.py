"""Rule draw_figures: aggregate tables -> the nine-panel figure, its panels, the paired differences."""

from pathlib import Path

from switchyard.charts.differences import paired_differences
from switchyard.charts.figure import nine_panel
from switchyard.charts.panels import PANELS
from switchyard.charts.save import save
from switchyard.charts.tables import Tables
from switchyard.files import read_stamp
from switchyard.job import logged
from switchyard.progress import bar
from switchyard.provenance import derived


def main(*, aggregate: Path, publish: Path, code: str) -> None:
    tables = Tables.read(aggregate)
    made = derived(read_stamp(aggregate / "bh_routing_results.parquet"), code=code)
    with bar(len(PANELS) + 2, "draw_figures", unit="figures") as progress:
        for name, draw in {"nine_panel": nine_panel, "paired_differences": paired_differences}.items():
            save(draw(tables), publish / "figures", name, made)
            progress.update(1)
        for name, draw in PANELS.items():
            save(draw(tables), publish / "panels", name, made)
            progress.update(1)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            aggregate=Path(snakemake.input[0]).parent,
            publish=Path(snakemake.output[0]).parents[1],
            code=snakemake.params.code,
        )
