"""Rule check_nulls: nulls + router logits of other text -> p-value histograms and rejections."""

from pathlib import Path

import pyarrow.compute as pc

from switchyard.artifacts.files import read_json, read_table, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.models.scores import Scores
from switchyard.routing.logit_table import read_logits
from switchyard.routing.null_check import LEVELS, histograms, summary
from switchyard.routing.nulls import read_nulls
from switchyard.runtime.log import logged


def main(*, logits: Path, nulls: Path, model: Path, check: Path, summary_path: Path, code: str) -> None:
    names = pc.unique(read_table(nulls, columns=["null"])["null"]).to_pylist()
    fitted = {name: read_nulls(nulls, name) for name in names}
    top_k = read_json(model / "structure.json")["top_k"]
    made = stamp(
        code=code, config={"levels": LEVELS, "top_k": top_k}, inputs={"logits": logits, "nulls": nulls}
    )
    write_table(check, histograms(read_logits(logits), fitted), made)
    write_table(
        summary_path,
        summary(read_logits(logits), fitted, LEVELS, top_k=top_k, scores=Scores.of_file(logits)),
        made,
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            logits=Path(snakemake.input.logits),
            nulls=Path(snakemake.input.nulls[0]),
            model=Path(snakemake.input.model),
            check=Path(snakemake.output.check),
            summary_path=Path(snakemake.output.summary),
            code=snakemake.params.code,
        )
