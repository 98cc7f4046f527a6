"""Find the mixture-of-experts blocks of a model by their structure, and describe a model from its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from switchyard.errors import InputError
from switchyard.models.structure import structure

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig

_REMEDY = "choose a mixture-of-experts checkpoint such as OLMoE or Mixtral"


@dataclass(frozen=True, eq=False)
class MoEBlock:
    """One router with its experts: `layer` counts the MoE blocks from 0, `name` is the module's path in the model."""

    layer: int
    name: str
    module: nn.Module
    router: nn.Module
    experts: nn.Module
    num_experts: int
    top_k: int
    hidden_size: int


def find_moe_blocks(model: nn.Module) -> list[MoEBlock]:
    """Every block with a router (`gate` or `router`) and fused `experts`, in the order of the layers.

    A block is recognised by what it holds, not by its class: the router's `weight` is [num_experts, hidden_size] and
    `experts` knows the same `num_experts` and keeps its matrices in one 3-D parameter, or packed
    (`switchyard.models.packed`).

    Raises InputError for a model without such a block, naming the model type.
    """
    found = [(name, module) for name, module in model.named_modules() if _is_moe_block(module)]
    if not found:
        kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
        raise InputError(f"model of type {kind!r} has no block with a router and fused experts: {_REMEDY}")
    return [_describe_block(layer, name, module, model) for layer, (name, module) in enumerate(found)]


def describe(config: PreTrainedConfig) -> dict[str, Any]:
    """The structure of a MoE model from its Hugging Face config (`switchyard.models.structure.structure`).

    Raises InputError for a config without experts, naming the model type.
    """
    config = config.get_text_config()
    found = structure({**config.to_dict(), "model_type": config.model_type})
    if found is None:
        raise InputError(
            f"model of type {config.model_type!r} has no experts in its config, or not all of its sizes: {_REMEDY}"
        )
    return found


def check_layers(blocks: Sequence[MoEBlock], found: Mapping[str, Any]) -> None:
    """Compare the layers with experts that `describe` found with the blocks of the model class.

    Raises:
        InputError: they differ, so that traces, costs and memory would count other layers than the model has.
    """
    built = [int(next(part for part in block.name.split(".") if part.isdigit())) for block in blocks]
    if built != found["moe_layers"]:
        raise InputError(
            f"model of type {found['model_type']!r}: its config says that layers {found['moe_layers']} have experts, "
            f"the model class builds them in {built}; choose a model of a family that docs/families.md calls exact"
        )


def check_stated(structure: Mapping[str, Any], stated: Mapping[str, Any]) -> None:
    """Compare what a study says of a model with `describe` of its own config.

    Raises:
        InputError: they differ, and memory and time were planned for another model.
    """
    for name, value in stated.items():
        if structure[name] != value:
            raise InputError(
                f"config: models: structure.{name} is {value}, the checkpoint's own is {structure[name]}; correct it"
            )


def _is_moe_block(module: nn.Module) -> bool:
    experts = getattr(module, "experts", None)
    num_experts = getattr(experts, "num_experts", None)
    weight = getattr(_router(module), "weight", None)
    if num_experts is None or getattr(weight, "ndim", 0) != 2:
        return False
    fused = any(parameter.ndim == 3 for parameter in experts.parameters(recurse=False))
    joined = (
        fused or hasattr(experts, "parametrizations") or hasattr(getattr(experts, "down_proj", None), "codes")
    )
    return weight.shape[0] == num_experts and joined


def _router(module: nn.Module) -> nn.Module | None:
    return getattr(module, "gate", None) or getattr(module, "router", None)


def _describe_block(layer: int, name: str, module: nn.Module, model: nn.Module) -> MoEBlock:
    router = _router(module)
    top_k = getattr(router, "top_k", None) or model.config.num_experts_per_tok
    num_experts, hidden_size = router.weight.shape
    return MoEBlock(layer, name, module, router, module.experts, num_experts, top_k, hidden_size)
