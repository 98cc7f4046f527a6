"""Rule make_routing_table: routing statistics -> experts and weights of every layer and token id."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_table, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.runtime.log import logged
from switchyard.var.table import routing_table


def main(*, name: str, statistics: Path, model: Path, output: Path, code: str) -> None:
    structure = read_json(model / "structure.json")
    sizes = {key: structure[key] for key in ("top_k", "normalise", "num_experts")}
    table = routing_table(read_table(statistics), **sizes, place=f"routing statistics of {name}")
    made = stamp(code=code, config=sizes, inputs={"statistics": statistics}, model={"name": name})
    write_table(output, table, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            statistics=Path(snakemake.input.statistics),
            model=Path(snakemake.input.model),
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
