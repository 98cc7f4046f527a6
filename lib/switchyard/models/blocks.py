"""Find the mixture-of-experts blocks of a model by their structure, and describe a model from its config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from switchyard.errors import InputError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig

_EXPERT_COUNT_NAMES = ("num_experts", "num_local_experts", "n_routed_experts")
_REMEDY = "choose a mixture-of-experts checkpoint such as OLMoE or Mixtral"


@dataclass(frozen=True, eq=False)
class MoEBlock:
    """One router with its experts: `layer` counts the MoE blocks from 0, `name` is the module's path in the model."""

    layer: int
    name: str
    gate: nn.Module
    experts: nn.Module
    num_experts: int
    top_k: int
    hidden_size: int


def find_moe_blocks(model: nn.Module) -> list[MoEBlock]:
    """Every block with a `gate` and fused `experts`, in the order of the layers.

    A block is recognised by what it holds, not by its class: `gate.weight` is [num_experts, hidden_size] and
    `experts` knows the same `num_experts` and keeps its matrices in one 3-D parameter.

    Raises InputError for a model without such a block, naming the model type.
    """
    found = [(name, module) for name, module in model.named_modules() if _is_moe_block(module)]
    if not found:
        kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
        raise InputError(f"model of type {kind!r} has no block with a gate and fused experts: {_REMEDY}")
    return [_describe_block(layer, name, module, model) for layer, (name, module) in enumerate(found)]


def describe(config: PreTrainedConfig) -> dict[str, Any]:
    """The structure of a MoE model from its Hugging Face config alone.

    `intermediate_size` is that of one expert. `normalise` says whether the chosen experts' weights were made to
    sum to 1 in training: `norm_topk_prob` where the config has that switch, True where it has none (Mixtral).

    Raises InputError for a config without experts, naming the model type.
    """
    config = config.get_text_config()
    num_experts = next((n for name in _EXPERT_COUNT_NAMES if (n := getattr(config, name, None))), None)
    top_k = getattr(config, "num_experts_per_tok", None)
    if num_experts is None or top_k is None:
        raise InputError(f"model of type {config.model_type!r} has no experts in its config: {_REMEDY}")
    heads = config.num_attention_heads
    return {
        "model_type": config.model_type,
        "num_layers": config.num_hidden_layers,
        "num_experts": num_experts,
        "top_k": top_k,
        "normalise": bool(getattr(config, "norm_topk_prob", True)),
        "hidden_size": config.hidden_size,
        "intermediate_size": getattr(config, "moe_intermediate_size", None) or config.intermediate_size,
        "num_heads": heads,
        "num_key_value_heads": getattr(config, "num_key_value_heads", None) or heads,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // heads,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": bool(config.tie_word_embeddings),
    }


def check_stated(structure: Mapping[str, Any], stated: Mapping[str, Any]) -> None:
    """Hold what a study says of a model against `describe` of its own config.

    Raises:
        InputError: they differ, and memory and time were planned for another model.
    """
    for name, value in stated.items():
        if structure[name] != value:
            raise InputError(
                f"config: models: structure.{name} is {value}, the checkpoint's own is {structure[name]}; mend it"
            )


def _is_moe_block(module: nn.Module) -> bool:
    gate, experts = getattr(module, "gate", None), getattr(module, "experts", None)
    num_experts = getattr(experts, "num_experts", None)
    weight = getattr(gate, "weight", None)
    if num_experts is None or getattr(weight, "ndim", 0) != 2:
        return False
    fused = any(parameter.ndim == 3 for parameter in experts.parameters(recurse=False))
    return weight.shape[0] == num_experts and (fused or hasattr(experts, "parametrizations"))


def _describe_block(layer: int, name: str, module: nn.Module, model: nn.Module) -> MoEBlock:
    top_k = getattr(module.gate, "top_k", None) or model.config.num_experts_per_tok
    num_experts, hidden_size = module.gate.weight.shape
    return MoEBlock(layer, name, module.gate, module.experts, num_experts, top_k, hidden_size)
