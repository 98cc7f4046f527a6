"""Rule fit_nulls: router logits -> nine null distributions per layer."""

import logging
from pathlib import Path

from switchyard.artifacts.files import read_json, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.models.scores import Scores
from switchyard.routing.fitting import fit_nulls, left_out
from switchyard.routing.logit_table import read_logits
from switchyard.routing.nulls import nulls_table
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar


def main(*, logits: Path, model: Path, output: Path, code: str) -> None:
    structure = read_json(model / "structure.json")
    for reason in left_out(structure["num_experts"], structure["top_k"]).values():
        logging.warning("left out: %s", reason)
    scores = Scores.of_file(logits)
    with bar(structure["num_layers"], "fit_nulls", unit="layers") as progress:
        layers = []
        for values in read_logits(logits):
            layers.append(fit_nulls(values, structure["top_k"], scores))
            progress.update(1)
    made = stamp(code=code, config={"top_k": structure["top_k"]}, inputs={"logits": logits})
    write_table(output, nulls_table(layers), made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            logits=Path(snakemake.input.logits),
            model=Path(snakemake.input.model),
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
