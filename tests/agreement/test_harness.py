"""Scores and metrics equal those of lm-evaluation-harness 0.4.13, checkpoint by checkpoint, document by document.

The harness runs as it is, with its own task definitions, on local documents: some made here, and rows of the
published sets where they lie beside the checkout.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from agreement import documents
from agreement.checkpoints import RESOURCES, level, shipped, tolerance
from reference import harness
from switchyard.evaluation.likelihood import pad_rows
from switchyard.evaluation.run import Files, write_experiment
from switchyard.evaluation.sequences import build_samples
from switchyard.models.blocks import describe
from switchyard.routing.topk import TopK
from switchyard.study.experiment import Experiment, Run
from switchyard.text.sources import load_rows
from switchyard.text.tasks import prepare
from switchyard.warehouse.build import build
from switchyard.warehouse.database import open_read_only, rows

pytestmark = pytest.mark.slow

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
MODEL = "pocket-olmoe"
BATCH_SIZE = 8


class Task(NamedTuple):
    """One of the harness's tasks, and how it is called here."""

    name: str
    kind: str
    layout: str
    published: str
    rows: int  # of the published set; of wikitext, pages
    max_length: int


TASKS = {
    "lambada": Task("lambada_openai", "cloze", "lambada", "lambada_openai_test_first200", 60, 128),
    "hellaswag": Task("hellaswag", "choice", "hellaswag", "hellaswag_val_first200", 30, 128),
    "arc": Task("arc_challenge", "choice", "arc", "arc_challenge_validation", 45, 128),
    "wikitext": Task("wikitext", "perplexity", "wikitext", "wikitext-2-raw-v1_test", 2, 256),
}
"""Windows are short enough for some passages to lose their beginning, and for pages to be cut."""


def task_of(case: str) -> Task:
    return TASKS[case.split()[1]]


CASES = [f"{source} {name}" for name in TASKS for source in ("made", "published")]
CHOICES = [case for case in CASES if task_of(case).kind == "choice"]


def places(folder: Path) -> tuple[Path, Path]:
    """Files of documents: in our layout, and in the harness's."""
    return folder / "documents.jsonl", folder / "harness.jsonl"


