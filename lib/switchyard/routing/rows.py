"""Which token each row of a forward is: token id, sample, sequence, position, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from switchyard.errors import InputError
from switchyard.routing.selection import TokenContext

if TYPE_CHECKING:
    from torch import Tensor


class Rows:
    """Remembers the inputs of the current forward and makes a `TokenContext` of them when first asked."""

    def __init__(self, window: int = 0) -> None:
        self._window = window
        self._histories: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()
        """Of each key-value cache the last ids of its rows, int64 [batch, window]."""
        self._latest: Tensor | None = None  # of the current forward
        self._cache: Any = None
        self._labels: tuple[Sequence[int], Sequence[int]] | None = None
        self._inputs: dict[str, Any] = {}
        self._contexts: dict[torch.device, TokenContext] = {}

    def label(self, *, sample: Sequence[int], sequence: Sequence[int]) -> None:
        """Name the rows of the next forward.

        Raises:
            InputError: `sample` and `sequence` differ in length.
        """
        if len(sample) != len(sequence):
            raise InputError(
                f"label: {len(sample)} samples but {len(sequence)} sequences, give one of each per row"
            )
        self._labels = (sample, sequence)

    def take(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Take note of the arguments of a forward: `input_ids, attention_mask, ...` by position or by name."""
        given = {**dict(zip(("input_ids", "attention_mask"), args, strict=False)), **kwargs}
        names = ("input_ids", "attention_mask", "inputs_embeds", "position_ids")
        self._inputs = {name: given.get(name) for name in names}
        self._cache = given.get("past_key_values")
        self._inputs["past"] = _past_length(self._cache)
        self._inputs["labels"], self._labels = self._labels, None
        self._contexts = {}

    @property
    def has_mask(self) -> bool:
        """Whether the current forward may hold padding."""
        return self._inputs["attention_mask"] is not None

    def context(self, device: torch.device) -> TokenContext:
        """The context of the current forward on a layer's device, rows as the router sees them: batch, then time."""
        if device not in self._contexts:
            whole = next(iter(self._contexts.values()), None) or self._made()
            self._contexts[device] = TokenContext(*(one if one is None else one.to(device) for one in whole))
        return self._contexts[device]

    def finish(self, output: Any) -> None:
        """Take note of a forward's answer: its key-value cache goes on after these ids."""
        cache = getattr(output, "past_key_values", None)
        if self._latest is not None and cache is not None:
            self._histories[cache] = self._latest
        self._latest = self._cache = None

    def select(self, cache: Any, rows: Sequence[int]) -> None:
        """Go on with some rows of a batch, as its key-value cache does (`batch_select_indices`)."""
        if cache in self._histories:
            history = self._histories[cache]
            self._histories[cache] = history[torch.tensor(list(rows), device=history.device)]

    def _made(self) -> TokenContext:
        ids = _token_ids(self._inputs)
        context = _token_context(ids, self._inputs)
        if not self._window:
            return context
        real = context.is_token.view_as(ids)
        history = self._histories.get(self._cache) if self._inputs["past"] else None
        if history is None or len(history) != len(ids):
            history = torch.full((len(ids), self._window), -1, device=ids.device)
        previous, self._latest = _previous(ids, real, history)
        return context._replace(previous=previous)


def _past_length(cache: Any) -> int:
    """Tokens in the cache, asked before the forward adds its own."""
    return 0 if cache is None else int(cache.get_seq_length())


def _token_ids(inputs: dict[str, Any]) -> Tensor:
    """int64 [batch, time]."""
    if (ids := inputs.get("input_ids")) is not None:
        return ids
    embeds = inputs["inputs_embeds"]
    return torch.full(embeds.shape[:2], -1, device=embeds.device)


def _previous(ids: Tensor, real: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
    """The real ids before each token, [batch x time, window], and the last ones of all, [batch, window]."""
    window = history.shape[1]
    whole = torch.cat([history.to(ids.device), ids], dim=1)
    kept = torch.cat([torch.ones_like(history, dtype=torch.bool), real], dim=1)
    order = kept.long().argsort(dim=1, stable=True)  # padding first, the others in their order
    packed = whole.gather(1, order)
    before = kept.long().cumsum(dim=1)[:, window:] - real.long()  # ids kept before each token
    first = (~kept).long().sum(dim=1, keepdim=True)  # where they begin in a row of `packed`
    places = (first + before - window).unsqueeze(-1) + torch.arange(window, device=ids.device)
    previous = packed.unsqueeze(1).expand(-1, ids.shape[1], -1).gather(2, places)
    return previous.flatten(0, 1), packed[:, -window:]


def _token_context(ids: Tensor, inputs: dict[str, Any]) -> TokenContext:
    mask, past = inputs.get("attention_mask"), inputs["past"]
    if isinstance(mask, dict) or (mask is not None and mask.ndim == 4):
        real, position = _from_prepared(ids, mask, past, inputs.get("position_ids"))
    else:
        real, position = _padding_and_position(ids, mask, past)
    sample, sequence = (_spread(values, ids) for values in _labels(inputs["labels"], len(ids)))
    columns = (ids, sample, sequence, position.masked_fill(~real, -1), real)
    return TokenContext(*(column.flatten() for column in columns))


def _padding_and_position(ids: Tensor, mask: Tensor | None, past: int) -> tuple[Tensor, Tensor]:
    """Whether each of the tokens [batch, time] is real, and the number of real tokens before it."""
    batch, time = ids.shape
    if mask is None:
        position = torch.arange(past, past + time, device=ids.device).expand(batch, time)
        return torch.ones_like(ids, dtype=torch.bool), position
    if mask.ndim != 2:
        raise InputError(f"attach: attention_mask has {mask.ndim} dimensions, give it as [batch, time]")
    seen = mask.to(ids.device).bool()[:, : past + time]
    return seen[:, -time:], seen.long().cumsum(dim=-1)[:, -time:] - 1


def _from_prepared(
    ids: Tensor, mask: Tensor | dict[str, Tensor], past: int, position: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`_padding_and_position` from masks [batch, 1, time, keys] that `generate` makes for a static cache.

    A token is real if a token of this forward attends to it: itself, if no other. The keys of this forward's tokens
    follow those of the `past` ones, and come last where a sliding window has dropped some of these.
    """
    mask = mask.get("full_attention") if isinstance(mask, dict) else mask
    if mask is None or position is None:
        raise InputError(
            "attach: the masks of this forward do not say which tokens are padding; generate with the default cache "
            "instead of a static one"
        )
    time = ids.shape[1]
    attends = mask if mask.dtype == torch.bool else mask == 0
    start = min(past, attends.shape[-1] - time)
    real = attends[:, 0, :, start : start + time].any(dim=1).to(ids.device)
    return real.expand_as(ids), position.to(ids.device).expand_as(ids)


def _labels(
    labels: tuple[Sequence[int], Sequence[int]] | None, batch: int
) -> tuple[Sequence[int], Sequence[int]]:
    if labels is None:
        return range(batch), [0] * batch
    if len(labels[0]) != batch:
        raise InputError(f"label: {len(labels[0])} rows were named but the batch has {batch}, name every row")
    return labels


def _spread(values: Sequence[int], ids: Tensor) -> Tensor:
    """One value per row of the batch, repeated over its tokens."""
    return torch.tensor(list(values), device=ids.device)[:, None].expand_as(ids)
