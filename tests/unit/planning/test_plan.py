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
from switchyard.models.load import load_tokenizer
from switchyard.planning import jobs as dry_runs
from switchyard.planning.footprint import active_parameters
from switchyard.planning.jobs import ROOT, Job
from switchyard.planning.machine import Machine
from switchyard.planning.plan import REMEDIES, make
from switchyard.planning.workload import ABLATION_RUNS, Tokens, Workload, load
from switchyard.search.components import bh_components, var_components
from switchyard.study.config import merge, read, resolve
from switchyard.var.config import VARConfig

ROOMY = Machine(cores=4, mem_gb=1000.0, cards=1, gpu_mem_gb=1000.0, free_gb=10_000.0)
TOPK, MODEL = "8experts_topk_baseline", "pocket-olmoe"


def workload(directory: Path, study: str | None = None, **changes) -> Workload:
    """A study of the project with some sections changed, in a folder with the shipped models."""
    if not (directory / "resources").exists():
        (directory / "resources").symlink_to(ROOT / "resources")
    config = merge(read(ROOT / "config.yaml"), read(ROOT / "studies" / study) if study else {})
    return Workload(resolve(merge(config, changes), read(ROOT / "config.schema.yaml"), directory), directory)


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


def test_tokens_of_unprepared_texts_are_bounds(work):
    bounds = {"heldout": 120 * 192, "cloze": 140 * 256, "choice": 4 * 140 * 128}
    for dataset, bound in bounds.items():
        assert work.tokens(experiment(work, dataset=dataset)) == Tokens(bound, exact=False)
    texts = [f"{work.results}/prepare/datasets/{name}.parquet" for name in bounds]
    once = 100 * 192 + 120 * 256 + 4 * 120 * 128
    assert work.tokens(model_job("assess_model", texts, model=MODEL)) == Tokens(once, exact=False)
    assert work.tokens(model_job("observe_shard", model=MODEL, shard="0")) == Tokens(60_000, exact=False)
    tuning = [f"{work.results}/prepare/datasets/{name}.parquet" for name in ("tuning", "tuning-cloze")]
    runs = 3 * (1 + 3 + 1) * 16 * (192 + 256)
    assert work.tokens(model_job("evaluate_var", tuning, model=MODEL)) == Tokens(runs, exact=False)
    points = 2 * (5 * 2 + 2 * 2) + 8 + 2
    swept = Tokens((1 + points) * 16 * 192, exact=False)
    assert work.tokens(model_job("sweep_var", tuning[:1], model=MODEL)) == swept
    heldout = [*tuning[:1], f"{work.results}/prepare/datasets/heldout.parquet"]
    batch = Tokens((1 + 2 * 4) * 12 * 192, exact=False)
    assert work.tokens(model_job("evaluate_points", tuning[:1], model=MODEL)) == batch
    validated = Tokens((1 + 4) * 12 * 192 + (1 + 4 + 3) * 48 * 192, exact=False)
    assert work.tokens(model_job("validate_search", heldout, model=MODEL)) == validated
    ablated = Tokens(ABLATION_RUNS * 24 * 192, exact=False)
    assert work.tokens(model_job("ablate_rules", tuning[:1], model=MODEL)) == ablated
    assert work.tokens(model_job("a_new_rule", model=MODEL)) is None
    assert work.tokens(Job("draw_figures")) == Tokens(0)


def test_the_runs_of_an_ablation_are_its_components_with_the_whole_rules_and_the_untouched_model():
    off = {"max_k": 4, "weighting": "model", "null_distribution": "pooled", "min_k": 1}
    var = {**VARConfig().as_json(), "fast_path_experts": 1}
    assert 1 + 2 + len(var_components(var, 8)) + len(bh_components(off, 8)) == ABLATION_RUNS


def test_tokens_of_prepared_texts_are_counted(work):
    texts = ["a b c d", "the array is returned " * 200]
    columns = {"text": texts, "original_bytes": list(map(len, texts)), "original_words": [4, 800]}
    prepared = work.directory / work.results / "prepare"
    for folder in ("datasets", "models"):
        (prepared / folder).mkdir(parents=True)
    write_table(prepared / "datasets" / "heldout.parquet", pa.table(columns), {})
    (prepared / "models" / MODEL).symlink_to(ROOT / "resources" / MODEL)
    tokenizer = load_tokenizer(ROOT / "resources" / MODEL)
    counted = sum(len(tokenizer.encode(text)) for text in texts)  # each is predicted once, the prefix is fed
    found = work.tokens(experiment(work))
    reached_back = found.number // 2 - counted  # the last window of a text fills up with scored tokens
    assert found.exact and 0 <= reached_back < 192  # there are fewer windows than are repeated


def test_experts_of_a_configuration(work):
    adaptive = ["64experts_bh_a030", "mixed_topk_as_32experts_bh_a030"]
    budgets = ["8experts_bh_budget_k5", "mixed_topk_as_8experts_bh_budget_k5"]
    found = [
        work.experts(experiment(work, name)) for name in ("64experts_topk_baseline", *adaptive, *budgets)
    ]
    assert found == [64, 8, 8, 5, 5]  # those that adapt as trained