def write_lines(path: Path, records: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


def published_rows(task: Task) -> list[dict[str, Any]] | None:
    path = SHARED / f"{task.published}.parquet"
    rows = load_rows({"source": "file", "path": path})
    return [row.values for row in rows] if path.is_file() else None


def is_common(record: dict[str, Any]) -> bool:
    """Not a question with another number of choices than four, or with numbers for names."""
    choices = record.get("choices", {"label": list("ABCD")})
    return choices["label"] == list("ABCD")


def write_documents(source: str, name: str, folder: Path) -> bool:
    """Write the documents of a case in both layouts; False where there are none."""
    task = TASKS[name]
    records = getattr(documents, name)() if source == "made" else published_rows(task)
    if records is None:
        return False
    folder.mkdir(parents=True)
    ours, theirs = places(folder)
    if name != "wikitext":
        records = records if source == "made" else sorted(records, key=is_common)[: task.rows]
        write_lines(ours, records)
        write_lines(theirs, records)
        return True
    raw = records if source == "made" else "".join(row["text"] or " \n" for row in records)
    pages = harness.pages_of(raw)[: None if source == "made" else task.rows]
    write_lines(ours, documents.lines_of(raw))
    write_lines(theirs, [{"page": page} for page in pages])
    return True


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the documents of every case there are documents for."""
    folder = tmp_path_factory.mktemp("agreement")
    for case in CASES:
        source, name = case.split()
        write_documents(source, name, folder / "documents" / source / name)
    return folder


def cases(study: Path) -> dict[str, Path]:
    """Case -> the folder of its documents."""
    folders = {case: study / "documents" / case.replace(" ", "/") for case in CASES}
    return {case: folder for case, folder in folders.items() if folder.is_dir()}


@pytest.fixture(scope="module")
def theirs(study: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the harness finds, per case."""
    runs = {}
    for case, folder in cases(study).items():
        task = task_of(case)
        runs[case] = harness.Run(task.name, str(places(folder)[1]), task.max_length, BATCH_SIZE)
    model, _ = shipped(MODEL)
    folder = tmp_path_factory.mktemp("harness")
    return harness.evaluate(RESOURCES / MODEL, runs, folder, device=str(model.device))


class Ours(NamedTuple):
    """What the pipeline finds."""

    table: Any  # the prepared documents
    scores: list[dict[str, Any]]  # one per sample
    quality: dict[str, Any]  # a row of the warehouse's table
    trace: Path


def evaluate(case: str, folder: Path, study: Path) -> tuple[Any, dict[str, Any]]:
    """Prepare a case's documents and evaluate them: the prepared table, and what the warehouse wants to know."""
    task = task_of(case)
    source = load_rows({"source": "file", "path": places(folder)[0]})
    table = prepare(source, kind=task.kind, layout=task.layout)
    if case == "published wikitext":
        table = table.slice(0, task.rows)
    model, tokenizer = shipped(MODEL)
    structure = describe(model.config)
    rule = TopK(structure["top_k"])
    dataset = case.replace(" ", "_")
    experiment = Experiment(
        study="agreement",
        model=MODEL,
        config="topk",
        dataset=dataset,
        rule="topk",
        home="switchyard.routing.topk:TopK",
        settings={"k": rule.k, "weighting": "model"},
        model_entry={"dtype": "float32"},
        dataset_entry={"max_length": task.max_length, "samples": None},
        run=Run(batch_tokens=1024, threads=1, keep_logits=False, spelled_out_samples=0),
    )
    head = experiment.head(rule, structure) | {"provenance": {"code": "test"}}
    parts = {"trace": "traces", "scores": "scores", "trace_repeat": "again", "scores_repeat": "again_scores"}
    paths = {name: study / "evaluate" / MODEL / part / f"{dataset}.parquet" for name, part in parts.items()}
    log = study / "evaluate" / MODEL / "logs" / f"{dataset}.json"
    for path in (*paths.values(), log):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_experiment(model, tokenizer, experiment, rule, table, Files(**paths, log=log), head=head)
    return table, head | {"kind": task.kind} | paths


@pytest.fixture(scope="module")
def ours(study: Path) -> dict[str, Ours]:
    """What the pipeline finds, per case: scores from its files, metrics from its database."""
    found = {case: evaluate(case, folder, study) for case, folder in cases(study).items()}
    structure = describe(shipped(MODEL)[0].config)
    build(
        study / "study.duckdb",
        experiments=[head for _, head in found.values()],
        structures={MODEL: structure},
        study_folder=study,
    )
    with open_read_only(study / "study.duckdb") as connection:
        quality = {row["dataset"]: row for row in rows(connection, "SELECT * FROM quality")}
    return {
        case: Ours(table, pq.read_table(head["scores"]).to_pylist(), quality[head["dataset"]], head["trace"])
        for case, (table, head) in found.items()
    }


@pytest.fixture
def pair(case: str, theirs: dict[str, Any], ours: dict[str, Ours]) -> tuple[dict[str, Any], Ours]:
    """What both find for a case."""
    if case not in ours:
        pytest.skip(f"{task_of(case).published}.parquet is not in {SHARED}")
    return theirs[case], ours[case]


def per_document(case: str, found: Ours) -> list[list[float]]:
    """Our log-likelihoods in the harness's units: one per option of a choice, one per page of a text."""
    values = [row["log_likelihood"] for row in found.scores]
    task = task_of(case)
    if task.kind != "perplexity":
        return values
    pages, start = [], 0
    for windows in windows_per_page(case, found):
        pages.append([sum(value for (value,) in values[start : start + windows])])
        start += windows
    assert start == len(values)
    return pages


def windows_per_page(case: str, found: Ours) -> list[int]:
    _, tokenizer = shipped(MODEL)
    texts, max_length = found.table["text"].to_pylist(), task_of(case).max_length
    return [math.ceil(len(tokenizer.encode(text)) / max_length) for text in texts]


def test_the_harness_is_the_one_that_the_documentation_names() -> None:
    assert importlib.metadata.version("lm_eval") == "0.4.13"


@pytest.mark.parametrize("case", CASES)
def test_log_likelihoods_are_equal(case: str, pair: tuple[dict[str, Any], Ours]) -> None:
    expected = [document["log_likelihoods"] for document in pair[0]["documents"]]
    found = per_document(case, pair[1])
    assert [len(values) for values in found] == [len(values) for values in expected]
    pairs = [(a, b) for x, y in zip(found, expected) for a, b in zip(x, y)]
    farthest = max(pairs, key=lambda both: abs(both[0] - both[1]) / tolerance(both[1]))
    share = abs(farthest[0] - farthest[1]) / tolerance(farthest[1])
    print(
        f"{case}: {len(expected)} documents, {len(pairs)} values, at most {share:.3f} of the tolerance: {farthest}"
    )
    assert share <= 1


@pytest.mark.parametrize("case", CHOICES)
@pytest.mark.parametrize(("metric", "column"), [("acc", "correct"), ("acc_norm", "correct_norm")])
def test_choices_are_equal_unless_two_are_level(
    case: str, metric: str, column: str, pair: tuple[dict[str, Any], Ours]
) -> None:
    for document, row in zip(pair[0]["documents"], pair[1].scores, strict=True):
        lengths = row["characters"] if metric == "acc_norm" else None
        same = bool(document[metric]) == row[column]
        assert same or level(document["log_likelihoods"], lengths), row["sample_id"]


@pytest.mark.parametrize("case", [case for case in CASES if case.endswith("lambada")])
def test_last_words_are_equal_unless_two_tokens_are_level(
    case: str, pair: tuple[dict[str, Any], Ours]
) -> None:
    differing = []
    for document, row in zip(pair[0]["documents"], pair[1].scores, strict=True):
        assert document["greedy"] == [bool(document["acc"])]
        if bool(document["acc"]) != row["correct"]:
            differing.append(row["sample_id"])
    assert all(greedy_margin(pair[1].table, i, TASKS["lambada"].max_length) <= 1e-4 for i in differing)


def greedy_margin(table: Any, sample: int, max_length: int) -> float:
    """Smallest distance between the logit of a target token and the largest of the others, over the target."""
    model, tokenizer = shipped(MODEL)
    (sequence,) = build_samples(table.slice(sample, 1), tokenizer, max_length=max_length)[0].sequences
    input_ids, _, scored = pad_rows([sequence], 0)
    with torch.no_grad():
        logits = model(input_ids=input_ids.to(model.device)).logits.cpu()[scored]
    targets = torch.tensor(sequence.target_ids)[:, None]
    others = logits.scatter(1, targets, -torch.inf).amax(1)
    return float((logits.gather(1, targets)[:, 0] - others).abs().min())


METRICS = {
    "cloze": ("acc", "perplexity"),
    "choice": ("acc", "acc_norm"),
    "perplexity": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}


OURS = {"perplexity": "word_perplexity"}
"""LAMBADA's perplexity counts a last word once, however many tokens it has."""


@pytest.mark.parametrize("case", CASES)
def test_metrics_over_all_documents_are_equal(case: str, pair: tuple[dict[str, Any], Ours]) -> None:
    wanted, found = pair[0]["metrics"], pair[1]
    names = METRICS[task_of(case).kind]
    assert set(names) <= set(wanted)
    for name in names:
        own = found.quality[OURS.get(name, name)]
        print(f"{case}, {name}: {own} here, {wanted[name]} there")
        if name.startswith("acc"):
            assert own == pytest.approx(wanted[name], abs=differing_share(name, *pair) + 1e-12)
        else:
            assert own == pytest.approx(wanted[name], rel=allowed(name, case, found))


def differing_share(metric: str, expected: dict[str, Any], found: Ours) -> float:
    """Share of documents that are right here and wrong there, or the other way round; tests above say when."""
    column = {"acc": "correct", "acc_norm": "correct_norm"}[metric]
    pairs = zip(expected["documents"], found.scores, strict=True)
    return sum(bool(document[metric]) != row[column] for document, row in pairs) / len(found.scores)


def allowed(metric: str, case: str, found: Ours) -> float:
    """What the tolerances of all documents come to, relative, in a perplexity or a number of bits."""
    total = sum(tolerance(value) for values in per_document(case, found) for value in values)
    if metric == "bits_per_byte":
        return total / sum(row["loss"] for row in found.scores)
    shares = {"word_perplexity": "words", "byte_perplexity": "bytes"}
    return total / (
        sum(row[shares[metric]] for row in found.scores) if metric in shares else len(found.scores)
    )


def test_the_documents_are_as_varied_as_they_are_meant_to_be(ours: dict[str, Ours]) -> None:
    tokens = {case: [row["target_tokens"] for row in found.scores] for case, found in ours.items()}
    assert max(count for (count,) in tokens["made lambada"]) >= 5, "a last word of many tokens"
    assert {len(counts) for counts in tokens["made arc"]} == {3, 4, 5}
    assert max(windows_per_page("made wikitext", ours["made wikitext"])) >= 3
    assert min(windows_per_page("made wikitext", ours["made wikitext"])) == 1
    for name in ("lambada", "hellaswag", "arc"):
        rows_of_case = ours[f"made {name}"].scores
        right = np.mean([row["correct"] for row in rows_of_case])
        print(f"{name}: {len(rows_of_case)} documents, {right:.2f} right")
        assert len(rows_of_case) >= 20 and 0.15 < right < 0.85
    assert any(answer(row, "characters") != answer(row, "bytes") for row in option_bytes(ours["made arc"]))
    whole = TASKS["lambada"].max_length
    assert sum(row["tokens"] == whole for row in ours["made lambada"].scores) >= 3, (
        "some lose their beginning"
    )


def option_bytes(found: Ours) -> list[dict[str, Any]]:
    """Scores of choices, with the bytes of every option."""
    options = found.table["options"].to_pylist()
    return [row | {"bytes": [len(o.encode()) for o in texts]} for row, texts in zip(found.scores, options)]


def answer(row: dict[str, Any], unit: str) -> int:
    """The likeliest option per character or per byte."""
    return int(np.argmax(np.divide(row["log_likelihood"], row[unit])))


def test_every_option_of_every_question_is_traced(ours: dict[str, Ours]) -> None:
    trace = pq.read_table(ours["made arc"].trace, columns=["sample_id", "sequence", "layer"])
    layers = describe(shipped(MODEL)[0].config)["num_layers"]
    found = Counter(zip(trace["sample_id"].to_pylist(), trace["sequence"].to_pylist()))
    scores = ours["made arc"].scores
    assert set(found) == {(row["sample_id"], i) for row in scores for i in range(len(row["log_likelihood"]))}
    assert sum(found.values()) == layers * sum(row["tokens"] for row in scores)
