"""VAR as a routing rule: a token is routed by the table, by the cache, or by the model's own router, in this order.

- **Fast**: the token id's row of the table has a frequency of at least `frequency_threshold` and a mean entropy below
  `entropy_threshold`.
- **Cached**: the layer's cache holds the id with its `context_window_size` predecessors. An entry goes when it is older
  than `cache_ttl_seconds` or, beyond `cache_size` entries, the least recently hit or written one. A learned route whose
  confidence, the largest router probability, is at least `confidence_threshold` is written.
- **Learned**: exactly the trained top-k. Padding is learned and counted nowhere.

A cache is read as it stood before a forward and written after it, so that one forward is one vectorised step for all
layers of a device. Time is the number of real tokens seen, over `tokens_per_second`: before a forward when an entry's
age is asked, after it when one is written.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from switchyard.errors import InputError
from switchyard.routing.selection import Selection
from switchyard.routing.weighting import check_weighting, router_probabilities, weigh
from switchyard.var.cache import Entries, Routes, current, empty, make_keys, store
from switchyard.var.config import VARConfig, configured
from switchyard.var.lookup import (
    CACHED,
    FAST,
    LEARNED,
    FastPath,
    Forward,
    Learned,
    LookedUp,
    look_up,
    places,
    stacked,
)
from switchyard.var.performance import performance_stats
from switchyard.var.table import RoutingTable

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import TokenContext


@dataclass
class _Device:
    """What a router remembers on one device; L patched layers."""

    layers: tuple[int, ...] = ()
    """Those that lie on the device, known after the first forward."""
    table_rows: Tensor | None = None
    """Their rows in the table, int64 [L, 1]; None without a table."""
    entries: Entries | None = None
    tokens: Tensor | int = 0
    """Real tokens seen, int64."""
    rows: int = 0
    """Rows seen, padding included."""
    paths: Tensor | int = 0
    """Real tokens by path, int64 [L, 3]."""
    lookups: Tensor | int = 0
    """int64 [L]."""
    forward: Forward | None = None
    """The one in progress."""


@dataclass
class _State:
    """What a router remembers since its start, and what it was started with."""

    window: int
    """Previous token ids of the cache keys."""
    fast_path_experts: int | None
    caching: bool = True
    """False while the cache is off."""
    devices: dict[torch.device, _Device] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class VARRouter:
    """The rule; see the module. `attach` calls `start` and `after_forward`, and holds the rule that has the statistics.

    `weighting`, `trained_top_k`, `normalise`: see `switchyard.routing.weighting.weigh`.

    Raises:
        InputError: `tokens_per_second` is not above 0, one of `patch_layers` is no block, or `weighting` is unknown.
    """

    needs_context: ClassVar[bool] = True
    name: ClassVar[str] = "var"
    sets_weights: ClassVar[bool] = True
    has_paths: ClassVar[bool] = True

    config: VARConfig = field(default_factory=VARConfig)
    """Read at the beginning of each forward."""
    table: RoutingTable | None = None
    """None for no fast path."""
    patch_layers: Collection[int] | None = None
    """MoE blocks, counted from 0; the others are always learned and not counted. None for all."""
    tokens_per_second: float = 1000.0
    """What makes a clock of the number of tokens."""
    clock: Callable[[], float] | None = None
    """Seconds, asked once before and once after a forward, instead of that clock."""
    weighting: str = "model"
    trained_top_k: int | None = None
    normalise: bool | None = None
    _state: _State = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_weighting(self.weighting)
        if not self.tokens_per_second > 0:
            raise InputError(f"var: tokens_per_second is {self.tokens_per_second}; give a number above 0")
        if self.patch_layers is not None:
            if wrong := [one for one in self.patch_layers if not isinstance(one, int) or one < 0]:
                raise InputError(f"var: patch_layers names {wrong[0]!r}; count MoE blocks from 0")
            object.__setattr__(self, "patch_layers", frozenset(self.patch_layers))
        self._forget()

    @classmethod
    def from_study(cls, settings: Mapping[str, Any], files: Mapping[str, Any]) -> Self:
        """The rule of a configuration (`switchyard.var.config.configured`) and the table `files["routing_table"]`."""
        config, rest = configured(settings)
        return cls(config=config, table=RoutingTable.read(files["routing_table"]), **rest)

    @property
    def context_window(self) -> int:
        """Previous token ids that `attach` keeps for the rule."""
        return self.config.context_window_size

    @property
    def is_current(self) -> bool:
        """Whether the config still says what took effect when the rule was attached."""
        started = self._state.window, self._state.fast_path_experts
        return started == (self.config.context_window_size, self.config.fast_path_experts)

    @property
    def limits(self) -> tuple[int, int]:
        """Fewest and most experts of a token: `fast_path_experts` if it is set, and the trained top-k.

        Raises:
            InputError: the trained top-k is not known, since the rule is not attached.
        """
        most = self.trained_top_k or (self.table and self.table.top_k)
        if most is None:
            raise InputError(
                "var: the trained top-k is not known before the rule is attached; pass trained_top_k"
            )
        fewest = self._state.fast_path_experts if self.table else None
        return min(fewest or most, most), most

    def start(self) -> None:
        """Forget all: empty caches, clock and statistics at 0."""
        self._forget()
        self._check()

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        """Choose experts by the three paths; rows that `rows_needed` leaves out may hold any logits.

        See `RoutingRule.select`.
        """
        learned = self._learned(logits, layer)
        known = None
        if self._routes(layer):
            forward = self._begin(context, layer)
            forward.learned[layer] = learned
            known = forward.looked_up[layer]
        if known is None:
            count = torch.full_like(learned.experts[:, 0], learned.experts.shape[1])
            return Selection(
                learned.experts, learned.weights, count, path=torch.zeros_like(count).to(torch.int8)
            )
        return self._merged(learned, known, forward, logits)

    def rows_needed(self, layer: int, context: TokenContext) -> Tensor | None:
        """Rows whose logits `select` will look at, bool [tokens]: the learned ones; None for all."""
        if not self._routes(layer) or self.config.route_weights == "live":
            return None
        known = self._begin(context, layer).looked_up[layer]
        return None if known is None else known.path == LEARNED

    @torch.no_grad()
    def after_forward(self) -> None:
        """Count the forward, and write the caches."""
        with torch.inference_mode(False):
            for device in self._state.devices.values():
                if device.forward is not None and device.forward.learned:
                    self._end(device, device.forward)
                device.forward = None

    def performance_stats(self) -> dict[str, Any]:
        """Statistics since `start`, in the schema of `switchyard.var.performance`.

        Raises:
            InputError: the config says not to track them.
        """
        if not self.config.track_performance:
            raise InputError("var: track_performance is off; set it in the VARConfig before the model runs")
        by_layer = {}
        for device in self._state.devices.values():
            if device.layers and torch.is_tensor(device.paths):
                counted = zip(device.layers, device.paths.tolist(), device.lookups.tolist(), strict=True)
                by_layer |= {layer: (paths, lookups) for layer, paths, lookups in counted}
        return performance_stats(by_layer)

    def held_bytes(self) -> int:
        """Bytes of the tables and caches on all devices."""
        caches = [one.entries for one in self._state.devices.values() if one.entries is not None]
        tables = [self.table.on(device) for device in self._state.devices] if self.table else []
        return sum(column.nbytes for held in [*caches, *tables] for column in held)

    @contextmanager
    def cache_off(self) -> Iterator[None]:
        """No cached path inside the `with` block: no look-up, no write."""
        before, self._state.caching = self._state.caching, False
        try:
            yield
        finally:
            self._state.caching = before

    def _forget(self) -> None:
        state = _State(self.config.context_window_size, self.config.fast_path_experts)
        object.__setattr__(self, "_state", state)

    def _routes(self, layer: int) -> bool:
        return self.config.enable_var and (self.patch_layers is None or layer in self.patch_layers)

    def _check(self) -> None:
        """Refuse a config that does not go with the table or the model."""
        table, fewer = self.table, self._state.fast_path_experts
        if self.trained_top_k is None:
            return
        if fewer is not None and fewer > self.trained_top_k:
            raise InputError(
                f"var: fast_path_experts is {fewer}, the model uses {self.trained_top_k}; lower it"
            )
        if table is None:
            return
        if table.top_k != self.trained_top_k:
            raise InputError(
                f"{table.place}: lists {table.top_k} experts for a token, the model uses {self.trained_top_k}; make "
                "the table of this model"
            )
        if not table.has_weights and self.config.route_weights == "table":
            raise InputError(
                f"{table.place}: has no weights; set route_weights to live, or observe the model again for the "
                "columns experts and weights"
            )

    def _learned(self, logits: Tensor, layer: int) -> Learned:
        """The model's own call, as `switchyard.routing.topk.TopK` makes it."""
        if self.trained_top_k is None:
            raise InputError("var: needs the model's trained top-k: attach the rule or pass trained_top_k")
        if self.table is not None and self.table.most_experts > logits.shape[1]:
            raise InputError(
                f"{self.table.place}: names expert {self.table.most_experts - 1}, layer {layer} has {logits.shape[1]}; "
                "make the table of this model"
            )
        chosen, experts = torch.topk(router_probabilities(logits), self.trained_top_k, dim=-1)
        return Learned(experts, self._weigh(chosen, logits), chosen[:, 0])

    def _weigh(self, chosen: Tensor, logits: Tensor) -> Tensor:
        settings = {"trained_top_k": self.trained_top_k, "normalise": self.normalise}
        return weigh(chosen, logits, weighting=self.weighting, **settings)

    @torch.no_grad()
    def _begin(self, context: TokenContext | None, layer: int) -> Forward:
        """The forward in progress, with what its tokens say of the layer."""
        if context is None:
            raise InputError("var: looks token ids up: attach the rule or pass a TokenContext")
        device = self._state.devices.setdefault(context.token_id.device, _Device())
        forward = device.forward
        if forward is None or forward.context is not context or forward.config != self.config:
            self._check()
            with torch.inference_mode(False):  # what is kept may meet forwards of either mode
                forward = device.forward = self._new_forward(context, device)
        if layer not in forward.looked_up:  # one that no forward has shown before: its cache is empty
            known = look_up(forward, self._table_rows([layer], forward), None)
            forward.looked_up[layer] = known and _of_layers(known)[0]
        return forward

    def _new_forward(self, context: TokenContext, device: _Device) -> Forward:
        config = copy.copy(self.config)
        forward = Forward(context, config, self._fast_path(context, config), keys=None, entries=None)
        if config.cache_size and self._state.caching:
            forward.keys = make_keys(context, self._state.window)
            if device.entries is not None:
                limits = {"ttl": config.cache_ttl_seconds, "size": config.cache_size}
                forward.entries = current(device.entries, self._now(device), **limits)
        if device.layers:
            known = look_up(forward, device.table_rows, forward.entries)
            each = [None] * len(device.layers) if known is None else _of_layers(known)
            forward.looked_up.update(zip(device.layers, each, strict=True))
        return forward

    def _fast_path(self, context: TokenContext, config: VARConfig) -> FastPath | None:
        if self.table is None:
            return None
        device = context.token_id.device
        eligible = self.table.eligible(device, config.frequency_threshold, config.entropy_threshold)
        if eligible is None:
            return None
        rows = self.table.on(device)
        return FastPath(
            rows, eligible, places(context, rows), self._state.fast_path_experts or self.table.top_k
        )

    def _table_rows(self, layers: Sequence[int], forward: Forward) -> Tensor | None:
        """Rows of the table, int64 [layers, 1]; None without a table."""
        if self.table is None:
            return None
        rows = [[self.table.row(layer)] for layer in layers]
        return torch.tensor(rows, device=forward.context.token_id.device)

    def _merged(self, learned: Learned, known: LookedUp, forward: Forward, logits: Tensor) -> Selection:
        """Looked-up routes where there are some, learned ones elsewhere."""
        own, fewer = known.path == LEARNED, self._state.fast_path_experts or self.trained_top_k
        slots = own[:, None]
        experts = torch.where(slots, learned.experts, known.experts)
        count = torch.full_like(experts[:, 0], self.trained_top_k)
        if fewer < self.trained_top_k:
            count = count.masked_fill(known.path == FAST, fewer)
            experts = experts.masked_fill(experts < 0, logits.shape[1])
        if forward.config.route_weights == "live":
            weights = torch.where(slots, learned.weights, self._live(experts, logits))
        elif forward.fast_path is None:
            weights = torch.where(slots, learned.weights, known.weights)
        else:
            weights = self._stored(known.weights, experts == logits.shape[1])
            weights = torch.where((known.path == FAST)[:, None], weights, known.weights)
            weights = torch.where(slots, learned.weights, weights)
        return Selection(experts, weights, count, path=known.path)

    def _live(self, experts: Tensor, logits: Tensor) -> Tensor:
        """The weights that the model's own router gives `experts` [T, k], 0 in unused slots."""
        num_experts = logits.shape[1]
        chosen = router_probabilities(logits).gather(1, experts.clamp(max=num_experts - 1))
        return self._weigh(chosen.masked_fill(experts == num_experts, 0.0), logits)

    def _stored(self, weights: Tensor, unused: Tensor) -> Tensor:
        """The table's weights [T, k] by the rule's weighting: as `weigh`, with the table's sum for the trained mass."""
        chosen = weights.masked_fill(unused, 0.0)
        if self.weighting == "model" and not self.normalise:
            return chosen
        total = chosen.sum(dim=1, keepdim=True)
        shares = chosen / total.masked_fill(total == 0.0, 1.0)
        if self.weighting == "trained_mass" and not self.normalise:
            return shares * weights.sum(dim=1, keepdim=True)
        return shares

    def _now(self, device: _Device) -> Tensor | float:
        """Seconds by the clock."""
        return self.clock() if self.clock else device.tokens / self.tokens_per_second

    def _end(self, device: _Device, forward: Forward) -> None:
        real, keys = forward.context.is_token, forward.keys
        if not device.layers:
            device.layers = tuple(forward.learned)
            device.table_rows = self._table_rows(device.layers, forward)
        path, found = stacked(forward, device.layers)
        if forward.config.track_performance:
            on = torch.stack([(path == one) & real for one in (LEARNED, FAST, CACHED)], dim=2)
            device.paths = device.paths + (paths := on.sum(dim=1))  # [L, 3]
            device.lookups = device.lookups + (paths[:, LEARNED] + paths[:, CACHED]) * (keys is not None)
        device.tokens = device.tokens + real.sum().double()
        if keys is not None:
            device.entries = self._written(device, forward, (path == LEARNED) & keys.usable, found)
        device.rows += len(real)

    def _written(self, device: _Device, forward: Forward, learned: Tensor, found: Tensor) -> Entries:
        own = [forward.learned[layer] for layer in device.layers]
        experts, weights, confidence = map(torch.stack, zip(*own, strict=True))
        entries = forward.entries
        if entries is None:
            size = (len(own), forward.config.cache_size, self._state.window, self.trained_top_k)
            entries = empty(*size, forward.context.token_id.device)
        routes = Routes(learned & (confidence >= forward.config.confidence_threshold), experts, weights)
        return store(entries, forward.keys, found, routes, self._now(device), device.rows)


def _of_layers(known: LookedUp) -> list[LookedUp]:
    """The routes of each layer."""
    return list(map(LookedUp, *known))
