"""Rule draw_paper: tables of the study -> the paper's figures as vector PDF."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import attach_to, stamp
from switchyard.charts.frontier import frontier
from switchyard.charts.routing.frequency_vs_entropy import frequency_vs_entropy
from switchyard.charts.routing.token_types import TokenTypes
from switchyard.charts.save import save_pdf
from switchyard.charts.var.comparison import var_comparison
from switchyard.charts.var.paths import var_paths
from switchyard.runtime.log import logged
from switchyard.warehouse.study_tables import Tables


def main(
    *,
    aggregate: Path,
    statistics: Path,
    verdict: Path,
    structure: Path,
    comparison: Path,
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
    inputs = {
        "results": aggregate / "bh_routing_results.parquet",
        "statistics": statistics,
        "comparison": comparison,
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
            model=snakemake.params.model,
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
