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
    path: Tensor | None = None
    """int8 [tokens], for rules with several paths: 0 learned, 1 fast, 2 cached."""


class TokenContext(NamedTuple):
    """Where each row of logits comes from; all tensors are [tokens] on the layer's device."""

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
    previous: Tensor | None = None
    """int64 [tokens, window], the ids of the real tokens before each row, the nearest last; -1 where there is none."""


class RoutingRule(Protocol):
    """A frozen dataclass, pure, on any device, without a loop over tokens or slots.

    Only `select` is required. A rule may also offer:

    - `needs_context`: False, as a class attribute, for a rule that never looks at `context`, which spares building it;
    - `context_window`: how many previous token ids it wants in `context.previous`, kept over decode steps with a cache;
    - `needs_logits` and `sets_weights`: True, as class attributes, for a rule that takes the softmax of what it sees,
      or whose weights are its own: it is refused for a family where that would be wrong;
    - `has_paths`: True, as a class attribute, for a rule whose selections say a path, which a trace then holds;
    - `rows_needed(layer, context)`: bool [tokens], the rows whose logits `select` will look at, or None for all. Where
      nobody observes, the gate runs for these only and the logits of the others are 0;
    - `start()`, called by `attach` when its `with` block begins, and `after_forward()`, called after every forward: for
      rules with a state, which `select` itself never changes;
    - `limits`, a property: the fewest and the most experts that a token may get, as (int, int). The pipeline asks
      for it;
    - `p_values(logits, layer)`: float64 [tokens, num_experts] p-values of NumPy logits of that shape, for the logs of
      rules that have them. Other rules lack the method;
    - `from_study(settings, files)`, a class method: the rule of a configuration, from the settings that the user
      wrote and the study's files by name: `nulls`, `logits` (router logits of the calibration text), `budgets`,
      and `matched`, the traces of the configuration that it is matched to (a list). A rule without it is made by
      `cls(**settings)`;
    - the fields `weighting`, `trained_top_k` and `normalise` of `switchyard.routing.weighting.weigh`. The last two are
      filled in by `attach` where they are None.
    """

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        """Choose experts from `logits` [tokens, num_experts] of MoE block `layer`."""
        ...
