"""The internal log says what the trace says, sample by sample, in the keys of DESIGN 4."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise

import numpy as np
import orjson
import pytest

from reference.synthetic import UniformNull, random_forward, write_scores, write_trace
from switchyard.errors import InputError
from switchyard.traces.internal_log import write_internal_log
from switchyard.traces.json_lists import ragged
from switchyard.traces.reader import Trace
from switchyard.traces.schema import HEAD_KEYS

FORWARDS = [{(3, 0): 4, (1, 1): 2, (0, 0): 7}, {(1, 0): 8, (2, 0): 1}]
TOKENS = {0: 7, 1: 10, 2: 1, 3: 4}
NULLS = [UniformNull(-3.0, 3.0), UniformNull(-2.0, 2.5)]
HEAD = dict.fromkeys(HEAD_KEYS) | {
    "k_or_max_k": 4,
    "num_experts": 6,
    "num_layers": 2,
    "config": "4experts_bh_a030",
}


def tail(logits, layer):
    return 1.0 - NULLS[layer].cdf_at(logits.astype(np.float64))


@pytest.fixture
def written(tmp_path):
    """Write an experiment and its log; returns the log, its text, the trace and the scores."""

    def write(low=0, high=4, tested=True, **settings):
        rng = np.random.default_rng(1)
        shape = {"experts": 6, "layers": 2, "low": low, "high": high, "tested": tested}
        path = tmp_path / "traces" / "x.parquet"
        write_trace(path, [random_forward(lengths, rng, **shape) for lengths in FORWARDS])
        scores = write_scores(None, "choice", TOKENS, rng)
        log = tmp_path / "x.json"
        write_internal_log(log, head=HEAD, trace=path, scores=scores, study_folder=tmp_path, **settings)
        return json.loads(log.read_text(), parse_float=str), log.read_text(), Trace(path), scores.to_pylist()

    return write


def test_every_decision_of_every_sample(written):
    log, _, trace, scores = written(min_k=0, p_values=tail)
    assert list(log) == [*HEAD_KEYS, "samples", "aggregate_stats", "trace"]
    assert [sample["sample_id"] for sample in log["samples"]] == [0, 1, 2, 3]
    slices = {(int(one.sample_id[0]), int(one.sequence[0])): one for one in trace.sequences()}
    seen = 0
    for sample, score in zip(log["samples"], scores, strict=True):
        assert list(sample) == ["sample_id", "text_preview", "num_tokens", "loss", "layers"]
        assert sample["num_tokens"] == TOKENS[sample["sample_id"]]
        assert float(sample["loss"]) == score["loss"]
        for entry in sample["layers"]:
            one = slices[sample["sample_id"], entry["sequence"]]
            rows = [row for row in range(len(one)) if one.layer[row] == entry["layer"]]
            check_entry(entry, one, rows)
            seen += len(rows)
    assert seen == trace.rows


def check_entry(entry, one, rows):
    assert list(entry) == [
        "layer", "sequence", "router_logits_shape", "selected_experts", "expert_weights", "expert_counts",
        "router_logits_sample", "p_values_sample", "layer_stats",
    ]  # fmt: skip
    counts = one.count[rows]
    assert entry["router_logits_shape"] == [len(rows), 6]
    assert entry["expert_counts"] == counts.tolist()
    own = [slice(one.offsets[row], one.offsets[row + 1]) for row in rows]
    assert entry["selected_experts"] == [one.experts[part].tolist() for part in own]
    assert read_floats(entry["expert_weights"]) == [one.weights[part].tolist() for part in own]
    assert read_floats(entry["router_logits_sample"]) == one.router_logits[rows[:5]].tolist()
    p_values = 1.0 - NULLS[entry["layer"]].cdf_at(one.router_logits[rows[:5]].astype(np.float64))
    assert read_floats(entry["p_values_sample"]) == p_values.astype(np.float32).tolist()
    stats = entry["layer_stats"]
    assert float(stats["avg_experts"]) == pytest.approx(counts.mean())
    assert float(stats["std_experts"]) == pytest.approx(counts.std())
    assert (stats["ceiling_hits"], stats["floor_hits"]) == ((counts == 4).sum(), (counts == 0).sum())


def read_floats(lists):
    """Texts to the float32 they stand for; each must be that number's shortest."""
    for text in (text for row in lists for text in row):
        assert (
            len(text)
            <= len(orjson.dumps(np.array([np.float32(text)]), option=orjson.OPT_SERIALIZE_NUMPY)) - 2
        )
    return [[float(np.float32(text)) for text in row] for row in lists]


