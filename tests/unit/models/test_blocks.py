"""MoE blocks are found by structure, and described from the config alone."""

from __future__ import annotations

import pytest
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from reference.moe_models import ARCHITECTURES, random_model
from switchyard.errors import InputError
from switchyard.models.blocks import check_stated, describe, find_moe_blocks

SIZES = {"olmoe": (16, 4, False), "mixtral": (8, 2, True)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_finds_every_block(architecture: str) -> None:
    model = random_model(architecture)
    num_experts, top_k, _ = SIZES[architecture]
    blocks = find_moe_blocks(model)
    assert [block.layer for block in blocks] == [0, 1, 2]
    assert [block.name for block in blocks] == [f"model.layers.{layer}.mlp" for layer in range(3)]
    for block in blocks:
        assert (block.num_experts, block.top_k, block.hidden_size) == (num_experts, top_k, 32)
        assert model.get_submodule(block.name).gate is block.router
    assert [block.router for block in find_moe_blocks(model.base_model)] == [block.router for block in blocks]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_describes_a_config(architecture: str) -> None:
    model = random_model(architecture)
    num_experts, top_k, normalise = SIZES[architecture]
    structure = describe(model.config)
    assert structure["num_experts"] == num_experts
    assert structure["top_k"] == top_k
    assert structure["normalise"] is normalise
    assert structure["num_layers"] == 3
    attention = model.base_model.layers[0].self_attn
    assert attention.k_proj.weight.shape == (structure["num_key_value_heads"] * structure["head_dim"], 32)
    assert attention.q_proj.weight.shape == (structure["num_heads"] * structure["head_dim"], 32)
    experts = model.base_model.layers[0].mlp.experts
    assert experts.down_proj.shape == (num_experts, 32, structure["intermediate_size"])


def test_describes_the_published_models() -> None:
    olmoe, mixtral = describe(AutoConfig.for_model("olmoe")), describe(AutoConfig.for_model("mixtral"))
    assert (olmoe["num_experts"], olmoe["top_k"], olmoe["normalise"]) == (64, 8, False)
    assert (mixtral["num_experts"], mixtral["top_k"], mixtral["normalise"]) == (8, 2, True)
    assert mixtral["head_dim"] == 128


def test_what_a_study_says_of_a_model_is_held_against_it() -> None:
    structure = describe(AutoConfig.for_model("olmoe"))
    check_stated(structure, {})
    check_stated(structure, {"num_experts": 64, "tie_word_embeddings": False})
    with pytest.raises(InputError, match=r"structure.num_layers is 8, the checkpoint's own is 16"):
        check_stated(structure, {"num_experts": 64, "num_layers": 8})


def test_another_model_with_the_same_split() -> None:
    """Qwen3-MoE's experts are of a size of their own, and its first layer is made dense here."""
    config = Qwen3MoeConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=64,
        moe_intermediate_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        mlp_only_layers=[0],
    )
    blocks = find_moe_blocks(Qwen3MoeForCausalLM(config))
    assert [(block.layer, block.name) for block in blocks] == [
        (0, "model.layers.1.mlp"),
        (1, "model.layers.2.mlp"),
    ]
    assert describe(config)["intermediate_size"] == 8


def test_refuses_a_model_without_experts() -> None:
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    with pytest.raises(InputError, match=r"'llama'.*mixture-of-experts"):
        find_moe_blocks(LlamaForCausalLM(config))
    with pytest.raises(InputError, match=r"'llama'.*mixture-of-experts"):
        describe(config)
