"""Points with equal decisions are found before they run, and never points that decide differently."""

from __future__ import annotations

import numpy as np
import pytest

from switchyard.search.decisions import NEVER, VARDecisions

DECISIONS = VARDecisions(
    frequency=np.array([5, 50, 100, 100]),
    mean_entropy=np.array([0.1, 0.4, 0.5, 1.0]),
    highest_confidence=0.9,
    tokens=1000,
    tokens_per_second=10.0,
    top_k=2,
)
SETTINGS = {
    "frequency_threshold": 20,
    "entropy_threshold": 0.6,
    "confidence_threshold": 0.8,
    "cache_size": 200,
    "cache_ttl_seconds": 60,
    "context_window_size": 4,
    "fast_path_experts": 2,
}
NO_CACHE = {**SETTINGS, "confidence_threshold": 0.95}
NO_ROWS = {**SETTINGS, "entropy_threshold": 0.05}

ALIKE = [
    (SETTINGS, {"entropy_threshold": 0.9, "frequency_threshold": 6}),
    (SETTINGS, {"fast_path_experts": None}),
    ({**SETTINGS, "cache_size": 1000}, {"cache_size": 5000}),
    ({**SETTINGS, "cache_ttl_seconds": 100}, {"cache_ttl_seconds": 300}),
    (NO_CACHE, {"cache_ttl_seconds": 10, "context_window_size": 2, "cache_size": 0}),
    (NO_ROWS, {"fast_path_experts": 1, "frequency_threshold": 200}),
]
DIFFERENT = [
    (SETTINGS, {"entropy_threshold": 0.5}),  # strictly below
    (SETTINGS, {"frequency_threshold": 51}),
    (SETTINGS, {"fast_path_experts": 1}),
    (SETTINGS, {"cache_size": 999}),
    (SETTINGS, {"cache_ttl_seconds": 99}),
    (SETTINGS, {"confidence_threshold": 0.9}),  # at least
    (SETTINGS, {"context_window_size": 3}),
    (SETTINGS, {"route_weights": "live"}),
]


@pytest.mark.parametrize(("settings", "changed"), ALIKE)
def test_alike(settings, changed):
    assert DECISIONS.of(settings) == DECISIONS.of({**settings, **changed})


@pytest.mark.parametrize(("settings", "changed"), DIFFERENT)
def test_different(settings, changed):
    assert DECISIONS.of(settings) != DECISIONS.of({**settings, **changed})


def test_without_rows_and_cache_it_never_acts():
    assert DECISIONS.of({**NO_CACHE, "entropy_threshold": 0.05}) == NEVER
    assert NEVER not in (DECISIONS.of(NO_CACHE), DECISIONS.of(NO_ROWS), DECISIONS.of(SETTINGS))
