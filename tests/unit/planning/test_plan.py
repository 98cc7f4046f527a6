"""The plan: tokens, hours, memory and disk of a made-up dry run, what is unknown, and what does not fit."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from switchyard import __main__ as command
from switchyard.artifacts.files import write_table
from switchyard.planning import jobs as dry_runs
from switchyard.planning.footprint import active_parameters
from switchyard.planning.jobs import ROOT, Job
from switchyard.planning.machine import Machine
from switchyard.planning.plan import make
from switchyard.planning.workload import REPEATED_SAMPLES, Tokens, Workload, load
from switchyard.study.config import merge, read, resolve

ROOMY = Machine(cores=4, mem_gb=1000.0, cards=1, gpu_mem_gb=1000.0, free_gb=10_000.0)
TOPK, MODEL = "8experts_topk_baseline", "pocket-olmoe"


def workload(directory: Path, study: str | None = None, **changes) -> Workload:
    """A study of the project with some sections changed, in a folder with the shipped models."""
    if not (directory / "resources").exists():
        (directory / "resources").symlink_to(ROOT / "resources")
    config = read(ROOT / "config.yaml")
    config = merge(config, read(ROOT / "studies" / study)) if study else config
    config = resolve(merge(config, changes), read(ROOT / "config.schema.yaml"), directory)
    return Workload(config, directory)


def model_job(rule: str, inputs=(), outputs=("made",), **wildcards) -> Job:
    return Job(rule, wildcards, 1, {"gpu": 1, "mem_mb": 2000, "gpu_mem_gb": 3}, inputs, outputs)


def experiment(work: Workload, config=TOPK, dataset="heldout") -> Job:
    text = f"{work.results}/prepare/datasets/{dataset}.parquet"
    axes = {"config": config, "dataset": dataset, "model": MODEL}
    return model_job("evaluate_experiment", [text], [f"{config}_{dataset}"], **axes)


@pytest.fixture
def work(tmp_path):
    return workload(tmp_path)


def plan(work, *jobs, machine=ROOMY, rate=None):
    return make(jobs, work, machine, rate)


def total(work, *jobs, **options):
    return plan(work, *jobs, **options).rows[-1]


def test_tokens_of_unprepared_texts_are_bounds(work):
    from switchyard.evaluation.experiment import REPEAT_SAMPLES

    assert REPEATED_SAMPLES == REPEAT_SAMPLES == 20
    bounds = {"heldout": 120 * 192, "cloze": 140 * 256, "choice": 4 * 140 * 128}
    for dataset, bound in bounds.items():
        assert work.tokens(experiment(work, dataset=dataset)) == Tokens(bound, exact=False)
    texts = [f"{work.results}/prepare/datasets/{name}.parquet" for name in bounds]
    once = 100 * 192 + 120 * 256 + 4 * 120 * 128
    assert work.tokens(model_job("assess_model", texts, model=MODEL)) == Tokens(once, exact=False)
    shard = model_job("observe_shard", model=MODEL, shard="0")
    assert work.tokens(shard) == Tokens(60_000, exact=False)
    assert work.tokens(model_job("a_new_rule", model=MODEL)) is None
    assert work.tokens(Job("draw_figures")) == Tokens(0)


def test_tokens_of_prepared_texts_are_counted(work):
    texts = ["a b c d", "the array is returned " * 200]
    rows = [{"text": text, "original_bytes": len(text), "original_words": 4} for text in texts]
    types = {"text": pa.string(), "original_bytes": pa.int64(), "original_words": pa.int64()}
    path = work.directory / work.results / "prepare" / "datasets" / "heldout.parquet"
    path.parent.mkdir(parents=True)
    write_table(path, pa.Table.from_pylist(rows, pa.schema(list(types.items()))), {})
    models = work.directory / work.results / "prepare" / "models"
    models.mkdir()
    (models / MODEL).symlink_to(ROOT / "resources" / MODEL)

    from switchyard.models.load import load_tokenizer

    tokenizer = load_tokenizer(models / MODEL)
    counted = sum(len(tokenizer.encode(text)) for text in texts)  # each is predicted once, the prefix is fed
    found = work.tokens(experiment(work))
    reached_back = found.number // 2 - counted  # the last window of a text fills up with scored tokens
    assert found.exact and 0 <= reached_back < 192  # there are fewer windows than are repeated


def test_experts_of_a_configuration(work):
    stated = {
        "64experts_topk_baseline": 64,
        "8experts_bh_budget_k5": 5,
        "mixed_topk_as_8experts_bh_budget_k5": 5,
    }
    adaptive = {"64experts_bh_a030": 8, "mixed_topk_as_32experts_bh_a030": 8}  # as trained
    for name, mean in {**stated, **adaptive}.items():
        assert work.experts(experiment(work, name)) == mean


def test_a_stated_rate_is_of_the_trained_number_of_experts(work):
    known, tokens = work.structure(MODEL), 120 * 192
    assert total(work, experiment(work), rate=100.0).work_hours == pytest.approx(tokens / 100 / 3600)
    wide = total(work, experiment(work, "64experts_topk_baseline"), rate=100.0).work_hours
    ratio = active_parameters(known, 64) / active_parameters(known)
    assert wide == pytest.approx(ratio * tokens / 100 / 3600)


def test_hours_are_the_mean_of_a_rules_benchmarks(work):
    logs = work.directory / work.results / "job-logs"
    (logs / "evaluate_experiment").mkdir(parents=True)
    for name, text in {"a": "s\th:m:s\n10\tx\n", "b": "s\th:m:s\n30\tx\n", "killed": ""}.items():
        (logs / "evaluate_experiment" / f"{name}.tsv").write_text(text)
    (logs / "draw_figures.tsv").write_text("s\th:m:s\n100\tx\n")
    jobs = [experiment(work, dataset=name) for name in work.config["datasets"]]
    figures = Job("draw_figures", inputs=jobs[0].outputs, outputs=["figure"])
    row = total(work, *jobs, figures, machine=replace(ROOMY, cards=0))
    assert row.work_hours * 3600 == pytest.approx(160)
    assert row.wall_hours * 3600 == pytest.approx(120)  # the chain
    assert not any(row.unknown.values())
    row = total(work, *jobs, figures, machine=replace(ROOMY, cards=0, cores=1))
    assert row.wall_hours * 3600 == pytest.approx(160)


def test_without_a_benchmark_hours_are_unknown(work):
    found = plan(work, experiment(work), Job("draw_figures", outputs=["figure"]))
    assert found.rows[-1].unknown["seconds"] == 2
    assert found.unknown == ["time of all jobs: no benchmark of an earlier run; give --tokens-per-second"]
    assert [line.split()[5] for line in found.text().splitlines()[3:6]] == ["?", "?", "?"]


def test_the_total_is_the_sum_of_the_stages(work):
    jobs = [experiment(work, name) for name in work.configurations]
    *rows, whole = plan(work, *jobs, Job("draw_figures", outputs=["figure"]), rate=1000.0).rows
    assert [row.stage for row in rows] == ["evaluate", "publish"] and whole.stage == "total"
    for column in ("jobs", "tokens", "loads_to", "work_hours", "disk_gb"):
        assert getattr(whole, column) == pytest.approx(sum(getattr(row, column) for row in rows))
    assert (whole.loads_from, whole.loads_to) == (1, len(jobs))
    assert whole.wall_hours <= whole.work_hours


def test_more_samples_cost_more_and_traces_without_logits_save_disk(tmp_path):
    def costs(**changes):
        work = workload(tmp_path, **changes)
        row = total(work, experiment(work), rate=1000.0)
        return row.tokens, row.work_hours, row.disk_gb

    tokens, hours, disk = costs()
    assert all(more > plain for more, plain in zip(costs(datasets={"heldout": {"samples": 1000}}), costs()))
    small = costs(evaluation={"keep_logits": False, "spelled_out_samples": 20})
    assert small[:2] == (tokens, hours) and small[2] < disk


def test_a_model_without_a_structure_is_unknown(tmp_path):
    work = workload(tmp_path, "olmoe.yaml")
    work.config["models"]["olmoe"].pop("structure")
    fetched = Job("fetch_model", {"model": "olmoe"}, outputs=[f"{work.results}/prepare/models/olmoe"])
    found = plan(
        work,
        model_job("assess_model", model="olmoe"),
        fetched,
        rate=1000.0,
        machine=replace(ROOMY, mem_gb=1.0),
    )
    unknown = found.rows[-1].unknown
    assert (unknown["mem_gb"], unknown["seconds"], unknown["disk_gb"]) == (1, 2, 1)
    assert found.unknown[0].startswith("models.olmoe: ") and not found.shortages


@pytest.mark.parametrize(
    ("limit", "place"),
    [({"mem_gb": 1.9}, "host memory"), ({"gpu_mem_gb": 2.0}, "a card"), ({"free_gb": 0.0}, "disk")],
)
def test_each_limit_that_is_exceeded_is_named_with_its_remedy(work, limit, place):
    (line,) = plan(work, experiment(work), machine=replace(ROOMY, **limit)).shortages
    assert f"GB of {place}, " in line and "evaluation" in line
    assert plan(work, experiment(work)).shortages == []
    assert plan(work, experiment(work), machine=replace(ROOMY, cards=0, gpu_mem_gb=0)).shortages == []


def run(monkeypatch, work, *arguments, jobs=None):
    """Exit status of `plan` on a made-up dry run."""
    monkeypatch.setattr(dry_runs, "dry_run", lambda **_: [experiment(work)] if jobs is None else jobs)
    words = ["plan", "--directory", work.directory, "--gpu-mem-gb", 0, "--mem-gb", 1000, "--disk-gb", 100]
    monkeypatch.setattr(sys, "argv", ["switchyard", *map(str, [*words, *arguments])])
    return command.main()


def test_the_verb_says_what_fits_by_its_status(work, monkeypatch, capsys):
    assert run(monkeypatch, work) == 0
    table = capsys.readouterr().out.splitlines()[2:5]
    assert [line.split()[0] for line in table] == ["stage", "evaluate", "total"]
    assert len({len(line) for line in table}) == 1  # aligned
    assert run(monkeypatch, work, "--disk-gb", 0) == 1
    assert "Does not fit" in capsys.readouterr().out
    assert run(monkeypatch, work, "--json", "--disk-gb", 0) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["fits"] and found["rows"][-1]["jobs"] == 1 and len(found["shortages"]) == 1
    assert run(monkeypatch, work, jobs=[]) == 0
    assert capsys.readouterr().out == "Study pocket: nothing to be done, all results are up to date.\n"


PUBLIC = str(ROOT / "studies" / "public-sets.yaml")  # its files are not here


@pytest.mark.parametrize("words", [["--directory", "no-such"], ["--study", PUBLIC], ["--cards", "4"]])
def test_bad_input_is_one_line(words, work, monkeypatch, capsys):
    assert run(monkeypatch, work, *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("switchyard: error: ")


def test_options_that_make_no_sense_are_refused(work, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, work, "--tokens-per-second", "nan")
    assert "nan; give a number" in capsys.readouterr().err


def test_options_for_snakemake_change_the_configuration(tmp_path):
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    work = load(None, tmp_path, ["--quiet", "--config", "study=other", "data_folder=there", "--keep-going"])
    assert (work.results, work.config["data_folder"]) == ("results/other", "there")
