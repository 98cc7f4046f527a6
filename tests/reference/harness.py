"""lm-evaluation-harness on local documents, in a process of its own: offline, and without a line of this project.

`evaluate` starts the process; `main`, which runs in it, is the harness's own task definitions, preprocessing, model
and aggregation. Only the place of the documents is put over a task's definition.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

TASKS = {
    "lambada_openai": "lambada/lambada_openai.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "wikitext": "wikitext/wikitext.yaml",
}
"""Task -> its definition within the harness."""


class Run(NamedTuple):
    """One task on the documents of one file."""

    task: str
    documents: str  # a JSON Lines file in the task's own columns
    max_length: int
    batch_size: int


def evaluate(model: Path, runs: dict[str, Run], folder: Path, *, device: str) -> dict[str, dict[str, Any]]:
    """What the harness finds for each run, the model in float32.

    Returns:
        Per run `metrics` (name -> value over all documents) and `documents`, each with `log_likelihoods` (nats, one
        per request), `greedy` (one per request, absent for whole texts), and its own value of every metric.
    """
    job = {"model": str(model), "device": device, "runs": {name: run._asdict() for name, run in runs.items()}}
    (folder / "job.json").write_text(json.dumps(job))
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    ran = subprocess.run(
        [sys.executable, "-P", __file__, str(folder)],  # beside this file, `statistics` is not Python's
        env=os.environ | offline | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads((folder / "found.json").read_text())


def main(folder: Path) -> None:
    from lm_eval.evaluator import evaluate as evaluate_tasks
    from lm_eval.models.huggingface import HFLM

    job = json.loads((folder / "job.json").read_text())
    found = {}
    for name, settings in job["runs"].items():
        run = Run(**settings)
        model = HFLM(
            job["model"],
            dtype="float32",
            device=job["device"],
            max_length=run.max_length,
            batch_size=run.batch_size,
        )
        results = evaluate_tasks(model, load_task(run, folder / name), bootstrap_iters=0, log_samples=True)
        metrics = {
            key.removesuffix(",none"): value
            for key, value in results["results"][run.task].items()
            if key.endswith(",none") and isinstance(value, int | float)
        }
        samples = sorted(results["samples"][run.task], key=lambda sample: sample["doc_id"])
        found[name] = {"metrics": metrics, "documents": [read_sample(sample) for sample in samples]}
    (folder / "found.json").write_text(json.dumps(found, default=float))


def load_task(run: Run, folder: Path) -> Any:
    """The harness's task, by a definition that includes its own and names other documents."""
    import lm_eval.tasks
    import yaml

    folder.mkdir()
    splits = dict.fromkeys(("train", "validation", "test"), run.documents)
    text = yaml.safe_dump(
        {
            "include": str(Path(lm_eval.tasks.__file__).parent / TASKS[run.task]),
            "task": run.task,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": splits, "cache_dir": str(folder / "cache")},
        }
    )
    (folder / "task.yaml").write_text(text)
    manager = lm_eval.tasks.TaskManager(include_path=str(folder), include_defaults=False)
    return manager.load([run.task])


def read_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """Log-likelihoods and metrics of a document out of the harness's log."""
    responses = [response for (response,) in sample["resps"]]
    whole_text = not isinstance(responses[0], list | tuple)
    scores = {"log_likelihoods": responses if whole_text else [value for value, _ in responses]}
    if not whole_text:
        scores["greedy"] = [bool(greedy) for _, greedy in responses]
    return scores | {metric: sample[metric] for metric in sample["metrics"]}


def pages_of(raw: str) -> list[str]:
    """Pages of a raw WikiText file, cut as the script behind the harness's document-level set cuts them."""
    pages, lines = [], []
    for line in raw.split("\n"):
        heading = line.replace("= = =", "===").replace("= =", "==").strip()
        if heading.startswith("= ") and heading.endswith(" ="):
            pages.append("\n".join(lines))
            lines = []
        lines.append(line)
    pages.append("\n".join(lines))
    return [page for page in pages if page.strip()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
