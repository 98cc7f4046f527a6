"""The whole pipeline, from text to the HTML report, and what runs again when something changes."""

from __future__ import annotations

import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from switchyard.artifacts.files import read_json, read_stamp
from switchyard.var.config import VARConfig
from workflow.checkout import RESULTS, copy_study, jobs, run_study

TESTED = ("8experts_bh_a030", "8experts_bh_a050", "8experts_bh_budget_k3_unselected")
CONFIGS = (
    "4experts_topk_baseline",
    "8experts_topk_baseline",
    *TESTED,
    *(f"mixed_topk_as_{name}" for name in TESTED),
    f"random_count_as_{TESTED[2]}",
    "var_balanced",
)
SECOND = ("2experts_topk_baseline", "mixed_topk_k1.5")
"""Configurations of the second model."""
METRICS = [
    "perplexity",
    "avg_task_accuracy",
    "expert_activation_ratio",
    "flops_reduction_pct",
    "tokens_per_second",
    "latency_ms_per_token",
    "expert_utilization",
    "gini_coefficient",
    "adaptive_range",
    "selection_entropy",
    "ceiling_hit_rate",
    "floor_hit_rate",
    "layer_expert_variance",
    "layer_consistency_score",
    "expert_overlap_score",
    "output_determinism",
]


