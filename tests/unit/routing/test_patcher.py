"""The source documents' patcher: their own test, and the log's contents."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from reference.moe_models import random_model
from switchyard.errors import InputError
from switchyard.routing import NullDistribution, OLMoERouterPatcher

NULLS = [NullDistribution(np.linspace(-6, 6, 100), np.linspace(0, 1, 100))] * 3
LAYER_KEYS = {
    "layer",
    "sequence",
    "router_logits_shape",
    "selected_experts",
    "expert_weights",
    "expert_counts",
    "router_logits_sample",
    "p_values_sample",
    "layer_stats",
}


@pytest.fixture
def patcher() -> OLMoERouterPatcher:
    return OLMoERouterPatcher(random_model("olmoe"), nulls=NULLS)


@torch.no_grad()
def log(patcher: OLMoERouterPatcher, samples: int = 1, tokens: int = 7) -> list[dict]:
    """Log samples, each of them one forward and 3 decoded tokens."""
    for sample in range(samples):
        ids = torch.arange(3, 3 + tokens)[None] + sample
        patcher.start_sample_logging(sample, "x" * 200)
        patcher.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=4,
            do_sample=False,
            eos_token_id=None,
        )
        patcher.end_sample_logging(1.5)
    return patcher.get_internal_logs()


def test_the_documents_own_example(patcher: OLMoERouterPatcher) -> None:
    patcher.patch_with_bh(alpha=0.05, max_k=8)
    logs = log(patcher, samples=10)
    assert len(logs) == 10
    assert len(logs[0]["layers"]) == 3
    assert json.loads(json.dumps(logs)) == logs


def test_a_sample(patcher: OLMoERouterPatcher) -> None:
    patcher.patch_with_bh(alpha=0.6, max_k=5, min_k=0)
    (sample,) = log(patcher)
    assert set(sample) == {"sample_id", "text_preview", "num_tokens", "loss", "layers"}
    assert (sample["num_tokens"], sample["loss"], len(sample["text_preview"])) == (10, 1.5, 100)
    for layer, entry in enumerate(sample["layers"]):
        assert set(entry) == LAYER_KEYS
        assert entry["layer"] == layer and entry["sequence"] == 0
        assert entry["router_logits_shape"] == [10, 16]
        counts = entry["expert_counts"]
        assert [len(row) for row in entry["selected_experts"]] == counts
        assert [len(row) for row in entry["expert_weights"]] == counts
        assert np.shape(entry["router_logits_sample"]) == np.shape(entry["p_values_sample"]) == (5, 16)
        stats = entry["layer_stats"]
        assert stats["avg_experts"] == pytest.approx(np.mean(counts))
        assert (stats["ceiling_hits"], stats["floor_hits"]) == (counts.count(5), counts.count(0))


def test_aggregate_stats_add_up(patcher: OLMoERouterPatcher) -> None:
    assert patcher.get_aggregate_stats() == {}
    patcher.patch_with_bh(alpha=0.5, max_k=8)
    logs = log(patcher, samples=2)
    stats = patcher.get_aggregate_stats()
    counts = np.array(
        [np.concatenate([sample["layers"][n]["expert_counts"] for sample in logs]) for n in range(3)]
    )
    assert (stats["total_samples"], stats["total_tokens"]) == (2, 20)
    assert stats["avg_experts"] == pytest.approx(counts.mean())
    assert stats["per_layer_avg_experts"] == pytest.approx(counts.mean(axis=1))
    assert (stats["min_experts"], stats["max_experts"]) == (counts.min(), counts.max())
    assert np.sum(stats["expert_usage_counts"], axis=1).tolist() == counts.sum(axis=1).tolist()
    patcher.clear_internal_logs()
    assert patcher.get_internal_logs() == []


def test_static_rules_are_all_ceiling(patcher: OLMoERouterPatcher) -> None:
    patcher.patch_with_topk(k=3)
    (sample,) = log(patcher)
    assert all(entry["expert_counts"] == [3] * 10 for entry in sample["layers"])
    assert all(entry["p_values_sample"] is None for entry in sample["layers"])
    assert [entry["layer_stats"]["floor_hits"] for entry in sample["layers"]] == [0] * 3


def test_the_native_model_is_logged_too_and_left_alone(patcher: OLMoERouterPatcher) -> None:
    ids = torch.arange(3, 9)[None]
    plain = patcher.model(input_ids=ids).logits
    patcher.patch_with_topk(k=1)
    assert not torch.equal(patcher.model(input_ids=ids).logits, plain)
    patcher.unpatch()
    patcher.unpatch()
    (sample,) = log(patcher)
    assert sample["layers"][0]["expert_counts"] == [4] * 10
    assert torch.equal(patcher.model(input_ids=ids).logits, plain)


@torch.no_grad()
def test_a_batch_is_logged_as_sequences_without_padding(patcher: OLMoERouterPatcher) -> None:
    patcher.start_sample_logging(0, "two options")
    patcher.model(input_ids=torch.full((2, 3), 5), attention_mask=torch.tensor([[1, 1, 1], [1, 0, 0]]))
    patcher.end_sample_logging(0.0)
    (sample,) = patcher.get_internal_logs()
    assert sample["num_tokens"] == 4
    assert [(entry["sequence"], entry["layer"]) for entry in sample["layers"]] == [
        (sequence, layer) for sequence in range(2) for layer in range(3)
    ]
    assert [len(entry["expert_counts"]) for entry in sample["layers"]] == [3, 3, 3, 1, 1, 1]


def test_refuses(patcher: OLMoERouterPatcher) -> None:
    with pytest.raises(InputError, match="no null distributions"):
        OLMoERouterPatcher(patcher.model).patch_with_bh(alpha=0.3, max_k=8)
    with pytest.raises(InputError, match="no sample is being logged"):
        patcher.end_sample_logging(0.0)
    patcher.start_sample_logging(3, "")
    with pytest.raises(InputError, match="sample 3 is still being logged"):
        patcher.start_sample_logging(4, "")
    with pytest.raises(InputError, match="before patching anew"):
        patcher.patch_with_topk(k=2)
