"""Rule draw_routing: what was observed of a model -> its figures."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import stamp
from switchyard.charts.observed import OBSERVED, Observed, draw
from switchyard.charts.routing.token_types import TokenTypes
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar


def main(
    *,
    name: str,
    statistics: Path,
    counts: Path,
    context: Path,
    verdict: Path,
    model: Path,
    folder: Path,
    code: str,
) -> None:
    num_experts = read_json(model / "structure.json")["num_experts"]
    found = Observed(
        TokenTypes.of(
            read_table(statistics).to_pandas(), read_json(verdict), num_experts=num_experts, special_ids=()
        ),
        read_table(counts).to_pandas(),
        read_table(context).to_pandas(),
        num_experts,
    )
    inputs = {"statistics": statistics, "counts": counts, "context": context, "verdict": verdict}
    made = stamp(code=code, config={}, inputs=inputs, model={"name": name})
    with bar(len(OBSERVED), f"draw_routing {name}", unit="figures") as progress:
        draw(found, folder, made, progress.update)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            statistics=Path(snakemake.input.statistics),
            counts=Path(snakemake.input.counts),
            context=Path(snakemake.input.context),
            verdict=Path(snakemake.input.verdict),
            model=Path(snakemake.input.model),
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
