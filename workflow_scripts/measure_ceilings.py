"""Rule measure_ceilings: counts of uses -> what tables would hit, what context adds, who specialises."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from switchyard.artifacts.files import read_json, read_stamp, read_table, write_json, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.observation.ceiling import table_ceiling
from switchyard.observation.context import context_measures
from switchyard.observation.specialisation import (
    domain_specialisation,
    favourite_experts,
    token_expert_shares,
    vocabulary_specialisation,
    vocabulary_specialisation_by_layer,
)
from switchyard.runtime.log import logged


def main(
    *,
    name: str,
    counts: Path,
    contexts: Path,
    model: Path,
    ceiling: Path,
    context: Path,
    specialisation: list[Path],
    code: str,
) -> None:
    structure = read_json(model / "structure.json")
    sizes = {"top_k": structure["top_k"], "num_experts": structure["num_experts"]}
    made = stamp(
        code=code, config=sizes, inputs={"counts": counts, "contexts": contexts}, model={"name": name}
    )
    uses = read_table(counts)
    write_json(ceiling, {"model": name, **table_ceiling(uses, **sizes), "provenance": made})
    stamped = {"provenance": made}
    kept = {int(number): share for number, share in read_stamp(contexts)["kept"].items()}
    write_table(context, context_measures(read_table(contexts), **sizes, kept=kept), stamped)
    layers = pc.unique(uses["layer"]).to_pylist()
    parts = [specialised(uses.filter(pc.equal(uses["layer"], layer)), sizes) for layer in layers]
    for path in specialisation:
        write_table(path, pa.concat_tables(part[path.stem] for part in parts), stamped)


def specialised(uses: pa.Table, sizes: dict[str, int]) -> dict[str, pa.Table]:
    """The tables of one layer."""
    favourites = favourite_experts(token_expert_shares(uses, **sizes))
    return {
        "domain_specialisation": domain_specialisation(uses, **sizes),
        "vocabulary_specialisation": vocabulary_specialisation(favourites, num_experts=sizes["num_experts"]),
        "vocabulary_by_layer": vocabulary_specialisation_by_layer(favourites),
    }


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            counts=Path(snakemake.input.counts),
            contexts=Path(snakemake.input.contexts),
            model=Path(snakemake.input.model),
            ceiling=Path(snakemake.output.ceiling),
            context=Path(snakemake.output.context),
            specialisation=[Path(path) for path in snakemake.output.specialisation],
            code=snakemake.params.code,
        )
