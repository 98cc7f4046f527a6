"""What leaves the warehouse: summaries, tables, views over the files, the data dictionary."""

from __future__ import annotations

import csv
import json
import shutil

import duckdb
import pyarrow.parquet as pq
import pytest

from reference.synthetic_study import SPEED, Study, read
from switchyard.artifacts.files import read_stamp
from switchyard.warehouse.documentation import describe_warehouse
from switchyard.warehouse.invariants import ImpossibleResult
from switchyard.warehouse.prints import refuse_differing_prints
from switchyard.warehouse.summaries import write_summaries
from switchyard.warehouse.tables import write_tables

METRICS = """
perplexity avg_task_accuracy expert_activation_ratio flops_reduction_pct tokens_per_second latency_ms_per_token
expert_utilization gini_coefficient adaptive_range selection_entropy ceiling_hit_rate floor_hit_rate
layer_expert_variance layer_consistency_score expert_overlap_score output_determinism
"""
HEAD = """
schema_version study model config strategy k_or_max_k alpha null weighting num_experts num_layers trained_top_k
dataset
"""
FIRST = "model config_name routing_type k_or_max_k alpha dataset"
LAST = "avg_experts std_experts min_experts max_experts reduction_vs_baseline avg_loss"
TABLES = (
    "routing_by_layer",
    "expert_usage",
    "count_distribution",
    "paired_differences",
    "bh_routing_configs",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two configurations on three datasets, built, with summaries and tables."""
    return made(tmp_path_factory.mktemp("study"))


def made(folder):
    study = Study(folder)
    for dataset, kind in (("text", "perplexity"), ("cloze", "cloze"), ("choice", "choice")):
        study.add("2experts_topk_baseline", dataset, kind=kind, strategy="topk", k_or_max_k=2, min_k=2)
        study.add("4experts_bh_a030", dataset, kind=kind, seed=1)
    study.build([{"config": "4experts_bh_a030", **SPEED}])
    write_summaries(study.database, folder)
    write_tables(study.database, folder / "aggregate", {"code": "abc"})
    return study


def test_summaries_have_the_keys_of_the_contract(study):
    for head in study.heads:
        log = json.loads(
            (study.folder / "tiny/logs" / f"{head['config']}_{head['dataset']}.json").read_text()
        )
        assert list(log) == [*HEAD.split(), "metrics", "quality", "summary", "provenance"]
        assert list(log["metrics"]) == METRICS.split()
        assert {key: log[key] for key in HEAD.split()} == {key: head[key] for key in HEAD.split()}
        assert log["provenance"] == {
            **head["provenance"],
            "metrics": {},
        }  # this study was built without a stamp
        files = read(head)
        tokens = sum(row["tokens"] for row in files.scores)
        assert log["summary"] == {"total_samples": 4, "total_tokens": tokens}
        assert len(files.trace) == head["num_layers"] * tokens


def test_results_tables(study):
    table = pq.read_table(study.folder / "aggregate" / "bh_routing_results.parquet")
    assert table.column_names == f"{FIRST} {METRICS} {LAST}".split()
    assert [row["config_name"] for row in table.to_pylist()] == [head["config"] for head in study.heads]
    assert read_stamp(study.folder / "aggregate" / "bh_routing_results.parquet") == {"code": "abc"}
    assert all((study.folder / "aggregate" / f"{name}.parquet").is_file() for name in TABLES)


def test_the_same_number_wherever_it_is_printed(study):
    refuse_differing_prints(study.folder / "aggregate", study.folder)
    rows = pq.read_table(study.folder / "aggregate" / "bh_routing_results.parquet").to_pylist()
    with (study.folder / "aggregate" / "bh_routing_results.csv").open(newline="") as file:
        for printed, row in zip(csv.DictReader(file), rows, strict=True):
            for key, value in row.items():
                assert (float(printed[key]) if isinstance(value, float) else printed[key]) == (
                    "" if value is None else value if isinstance(value, float) else str(value)
                )


@pytest.mark.parametrize(
    "place", ["aggregate/bh_routing_results.csv", "aggregate/bh_routing_configs.json", "tiny/logs"]
)
def test_a_number_changed_in_one_place_is_refused(study, tmp_path, place):
    for folder in ("aggregate", "tiny/logs"):
        shutil.copytree(study.folder / folder, tmp_path / folder)
    path = tmp_path / place
    path = path / "4experts_bh_a030_text.json" if path.is_dir() else path
    [row] = study.query("SELECT perplexity FROM metrics WHERE dataset = 'text' AND config LIKE '4%'")
    perplexity = str(row["perplexity"])
    assert perplexity in path.read_text()
    changed = path.read_text().replace(perplexity, perplexity[:-1])
    path.write_text(changed)
    with pytest.raises(ImpossibleResult, match="perplexity of tiny 4experts_bh_a030"):
        refuse_differing_prints(tmp_path / "aggregate", tmp_path)


def test_configuration_means(study):
    by = {(row["config"], row["dataset"]): row for row in study.query("FROM logs")}
    for row in study.query("FROM bh_routing_configs"):
        own = {dataset: by[row["config_name"], dataset] for dataset in ("text", "cloze", "choice")}
        accuracies = [own[task]["avg_task_accuracy"] for task in ("cloze", "choice")]
        assert row["avg_task_accuracy"] == pytest.approx(sum(accuracies) / 2)
        assert row["perplexity"] == own["text"]["perplexity"]
        errors = own["cloze"]["acc_stderr"], own["choice"]["acc_norm_stderr"]
        assert row["avg_task_accuracy_stderr"] == pytest.approx((errors[0] ** 2 + errors[1] ** 2) ** 0.5 / 2)
        assert row["avg_experts"] == pytest.approx(sum(one["avg_experts"] for one in own.values()) / 3)
        assert (row["datasets"], row["accuracy_tasks"]) == (3, 2)
        assert row["tokens_per_second"] == own["text"]["tokens_per_second"]


def test_views_read_the_files_from_the_study_folder(study, monkeypatch):
    monkeypatch.chdir(study.folder)
    rows = study.query("SELECT config, dataset, count(*) AS n, sum(count) AS total FROM traces GROUP BY ALL")
    for row in rows:
        [head] = [
            one for one in study.heads if (one["config"], one["dataset"]) == (row["config"], row["dataset"])
        ]
        trace = read(head).trace
        assert (row["n"], row["total"]) == (len(trace), sum(one["count"] for one in trace))
    assert len(rows) == 6
    assert study.query("SELECT count(*) AS n FROM scores")[0]["n"] == 24
    assert study.query("SELECT count(*) AS n FROM repeat_scores")[0]["n"] == 12


def test_no_absolute_path_is_stored(study):
    assert str(study.folder).encode() not in study.database.read_bytes()


def test_every_table_view_and_column_is_documented(study):
    for kind in ("tables", "views"):
        silent = f"FROM duckdb_{kind}() WHERE NOT internal AND comment IS NULL"
        assert study.query(silent) == []
    silent = "FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"
    assert [(row["table_name"], row["column_name"]) for row in study.query(silent)] == []


def test_data_dictionary(study):
    text = describe_warehouse(study.database)
    for name in ("metrics (table)", "traces (view)", "| perplexity | DOUBLE | exp("):
        assert name in text


def test_built_twice_equal_tables(study, tmp_path):
    again = made(tmp_path)
    tables = [row["table_name"] for row in study.query("FROM duckdb_tables() WHERE NOT internal")]
    assert len(tables) >= 10
    for table in tables:
        assert study.query(f"FROM {table}") == again.query(f"FROM {table}")
    for folder in ("tiny/logs", "aggregate"):
        for path in (study.folder / folder).iterdir():
            assert path.read_bytes() == (again.folder / folder / path.name).read_bytes()


def test_database_can_be_queried_while_nothing_else_is_there(study, tmp_path):
    copy = tmp_path / "study.duckdb"
    copy.write_bytes(study.database.read_bytes())
    with duckdb.connect(copy, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM bh_routing_results").fetchone() == (6,)
