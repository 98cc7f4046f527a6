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
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import torch

from switchyard.errors import InputError
from switchyard.routing.selection import Selection
from switchyard.routing.weighting import check_weighting, router_probabilities, weigh
from switchyard.var.cache import Entries, Keys, Routes, current, empty, find, make_keys, store
from switchyard.var.config import PRESETS, VARConfig
from switchyard.var.performance import PATHS, performance_stats
from switchyard.var.table import RoutingTable

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import TokenContext

LEARNED, FAST, CACHED = range(len(PATHS))
"""Values of `Selection.path`."""


class _Learned(NamedTuple):
    """What the model's own router chooses in one layer."""

    experts: Tensor  # int64 [T, k]
    weights: Tensor  # float32 [T, k]
    confidence: Tensor  # float32 [T]


class _Cached(NamedTuple):
    """What one layer's cache knows of a forward with T tokens; N entries."""

    found: Tensor  # int64 [T], the row's entry, -1 for none
    experts: Tensor  # int64 [N, k]
    weights: Tensor  # float32 [N, k]


@dataclass
class _Forward:
    """What is known of a forward on one device before its logits are."""

    context: TokenContext
    config: VARConfig
    """As it stood when the forward began."""
    ids: Tensor | None = None
    """Places of the token ids in the table, int64 [T]; None without a table."""
    keys: Keys | None = None
    """None where the cache is off."""
    entries: Entries | None = None
    """What the forward reads; None where nothing has been written yet."""
    fast: dict[int, Tensor] = field(default_factory=dict)
    """By layer: rows on the fast path, bool [T]."""
    cached: dict[int, _Cached] = field(default_factory=dict)
    """By layer; empty without entries."""
    learned: dict[int, _Learned] = field(default_factory=dict)
    """By layer, as far as the forward has come."""


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
    forward: _Forward | None = None
    """The one in progress."""


