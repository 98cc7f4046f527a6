"""Put a routing rule into every MoE block of a Hugging Face model, and take it out again bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch

from switchyard.errors import InputError
from switchyard.models.blocks import MoEBlock, describe, find_moe_blocks
from switchyard.models.families import Router
from switchyard.models.routers import faults, refuse, router_answer
from switchyard.routing.experts import RAGGED, forget, own_implementation, remember
from switchyard.routing.rows import Rows
from switchyard.routing.selection import Selection

if TYPE_CHECKING:
    from torch import Tensor, nn

    from switchyard.routing.selection import RoutingRule, TokenContext

    Observer = Callable[[int, Tensor, Selection, TokenContext], None]

_attached: WeakSet[nn.Module] = WeakSet()
_checked: WeakSet[nn.Module] = WeakSet()
"""Routers whose first answer was that of their family."""


class Attachment:
    """A rule inside a model: what `attach` gives."""

    def __init__(
        self,
        blocks: Sequence[MoEBlock],
        structure: Mapping[str, Any],
        rule: RoutingRule | None,
        observer: Observer | None,
    ) -> None:
        self.blocks = list(blocks)
        """The model's MoE blocks, in the order of the layers."""
        self.structure = structure
        self.routers = [Router(block, structure) for block in self.blocks]
        self.rule = rule
        """The rule with `trained_top_k` and `normalise` filled in; None when only observing."""
        self.observer = observer
        self._rows = Rows(getattr(rule, "context_window", 0))
        self._logits: dict[int, Tensor] = {}
        self._faults: dict[int, Tensor] = {}
        self._wants_context = observer is not None or getattr(rule, "needs_context", rule is not None)

    def label(self, *, sample: Sequence[int], sequence: Sequence[int]) -> None:
        """Name the rows of the next forward, one number per row; unlabelled rows are sample 0, 1, ..., sequence 0."""
        self._rows.label(sample=sample, sequence=sequence)

    def _before_forward(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._rows.take(args, kwargs)
        self._logits.clear()
        self._faults.clear()

    def _after_forward(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Refuse what is wrong in any layer, all layers at once: every look at a value makes a GPU wait."""
        if len(self._logits) < len(self.blocks):
            silent = next(block for block in self.blocks if block.layer not in self._logits)
            raise InputError(
                f"attach: the router of {silent.name} did not answer in this forward, so that its experts were not "
                "routed by the rule; attach before the model is compiled, and leave its MoE blocks as they are"
            )
        first = self._logits[0].device
        sums = [logits.sum().to(first) for logits in self._logits.values()]
        if torch.stack(sums).isnan().any():
            for layer, logits in self._logits.items():
                self._refuse_nan(layer, logits)
        for layer, found in self._faults.items():
            refuse(layer, found, self.structure["model_type"])
            _checked.add(self.blocks[layer].router)
        if hasattr(self.rule, "after_forward"):
            self.rule.after_forward()
        self._logits.clear()
        self._faults.clear()

    def _after_gate(self, layer: int, output: Any) -> Any:
        """Replace the weights [tokens, slots] and indices [tokens, slots] that a router answers with."""
        logits, own_weights, own_experts = router_answer(layer, output, self.structure["top_k"])
        router = self.routers[layer]
        self._logits[layer] = logits
        if router.block.router not in _checked:
            self._faults[layer] = faults(router, logits, own_weights, own_experts)
        scores = router.scores(logits)
        context = self._rows.context(logits.device) if self._wants_context else None
        if self.rule is None:
            count = torch.full_like(own_experts[:, 0], own_experts.shape[-1])
            selection = Selection(own_experts, own_weights, count)
        else:
            selection = self.rule.select(router.eligible(scores), layer, context)
            weights = selection.weights
            if not router.is_plain:
                weights = router.weights(logits, selection.experts, getattr(self.rule, "weighting", "model"))
            selection = selection._replace(weights=weights.to(own_weights.dtype))
        if self.observer is not None:
            self.observer(layer, scores, selection, context)
        return logits, selection.weights, selection.experts

    def _refuse_nan(self, layer: int, logits: Tensor) -> None:
        if (logits.isnan().any(dim=-1) & self._rows.context(logits.device).is_token).any():
            raise InputError(
                f"router logits of layer {layer} are NaN: check the model's weights and its dtype"
            )


@contextmanager
def attach(
    model: nn.Module,
    rule: RoutingRule | None,
    *,
    observer: Observer | None = None,
    own_when_full: bool = True,
) -> Iterator[Attachment]:
    """Route every MoE block of `model` by `rule` inside the `with` block.

    `rule=None` leaves the routing alone and only observes it. `observer(layer, logits, selection, context)` is
    called in every MoE block with logits [tokens, num_experts], padding rows included (`context.is_token`). Where a
    family chooses experts by other scores than its logits, rules and observers see those scores
    (`switchyard.models.families`), and weights follow the family's convention.
    Fields `trained_top_k` and `normalise` of the rule that are None are filled in from the model's config.
    Where no slot is empty the model's own experts implementation runs, so that its own top-k stays its own bit for
    bit; `own_when_full=False` takes the ragged one there too, without a rule as well, so that rules differ in experts
    alone.

    The first answer of every router is compared with what its family computes (`switchyard.models.routers`).

    Raises InputError for a model without MoE blocks, one that has a rule already, one whose routers compute something
    else or do not answer, or NaN logits.
    """
    core = getattr(model, "base_model", model)
    if core in _attached:
        raise InputError("attach: the model has a rule already, leave its `with` block first")
    structure = describe(model.config)
    attachment = Attachment(find_moe_blocks(model), structure, _fill_in(rule, structure), observer)
    with ExitStack() as undo:
        _attached.add(core)
        undo.callback(_attached.discard, core)
        if rule is not None or not own_when_full:
            _switch_experts(model, attachment.blocks, own_when_full, undo)
        _install_hooks(core, attachment, undo)
        if hasattr(rule, "start"):
            attachment.rule.start()
        yield attachment


def _install_hooks(core: nn.Module, attachment: Attachment, undo: ExitStack) -> None:
    before = core.register_forward_pre_hook(attachment._before_forward, with_kwargs=True)
    undo.callback(before.remove)
    undo.callback(core.register_forward_hook(attachment._after_forward).remove)
    for block in attachment.blocks:
        after = block.router.register_forward_hook(
            lambda gate, args, output, layer=block.layer: attachment._after_gate(layer, output)
        )
        undo.callback(after.remove)


def _switch_experts(
    model: nn.Module, blocks: Sequence[MoEBlock], own_when_full: bool, undo: ExitStack
) -> None:
    """Select the ragged experts; with `own_when_full` they leave full selections to each block's own."""
    configs = [getattr(block.experts, "config", None) for block in blocks]
    names = [getattr(config, "_experts_implementation", None) for config in configs]
    for block in blocks:
        if any(parameter.element_size() == 1 for parameter in block.experts.parameters()):
            raise InputError(
                f"{block.name}: its experts are quantised to 8 bits or less, which run by another implementation than "
                "transformers' ExpertsInterface; load the model in bfloat16"
            )
    for block, config, name in zip(blocks, configs, names, strict=True):
        if config is not None:
            undo.callback(setattr, config, "_experts_implementation_internal", name)
        if own_when_full:
            remember(block.experts, own_implementation(block.experts, name))
            undo.callback(forget, block.experts)
    model.set_experts_implementation(RAGGED)
    for block, config in zip(blocks, configs, strict=True):
        if getattr(config, "_experts_implementation", None) != RAGGED:
            raise InputError(
                f"{block.name}: its experts bypass transformers' ExpertsInterface, so that unused slots cannot be "
                "dropped; choose a model of a family that docs/families.md calls exact"
            )


def _fill_in(rule: RoutingRule | None, structure: Mapping[str, Any]) -> RoutingRule | None:
    """The rule with what only the model knows, where the rule has such fields and they are None."""
    if not dataclasses.is_dataclass(rule):
        return rule
    homes = {"trained_top_k": "top_k", "normalise": "normalise"}
    blank = {name: home for name, home in homes.items() if getattr(rule, name, home) is None}
    if not blank:
        return rule
    known = {name: structure[home] for name, home in blank.items()}
    return rule.filled_in(**known) if hasattr(rule, "filled_in") else dataclasses.replace(rule, **known)
