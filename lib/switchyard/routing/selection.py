"""What a routing rule answers, what it may ask, and how it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Selection(NamedTuple):
    """The experts chosen for each token."""

    experts: Tensor
    """int64 [tokens, slots], most probable first; a slot past `count` holds num_experts."""
    weights: Tensor
    """float [tokens, slots], 0 in unused slots."""
    count: Tensor
    """int64 [tokens], slots in use."""
    rejections: Tensor | None = None
    """int64 [tokens], for rules that test: hypotheses rejected before clamping."""


class TokenContext(NamedTuple):
    """Where each row of logits comes from; all tensors are [tokens] on the model's device."""

    token_id: Tensor
    """int64; -1 where the model was given embeddings."""
    sample: Tensor
    """int64."""
    sequence: Tensor
    """int64, the sequence within the sample (one per option of a choice)."""
    position: Tensor
    """int64, counted in real tokens from 0; -1 for padding."""
    is_token: Tensor
    """bool, False for padding."""


class RoutingRule(Protocol):
    """A frozen dataclass, pure, on any device, without a loop over tokens or slots.

    A rule that never looks at `context` says so with the class attribute `needs_context = False`, which spares
    building it. Fields `trained_top_k` and `normalise` that are None are filled in by `attach`.
    """

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        """Choose experts from `logits` [tokens, num_experts] of MoE block `layer`."""
        ...
