"""Put a routing rule into every MoE block of a Hugging Face model, and take it out again bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch

from switchyard.errors import InputError, NotANumber
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
        self._wants_context = observer is not None or getattr(rule, "needs_context", rule is not None)
        self._wants_rows = observer is None and hasattr(rule, "rows_needed")
        self._unchecked = {block.layer for block in self.blocks if block.router not in _checked}
        self._sums: dict[
            int, Tensor
        ] = {}  # layer -> sum of each row's logits [tokens], of the current forward
        self._faults: dict[int, Tensor] = {}  # layer -> bool [2], see `faults`
        self._nan: Tensor | None = None  # bool [layers], of all forwards since the last look
        self._looked = False

    def label(self, *, sample: Sequence[int], sequence: Sequence[int]) -> None:
        """Name the rows of the next forward, one number per row; unlabelled rows are sample 0, 1, ..., sequence 0."""
        self._rows.label(sample=sample, sequence=sequence)

    def select(self, cache: Any, rows: Sequence[int]) -> None:
        """Say that a key-value cache goes on with these rows of its batch only."""
        self._rows.select(cache, rows)

    def check(self) -> None:
        """Refuse NaN logits and routers that are not what their family is, in any forward so far.

        What is wrong is noted on the device, and a look at it makes a GPU wait. `attach` looks after the first forward
        and at the end; on a CPU, where it costs nothing, after every one.

        Raises:
            NotANumber: logits are NaN, naming the layer.
            InputError: a router is not what its family is, naming the layer.
        """
        self._looked = True
        found, nan = self._faults, self._nan
        self._faults, self._nan = {}, None
        if nan is not None and nan.any():
            raise NotANumber(
                f"router logits of layer {nan.tolist().index(True)} are NaN: check the model's weights and its dtype"
            )
        for layer, of_layer in found.items():
            refuse(layer, of_layer, self.structure["model_type"])
            _checked.add(self.blocks[layer].router)
        self._unchecked -= found.keys()

    def _before_forward(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._rows.take(args, kwargs)
        self._sums.clear()

    def _after_forward(self, module: nn.Module, args: tuple, output: Any) -> None:
        if len(self._sums) < len(self.blocks):
            silent = next(block for block in self.blocks if block.layer not in self._sums)
            raise InputError(
                f"attach: the router of {silent.name} did not run in this forward, so its experts were not "
                "routed by the rule; attach before the model is compiled, and leave its MoE blocks as they are"
            )
        device = self._sums[0].device
        nan = torch.stack([self._sums[block.layer].to(device) for block in self.blocks]).isnan()
        if self._rows.has_mask:
            nan = nan & self._rows.context(device).is_token
        nan = nan.any(dim=-1)
        self._nan = nan if self._nan is None else self._nan | nan
        self._sums.clear()
        self._rows.finish(output)
        if hasattr(self.rule, "after_forward"):
            self.rule.after_forward()
        if not torch.compiler.is_compiling() and not (self._looked and _waits(device)):
            self.check()

    def _route(self, layer: int, gate: Callable[..., Any], hidden: Tensor, *others: Tensor) -> Any:
        """What takes the place of a router's `forward`: logits, weights [tokens, slots], indices [tokens, slots]."""
        router, rule = self.routers[layer], self.rule
        context = self._rows.context(hidden.device) if self._wants_context else None
        needed = None
        if self._wants_rows and router.is_plain and layer not in self._unchecked:
            needed = rule.rows_needed(layer, context)
        given = hidden if needed is None else hidden.flatten(0, -2)[needed]
        logits, weights, experts = router_answer(layer, gate(given, *others), self.structure["top_k"])
        if layer in self._unchecked:
            found = faults(router, logits, weights, experts)
            self._faults[layer] = self._faults.get(layer, found) | found
        if needed is not None:
            logits = logits.new_zeros(len(needed), logits.shape[-1]).masked_scatter(
                needed.unsqueeze(-1), logits
            )
        self._sums[layer] = logits.sum(dim=-1)
        scores = router.scores(logits)
        if rule is None:
            selection = Selection(experts, weights, torch.full_like(experts[:, 0], experts.shape[-1]))
        else:
            selection = rule.select(router.eligible(scores), layer, context)
            own = selection.weights
            if not router.is_plain:
                own = router.weights(logits, selection.experts, getattr(rule, "weighting", "model"))
            selection = selection._replace(weights=own.to(weights.dtype))
        if self.observer is not None:
            self.observer(layer, scores, selection, context)
        return logits, selection.weights, selection.experts


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
    alone. (On a GPU `generate` decodes by another implementation, `batched_mm`, where the model's own experts are
    attached untouched; a rule that may leave a slot empty decodes by grouped products throughout.)
    `torch.compile` captures an attached model whole, after one forward; it takes memory for empty slots.

    The first answer of every router is compared with what its family computes (`switchyard.models.routers`).

    Raises InputError for a model without MoE blocks, one that has a rule already, one whose routers compute something
    else or do not answer, a rule that cannot route its family (`needs_logits`, `sets_weights`), or NaN logits
    (`Attachment.check`).
    """
    core = getattr(model, "base_model", model)
    if core in _attached:
        raise InputError(
            "attach: the model has a rule already; leave its `with` block first, or disable_var or unpatch"
        )
    structure = describe(model.config)
    attachment = Attachment(find_moe_blocks(model), structure, _fill_in(rule, structure), observer)
    _check_rule(rule, attachment)
    with ExitStack() as undo:
        if rule is not None or not own_when_full:
            _check_experts(attachment.blocks)
        _attached.add(core)
        undo.callback(_attached.discard, core)
        if not (own_when_full and _fills_all_slots(attachment.rule)):
            _switch_experts(model, attachment.blocks, own_when_full, undo)
        _install(core, attachment, undo)
        if hasattr(rule, "start"):
            attachment.rule.start()
        yield attachment
        attachment.check()


def _check_rule(rule: RoutingRule | None, attachment: Attachment) -> None:
    """Refuse a rule that reads or sets what the model's family has in another form."""
    reason = None
    if getattr(rule, "needs_logits", False) and not all(one.rules_see_logits for one in attachment.routers):
        reason = "takes the softmax of what it sees, which is no probability"
    elif getattr(rule, "sets_weights", False) and not all(one.is_plain for one in attachment.routers):
        reason = "sets weights as softmax, then top-k does, which is not done"
    if reason:
        kind = attachment.structure["model_type"]
        raise InputError(f"{rule.name}: {reason} in a model of type {kind!r}; choose another rule for it")


