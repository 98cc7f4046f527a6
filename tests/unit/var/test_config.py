"""VAR's parameters: the documents' defaults and presets, refusals, JSON there and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import switchyard.var
from switchyard.artifacts.files import read_json, write_json, write_table
from switchyard.errors import InputError
from switchyard.var.config import (
    PRESETS,
    VARConfig,
    get_aggressive_config,
    get_balanced_config,
    get_conservative_config,
)

DEFAULTS = {
    "frequency_threshold": 50,
    "entropy_threshold": 0.5,
    "confidence_threshold": 0.8,
    "cache_size": 1000,
    "cache_ttl_seconds": 60,
    "context_window_size": 4,
    "routing_stats_path": None,
    "enable_var": True,
    "track_performance": True,
    "max_quality_degradation": 0.01,
    "route_weights": "table",
    "fast_path_experts": None,
}


def thresholds(config: VARConfig) -> tuple[float, ...]:
    return config.frequency_threshold, config.entropy_threshold, config.confidence_threshold


def test_defaults_and_presets() -> None:
    assert dataclasses.asdict(VARConfig()) == DEFAULTS
    assert thresholds(get_conservative_config()) == (100, 0.3, 0.9)
    assert thresholds(get_balanced_config()) == (50, 0.5, 0.8)
    assert thresholds(get_aggressive_config()) == (25, 0.7, 0.7)
    assert list(PRESETS) == ["conservative", "balanced", "aggressive"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frequency_threshold", -1),
        ("frequency_threshold", 1.5),
        ("frequency_threshold", True),
        ("entropy_threshold", -0.1),
        ("entropy_threshold", float("nan")),
        ("entropy_threshold", "0.5"),
        ("confidence_threshold", 1.1),
        ("confidence_threshold", None),
        ("cache_size", -1),
        ("cache_size", 10.0),
        ("cache_ttl_seconds", 0),
        ("cache_ttl_seconds", float("inf")),
        ("context_window_size", -1),
        ("routing_stats_path", 3),
        ("enable_var", 1),
        ("track_performance", "yes"),
        ("max_quality_degradation", 1.5),
        ("route_weights", "own"),
        ("route_weights", ["table"]),
        ("fast_path_experts", 0),
        ("fast_path_experts", True),
    ],
)
def test_refuses_what_a_field_cannot_be(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{name} is .*; give"):
        VARConfig(**{name: value})
    config = VARConfig()
    with pytest.raises(InputError, match=rf"{name} is .*; give"):
        setattr(config, name, value)
    assert config == VARConfig()
    write_json(tmp_path / "var.json", {name: value})
    if read_json(tmp_path / "var.json")[name] == value:  # JSON has no NaN
        with pytest.raises(InputError, match=rf"var\.json: VARConfig: {name} is"):
            VARConfig.from_json(tmp_path / "var.json")


def test_a_misspelt_field_is_refused() -> None:
    config = VARConfig()
    with pytest.raises(InputError, match="no field frequency_treshold; use one of frequency_threshold"):
        config.frequency_treshold = 3


def test_json_there_and_back(tmp_path: Path) -> None:
    config = VARConfig(
        route_weights="live", fast_path_experts=1, routing_stats_path="stats.parquet", cache_size=0
    )
    config.to_json(tmp_path / "var.json")
    assert VARConfig.from_json(tmp_path / "var.json") == config
    write_json(tmp_path / "stamped.json", {**read_json(tmp_path / "var.json"), "provenance": {"code": "x"}})
    assert VARConfig.from_json(tmp_path / "stamped.json") == config
    write_json(tmp_path / "some.json", {"cache_size": 7})
    assert VARConfig.from_json(tmp_path / "some.json") == VARConfig(cache_size=7)


def test_json_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "unknown.json", {"cache": 7})
    write_json(tmp_path / "list.json", [1])
    (tmp_path / "cut.json").write_text('{"cache_size": ')
    for name, message in {
        "unknown": "'cache' is no field of VARConfig; use frequency_threshold",
        "list": "holds no JSON object",
        "cut": "is damaged",
        "missing": "no such file",
    }.items():
        with pytest.raises(InputError, match=message):
            VARConfig.from_json(tmp_path / f"{name}.json")


def test_from_routing_statistics(tmp_path: Path) -> None:
    path = tmp_path / "stats.parquet"
    write_table(path, pa.table({"token_id": [1], "frequency": [1], "mean_entropy": [0.1]}))
    config = VARConfig.from_routing_stats(path, entropy_threshold=1.0)
    assert config == VARConfig(routing_stats_path=str(path), entropy_threshold=1.0)
    with pytest.raises(InputError, match="no field entropy"):
        VARConfig.from_routing_stats(path, entropy=1.0)
    with pytest.raises(InputError, match="no such file"):
        VARConfig.from_routing_stats(tmp_path / "none.parquet")
    write_table(path, pa.table({"token_id": [1], "frequency": [1]}))
    with pytest.raises(InputError, match="column mean_entropy is missing"):
        VARConfig.from_routing_stats(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="no whole Parquet"):
        VARConfig.from_routing_stats(path)


def test_public_names_load() -> None:
    for name in switchyard.var.__all__:
        assert getattr(getattr(switchyard.var, name), "__name__", name) == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = switchyard.var.nothing
