"""Rule score_code: completions + problems -> pass@k, what became of each program, in the sandbox."""

from pathlib import Path
from typing import Any

import orjson

from switchyard.artifacts.files import read_table, write_json
from switchyard.artifacts.stamps import attached, derived, sha256_json
from switchyard.evaluation.sandbox.limits import Limits
from switchyard.evaluation.sandbox.open import opened
from switchyard.evaluation.scoring import WORKERS_PER_CORE, candidates_of, report, score
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar


def main(
    *,
    samples: Path,
    problems: Path,
    output: Path,
    kept: Path,
    ks: list[int],
    limits: Limits,
    workers: int,
    code: str,
) -> None:
    rows: list[dict[str, Any]] = [orjson.loads(line) for line in samples.read_bytes().splitlines()]
    given = [(row["task_id"], row["completion"]) for row in rows]
    candidates = candidates_of(read_table(problems).to_pylist(), given, place=str(samples))
    with opened(limits) as proved, bar(len(candidates), output.stem, unit="programs") as progress:
        outcomes = score(candidates, proved, workers=workers, kept=kept, progress=progress.update)
    head = attached(samples)
    made = derived(head.pop("provenance"), code=code)
    made["inputs"]["samples"] = sha256_json(rows)
    found = report(candidates, outcomes, [row["sample"] == 0 for row in rows], ks)
    write_json(output, {**head, **found, "provenance": {**made, "k": ks, "sandbox": proved.stamp}})
    kept.unlink(missing_ok=True)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            samples=Path(snakemake.input.samples),
            problems=Path(snakemake.input.problems),
            output=Path(snakemake.output[0]),
            kept=Path(snakemake.params.kept),
            ks=snakemake.params.k,
            limits=Limits(**snakemake.params.limits),
            workers=WORKERS_PER_CORE * snakemake.threads,
            code=snakemake.params.code,
        )
