"""VAR in two lines around a user's own model: a thin face over `attach`."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from switchyard.artifacts.files import write_json
from switchyard.errors import InputError
from switchyard.models.blocks import describe, find_moe_blocks
from switchyard.routing.attachment import attach
from switchyard.var.config import VARConfig
from switchyard.var.performance import performance_summary
from switchyard.var.router import VARRouter
from switchyard.var.table import RoutingTable, table_for_model

if TYPE_CHECKING:
    from transformers import GenerationConfig

log = logging.getLogger(__name__)

_TOKEN_BY_TOKEN = ("greedy_search", "sample")
"""Ways of generating in which a row of the batch is always the same sequence, each forward its next tokens."""


class VARMixtralWrapper(nn.Module):
    """A mixture-of-experts causal language model, Mixtral or another, under VAR; used like the model itself.

    What the wrapper does not have is the model's: `wrapper.device`, `wrapper.generation_config`. `wrapper.config` is
    the VARConfig; a field that is set takes effect with the next forward. It is the one that was given until
    `enable_var` or `disable_var` switches it, which makes a copy. The model's own is `wrapper.model.config`.

    The rule stays attached while VAR is enabled, so that the caches outlive a forward, the steps of a `generate` and
    the calls. They and the statistics begin anew with `enable_var`, with another config, and with another
    `context_window_size`, `fast_path_experts` or `routing_stats_path`. With beam search or assisted generation, where
    rows are not sequences that only grow, the cached path is off, which is logged once.

    Args:
        model: from transformers, in evaluation mode.
        config: with `routing_stats_path` for a fast path; `enable_var` says whether VAR is on at first.
        patch_layers: MoE blocks under VAR, counted from 0; None for all.
        counts: `expert_counts.parquet` of the same run, for statistics that name one expert of a token only.
        tokens_per_second: what turns the tokens seen into the seconds of `cache_ttl_seconds`, so that a text is routed
            alike however fast the machine is.
        clock: seconds instead, for instance `time.monotonic`.

    Raises:
        InputError: the model has no MoE blocks or not these layers, is under a rule already, or the table is of
            another model.
    """

    def __init__(
        self,
        model: nn.Module,
        config: VARConfig,
        patch_layers: Collection[int] | None = None,
        *,
        counts: str | Path | None = None,
        tokens_per_second: float = 1000.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(model, VARMixtralWrapper):
            raise InputError(
                "VAR: the model is wrapped already; set its `config`, or call its disable_var and wrap its `model`"
            )
        self.model = model
        self.training = model.training
        self.patch_layers = patch_layers
        self.counts = counts
        self.tokens_per_second, self.clock = tokens_per_second, clock
        self._config = config
        self._table: RoutingTable | None = None
        self._table_path: str | None = None
        self._router: VARRouter | None = None
        self._attached = ExitStack()
        self._enabled = self._said = False
        layers = len(find_moe_blocks(model))
        if wrong := [layer for layer in patch_layers or () if layer not in range(layers)]:
            raise InputError(
                f"VAR: layer {wrong[0]} does not exist, the model has {layers} MoE blocks; count from 0"
            )
        self._read_table()
        if config.enable_var:
            self.enable_var()

    @property
    def config(self) -> VARConfig:
        """VAR's parameters."""
        return self._config

    @config.setter
    def config(self, config: VARConfig) -> None:
        self._config = config
        self._read_table()
        if self._enabled:
            self._begin_anew() if config.enable_var else self.disable_var()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own forward, with its arguments."""
        self._follow_config()
        return self.model(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own `generate`, with its arguments."""
        self._follow_config()
        mode = _generation_mode(self.model, args, kwargs)
        if not self._enabled or mode in _TOKEN_BY_TOKEN:
            return self.model.generate(*args, **kwargs)
        if not self._said:
            log.warning("VAR: the cached path is off in %s", mode.replace("_", " "))
            self._said = True
        with self._router.cache_off():
            return self.model.generate(*args, **kwargs)

    def enable_var(self) -> None:
        """Route by VAR from here on, with empty caches and statistics; nothing to do where it is on."""
        if self._enabled:
            return
        self._switch(True)
        rule = VARRouter(
            self.config,
            self._table,
            self.patch_layers,
            tokens_per_second=self.tokens_per_second,
            clock=self.clock,
        )
        self._router = self._attached.enter_context(attach(self.model, rule)).rule
        self._enabled = True

    def disable_var(self) -> None:
        """Give the model its own routing back, bit for bit; the statistics stay until VAR is enabled again."""
        self._attached.close()
        self._enabled = False
        self._switch(False)

    def get_performance_stats(self) -> dict[str, Any]:
        """`overall` and `per_layer`: routing_distribution in %, cache_hit_rate in %, total_calls.

        Raises:
            InputError: VAR was never enabled, or the config says not to track it.
        """
        if self._router is None:
            raise InputError("VAR was never enabled, so there are no statistics; call enable_var first")
        return self._router.performance_stats()

    def print_performance_summary(self) -> None:
        """Print the statistics of all layers together."""
        print(performance_summary(self.get_performance_stats()))

    def save_performance_stats(self, path: str | Path) -> None:
        """Write the statistics as JSON."""
        write_json(path, self.get_performance_stats())

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model":  # not there yet
                raise
            return getattr(self.model, name)

    def _follow_config(self) -> None:
        """Attach again where the config changed what takes effect there, or VAR was switched in it."""
        has_other_table = self.config.routing_stats_path != self._table_path
        if has_other_table:
            self._read_table()
        if self.config.enable_var != self._enabled:
            self.enable_var() if self.config.enable_var else self.disable_var()
        if self._enabled and (has_other_table or not self._router.is_current):
            self._begin_anew()

    def _switch(self, on: bool) -> None:
        """Say so in the config, but not in the caller's own, which may configure other wrappers."""
        if self.config.enable_var != on:
            self._config = dataclasses.replace(self.config, enable_var=on)

    def _begin_anew(self) -> None:
        self._attached.close()
        self._enabled = False
        self.enable_var()

    def _read_table(self) -> None:
        path = self._table_path = self.config.routing_stats_path
        self._table = path and table_for_model(path, describe(self.model.config), counts=self.counts)


def _generation_mode(model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> str:
    """`greedy_search`, `sample`, `beam_search`, ...: how `generate` would go about it with these arguments."""
    given = {**dict(zip(("inputs", "generation_config"), args, strict=False)), **kwargs}
    config: GenerationConfig = copy.deepcopy(given.pop("generation_config", None) or model.generation_config)
    for name in given.keys() & vars(config).keys():
        setattr(config, name, given[name])
    return config.get_generation_mode(given.get("assistant_model")).value
