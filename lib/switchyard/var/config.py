"""VAR's parameters: checked whenever one is set, so that a changed threshold is right or refused at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, Self

from switchyard.artifacts.files import read_json, write_json
from switchyard.errors import InputError

ROUTE_WEIGHTS = ("table", "live")


class _Kind(NamedTuple):
    """What a field may hold, and the same in words."""

    holds: Callable[[Any], bool]
    words: str


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


_FROM_0 = _Kind(lambda value: _whole(value) and value >= 0, "a whole number from 0 upwards")
_SHARE = _Kind(lambda value: _number(value) and 0 <= value <= 1, "a number from 0 to 1")
_FLAG = _Kind(lambda value: isinstance(value, bool), "true or false")

_KINDS = {
    "frequency_threshold": _FROM_0,
    "entropy_threshold": _Kind(lambda value: _number(value) and value >= 0, "nats, a number from 0 upwards"),
    "confidence_threshold": _SHARE,
    "cache_size": _Kind(_FROM_0.holds, "a whole number from 0 (no cache) upwards"),
    "cache_ttl_seconds": _Kind(lambda value: _number(value) and value > 0, "a number of seconds above 0"),
    "context_window_size": _FROM_0,
    "routing_stats_path": _Kind(lambda value: value is None or isinstance(value, str), "a path or null"),
    "enable_var": _FLAG,
    "track_performance": _FLAG,
    "max_quality_degradation": _SHARE,
    "route_weights": _Kind(lambda value: value in ROUTE_WEIGHTS, f"one of {', '.join(ROUTE_WEIGHTS)}"),
    "fast_path_experts": _Kind(
        lambda value: value is None or (_whole(value) and value >= 1),
        "a whole number from 1 upwards, or null for the model's trained top-k",
    ),
}


@dataclass
class VARConfig:
    """Parameters of VAR. A field that is set later takes effect with the next forward.

    Two take effect where a rule is attached: `context_window_size`, since cache keys have that width, and
    `fast_path_experts`, since a model whose slots are all in use runs its own experts.

    Raises:
        InputError: a value that its field cannot have, when the config is made and when a field is set.
    """

    frequency_threshold: int = 50
    """Occurrences of a token id in the table from which it may take the fast path."""
    entropy_threshold: float = 0.5
    """Nats; a token id whose mean routing entropy is below may take the fast path. Compared in float32."""
    confidence_threshold: float = 0.8
    """Largest router probability from which a learned route is kept in the cache."""
    cache_size: int = 1000
    """Entries of the cache of one layer; 0 for no cache."""
    cache_ttl_seconds: float = 60
    """Age from which an entry is no longer used, by the router's clock: tokens seen / `tokens_per_second`."""
    context_window_size: int = 4
    """Previous token ids that stand in a cache key, beside the current one."""
    routing_stats_path: str | None = None
    """Routing statistics or a routing table (Parquet); None for no fast path."""
    enable_var: bool = True
    track_performance: bool = True
    """Whether paths, look-ups and hits are counted."""
    max_quality_degradation: float = 0.01
    """Relative increase of perplexity that a comparison accepts; routing does not depend on it."""
    route_weights: str = "table"
    """`table`: a looked-up route has the weights that were stored with it. `live`: the weights that the model's own
    router gives the looked-up experts."""
    fast_path_experts: int | None = None
    """Experts of a token on the fast path; None for the trained top-k."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _KINDS:
            raise InputError(f"VARConfig has no field {name}; use one of {', '.join(_KINDS)}")
        value = str(value) if isinstance(value, Path) else value
        value = value.item() if hasattr(value, "item") else value  # of NumPy
        if not _KINDS[name].holds(value):
            raise InputError(f"VARConfig: {name} is {value!r}; give {_KINDS[name].words}")
        super().__setattr__(name, value)

    def to_json(self, path: str | Path) -> None:
        """Write all fields as JSON."""
        write_json(path, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """All fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """Read what `to_json` wrote; fields that the file lacks have their defaults, `provenance` is passed over.

        Raises:
            InputError: no JSON object, a key that is no field, or a value that its field cannot have.
        """
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file; give a VAR configuration (JSON)")
        content = read_json(path)
        if not isinstance(content, dict):
            raise InputError(f"{path}: holds no JSON object; give the fields of a VARConfig by name")
        fields = {name: value for name, value in content.items() if name != "provenance"}
        if unknown := [name for name in fields if name not in _KINDS]:
            raise InputError(f"{path}: {unknown[0]!r} is no field of VARConfig; use {', '.join(_KINDS)}")
        try:
            return cls(**fields)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_routing_stats(cls, path: str | Path, **overrides: Any) -> Self:
        """The configuration whose table is made from `path`, with other fields as given.

        Raises:
            InputError: the file is missing, damaged, or says nothing of token ids.
        """
        from switchyard.observation.input_tables import need, read_table

        wanted = ("token_id", "frequency", "mean_entropy")
        need(read_table(path, wanted).column_names, wanted, str(path), "routing statistics")
        if unknown := [name for name in overrides if name not in _KINDS]:
            raise InputError(f"VARConfig has no field {unknown[0]}; use one of {', '.join(_KINDS)}")
        return cls(**{"routing_stats_path": str(path), **overrides})


def get_conservative_config() -> VARConfig:
    """Quality first: few tokens leave the learned path."""
    return VARConfig(frequency_threshold=100, entropy_threshold=0.3, confidence_threshold=0.9)


def get_balanced_config() -> VARConfig:
    """The defaults."""
    return VARConfig()


def get_aggressive_config() -> VARConfig:
    """Speed first: more tokens leave the learned path."""
    return VARConfig(frequency_threshold=25, entropy_threshold=0.7, confidence_threshold=0.7)


PRESETS: dict[str, Callable[[], VARConfig]] = {
    "conservative": get_conservative_config,
    "balanced": get_balanced_config,
    "aggressive": get_aggressive_config,
}
"""By name, as in `var_{preset}`."""


def configured(settings: Mapping[str, Any]) -> tuple[VARConfig, dict[str, Any]]:
    """The configuration that a study's settings describe, and the settings that are no field of it.

    `preset` names one of PRESETS, or anything with a `config_file`, the JSON of a VARConfig; other fields change it.

    Raises:
        InputError: no such preset, or a value that a field cannot have.
    """
    rest = dict(settings)
    preset, path = rest.pop("preset"), rest.pop("config_file", None)
    if path is None and preset not in PRESETS:
        raise InputError(
            f"var: preset {preset!r} is unknown; use {', '.join(PRESETS)}, or give a config_file"
        )
    config = PRESETS[preset]() if path is None else VARConfig.from_json(path)
    for name in [one.name for one in dataclasses.fields(VARConfig) if one.name in rest]:
        setattr(config, name, rest.pop(name))
    return config, rest