def test_a_stated_rate_is_of_the_trained_number_of_experts(work):
    known, seconds = work.structure(MODEL), 120 * 192 / 100
    for name, experts in {TOPK: 8, "64experts_topk_baseline": 64}.items():
        row = plan(work, experiment(work, name), rate=100.0).rows[-1]
        relative = active_parameters(known, experts) / active_parameters(known)
        assert row.work_hours * 3600 == pytest.approx(relative * seconds)


def test_hours_are_the_mean_of_a_rules_benchmarks(work):
    logs = work.directory / work.results / "job-logs"
    (logs / "evaluate_experiment").mkdir(parents=True)
    for name, text in {"a": "s\th:m:s\n10\tx\n", "b": "s\th:m:s\n30\tx\n", "killed": ""}.items():
        (logs / "evaluate_experiment" / f"{name}.tsv").write_text(text)
    (logs / "draw_figures.tsv").write_text("s\th:m:s\n100\tx\n")
    jobs = [experiment(work, dataset=name) for name in work.config["datasets"]]
    figures = Job("draw_figures", inputs=jobs[0].outputs, outputs=["figure"])
    row = plan(work, *jobs, figures, machine=replace(ROOMY, cards=0)).rows[-1]
    assert row.work_hours * 3600 == pytest.approx(160)
    assert row.wall_hours * 3600 == pytest.approx(120)  # the chain
    assert not any(row.unknown.values())
    row = plan(work, *jobs, figures, machine=replace(ROOMY, cards=0, cores=1)).rows[-1]
    assert row.wall_hours * 3600 == pytest.approx(160)


def test_without_a_benchmark_hours_are_unknown(work):
    found = plan(work, experiment(work), Job("draw_figures", outputs=["figure"]))
    assert found.unknown == ["time of all jobs: no benchmark of an earlier run; give --tokens-per-second"]


def test_sums_grow_with_the_study_and_traces_without_logits_save_disk(tmp_path):
    def costs(**changes):
        work = workload(tmp_path, **changes)
        names = [name for model, name in work.configurations if model == MODEL]
        *stages, whole = plan(work, *(experiment(work, name) for name in names), rate=1000.0).rows
        assert [(row.stage, row.jobs) for row in stages] == [("evaluate", len(names))]
        assert (whole.loads_from, whole.loads_to) == (1, whole.jobs)
        return whole.tokens, whole.work_hours, whole.disk_gb

    tokens, hours, disk = costs()
    assert all(more > plain for more, plain in zip(costs(datasets={"heldout": {"samples": 1000}}), costs()))
    small = costs(evaluation={"keep_logits": False, "spelled_out_samples": 20})
    assert small[:2] == (tokens, hours) and small[2] < disk


def test_a_model_without_a_structure_is_unknown(tmp_path):
    work = workload(tmp_path, "olmoe.yaml")
    work.config["models"]["olmoe"].pop("structure")
    fetched = Job("fetch_model", {"model": "olmoe"}, outputs=[f"{work.results}/prepare/models/olmoe"])
    jobs = model_job("assess_model", model="olmoe"), fetched
    found = plan(work, *jobs, rate=1000.0, machine=replace(ROOMY, mem_gb=1.0))
    unknown = found.rows[-1].unknown
    assert (unknown["mem_gb"], unknown["seconds"], unknown["disk_gb"]) == (1, 2, 1)
    assert found.unknown[0].startswith("models.olmoe: ") and not found.shortages


def test_each_limit_that_is_exceeded_is_named_with_its_remedy(work):
    limits = {"host memory": {"mem_gb": 1.9}, "a card": {"gpu_mem_gb": 2.0}, "disk": {"free_gb": 0.0}}
    for place, limit in limits.items():
        (line,) = plan(work, experiment(work), machine=replace(ROOMY, **limit)).shortages
        assert f"GB of {place}, " in line and line.endswith(REMEDIES[place])
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
    assert run(monkeypatch, work, "--json", "--disk-gb", 0) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["fits"] and found["rows"][-1]["jobs"] == len(found["shortages"]) == 1
    assert run(monkeypatch, work, jobs=[]) == 0
    assert capsys.readouterr().out == "Study pocket: nothing to be done, all results are up to date.\n"


@pytest.mark.parametrize("words", [["--directory", "no"], ["--cards", "4"], ["--tokens-per-second", "nan"]])
def test_bad_input_ends_in_one_line(words, work, monkeypatch, capsys):
    try:
        assert run(monkeypatch, work, *words) == 2
    except SystemExit as refused:  # by argparse
        assert refused.code == 2
    assert "; give" in capsys.readouterr().err.splitlines()[-1]


def test_options_for_snakemake_change_the_configuration(tmp_path):
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    work = load(None, tmp_path, ["--quiet", "--config", "study=other", "data_folder=there", "--keep-going"])
    assert (work.results, work.config["data_folder"]) == ("results/other", "there")
