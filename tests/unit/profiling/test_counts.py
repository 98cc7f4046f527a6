"""Operations and bytes against a naive count, and against the products that torch counts."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import MixtralConfig, MixtralForCausalLM

from reference.profiling import naive_counts
from reference.tiny import tiny_model
from switchyard.models.blocks import describe
from switchyard.models.structure import structure
from switchyard.profiling.counts import Routing, expected_distinct, forward_counts
from switchyard.profiling.points import decode, prefill
from switchyard.routing import attach

SHAPES = {
    "olmoe": {"model_type": "olmoe", "num_experts": 8, "num_experts_per_tok": 3, "hidden_size": 12,
              "intermediate_size": 10, "num_hidden_layers": 3, "num_attention_heads": 3, "vocab_size": 50},
    "grouped heads, one layer dense": {
        "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "hidden_size": 8, "head_dim": 5,
        "intermediate_size": 14, "moe_intermediate_size": 6, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 30, "max_position_embeddings": 64, "mlp_only_layers": [0],
    },
}  # fmt: skip


@pytest.mark.parametrize("point", [prefill(2, 5), prefill(1, 1), decode(3, 7), decode(1, 0)])
@pytest.mark.parametrize("name", SHAPES)
def test_counts_are_those_of_a_naive_count(name, point):
    found, draw = structure(SHAPES[name]), random.Random(str(point))
    experts, blocks = range(found["num_experts"]), range(found["num_layers"])
    chosen = [
        [draw.sample(experts, draw.randint(0, len(experts))) for _ in range(point.tokens)] for _ in blocks
    ]
    ran = [[draw.random() < 0.5 for _ in range(point.tokens)] for _ in blocks]
    ran[0] = [True] * point.tokens  # one router at least
    flops, moved = naive_counts(found, point.batch, point.length, point.cache_length, chosen, ran, 2)
    pairs = sum(len(token) for block in chosen for token in block)
    distinct = sum(len({one for token in block for one in token}) for block in chosen)
    rows = point.tokens * found["num_layers"]
    routing = Routing(pairs / rows, distinct / found["num_layers"], sum(map(sum, ran)) / rows)
    counted = forward_counts(found, point, routing, weight_bytes=2)
    assert {key: value for key, value in counted.flops.items() if value} == pytest.approx(+flops)
    if all(any(block) for block in ran):
        assert {key: value for key, value in counted.bytes.items() if value} == pytest.approx(+moved)


def _kept(used, layer, logits, chosen, context):
    used.append(chosen)


def _mixtral():
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=96, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=64,
    )  # fmt: skip
    return MixtralForCausalLM(config).eval()


@pytest.mark.parametrize("make", [tiny_model, _mixtral])
@pytest.mark.parametrize("point", [prefill(3, 7), decode(2, 11)])
def test_counts_are_those_of_torch_on_eager_experts(make, point):
    model = make()
    model.set_experts_implementation("eager")
    model.set_attn_implementation("eager")  # torch counts no fused attention of a CPU
    ids = torch.randint(96, (point.batch, point.cache_length + point.length))
    found, used = describe(model.config), []
    observer = partial(_kept, used)
    with attach(model, None, observer=observer), torch.inference_mode():
        past = model(ids[:, : point.cache_length]).past_key_values if point.cache_length else None
        used.clear()
        with FlopCounterMode(display=False) as counter:
            model(ids[:, point.cache_length :], past_key_values=past, use_cache=True, logits_to_keep=1)
    mean = sum(one.count.sum().item() for one in used) / (len(used) * point.tokens)
    distinct = sum(len(one.experts.unique()) for one in used) / len(used)
    counted = forward_counts(found, point, Routing(mean, distinct), weight_bytes=4)
    by_torch = counter.get_total_flops()
    # Mixtral's rotary frequencies are a matrix product of depth one, which is no weight and is not counted
    rotary = 2 * found["head_dim"] // 2 * point.length
    assert by_torch - counted.total_flops in (0, rotary)


def test_distinct_experts_of_uniform_choices():
    assert expected_distinct(64, 8, 1) == pytest.approx(8)
    assert expected_distinct(8, 8, 5) == 8
    torch.manual_seed(0)
    draws = [len(torch.rand(16, 64).topk(8).indices.unique()) for _ in range(2000)]
    assert sum(draws) / len(draws) == pytest.approx(expected_distinct(64, 8, 16), rel=0.01)


def test_the_exact_costs_of_the_warehouse_are_these():
    from switchyard.models.costs import flops_per_token

    found = structure(SHAPES["olmoe"])
    counted = forward_counts(found, prefill(1, 1), Routing(2.5, 3), weight_bytes=4)
    assert counted.total_flops - counted.flops["attention"] == pytest.approx(flops_per_token(found, 2.5))
