"""Load a model with packed weights, and run experts of which only the used ones are expanded.

transformers quantises each weight as it is read, so that a model is never whole in its full precision; it calls the
quantiser that is registered here.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.core_model_loading import ConversionOps, MergeModulelist
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from switchyard.models.grouped import sum_with_fixed_shapes
from switchyard.models.packed import PackedLinear, PackedWeights
from switchyard.models.quantised_sizes import Quantise
from switchyard.models.used_experts import PACKED, is_packed, only_used

if TYPE_CHECKING:
    from transformers import PreTrainedModel


LARGE_BLOCK = 8 * 2**20
"""Bytes from which `return_large_blocks` returns freed memory to the system."""

_M_MMAP_THRESHOLD = -3
"""mallopt(3)."""


@register_quantization_config(PACKED)
class PackedConfig(QuantizationConfigMixin):
    """`Quantise` in transformers' terms."""

    def __init__(self, quantise: dict[str, str], **_: Any) -> None:
        self.quant_method, self.quantise = PACKED, quantise


@register_quantizer(PACKED)
class PackedQuantiser(HfQuantizer):
    """Packs experts and linear layers while they are read."""

    is_trainable = False

    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.misshapen: list[str] = []
        """Names of weights whose shape is not what the configuration says; they stay as they were."""

    def is_serializable(self) -> bool:
        """A packed model is not saved."""
        return False

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **_: Any) -> bool:
        """Whether a parameter of the model is packed when it is read."""
        return _kind_of(model, param_name, Quantise.of(self.quantization_config.quantise)) != "none"

    def update_weight_conversions(self, weight_conversions: list[Any], model: PreTrainedModel) -> list[Any]:
        """transformers' steps that make a checkpoint's experts one parameter, taken expert by expert."""
        quantise = Quantise.of(self.quantization_config.quantise)
        conversions = super().update_weight_conversions(weight_conversions, model)
        return [_by_expert(one, quantise) for one in conversions]

    def get_quantize_ops(self) -> ConversionOps:
        """The step that packs what has been read."""
        return _Pack(Quantise.of(self.quantization_config.quantise), self.misshapen)


def _by_expert(conversion: Any, quantise: Quantise) -> Any:
    """Let `_EachExpert` take the steps of a conversion that joins a list of experts. Others stay as they are."""
    steps = getattr(conversion, "operations", None)
    joins = steps and isinstance(steps[0], MergeModulelist) and steps[0].dim == 0
    if not joins or len(conversion.target_patterns) > 1:
        return conversion
    patterns = conversion._original_source_patterns, conversion._original_target_patterns
    return conversion.copy(*patterns, operations=[_EachExpert(steps, quantise)])


class _EachExpert(ConversionOps):
    """Joins and packs one expert after the other. The tensors that were read of an expert are dropped with it."""

    def __init__(self, steps: list[ConversionOps], quantise: Quantise) -> None:
        self.steps, self.quantise = steps, quantise

    @torch.no_grad()
    def convert(self, input_dict: dict[str, list[Tensor]], **how: Any) -> dict[str, Any]:
        kind = _kind_of(how["model"], how["full_layer_name"], self.quantise)
        if kind == "none":
            return self._joined(input_dict, **how)
        experts = [dict(zip(input_dict, one)) for one in zip(*input_dict.values(), strict=True)]
        input_dict.clear()
        experts.reverse()
        number = len(experts)
        matrices = (self._matrix(experts.pop(), **how) for _ in range(number))
        (target,) = how["target_patterns"]
        return {target: PackedWeights.pack(matrices, kind, number=number)}

    def _matrix(self, expert: dict[str, Tensor], **how: Any) -> Tensor:
        """One expert's matrix [out, in] of its tensors in the checkpoint, by pattern."""
        (matrices,) = self._joined({name: [one] for name, one in expert.items()}, **how).values()
        return matrices[0]

    def _joined(self, tensors: dict[str, Any], **how: Any) -> dict[str, Any]:
        for step in self.steps:
            tensors = step.convert(tensors, **how)
        return tensors


class _Pack(ConversionOps):
    """Puts packed weights into the model instead of the parameter that was read."""

    def __init__(self, quantise: Quantise, misshapen: list[str]) -> None:
        self.quantise, self.misshapen = quantise, misshapen

    @torch.no_grad()
    def convert(
        self, input_dict: dict[str, Any], *, model: nn.Module, missing_keys: set[str], **_: Any
    ) -> dict:
        for name, value in input_dict.items():
            weight = value[0] if isinstance(value, list) else value
            missing_keys.discard(name)
            if weight.shape != model.get_parameter(name).shape:
                self.misshapen.append(name)
            else:
                pack_parameter(model, name, weight, self.quantise)
        return {}


def pack_parameter(model: nn.Module, name: str, weight: Tensor | PackedWeights, quantise: Quantise) -> None:
    """Replace the parameter `name` of a model by `weight`, [experts, out, in] or [out, in], packed unless it is."""
    owner, _, own_name = name.rpartition(".")
    module, kind = model.get_submodule(owner), _kind_of(model, name, quantise)
    if isinstance(module, nn.Linear):
        parent, _, own_name = owner.rpartition(".")
        packed = PackedLinear(PackedWeights.pack([weight], kind), module.bias)
        model.get_submodule(parent).register_module(own_name, packed)
        packed._is_hf_initialized = True
        return
    delattr(module, own_name)
    packed = weight if isinstance(weight, PackedWeights) else PackedWeights.pack(weight, kind)
    if quantise.experts_on == "host":
        packed.device, packed = packed.codes.device, packed.cpu()
    module.register_module(own_name, packed)
    module._is_hf_initialized = packed._is_hf_initialized = True


def pack_model(model: PreTrainedModel, quantise: Quantise) -> PreTrainedModel:
    """Pack a model that is in memory, in place; what loading does for one that is not."""
    for name, parameter in list(model.named_parameters()):
        if _kind_of(model, name, quantise) != "none":
            pack_parameter(model, name, parameter, quantise)
    return run_packed(model)


def run_packed(model: PreTrainedModel) -> PreTrainedModel:
    """Let a model's experts, if they are packed, run by `packed_experts`."""
    if any(is_packed(module) for module in model.modules()):
        model.set_experts_implementation(PACKED)
    return model


def return_large_blocks() -> None:
    """Let this process return freed memory of `LARGE_BLOCK` and more to the system, to its end; nothing without glibc.

    Otherwise the temporaries of forwards leave holes between small blocks that stay, such as those of oneDNN. For
    OLMoE-1B-7B in nf4 the holes take 0.6 GB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def _kind_of(model: nn.Module, name: str, quantise: Quantise) -> str:
    """How a parameter is packed; `none` for all but the matrices of layers."""
    owner, _, own_name = name.rpartition(".")
    try:
        module = model.get_submodule(owner)
    except AttributeError:
        return "none"
    if hasattr(module, "num_experts") and own_name in ("gate_up_proj", "up_proj", "down_proj"):
        return quantise.experts if module.get_parameter(own_name).ndim == 3 else "none"
    is_matrix_of_layer = isinstance(module, nn.Linear) and own_name == "weight" and "layers." in owner
    return quantise.rest if is_matrix_of_layer else "none"


def packed_experts(experts: nn.Module, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """What transformers' `grouped_mm` gives for the same experts expanded: [tokens, hidden_size]."""
    used, index = only_used(experts, index)
    return sum_with_fixed_shapes(used, hidden, index, weights)


ALL_EXPERTS_FUNCTIONS.register(PACKED, packed_experts)