@dataclass(frozen=True, eq=False)
class VARRouter:
    """The rule; see the module. `attach` calls `start` and `after_forward`, and holds the rule that has the statistics.

    `weighting`, `trained_top_k`, `normalise`: see `switchyard.routing.weighting.weigh`.
    """

    needs_context: ClassVar[bool] = True

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
    _state: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    """`devices`: by device what is remembered; `window`: of the cache keys; `caching`: False while the cache is off."""

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
        """The rule of a configuration.

        `preset` names one of PRESETS, or anything with a `config_file`, the JSON of a VARConfig. Other settings are
        fields of the config or of the rule. `files["routing_table"]` is the table.
        """
        chosen = dict(settings)
        preset, path = chosen.pop("preset"), chosen.pop("config_file", None)
        if path is None and preset not in PRESETS:
            raise InputError(
                f"var: preset {preset!r} is unknown; use {', '.join(PRESETS)}, or give a config_file"
            )
        config = PRESETS[preset]() if path is None else VARConfig.from_json(path)
        for name in [one.name for one in dataclasses.fields(VARConfig) if one.name in chosen]:
            setattr(config, name, chosen.pop(name))
        return cls(config=config, table=RoutingTable.read(files["routing_table"]), **chosen)

    @property
    def context_window(self) -> int:
        """Previous token ids that `attach` keeps for the rule."""
        return self.config.context_window_size

    @property
    def window(self) -> int:
        """Previous token ids of the cache keys, since `start`."""
        return self._state["window"]

    @property
    def limits(self) -> tuple[int, int]:
        """Fewest and most experts of a token: `fast_path_experts` if it is set, and the trained top-k."""
        most = self.trained_top_k or (self.table and self.table.top_k)
        if most is None:
            raise InputError(
                "var: the trained top-k is not known before the rule is attached; pass trained_top_k"
            )
        fewest = self.config.fast_path_experts if self.table else None
        return min(fewest or most, most), most

    def start(self) -> None:
        """Forget all: empty caches, clock and statistics at 0."""
        self._check()
        self._forget()

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        """Choose experts by the three paths; rows that `rows_needed` leaves out may hold any logits."""
        learned = self._learned(logits, layer)
        count = torch.full_like(learned.experts[:, 0], learned.experts.shape[1])
        path = torch.zeros_like(count, dtype=torch.int8)
        plain = Selection(learned.experts, learned.weights, count, path=path)
        if not self._routes(layer):
            return plain
        forward = self._begin(context, layer)
        forward.learned[layer] = learned
        return self._with_fast(self._with_cached(plain, forward, layer, logits), forward, layer, logits)

    def rows_needed(self, layer: int, context: TokenContext) -> Tensor | None:
        """Rows whose logits `select` will look at, bool [tokens]: the learned ones; None for all."""
        if not self._routes(layer) or self.config.route_weights == "live":
            return None
        forward = self._begin(context, layer)
        looked_up = [forward.fast[layer]] if self.table else []
        if layer in forward.cached:
            looked_up.append(forward.cached[layer].found >= 0)
        return ~torch.stack(looked_up).any(dim=0) if looked_up else None

    @torch.no_grad()
    def after_forward(self) -> None:
        """Count the forward, and write the caches."""
        with torch.inference_mode(False):  # what is kept may meet forwards of either mode
            for device in self._state["devices"].values():
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
        for device in self._state["devices"].values():
            if device.layers and torch.is_tensor(device.paths):
                counted = zip(device.layers, device.paths.tolist(), device.lookups.tolist(), strict=True)
                by_layer |= {layer: (paths, lookups) for layer, paths, lookups in counted}
        return performance_stats(by_layer)

    @contextmanager
    def cache_off(self) -> Iterator[None]:
        """No cached path inside the `with` block: no look-up, no write."""
        before, self._state["caching"] = self._state["caching"], False
        try:
            yield
        finally:
            self._state["caching"] = before

    def _forget(self) -> None:
        self._state.update(devices={}, window=self.config.context_window_size, caching=True)

    def _routes(self, layer: int) -> bool:
        return self.config.enable_var and (self.patch_layers is None or layer in self.patch_layers)

    def _check(self) -> None:
        """Refuse a config that does not go with the table or the model."""
        table, fewer = self.table, self.config.fast_path_experts
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

    def _learned(self, logits: Tensor, layer: int) -> _Learned:
        """The model's own call, as `switchyard.routing.topk.TopK` makes it."""
        if self.trained_top_k is None:
            raise InputError("var: needs the model's trained top-k: attach the rule or pass trained_top_k")
        if self.table is not None and self.table.most_experts > logits.shape[1]:
            raise InputError(
                f"{self.table.place}: names expert {self.table.most_experts - 1}, layer {layer} has {logits.shape[1]}; "
                "make the table of this model"
            )
        chosen, experts = torch.topk(router_probabilities(logits), self.trained_top_k, dim=-1)
        return _Learned(experts, self._weigh(chosen, logits), chosen[:, 0])

    def _weigh(self, chosen: Tensor, logits: Tensor) -> Tensor:
        settings = {"trained_top_k": self.trained_top_k, "normalise": self.normalise}
        return weigh(chosen, logits, weighting=self.weighting, **settings)

    @torch.no_grad()
    def _begin(self, context: TokenContext | None, layer: int) -> _Forward:
        """What the tokens alone say of the forward in progress, for all known layers of the device at once."""
        if context is None:
            raise InputError("var: looks token ids up: attach the rule or pass a TokenContext")
        device = self._state["devices"].setdefault(context.token_id.device, _Device())
        forward = device.forward
        if forward is None or forward.context is not context or forward.config != self.config:
            self._check()
            forward = device.forward = self._looked_up(context, device)
        if layer not in forward.fast:  # a layer that no forward has shown before
            forward.fast[layer] = self._fast(forward, self.table and self.table.row(layer))
        return forward

    def _looked_up(self, context: TokenContext, device: _Device) -> _Forward:
        forward = _Forward(context, config=copy.copy(self.config))
        if self.table:
            blank = self.table.on(context.token_id.device).frequency.shape[1] - 1
            forward.ids = torch.where(context.token_id < 0, blank, context.token_id.clamp(max=blank))
        fast = self._fast(forward, device.table_rows)  # [L, T], or [T] without a table
        forward.fast.update(zip(device.layers, fast.expand(len(device.layers), -1)))
        if forward.config.cache_size and self._state["caching"]:
            forward.keys = make_keys(context, self._state["window"])
            if device.entries is not None:
                self._look_into_caches(forward, device, forward.keys.usable & ~fast)
        return forward

    def _look_into_caches(self, forward: _Forward, device: _Device, asked: Tensor) -> None:
        limits = {"ttl": forward.config.cache_ttl_seconds, "size": forward.config.cache_size}
        entries = forward.entries = current(device.entries, self._now(device), **limits)
        found = find(entries, forward.keys, asked)
        cached = map(_Cached, found, entries.experts, entries.weights)
        forward.cached.update(zip(device.layers, cached, strict=True))

    def _fast(self, forward: _Forward, table_rows: Tensor | int | None) -> Tensor:
        """Rows on the fast path, bool [L, T] for table rows [L, 1], [T] for a single one."""
        if table_rows is None:
            return torch.zeros_like(forward.context.is_token)
        table = self.table.on(forward.ids.device)
        frequent = table.frequency[table_rows, forward.ids] >= forward.config.frequency_threshold
        sure = table.mean_entropy[table_rows, forward.ids] < forward.config.entropy_threshold
        return frequent & sure & forward.context.is_token

    def _with_cached(self, plain: Selection, forward: _Forward, layer: int, logits: Tensor) -> Selection:
        if layer not in forward.cached:
            return plain
        found, experts, weights = forward.cached[layer]
        entry = found.clamp(min=0)
        experts = experts[entry]
        weights = self._live(experts, logits) if forward.config.route_weights == "live" else weights[entry]
        return _merge(plain, found >= 0, experts, weights, plain.count, CACHED)

    def _with_fast(self, plain: Selection, forward: _Forward, layer: int, logits: Tensor) -> Selection:
        if self.table is None:
            return plain
        table, row, ids = self.table.on(logits.device), self.table.row(layer), forward.ids
        used = forward.config.fast_path_experts or self.trained_top_k
        unused = torch.arange(self.trained_top_k, device=logits.device) >= used
        experts = table.experts[row, ids].long().masked_fill(unused, logits.shape[1])
        if forward.config.route_weights == "live":
            weights = self._live(experts, logits)
        else:
            weights = self._stored(table.weights[row, ids], unused)
        return _merge(plain, forward.fast[layer], experts, weights, torch.full_like(plain.count, used), FAST)

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

    def _end(self, device: _Device, forward: _Forward) -> None:
        context, keys = forward.context, forward.keys
        if not device.layers:
            self._meet(device, tuple(forward.learned))
        fast = torch.stack([forward.fast[layer] for layer in device.layers])  # [L, T]
        if forward.cached:
            found = torch.stack([forward.cached[layer].found for layer in device.layers])
        else:
            found = torch.full_like(fast, -1, dtype=torch.int64)
        learned = context.is_token & ~fast & (found < 0)
        if forward.config.track_performance:
            paths = torch.stack([learned, fast, found >= 0], dim=2).sum(dim=1)  # [L, 3]
            device.paths = device.paths + paths
            device.lookups = device.lookups + (paths[:, LEARNED] + paths[:, CACHED]) * (keys is not None)
        device.tokens = device.tokens + context.is_token.sum().double()
        if keys is not None:
            device.entries = self._written(device, forward, learned & keys.usable, found)
        device.rows += len(context.is_token)

    def _meet(self, device: _Device, layers: tuple[int, ...]) -> None:
        device.layers = layers
        if self.table:
            rows = [[self.table.row(layer)] for layer in layers]
            device.table_rows = torch.tensor(rows, device=device.forward.ids.device)

    def _written(self, device: _Device, forward: _Forward, learned: Tensor, found: Tensor) -> Entries:
        own = [forward.learned[layer] for layer in device.layers]
        experts, weights, confidence = (torch.stack(parts) for parts in zip(*own, strict=True))
        entries = forward.entries
        if entries is None:
            size = (len(own), forward.config.cache_size, self._state["window"], self.trained_top_k)
            entries = empty(*size, forward.context.token_id.device)
        routes = Routes(learned & (confidence >= forward.config.confidence_threshold), experts, weights)
        return store(entries, forward.keys, found, routes, self._now(device), device.rows)


def _merge(
    plain: Selection, chosen: Tensor, experts: Tensor, weights: Tensor, count: Tensor, path: int
) -> Selection:
    """`plain`, but in the rows `chosen` [T] the given experts and weights [T, k] and counts [T]."""
    slots = chosen[:, None]
    return Selection(
        torch.where(slots, experts, plain.experts),
        torch.where(slots, weights, plain.weights),
        torch.where(chosen, count, plain.count),
        path=torch.where(chosen, path, plain.path).to(torch.int8),
    )