@pytest.fixture(scope="module")
def smoke(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished study, so that tests may change code in it while others read the original."""
    return copy_study(smoke, tmp_path_factory.mktemp("copy"))


@contextmanager
def edited(path: Path, old: str, new: str):
    """A file with one replacement, put back afterwards with its old time."""
    text, status = path.read_text(), path.stat()
    assert text.count(old) >= 1, f"{path} does not hold {old!r}"
    path.write_text(text.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_every_experiment_has_its_five_files_and_two_logs(smoke):
    evaluate = smoke / RESULTS / "evaluate" / "pocket-olmoe"
    for name in CONFIGS:
        for file in (f"{name}_heldout", f"{name}_heldout_repeat"):
            assert (evaluate / "traces" / f"{file}.parquet").is_file()
            assert (evaluate / "scores" / f"{file}.parquet").is_file()
        assert (evaluate / "logs" / f"{name}_heldout_internal_routing.json").is_file()
        summary = json.loads((evaluate / "logs" / f"{name}_heldout.json").read_text())
        assert list(summary["metrics"]) == METRICS


def test_logs_traces_and_scores_tell_the_same(smoke):
    evaluate = smoke / RESULTS / "evaluate" / "pocket-olmoe"
    for name in CONFIGS:
        summary = json.loads((evaluate / "logs" / f"{name}_heldout.json").read_text())
        log = json.loads((evaluate / "logs" / f"{name}_heldout_internal_routing.json").read_text())
        scores = pq.read_table(evaluate / "scores" / f"{name}_heldout.parquet").to_pandas()
        trace = pq.read_table(evaluate / "traces" / f"{name}_heldout.parquet").to_pandas()
        tokens = summary["summary"]["total_tokens"]
        assert summary["summary"]["total_samples"] == len(scores) == 24
        assert len(log["samples"]) == (24 if name in CONFIGS[:4] else 20)  # controls spell out fewer
        assert len(trace) == log["trace"]["rows"] == tokens * summary["num_layers"]
        told = scores["tokens"][: len(log["samples"])]
        assert sum(sample["num_tokens"] for sample in log["samples"]) == told.sum()
        assert log["aggregate_stats"]["total_tokens"] == tokens == scores["tokens"].sum()
        perplexity = math.exp(scores["loss"].sum() / scores["loss_tokens"].sum())
        assert summary["metrics"]["perplexity"] == pytest.approx(perplexity, rel=1e-12)
        assert (trace["experts"].map(len) == trace["count"]).all()
        used = sum(map(sum, log["aggregate_stats"]["expert_usage_counts"]))
        assert used == trace["count"].sum()


def test_static_and_adaptive_rules_differ_where_they_must(smoke):
    results = pd.read_parquet(smoke / RESULTS / "aggregate" / "bh_routing_results.parquet")
    results = results.set_index("config_name")
    static = results[results["routing_type"] == "topk"]
    assert (static["avg_experts"] == static["k_or_max_k"]).all()
    assert (static["ceiling_hit_rate"] == 1).all() and (static["floor_hit_rate"] == 0).all()
    adaptive = results[results["routing_type"] == "bh"]
    assert adaptive["avg_experts"].between(1, 8).all()
    assert results.loc["8experts_bh_a030", "avg_experts"] < results.loc["8experts_bh_a050", "avg_experts"]


def test_matched_configurations_have_their_partners_number_of_experts(smoke):
    aggregate = smoke / RESULTS / "aggregate"
    mean = pd.read_parquet(aggregate / "bh_routing_results.parquet").set_index("config_name")["avg_experts"]
    told = pd.read_parquet(aggregate / "configurations.parquet")
    matched = told.dropna(subset="matched")
    assert list(matched["config_name"]) == list(CONFIGS[5:-1])
    for row in matched.itertuples():
        assert mean[row.config_name] == pytest.approx(mean[row.matched], abs=0.08), row.config_name
    compared = pd.read_parquet(aggregate / "equal_compute.parquet")
    assert list(compared["config_name"]) == list(TESTED)
    assert (compared["loss_p_holm"] >= compared["loss_p"]).all()


@pytest.mark.parametrize("table", ["bh_routing_results", "equal_compute"])
def test_results_say_the_same_in_every_format(smoke, table):
    stem = smoke / RESULTS / "aggregate" / table
    parquet = pd.read_parquet(f"{stem}.parquet")
    csv = pd.read_csv(f"{stem}.csv", float_precision="round_trip")
    rows = pd.DataFrame(json.loads(Path(f"{stem}.json").read_text()))
    assert list(parquet.columns) == list(csv.columns) == list(rows.columns)
    for column in parquet.select_dtypes("number"):
        for other in (csv, rows):
            assert parquet[column].astype(float).equals(pd.to_numeric(other[column]).astype(float)), column


def test_observations_add_up(smoke):
    """Every token counted is one occurrence, one first choice and top_k uses, in every layer."""
    observe = smoke / RESULTS / "observe" / "pocket-olmoe"
    structure = read_json(smoke / RESULTS / "prepare" / "models" / "pocket-olmoe" / "structure.json")
    statistics = pd.read_parquet(observe / "routing_stats.parquet")
    counts = pd.read_parquet(observe / "expert_counts.parquet")
    tokens = read_stamp(observe / "routing_stats.parquet")["totals"]["tokens"]
    layers = list(range(structure["num_layers"]))
    assert statistics.groupby("layer")["frequency"].sum().to_dict() == dict.fromkeys(layers, tokens)
    assert counts.groupby("layer")["count"].sum().to_dict() == dict.fromkeys(
        layers, tokens * structure["top_k"]
    )
    assert counts.groupby("layer")["top_count"].sum().to_dict() == dict.fromkeys(layers, tokens)
    assert pd.read_csv(observe / "routing_stats.csv", keep_default_na=False).shape == statistics.shape
    verdict = read_json(observe / "verdict.json")
    assert [layer["layer"] for layer in verdict["layers"]] == layers
    memory = read_json(observe / "memory_profiling.json")
    assert sum(shard["samples"][-1]["tokens"] for shard in memory["shards"]) == tokens
    saturation = pd.read_parquet(observe / "analyses" / "saturation.parquet")
    assert saturation["step"].unique().tolist() == [5, 10, 20]


def test_a_profile_covers_its_rules_and_says_how_far_its_model_is_off(smoke):
    folder = smoke / RESULTS / "profile" / "pocket-olmoe"
    rules = {"untouched", "8experts_bh_a030", "var_balanced"}
    for name in ("components", "operators", "scaling", "roofline"):
        assert set(pd.read_csv(folder / f"{name}.csv")["rule"]) == rules
    scaling = pd.read_csv(folder / "scaling.csv")
    assert set(scaling["role"]) == {"fit", "held out", "verify"}
    assert (scaling.loc[scaling["rule"] == "untouched", "experts"] == 4).all()
    fitted = read_json(folder / "performance_model.json")
    assert {one["role"] for one in fitted["errors"]} == {"fit", "held out", "verify"}
    assert all(one["forecast_ms"] > 0 for one in fitted["verification"])
    assert {one["rule"] for one in read_json(folder / "overhead.json")["overheads"]} == rules - {"untouched"}
    assert pq.read_metadata(folder / "latency.parquet").num_rows == 20 * len(rules) * 2


def test_warehouse_is_documented(smoke):
    with duckdb.connect(str(smoke / RESULTS / "study.duckdb"), read_only=True) as connection:
        bare = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"
        ).fetchall()
    assert bare == []


def test_published_data_dictionary_is_the_warehouse_s_own(smoke):
    """After a change: `cp results/smoke/data-dictionary.md docs/`."""
    made, _, stamp = (smoke / RESULTS / "data-dictionary.md").read_text().partition("<!-- switchyard:")
    assert (smoke / "docs/data-dictionary.md").read_text().strip() == made.strip()
    assert "libraries" in stamp


def stamp_of(path: Path) -> dict:
    """The run stamp of a results file, wherever its format keeps it."""
    beside = path.with_name(f"{path.name}.provenance.json")
    if beside.is_file():
        return json.loads(beside.read_text())
    if path.suffix == ".parquet":
        stamp = json.loads(pq.read_schema(path).metadata[b"switchyard"])
    elif path.suffix == ".json":
        stamp = json.loads(path.read_text())
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as file:
            stamp = json.loads(file.metadata()["switchyard"])["stamp"]
    elif path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as connection:
            stamp = json.loads(connection.execute("SELECT stamp FROM provenance").fetchone()[0])
    else:
        text = html.unescape(path.read_text(errors="ignore"))
        found = re.search(r'\{[^{}]*"code".*"libraries".*\}', text, re.DOTALL)
        stamp = {"code", "commit", "inputs", "libraries"} if found else {}
        return dict.fromkeys(stamp)
    return stamp.get("provenance", stamp)


def test_every_result_says_what_made_it(smoke):
    results = smoke / RESULTS
    for path in sorted(path for path in results.rglob("*") if path.is_file()):
        checkpoint = path.parents[1].name == "models" and path.name != "structure.json"
        checkpoint |= results / "prepare" / "checkpoints" in path.parents
        stamp = path.name.endswith(".provenance.json") or path.name.startswith(".")
        if not (checkpoint or stamp or "job-logs" in path.parts or path == results / "report.html"):
            assert {"code", "commit", "inputs", "libraries"} <= stamp_of(path).keys(), path


def test_no_number_of_the_report_is_half_written(smoke):
    left = [path for path in (smoke / RESULTS).rglob("*") if ".part" in path.name]
    assert left == []


def test_report_stands_alone(smoke):
    page = (smoke / RESULTS / "report.html").read_text()
    assert len(page) > 1_000_000
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', page)


def test_nothing_runs_again(smoke):
    assert jobs(smoke) == {}


def test_a_comment_in_the_library_changes_nothing(smoke):
    library = smoke / "lib" / "switchyard"
    with ExitStack() as edits:
        for module in ("routing/bh.py", "evaluation/likelihood.py", "warehouse/build.py"):
            edits.enter_context(edited(library / module, "\nfrom ", "\n# a remark\nfrom "))
        assert jobs(smoke) == {}


def test_another_wording_of_a_message_changes_nothing(smoke):
    library = smoke / "lib" / "switchyard"
    with (
        edited(
            library / "routing" / "adaptive.py", "max_k is {self.max_k} but", "the cap is {self.max_k} and"
        ),
        edited(library / "runtime" / "progress.py", " gone, ", " passed, "),
    ):
        assert jobs(smoke) == {}


def test_a_changed_line_of_the_bh_rule_leaves_top_k_alone(smoke):
    with edited(
        smoke / "lib" / "switchyard" / "routing" / "bh.py", "\n\n@dataclass", "\nREMARK = 1\n\n@dataclass"
    ):
        due = jobs(smoke)
    assert due["evaluate_experiment"] == len(CONFIGS) - 3  # BH and what is matched with it
    assert "collect_router_logits" not in due and "fit_nulls" not in due and "prepare_dataset" not in due


def test_a_changed_line_of_the_evaluation_reaches_all_experiments(smoke):
    with edited(smoke / "lib/switchyard/evaluation/scores.py", "\ndef ", "\nREMARK = 1\n\n\ndef "):
        assert jobs(smoke)["evaluate_experiment"] == len(CONFIGS) + len(SECOND)


def test_one_more_alpha_runs_its_experiments_and_what_aggregates(smoke, tmp_path):
    more = tmp_path / "more.yaml"
    more.write_text("routing: {bh: {alpha: [0.30, 0.50, 0.70]}}\n")
    due = jobs(smoke, str(more))
    aggregating = (
        "measure_speed build_warehouse write_summaries write_tables compare_at_equal_compute draw_figures "
        "write_pages write_report write_paper draw_paper"
        + (" compile_paper" if shutil.which("latexmk") else "")
    )
    assert due == dict.fromkeys(aggregating.split(), 1) | {"evaluate_experiment": 2, "draw_figures": 2}


def test_a_new_rule_is_a_module_a_line_and_an_entry_and_moves_no_other(smoke, tmp_path):
    """The rule is the one that docs/routing-rules.md shows, in the places that it names."""
    shown = re.search(r"```python\n(.*?)```", (smoke / "docs/routing-rules.md").read_text(), re.DOTALL)[1]
    imports = (
        "from dataclasses import dataclass, field\nfrom typing import ClassVar\n\nfrom torch import Tensor\n\n"
        "from switchyard.routing.adaptive import AdaptiveRule\n\n\n"
    )
    line = (
        '    "high_logits": Entry("switchyard.routing.high_logits:HighLogits", "{max_k}experts_high_{threshold}", '
        '"logit above {threshold}"),\n'
    )
    entry = """
      - required: [max_k, threshold]
        properties:
          rule: { const: high_logits, description: "every expert whose logit is above a threshold" }
          max_k: { $ref: "#/$defs/counts", description: "most experts per token" }
          min_k: { $ref: "#/$defs/floor" }
          threshold: { type: number, description: "of the logit" }
"""
    study = tmp_path / "high.yaml"
    study.write_text(
        "routing: {high: {rule: high_logits, max_k: 8, threshold: 0.5, models: [pocket-olmoe]}}\n"
    )
    module = smoke / "lib/switchyard/routing/high_logits.py"
    module.write_text(imports + shown)
    head = "    oneOf:\n      - required: [k]"
    try:
        with (
            edited(smoke / "lib/switchyard/routing/registry.py", "RULES = {\n", "RULES = {\n" + line),
            edited(smoke / "config.schema.yaml", head, head.replace("\n", entry, 1)),
        ):
            due = jobs(smoke, str(study))
            code = (
                "from switchyard.study.experiment import build_rule; "
                "settings = {'max_k': 8, 'min_k': 1, 'threshold': 0.5, 'weighting': 'model'}; "
                "print(build_rule('c', 'switchyard.routing.high_logits:HighLogits', settings, {}).limits)"
            )
            made = subprocess.run(
                [sys.executable, "-c", code], cwd=smoke / "lib", capture_output=True, text=True
            )
    finally:
        module.unlink()
    assert due["evaluate_experiment"] == 1
    assert made.stdout == "(1, 8)\n", made.stderr


def test_a_changed_dataset_leaves_models_and_nulls_alone(smoke, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("datasets: {heldout: {samples: 20}}\n")
    due = jobs(smoke, str(other))
    assert due["evaluate_experiment"] == len(CONFIGS) + len(SECOND)
    assert not {"harvest_corpus", "train_pocket_model", "fit_nulls"} & due.keys()


def test_a_second_launch_says_so_and_keeps_the_report(smoke):
    before = (smoke / RESULTS / "report.html").stat().st_mtime_ns
    ran = run_study(smoke)
    assert ran.returncode == 0
    assert "othing to be done" in ran.stdout + ran.stderr
    assert (smoke / RESULTS / "report.html").stat().st_mtime_ns == before


@pytest.mark.slow
def test_the_same_study_from_scratch_is_the_same(smoke, tmp_path):
    again = shutil.copytree(
        smoke, tmp_path / "again", ignore=shutil.ignore_patterns("evaluate", "aggregate", ".snakemake")
    )
    ran = run_study(again, "--", "evaluate_all")
    assert ran.returncode == 0, ran.stderr[-3000:]
    files = [
        path.relative_to(smoke)
        for path in (smoke / RESULTS / "evaluate").rglob("*_heldout*")
        if path.is_file()
    ]
    compared = [name for name in files if name.suffix == ".parquet" or name.stem.endswith("internal_routing")]
    assert len(compared) == (len(CONFIGS) + len(SECOND)) * 5
    for name in compared:
        assert (smoke / name).read_bytes() == (again / name).read_bytes(), name


SEARCH = RESULTS / "search" / "pocket-olmoe"


def test_a_search_has_its_points_its_best_and_its_validation(smoke):
    """Every method asked for its points in both spaces; the best loads as VARConfig and keeps to the limit."""
    summary = read_json(smoke / SEARCH / "summary.json")
    assert set(summary["spaces"]) == {"quantiles", "bh"}
    for method, batches in (("grid", 1), ("random", 2), ("bayesian", 2)):
        folder = smoke / SEARCH / method
        files = [folder / "seed0" / "points" / f"{number}.parquet" for number in range(batches)]
        rows = pd.read_parquet(folder / "trajectory.parquet")
        assert len(rows) == sum(pq.read_metadata(file).num_rows for file in files) == 2 * 8 * batches
        assert len(pd.read_csv(folder / "trajectory.csv")) == len(rows)
        assert len(pd.read_csv(folder / "pareto.csv")) >= 1
        able = rows[(rows["space"] == "quantiles") & rows["feasible"].eq(True)]
        assert (able["degradation"] <= 0.005).all()
        config = VARConfig.from_json(folder / "best_config.json")
        assert config.max_quality_degradation == 0.005 and config.enable_var == (len(able) > 0)
        validation = read_json(folder / "validation.json")
        assert validation["samples"] == 8 and validation["within_limit"] in ("PASS", "FAIL")
        assert validation["speed"] >= 1 or not config.enable_var
        best = summary["spaces"]["quantiles"]["by_method"][method]["best"]
        assert (best["speed"] if best else 0) == (able["speed"].max() if len(able) else 0)
    first = [
        pd.read_parquet(smoke / SEARCH / name / "seed0/points/0.parquet") for name in ("random", "bayesian")
    ]
    pd.testing.assert_frame_equal(*first)  # the initial points of the one are those of the other
    assert summary["methods"]["bh"]["budget"] == 16
    assert set(summary["manual"]["configurations"]) == {"balanced"}


def test_no_document_of_the_tuning_or_final_text_is_in_the_table(smoke):
    """The documents that the routing table counts, from their token ids, are on neither side that is judged on."""
    prepare = smoke / RESULTS / "prepare"
    tokenizer = Tokenizer.from_file(str(prepare / "models" / "pocket-olmoe" / "tokenizer.json"))
    windows = pd.read_parquet(smoke / RESULTS / "observe" / "pocket-olmoe" / "windows.parquet")
    table = pd.read_parquet(smoke / RESULTS / "var" / "pocket-olmoe" / "routing_table.parquet")
    counted = table[table["layer"] == 0].set_index("token_id")["frequency"].to_dict()
    assert counted == windows["token_ids"].explode().value_counts().to_dict()
    ids = windows.groupby("document", sort=False)["token_ids"].agg(
        lambda parts: [t for p in parts for t in p]
    )
    texts = [tokenizer.decode(one, skip_special_tokens=True).strip() for one in ids]
    corpus = pd.read_parquet(prepare / "corpora" / "documentation.parquet")
    offline, *judged = (
        corpus[corpus["side"] == side]["text"].str.strip().tolist() for side in ("offline", "tuning", "final")
    )
    assert texts and all(judged)
    for text in texts:  # the last document may be cut
        assert any(one.startswith(text) for one in offline)
        assert not any(one.startswith(text) for side in judged for one in side)
    for name in ("tuning", "heldout"):
        own = pd.read_parquet(prepare / "datasets" / f"{name}.parquet")["text"].str.strip()
        assert not set(own) & set(offline)