def test_aggregate_is_over_all_tokens_whatever_is_spelled_out(written):
    all_told, _, trace, _ = written(min_k=0, p_values=tail)
    two, _, _, _ = written(min_k=0, p_values=tail, samples_spelled_out=2)
    none, text, _, _ = written(min_k=0, p_values=tail, samples_spelled_out=0)
    assert [sample["sample_id"] for sample in two["samples"]] == [0, 1]
    assert none["samples"] == [] and json.loads(text)
    assert all_told["aggregate_stats"] == two["aggregate_stats"] == none["aggregate_stats"]
    assert all_told["samples"][:2] == two["samples"]
    stats = two["aggregate_stats"]
    forwards = list(trace.forwards())
    layers, counts = (np.concatenate([getattr(one, name) for one in forwards]) for name in ("layer", "count"))
    experts = np.concatenate([one.experts for one in forwards])
    owner = np.repeat(layers, counts)
    usage = [np.bincount(experts[owner == layer], minlength=6).tolist() for layer in range(2)]
    assert stats["expert_usage_counts"] == usage
    assert [float(mean) for mean in stats["per_layer_avg_experts"]] == [
        counts[layers == at].mean() for at in range(2)
    ]
    assert (stats["total_samples"], stats["total_tokens"]) == (4, sum(TOKENS.values()))
    assert stats["per_layer_ceiling_hits"] == [int((counts[layers == at] == 4).sum()) for at in range(2)]


def test_trace_entry_is_the_file(written):
    log, _, trace, _ = written(min_k=0)
    assert log["trace"] == {
        "path": "traces/x.parquet",
        "sha256": hashlib.sha256(trace.path.read_bytes()).hexdigest(),
        "rows": 22 * 2,
    }


def test_static_rules_have_no_floor_and_no_p_values(written):
    log, _, _, _ = written(low=4, high=4, tested=False)
    for sample in log["samples"]:
        for entry in sample["layers"]:
            assert entry["p_values_sample"] is None
            assert entry["layer_stats"]["floor_hits"] == 0
            assert entry["layer_stats"]["ceiling_hits"] == len(entry["expert_counts"])
    assert log["aggregate_stats"]["per_layer_floor_hits"] == [0, 0]


def test_a_sample_without_rows_is_told(tmp_path):
    rng = np.random.default_rng(1)
    shape = {"experts": 6, "layers": 2, "low": 1, "high": 4, "tested": True}
    write_trace(tmp_path / "x.parquet", [random_forward(FORWARDS[0], rng, **shape)])
    scores = write_scores(None, "cloze", TOKENS, rng)
    with pytest.raises(InputError, match="no row of sample 2"):
        write_internal_log(
            tmp_path / "x.json", head=HEAD, trace=tmp_path / "x.parquet", scores=scores, study_folder=tmp_path
        )
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


@pytest.mark.parametrize("lengths", [[], [0], [3, 3], [0, 0], [1, 2, 0], [0, 4, 0, 0, 1], [5], [2, 1]])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_ragged_lists(lengths, dtype):
    values = (np.random.default_rng(2).normal(size=sum(lengths)) * 40 + 41).clip(0).astype(dtype)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    parts = [values[start:stop].tolist() for start, stop in pairwise(offsets)]
    assert [np.array(part, dtype).tolist() for part in json.loads(ragged(values, offsets))] == parts
