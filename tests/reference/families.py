"""Tiny models of the MoE classes of transformers, all biases, correction buffers and scales random and non-zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from switchyard.routing import Selection, attach

K = 4
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.4,
    "num_experts_per_tok": K,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
DEEPSEEK = {
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 4,
    "topk_group": 2,
    "routed_scaling_factor": 2.5,
}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
FULL = {"layer_types": ["full_attention"] * 3}


def model_of(kind: str, own: dict[str, Any]) -> PreTrainedModel:
    known = AutoConfig.for_model(kind)
    fields = {name: value for name, value in {**SIZES, **own}.items() if name in own or hasattr(known, name)}
    torch.manual_seed(0)
    config = type(known)(**fields)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(1)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if "bias" in name and tensor.is_floating_point():
            tensor.data = torch.randn(tensor.shape, generator=generator).to(tensor.dtype) * 0.3
    return model


def ids(rows: int = 2, length: int = 32) -> Tensor:
    return torch.randint(3, 96, (rows, length), generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def seen_under(
    model: PreTrainedModel, rule: Any, **inputs: Any
) -> tuple[Tensor, list[tuple[Tensor, Selection]]]:
    seen: list[tuple[Tensor, Selection]] = []
    with attach(
        model, rule, observer=lambda layer, scores, selection, context: seen.append((scores, selection))
    ):
        return model(**inputs).logits, seen


def dense(selection: Selection, num_experts: int) -> Tensor:
    """Weights [tokens, num_experts]."""
    empty = torch.zeros(len(selection.experts), num_experts + 1, dtype=selection.weights.dtype)
    return empty.scatter(1, selection.experts, selection.weights)[:, :-1]
