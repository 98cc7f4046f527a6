"""Which layers have experts, read from the config alone, against the layers that the model class builds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from switchyard.errors import InputError
from switchyard.models.blocks import MoEBlock, check_layers, describe, find_moe_blocks
from switchyard.models.structure import structure

SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "moe_intermediate_size": 8,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
DEEPSEEK = {"n_routed_experts": 4, "n_group": 1, "topk_group": 1}
ALL = [0, 1, 2, 3, 4, 5]
FAMILIES: dict[str, tuple[str, dict[str, Any], list[int]]] = {
    "olmoe": ("olmoe", {"num_experts": 4}, ALL),
    "mixtral": ("mixtral", {"num_local_experts": 4}, ALL),
    "qwen2_moe, every layer": ("qwen2_moe", {"num_experts": 4}, ALL),
    "qwen2_moe, every second but one": (
        "qwen2_moe",
        {"num_experts": 4, "decoder_sparse_step": 2, "mlp_only_layers": [3]},
        [1, 5],
    ),
    "qwen3_moe, every third": ("qwen3_moe", {"num_experts": 4, "decoder_sparse_step": 3}, [2, 5]),
    "deepseek_v2, first dense": ("deepseek_v2", {**DEEPSEEK, "first_k_dense_replace": 1}, ALL[1:]),
    "deepseek_v3, first three dense": ("deepseek_v3", {**DEEPSEEK, "first_k_dense_replace": 3}, [3, 4, 5]),
    "glm4_moe, first two dense": ("glm4_moe", {**DEEPSEEK, "first_k_dense_replace": 2}, [2, 3, 4, 5]),
    "lfm2_moe, first two dense": (
        "lfm2_moe",
        {"num_experts": 4, "num_dense_layers": 2, "layer_types": ["full_attention"] * 6},
        [2, 3, 4, 5],
    ),
}


def made(family: str) -> PreTrainedConfig:
    kind, settings, _ = FAMILIES[family]
    return AutoConfig.for_model(kind, **SIZES, **settings)


def built(config: PreTrainedConfig) -> list[MoEBlock]:
    with torch.device("meta"):
        return find_moe_blocks(AutoModelForCausalLM.from_config(config))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layers_with_experts_are_those_that_the_class_builds(family: str) -> None:
    config, expected = made(family), FAMILIES[family][2]
    found = describe(config)
    assert (found["moe_layers"], found["num_layers"], found["num_hidden_layers"]) == (
        expected,
        len(expected),
        6,
    )
    assert found["dense_intermediate_size"] == (24 if expected != ALL else None)
    check_layers(built(config), found)


@pytest.mark.parametrize("wrong", [ALL, [0, 1], [1, 4], []])
def test_another_list_of_layers_is_refused(wrong: list[int]) -> None:
    config = made("qwen2_moe, every second but one")
    found = {**describe(config), "moe_layers": wrong}
    with pytest.raises(InputError, match=r"'qwen2_moe'.*the model class builds them in \[1, 5\]") as caught:
        check_layers(built(config), found)
    assert str(wrong) in str(caught.value)


def test_sizes_are_those_of_the_weights() -> None:
    """Two layers of six have experts: the size of one expert and that of a dense block are told apart."""
    config = made("qwen2_moe, every second but one")
    found, layers = describe(config), AutoModelForCausalLM.from_config(config).model.layers
    assert layers[1].mlp.experts.down_proj.shape == (4, 16, found["intermediate_size"])
    assert layers[0].mlp.down_proj.weight.shape == (16, found["dense_intermediate_size"])


@pytest.mark.parametrize("kind", ["olmoe", "mixtral"])
def test_a_field_that_a_file_leaves_out_has_the_default_of_transformers(kind: str) -> None:
    assert structure({"model_type": kind}) == describe(AutoConfig.for_model(kind))


@pytest.mark.parametrize("field", ["num_experts", "num_experts_per_tok"])
def test_a_config_without_experts_has_no_structure(field: str) -> None:
    content = {**SIZES, "model_type": "made_up", "num_experts": 4, "max_position_embeddings": 8}
    assert structure(content) is not None
    del content[field]
    assert structure(content) is None
