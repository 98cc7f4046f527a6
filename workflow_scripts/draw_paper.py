"""Rule draw_paper: tables of the study -> the paper's figures as vector PDF."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import attach_to, stamp
from switchyard.charts.frontier import frontier
from switchyard.charts.profile.latency_cdf import latency_cdf
from switchyard.charts.routing.frequency_vs_entropy import frequency_vs_entropy
from switchyard.charts.routing.token_types import TokenTypes
from switchyard.charts.save import save_pdf
from switchyard.charts.search.ablation import ablation
from switchyard.charts.search.sensitivity import search_sensitivity
from switchyard.charts.var.comparison import var_comparison
from switchyard.charts.var.paths import var_paths
from switchyard.runtime.log import logged
from switchyard.warehouse.study_tables import Tables

EXTRAS = {"latency_cdf": latency_cdf, "ablation": ablation, "search_sensitivity": search_sensitivity}
"""Figures of what only some studies run, from one table each."""


def main(
    *,
    aggregate: Path,
    statistics: Path,
    verdict: Path,
    structure: Path,
    comparison: Path,
    extras: dict[str, Path],
    model: str,
    folder: Path,
    code: str,
) -> None:
    num_experts = read_json(structure)["num_experts"]
    types = TokenTypes.of(
        read_table(statistics).to_pandas(), read_json(verdict), num_experts=num_experts, special_ids=()
    )
    charts = {
        "var_paths": var_paths(),
        "frontier": frontier(Tables.read(aggregate).of(model)),
        "frequency_vs_entropy": frequency_vs_entropy(types).drawing,
        "var_comparison": var_comparison(read_json(comparison)["comparisons"]),
    }
    charts |= {name: EXTRAS[name](read_table(path).to_pandas()) for name, path in extras.items()}
    inputs = {
        "results": aggregate / "bh_routing_results.parquet",
        "statistics": statistics,
        "comparison": comparison,
        **extras,
    }
    made = stamp(code=code, config={"model": model}, inputs=inputs)
    for name, chart in charts.items():
        attach_to(save_pdf(chart, folder / f"{name}.pdf"), made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            aggregate=Path(snakemake.input[0]).parent,
            statistics=Path(snakemake.input.statistics),
            verdict=Path(snakemake.input.verdict),
            structure=Path(snakemake.input.model) / "structure.json",
            comparison=Path(snakemake.input.comparison),
            extras={name: Path(snakemake.input[name][0]) for name in EXTRAS if snakemake.input[name]},
            model=snakemake.params.model,
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
