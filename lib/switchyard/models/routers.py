"""Whether a router computes what its family's description says (`switchyard.models.families`).

A block is found by its shape, which says nothing about its arithmetic. A rule that took the place of a router with
other arithmetic would run another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from switchyard.errors import InputError
from switchyard.models.blocks import check_layers, describe, find_moe_blocks
from switchyard.models.families import FAMILIES, Router, scores_of

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

    from switchyard.models.blocks import MoEBlock
    from switchyard.models.scores import Scores

FAULTS = ("chooses other experts than", "weighs its experts otherwise than")
"""What `faults` finds, in its order."""

SUPPORTED = "choose a model of a family that docs/families.md calls exact"

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


def routers_of(model: nn.Module) -> list[Router]:
    """The family's arithmetic of every MoE block of a model, in the order of the layers."""
    structure = describe(model.config)
    return [Router(block, structure) for block in find_moe_blocks(model)]


def selection_scores(model: nn.Module) -> Scores:
    """What the selection scores in a model's files are."""
    return scores_of(routers_of(model))


def faults(router: Router, logits: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
    """Which of `FAULTS` a router's own answer has: bool [2], on its device, so that nobody waits for it.

    Tied experts may be chosen either way, weights agree to a few roundings of their dtype, rows of NaN are left out.
    """
    import torch

    scores = (
        router.probabilities(logits) if router.is_plain else router.eligible(router.scores(logits).float())
    )
    least, most_left = (
        scores.gather(-1, experts).amin(-1),
        scores.scatter(-1, experts, float("-inf")).amax(-1),
    )
    rounding = 8 * torch.finfo(torch.float32).eps
    slack = rounding * (least.abs() if router.is_plain else 1 + least.abs())
    other_experts = most_left > least + slack
    expected = router.weights(logits, experts)
    rounding = 8 * max(torch.finfo(kind).eps for kind in (weights.dtype, logits.dtype))
    other_weights = (weights.float() - expected).abs() > rounding * expected + torch.finfo(weights.dtype).tiny
    return torch.stack([other_experts.any(), other_weights.any()])


def refuse(layer: int, found: Tensor, kind: str) -> None:
    """Raise `InputError` for the first of the faults [2] that a model of type `kind` has."""
    described = "switchyard.models.families says of its type" if kind in FAMILIES else "softmax, then top-k"
    for fault, has_it in zip(FAULTS, found.tolist(), strict=True):
        if has_it:
            raise InputError(
                f"model of type {kind!r}: the router of MoE block {layer} {fault} {described}, "
                f"so that a routing rule would run another model; {SUPPORTED}"
            )


def check_fields(fields: Mapping[str, Any]) -> None:
    """`check_family` for the fields of a config.json, or for a `model_type` alone with the defaults of its class.

    Raises:
        InputError: transformers does not know the type, or what `check_family` refuses.
    """
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
        InputError: the layers with experts are others than the config says, or a router is not what its family is.
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
        _randomise(block, generator)
        router = Router(block, structure)
        hidden = torch.randn(_TOKENS, block.hidden_size, generator=generator)
        answer = router_answer(block.layer, _answer(router, hidden), structure["top_k"])
        refuse(block.layer, faults(router, *answer), structure["model_type"])
    return structure


def _randomise(block: MoEBlock, generator: Any) -> None:
    """Put random numbers on the CPU in the router and beside it; logits have a standard deviation of about 2."""
    import torch

    def drawn(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return torch.zeros(tensor.shape, dtype=tensor.dtype)
        scale = 2 / tensor.shape[-1] ** 0.5 if tensor.ndim > 1 else 0.5
        return torch.randn(tensor.shape, generator=generator) * scale

    block.router.to_empty(device="cpu").float().eval()
    for tensor in [*block.router.parameters(), *block.router.buffers()]:
        tensor.data = drawn(tensor)
    for name, tensor in list(block.module.named_buffers(recurse=False)):
        block.module._buffers[name] = drawn(tensor)


def _answer(router: Router, hidden: Tensor) -> Any:
    import torch

    try:
        with torch.no_grad():
            return router.block.router(hidden, *router.inputs_beside_hidden())
    except (TypeError, RuntimeError, ValueError, IndexError) as error:
        line = " ".join(str(error).split())[:120]
        raise InputError(
            f"the router of MoE block {router.block.layer} wants more than hidden states ({line}); {SUPPORTED}"
        ) from error
