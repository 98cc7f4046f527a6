"""Whether a router is what routing rules take it for: softmax over all experts, then the k most probable ones.

A block is found by its shape, which says nothing about its arithmetic. Routers with sigmoid scores, a correction bias,
groups of experts or a scale have the same shape; a rule that took their place would run another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from switchyard.errors import InputError
from switchyard.models.blocks import check_layers, describe, find_moe_blocks

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

FAULTS = (
    "does not choose the experts of the largest softmax probability",
    "does not weigh its experts by their softmax probability",
)
"""What `faults` finds, in its order."""

SUPPORTED = "choose a model whose router is softmax, then top-k: OLMoE, Mixtral, Qwen2-MoE, Qwen3-MoE"

_TOKENS = 256
"""Random hidden states that a router without weights is tried on."""


def router_answer(layer: int, output: Any, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [tokens, num_experts], weights and expert indices [tokens, top_k] of a router.

    Raises:
        InputError: it answers something else.
    """
    if not isinstance(output, tuple) or len(output) != 3 or output[2].shape[-1] != top_k:
        raise InputError(
            f"the router of MoE block {layer} does not answer (logits, weights, indices) of {top_k} experts; "
            f"{SUPPORTED}"
        )
    return output


def faults(logits: Tensor, weights: Tensor, experts: Tensor, *, normalise: bool) -> Tensor:
    """Which of `FAULTS` a router's answer has: bool [2], on its device, so that nobody waits for it.

    Tied probabilities may be chosen either way, weights agree to a few roundings of their dtype, and rows of NaN are
    left out.

    Args:
        normalise: whether the weights of a token are made to sum to 1.
    """
    import torch

    probabilities = logits.float().softmax(dim=-1)
    chosen = probabilities.gather(-1, experts)
    rest = probabilities.scatter(-1, experts, 0.0)
    rounding = 8 * torch.finfo(torch.float32).eps
    other_experts = rest.amax(dim=-1) > chosen.amin(dim=-1) * (1 + rounding)
    expected = chosen / chosen.sum(dim=-1, keepdim=True) if normalise else chosen
    rounding = 8 * max(torch.finfo(kind).eps for kind in (weights.dtype, logits.dtype))
    other_weights = (weights.float() - expected).abs() > rounding * expected + torch.finfo(weights.dtype).tiny
    return torch.stack([other_experts.any(), other_weights.any()])


def refuse(layer: int, found: Tensor, kind: str) -> None:
    """Raise `InputError` for the first of the faults [2] that a model of type `kind` has."""
    for fault, has_it in zip(FAULTS, found.tolist(), strict=True):
        if has_it:
            raise InputError(
                f"model of type {kind!r}: the router of MoE block {layer} {fault}, "
                f"so that a routing rule would run another model; {SUPPORTED}"
            )


def check_fields(fields: Mapping[str, Any]) -> None:
    """`check_family` for the fields of a config.json, or for a `model_type` alone with the defaults of its class."""
    from transformers import AutoConfig

    kind = fields.get("model_type")
    try:
        config = AutoConfig.for_model(**fields)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"model of type {kind!r} is unknown to the installed transformers; {SUPPORTED}"
        ) from error
    check_family(config)


def check_family(config: PreTrainedConfig) -> dict[str, Any]:
    """The structure of a model, after trying its class without weights: its layers, and each router on random numbers.

    Weights, biases and buffers of the routers are random and not zero, so that a correction bias shows.

    Raises:
        InputError: the layers with experts are others than the config says, or a router is not softmax, then top-k.
    """
    import torch
    from transformers import AutoModelForCausalLM

    structure = describe(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    blocks = find_moe_blocks(model)
    check_layers(blocks, structure)
    generator = torch.Generator().manual_seed(0)
    for block in blocks:
        gate = _randomised(block.gate, generator)
        hidden = torch.randn(_TOKENS, block.hidden_size, generator=generator)
        answer = router_answer(block.layer, _answer(block.layer, gate, hidden), structure["top_k"])
        refuse(block.layer, faults(*answer, normalise=structure["normalise"]), structure["model_type"])
    return structure


def _randomised(gate: nn.Module, generator: Any) -> nn.Module:
    """The router on the CPU in float32, with random numbers in it; logits have a standard deviation of about 2."""
    import torch

    gate = gate.to_empty(device="cpu").float().eval()
    for tensor in [*gate.parameters(), *gate.buffers()]:
        if tensor.is_floating_point():
            scale = 2 / tensor.shape[-1] ** 0.5 if tensor.ndim > 1 else 0.5
            tensor.data = torch.randn(tensor.shape, generator=generator) * scale
        else:
            tensor.data.zero_()
    return gate


def _answer(layer: int, gate: nn.Module, hidden: Tensor) -> Any:
    import torch

    try:
        with torch.no_grad():
            return gate(hidden)
    except (TypeError, RuntimeError, ValueError, IndexError) as error:
        line = " ".join(str(error).split())[:120]
        raise InputError(
            f"the router of MoE block {layer} cannot be asked for hidden states alone ({line}); {SUPPORTED}"
        ) from error