def _install(core: nn.Module, attachment: Attachment, undo: ExitStack) -> None:
    before = core.register_forward_pre_hook(attachment._before_forward, with_kwargs=True)
    undo.callback(before.remove)
    undo.callback(core.register_forward_hook(attachment._after_forward).remove)
    for block in attachment.blocks:
        own = vars(block.router).get("forward")  # some loaders set one on the module
        undo.callback(_put_back, block.router, own)
        block.router.forward = partial(attachment._route, block.layer, block.router.forward)


def _waits(device: torch.device) -> bool:
    """Whether a look at a value makes the host wait for the device."""
    return device.type != "cpu"


def _put_back(router: nn.Module, own: Callable[..., Any] | None) -> None:
    if own is None:
        del router.forward
    else:
        router.forward = own


def _fills_all_slots(rule: RoutingRule | None) -> bool:
    """Whether no selection has an empty slot, so that the model's own experts can run."""
    fewest, most = getattr(rule, "limits", (0, 1)) if rule is not None else (1, 1)
    return fewest == most > 0


def _check_experts(blocks: Sequence[MoEBlock]) -> None:
    for block in blocks:
        if any(parameter.element_size() == 1 for parameter in block.experts.parameters()):
            raise InputError(
                f"{block.name}: its experts are quantised to 8 bits or less, which run by another implementation than "
                "transformers' ExpertsInterface; load the model in bfloat16"
            )


def _switch_experts(
    model: nn.Module, blocks: Sequence[MoEBlock], own_when_full: bool, undo: ExitStack
) -> None:
    """Select the ragged experts; with `own_when_full` they leave full selections to each block's own."""
    configs = [getattr(block.experts, "config", None) for block in blocks]
    names = [getattr(config, "_experts_implementation", None) for config in configs]
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
