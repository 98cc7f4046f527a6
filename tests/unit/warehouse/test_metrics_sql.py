"""Every number of the SQL equals the plain NumPy one, on random and on degenerate experiments."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from reference import metrics as reference
from reference.synthetic import padded_rows, route, write_trace
from reference.synthetic_study import BATCHES, SPEED, STRUCTURE, Study, read

CASES = {
    "text": {},
    "cloze": {"kind": "cloze"},
    "choice": {"kind": "choice"},
    "static": {"strategy": "topk", "min_k": 3, "k_or_max_k": 3},
    "static, all experts": {"strategy": "topk", "min_k": 6, "k_or_max_k": 6},
    "one expert": {"num_experts": 1, "k_or_max_k": 1, "trained_top_k": 1},
    "one layer": {"num_layers": 1},
    "tokens without experts": {"min_k": 0},
    "floor of two": {"min_k": 2, "k_or_max_k": 6},
    "adaptive rule with one bin": {"min_k": 3, "k_or_max_k": 3},
}


@pytest.fixture(params=CASES, scope="module")
def case(request, tmp_path_factory):
    """One experiment, built: its head, files and rows of metrics and quality."""
    study = Study(tmp_path_factory.mktemp("study"))
    head = study.add("8experts_bh_a030", "data", **CASES[request.param])
    study.build([{"config": head["config"], **SPEED}])
    return head, read(head), study.query("FROM metrics")[0], study.query("FROM quality")[0]


def agree(found, expected):
    if expected is None or found is None:
        assert found is expected
    else:
        assert found == pytest.approx(float(expected), rel=1e-12, abs=1e-12)


def test_sixteen_metrics(case):
    head, files, metrics, _ = case
    expected = reference.metrics(head=head, **vars(files), speed=SPEED)
    assert list(metrics) == ["model", "config", "dataset", *expected]
    for name, value in expected.items():
        agree(metrics[name], value)


def test_routing_in_quality(case):
    head, files, metrics, quality = case
    counts = np.array([row["count"] for row in files.trace], float)
    agree(quality["avg_experts"], counts.mean())
    agree(quality["std_experts"], counts.std())
    assert (quality["min_experts"], quality["max_experts"]) == (counts.min(), counts.max())
    agree(
        quality["reduction_vs_baseline"],
        100 * (head["trained_top_k"] - counts.mean()) / head["trained_top_k"],
    )
    agree(
        quality["flops_reduction_exact_pct"], reference.flops_reduction_exact(head, STRUCTURE, counts.mean())
    )
    bins = 1 if reference.is_static(head) else head["k_or_max_k"] - head["min_k"] + 1
    agree(
        quality["selection_entropy_normalised"],
        metrics["selection_entropy"] / math.log(bins) if bins > 1 else 0,
    )
    agree(quality["mid_rate"] + metrics["ceiling_hit_rate"] + metrics["floor_hit_rate"], 1)
    entropies = reference.routing_entropies(files.trace)
    for name, value in (("", entropies.mean()), ("min_", entropies.min()), ("max_", entropies.max())):
        agree(quality[f"{name}routing_entropy"], value)
    jaccard, recall = reference.trained_overlap(head, files.trace)
    agree(quality["trained_top_k_jaccard"], jaccard)
    agree(quality["trained_top_k_recall"], recall)
    agree(
        quality["trained_top_k_tie_rate"],
        np.mean(reference.tied_at_last_rank(head["trained_top_k"], files.trace)),
    )
    assert quality["undefined_layer_pairs"] == reference.correlations(head, files.trace).count(None)


def test_rejections_in_quality(case):
    head, files, _, quality = case
    rejections = np.array([row["rejections"] for row in files.trace], float)
    if head["strategy"] == "topk":
        rejections = None
    expected = {
        "mean_rejections": lambda r: r.mean(),
        "no_rejection_rate": lambda r: (r == 0).mean(),
        "raised_to_floor_rate": lambda r: (r < head["min_k"]).mean(),
        "cut_by_cap_rate": lambda r: (r > head["k_or_max_k"]).mean(),
    }
    for name, measure in expected.items():
        agree(quality[name], None if rejections is None else measure(rejections))


def test_scores_in_quality(case):
    head, files, _, quality = case
    scores = files.scores
    agree(quality["avg_loss"], reference.avg_loss(scores))
    loss = sum(row["loss"] for row in scores)
    if head["kind"] == "perplexity":
        size = sum(row["bytes"] for row in scores)
        agree(quality["word_perplexity"], math.exp(loss / sum(row["words"] for row in scores)))
        agree(quality["byte_perplexity"], math.exp(loss / size))
        agree(quality["bits_per_byte"], loss / size / math.log(2))
    else:
        assert quality["byte_perplexity"] is quality["bits_per_byte"] is None
        if head["kind"] == "cloze":
            agree(quality["word_perplexity"], math.exp(loss / len(scores)))
        else:
            assert quality["word_perplexity"] is None
    for column, name in (("correct", "acc"), ("correct_norm", "acc_norm")):
        values = [row[column] for row in scores]
        known = values[0] is not None
        agree(quality[name], np.mean(values) if known else None)
        agree(quality[f"{name}_stderr"], np.std(values, ddof=1) / math.sqrt(len(values)) if known else None)


def test_layers(study):
    head = study.add("4experts_bh_a030")
    study.build()
    trace = read(head).trace
    uses = reference.usage(head, trace)
    for row, counts in zip(
        study.query("FROM routing_by_layer"), reference.counts_by_layer(head, trace), strict=True
    ):
        agree(row["mean_count"], counts.mean())
        agree(row["std_count"], counts.std())
        agree(row["floor_rate"], (counts == 1).mean())
        agree(row["ceiling_rate"], (counts == 4).mean())
        agree(row["utilization"], (uses[row["layer"]] > 0).mean())
        agree(row["gini"], reference.gini(uses[row["layer"]]))
    found = study.query("FROM expert_usage")
    assert [row["uses"] for row in found] == uses.reshape(-1).tolist()
    distribution = {row["count"]: row["tokens"] for row in study.query("FROM count_distribution")}
    values, tokens = np.unique([row["count"] for row in trace], return_counts=True)
    assert distribution == dict(zip(values.tolist(), tokens.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["perplexity", "cloze", "choice"])
def test_paired_differences(study, kind):
    base = study.add("2experts_topk_baseline", kind=kind, strategy="topk", k_or_max_k=2, min_k=2)
    other = study.add("4experts_bh_a030", kind=kind, seed=7)
    [row] = study.build().query("FROM paired_differences")
    ours, theirs = read(other).scores, read(base).scores
    expected = reference.paired(ours, theirs)
    assert (row["config_name"], row["against"], row["samples"]) == (other["config"], base["config"], 4)
    agree(row["loss_difference"], expected["loss_difference"])
    agree(row["loss_difference_low"], expected["low"])
    agree(row["loss_difference_high"], expected["high"])
    column = {"perplexity": None, "cloze": "correct", "choice": "correct_norm"}[kind]
    if column is None:
        assert row["accuracy_difference"] is row["mcnemar_p"] is row["only_this_correct"] is None
        return
    a, b = (np.array([one[column] for one in rows], float) for rows in (ours, theirs))
    agree(row["accuracy_difference"], (a - b).mean())
    half = 1.959963984540054 * (a - b).std(ddof=1) / math.sqrt(4)
    agree(row["accuracy_difference_low"], (a - b).mean() - half)
    wins, losses = int((a > b).sum()), int((b > a).sum())
    assert (row["only_this_correct"], row["only_against_correct"]) == (wins, losses)
    agree(row["mcnemar_p"], binomtest(wins, wins + losses).pvalue if wins + losses else 1.0)


def test_trained_top_k_overlaps_itself_wholly_even_with_ties(study):
    head = study.add("2experts_topk_baseline", strategy="topk", k_or_max_k=2, min_k=2, num_layers=1)
    rng = np.random.default_rng(0)
    forwards = []
    for lengths in BATCHES:
        rows = padded_rows(lengths, rng)
        logits = rng.integers(0, 2, (len(rows.token_id), 6)).astype(np.float32)
        forwards.append((rows, [(logits, route(logits, np.full(len(logits), 2)))]))
    write_trace(head["trace"], forwards)
    head["trace_repeat"] = None
    [quality] = study.build().query("FROM quality")
    assert quality["trained_top_k_jaccard"] == quality["trained_top_k_recall"] == 1.0
    tied = reference.tied_at_last_rank(head["trained_top_k"], read(head).trace)
    assert 0 < sum(tied) < len(tied)
    assert quality["trained_top_k_tie_rate"] == sum(tied) / len(tied)


def test_traces_without_logits_leave_only_what_needs_them_null(study):
    study.add("4experts_bh_a030", keep_logits=False)
    study.build()
    [quality] = study.query("FROM quality")
    unknown = {name for name in quality if "routing_entropy" in name or name.startswith("trained")}
    assert all(quality[name] is None for name in unknown)
    assert quality["avg_experts"] is not None and quality["mean_rejections"] is not None


def test_no_speed_no_repeat(study):
    head = study.add("4experts_bh_a030")
    head |= {"trace_repeat": None, "scores_repeat": None}
    [metrics] = study.build().query("FROM metrics")
    for name in ("tokens_per_second", "latency_ms_per_token", "expert_overlap_score", "output_determinism"):
        assert metrics[name] is None
    assert metrics["gini_coefficient"] is not None


def test_layers_that_use_no_expert_have_no_gini(study):
    head = study.add("4experts_bh_a030", min_k=0, num_layers=2)
    rng = np.random.default_rng(0)
    forwards = []
    for lengths in BATCHES:
        rows = padded_rows(lengths, rng)
        tokens = len(rows.token_id)
        logits = rng.normal(size=(tokens, 6)).astype(np.float32)
        empty, full = (route(logits, np.full(tokens, count)) for count in (0, 4))
        forwards.append((rows, [(logits, empty), (logits, full)]))
    write_trace(head["trace"], forwards)
    head["trace_repeat"] = None
    study.build()
    trace = read(head).trace
    uses = reference.usage(head, trace)
    [metrics] = study.query("FROM metrics")
    agree(metrics["gini_coefficient"], reference.gini(uses[1]))
    agree(metrics["expert_utilization"], (uses > 0).mean())
    assert metrics["layer_consistency_score"] is None
    assert [row["gini"] is None for row in study.query("FROM routing_by_layer")] == [True, False]


def test_paths_of_a_rule_and_stability_on_equal_paths_are_counted(study):
    head = study.add("var_balanced", strategy="var", k_or_max_k=2, min_k=2)
    rng = np.random.default_rng(7)
    for name in ("trace", "trace_repeat"):
        table = pq.read_table(head[name])
        drawn = rng.integers(0, 3, len(table))
        drawn[table["sample_id"].to_numpy() == 0] = 1  # one whole sample on equal paths
        path = pa.array(drawn, pa.int8())
        pq.write_table(table.append_column("path", path), head[name])
    [quality] = study.build().query("FROM quality")
    first, again = (pq.read_table(head[name]).to_pylist() for name in ("trace", "trace_repeat"))
    for path, name in enumerate(("learned_rate", "fast_rate", "cached_rate")):
        agree(quality[name], np.mean([row["path"] == path for row in first]))
    keys = ("sample_id", "sequence", "layer", "position")
    known = {tuple(row[key] for key in keys): row for row in first}
    pairs = [(known[tuple(row[key] for key in keys)], row) for row in again]
    alike = [(one, two) for one, two in pairs if one["path"] == two["path"]]
    agree(quality["equal_path_rate"], len(alike) / len(pairs))
    overlaps = [
        len({*one["experts"]} & {*two["experts"]}) / len({*one["experts"]} | {*two["experts"]})
        for one, two in alike
    ]
    agree(quality["equal_path_overlap_score"], np.mean(overlaps))
    assert quality["equal_path_overlap_score"] != quality["equal_path_rate"]
    [sample] = study.query("FROM samples WHERE sample_id = 0")
    assert quality["equal_path_determinism"] == float(sample["repeated_alike"])


def test_rules_without_paths_have_none(study):
    study.add("4experts_bh_a030")
    [quality] = study.build().query("FROM quality")
    assert quality["fast_rate"] is quality["equal_path_rate"] is quality["equal_path_determinism"] is None
