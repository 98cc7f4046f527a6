"""Where the parts of a forward begin and end: forward hooks on modules, and a rule around a rule. Nothing is patched.

| part | what is in it |
|---|---|
| embedding, norms, rotary, attention, head, dense | the modules of that kind, without others inside them |
| mask | from the embedding to the rotary angles: positions and the causal mask |
| router | the product, softmax and top-k of the model's own router, and what `attach` does around it |
| rule, look-up, after forward | `select`, `rows_needed` and `after_forward` of the attached rule |
| experts | the module of the experts: gather, products, combine (`switchyard.profiling.splits` divides it) |
| residual | the rest of a layer: sums, views |
| attach | what `attach` does before and after a forward; 'other' without it |
| other | all that has no name |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

from switchyard.models.blocks import find_moe_blocks
from switchyard.profiling.clock import Sink
from switchyard.profiling.names import AFTER, ATTACH, EXPERTS, LOOK_UP, MASK, OTHER, ROUTER, RULE

_KINDS = {"Norm": "norms", "RotaryEmbedding": "rotary", "Attention": "attention", "DecoderLayer": "residual"}
"""Ends of class names, and what modules of the kind are called."""
_CALLS = {"rows_needed": LOOK_UP, "after_forward": AFTER}
"""Methods of a rule beside `select`, and what their time is called."""


@dataclasses.dataclass(frozen=True, eq=False)
class Observed:
    """A rule whose calls are reported to a sink; it chooses as the rule itself does."""

    rule: Any
    sink: Sink

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.rule, name)
        return partial(self._called, _CALLS[name], found) if name in _CALLS else found

    def select(self, *args: Any, **kwargs: Any) -> Any:
        """The rule's own choice."""
        return self._called(RULE, self.rule.select, *args, **kwargs)

    def filled_in(self, **fields: Any) -> Observed:
        """The rule with what only the model knows."""
        fill = getattr(self.rule, "filled_in", partial(dataclasses.replace, self.rule))
        return dataclasses.replace(self, rule=fill(**fields))

    def _called(self, part: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.sink.enter(part)
        try:
            return call(*args, **kwargs)
        finally:
            self.sink.leave()


@contextmanager
def instrument(model: nn.Module, sink: Sink) -> Iterator[None]:
    """Report the parts of each forward of `model` to `sink` inside the `with` block; enter it after `attach`."""
    named = _names(model)
    core, layers = model.base_model, [one for one, name in named.items() if name == "residual"]
    rest = ATTACH if core._forward_pre_hooks else OTHER
    following = {model.get_input_embeddings(): MASK, layers[-1]: rest}
    following |= {module: OTHER for module, name in named.items() if name == "rotary"}

    def before(name: str, module: nn.Module, args: tuple) -> None:
        sink.enter(name)

    def after(module: nn.Module, args: tuple, output: Any) -> None:
        sink.leave()
        if sink.depth == 2 and module in following:  # inside the core and nothing else
            sink.rename(following[module])

    with ExitStack() as undo:
        for module, name in {model: OTHER, core: rest, **named}.items():
            before_it = module.register_forward_pre_hook(partial(before, name), prepend=True)
            undo.callback(before_it.remove)
            undo.callback(module.register_forward_hook(after).remove)
        yield


def _names(model: nn.Module) -> dict[nn.Module, str]:
    """What the modules are called, each once, outer ones first."""
    blocks = find_moe_blocks(model)
    own = {block.router: ROUTER for block in blocks} | {block.experts: EXPERTS for block in blocks}
    own |= {model.get_input_embeddings(): "embedding", model.get_output_embeddings(): "head"}
    found = {}
    for module in model.modules():
        kind = type(module).__name__
        name = own.get(module) or next((name for end, name in _KINDS.items() if kind.endswith(end)), None)
        if name is None and kind.endswith("MLP"):
            name = "dense"
        if name is not None:
            found[module] = name
    return found
