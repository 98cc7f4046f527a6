"""The structure of a mixture-of-experts model, read from its Hugging Face config alone.

Imports the standard library only: memory is planned before any model class is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXPERT_COUNT_NAMES = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""Fields that say how many experts a block has."""

TOP_K_NAMES = ("num_experts_per_tok", "moe_k")
"""Fields that say how many of them a token is given in training."""

SIZES = ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size", "max_position_embeddings")
"""Fields without which a structure is not known."""

_NORMALISE = {"deepseek_v2": False, "jamba": False, "ernie4_5_moe": True, "minimax_m2": True}
"""Families whose routers make weights sum to 1, or do not, whatever `norm_topk_prob` says."""

_DEFAULTS = {
    "olmoe": {"num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": False, "num_hidden_layers": 16,
              "hidden_size": 2048, "intermediate_size": 2048, "num_attention_heads": 16, "vocab_size": 50304,
              "max_position_embeddings": 4096, "tie_word_embeddings": False},
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2, "num_hidden_layers": 32, "hidden_size": 4096,
                "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
                "vocab_size": 32000, "max_position_embeddings": 131072, "tie_word_embeddings": False},
}  # fmt: skip
"""What transformers takes for a field that a config.json does not hold."""


def structure(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The structure that the fields of a config.json describe; None where they name no experts, or not all sizes.

    `num_hidden_layers` counts all layers, `num_layers` those with experts (MoE blocks), `moe_layers` are the indices
    of the latter from 0. `intermediate_size` is that of one expert, `dense_intermediate_size` that of the feed-forward
    block of a layer without experts, None where every layer has experts. `normalise` says whether the weights of the
    chosen experts were made to sum to 1 in training: `norm_topk_prob` where the config has it, else True (Mixtral).
    """
    kind = config.get("model_type")
    known = {
        **_DEFAULTS.get(kind, {}),
        **{name: value for name, value in config.items() if value is not None},
    }
    num_experts = next((known[name] for name in EXPERT_COUNT_NAMES if known.get(name)), None)
    top_k = next((known[name] for name in TOP_K_NAMES if known.get(name)), None)
    if not num_experts or not top_k or not all(known.get(name) for name in SIZES):
        return None
    heads = known["num_attention_heads"]
    layers = moe_layers(known)
    is_mixed = len(layers) < known["num_hidden_layers"]
    return {
        "model_type": kind,
        "num_hidden_layers": known["num_hidden_layers"],
        "num_layers": len(layers),
        "moe_layers": layers,
        "num_experts": num_experts,
        "top_k": top_k,
        "normalise": _NORMALISE.get(kind, bool(known.get("norm_topk_prob", True))),
        "hidden_size": known["hidden_size"],
        "intermediate_size": known.get("moe_intermediate_size") or known["intermediate_size"],
        "dense_intermediate_size": known["intermediate_size"] if is_mixed else None,
        "num_heads": heads,
        "num_key_value_heads": known.get("num_key_value_heads") or heads,
        "head_dim": known.get("head_dim") or known["hidden_size"] // heads,
        "vocab_size": known["vocab_size"],
        "max_position_embeddings": known["max_position_embeddings"],
        "tie_word_embeddings": bool(known.get("tie_word_embeddings")),
    }


def length_fault(structure: Mapping[str, Any], max_length: int) -> str | None:
    """Why a model cannot be given sequences of `max_length` tokens; None where it can, or where that is not known."""
    positions = structure.get("max_position_embeddings")
    if positions is None or max_length <= positions:
        return None
    return (
        f"was trained on sequences of at most {positions} tokens (max_position_embeddings), it would be given "
        f"{max_length}; lower it to {positions} or less"
    )


def moe_layers(config: Mapping[str, Any]) -> list[int]:
    """Indices of the layers with experts, by the fields that the families use for it; all where there are none."""
    layers = range(config["num_hidden_layers"])
    if types := config.get("mlp_layer_types"):
        return [layer for layer in layers if types[layer] == "sparse"]
    dense = set(config.get("mlp_only_layers") or ())  # Qwen
    step = config.get("decoder_sparse_step") or 1
    first = config.get("first_k_dense_replace") or config.get("num_dense_layers") or 0  # DeepSeek, GLM, LFM2
    if "moe_layer_start_index" in config:  # ERNIE
        step = config.get("moe_layer_interval") or 1
        first, last = config["moe_layer_start_index"], config.get("moe_layer_end_index", -1)
        layers = layers if last < 0 else range(min(last + 1, len(layers)))
    period, offset = config.get("expert_layer_period") or 1, config.get("expert_layer_offset") or 0  # Jamba
    return [
        layer
        for layer in layers
        if layer not in dense
        and (layer + 1) % step == 0
        and layer >= first
        and (layer - offset) % period == 0
    ]
