"""Rule draw_search: trajectories, summary and partial dependences of a model's search -> its figures."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import attach_to, stamp
from switchyard.charts.save import save, save_pdf
from switchyard.charts.search.frontier import search_frontier
from switchyard.charts.search.sensitivity import search_sensitivity
from switchyard.charts.search.trajectory import search_trajectory
from switchyard.runtime.log import logged


def main(
    *, name: str, trajectories: dict[str, Path], summary: Path, sensitivity: Path, folder: Path, code: str
) -> None:
    inputs = {**trajectories, "summary": summary, "sensitivity": sensitivity}
    made = stamp(code=code, config={}, inputs=inputs, model={"name": name})
    rows = {method: read_table(path).to_pandas() for method, path in trajectories.items()}
    found = read_json(summary)
    limit = found["settings"]["max_quality_degradation"]
    charts = {
        "search_trajectory": search_trajectory(rows, limit),
        "search_frontier": search_frontier(rows, found["manual"]["configurations"], limit),
        "search_sensitivity": search_sensitivity(read_table(sensitivity).to_pandas()),
    }
    for figure, chart in charts.items():
        save(chart, folder, figure, made)
        attach_to(save_pdf(chart, folder / f"{figure}.pdf"), made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            trajectories=dict(
                zip(snakemake.params.methods, map(Path, snakemake.input.trajectories), strict=True)
            ),
            summary=Path(snakemake.input.summary),
            sensitivity=Path(snakemake.input.sensitivity),
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
