"""Points with equal decisions are found before they run, and never points that decide differently."""

from __future__ import annotations

import numpy as np
import pytest

from reference.var import LEARNED, Known, NaiveVAR, Route, Token
from switchyard.search.decisions import NEVER, VARDecisions
from switchyard.var.config import VARConfig

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
NO_CACHE = {**SETTINGS, "cache_size": 0}
TOO_SURE = {**SETTINGS, "confidence_threshold": 0.95}
NO_ROWS = {**SETTINGS, "entropy_threshold": 0.05}

ALIKE = [
    (SETTINGS, {"entropy_threshold": 0.9, "frequency_threshold": 6}),
    (SETTINGS, {"fast_path_experts": None}),
    ({**SETTINGS, "cache_size": 1000}, {"cache_size": 5000}),
    ({**SETTINGS, "cache_ttl_seconds": 100}, {"cache_ttl_seconds": 300}),
    (NO_CACHE, {"cache_ttl_seconds": 10, "context_window_size": 2, "confidence_threshold": 0.95}),
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
    (TOO_SURE, {"cache_size": 0}),  # a looked-up route may raise the confidences of later layers
]


@pytest.mark.parametrize(("settings", "changed"), ALIKE)
def test_alike(settings, changed):
    assert DECISIONS.of(settings) == DECISIONS.of({**settings, **changed})


@pytest.mark.parametrize(("settings", "changed"), DIFFERENT)
def test_different(settings, changed):
    assert DECISIONS.of(settings) != DECISIONS.of({**settings, **changed})


def test_without_rows_and_cache_it_never_acts():
    assert DECISIONS.of({**NO_CACHE, "entropy_threshold": 0.05}) == NEVER
    assert DECISIONS.of({**TOO_SURE, "entropy_threshold": 0.05}) == NEVER
    assert NEVER not in (DECISIONS.of(NO_CACHE), DECISIONS.of(NO_ROWS), DECISIONS.of(SETTINGS))


def decided(settings: dict, seed: int) -> tuple[list, VARDecisions]:
    """What the token-by-token VAR decides on a random stream, and what is known of the stream beforehand."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, 6, 40)
    confidences = random.choice([0.4, 0.6, 0.75], 40)
    table = {
        (0, one): Known(int(random.integers(10, 60)), float(random.random()), Route([0, 1], [0.5, 0.5]))
        for one in range(4)
    }
    rows = table.values()
    known = VARDecisions(
        frequency=np.array([row.frequency for row in rows]),
        mean_entropy=np.array([row.mean_entropy for row in rows]),
        highest_confidence=float(confidences.max()),
        tokens=40,
        tokens_per_second=4.0,
        top_k=2,
    )
    var = NaiveVAR(VARConfig(**settings), table, True, 4.0)
    found = []
    for start in range(0, 40, 8):
        places = range(start, start + 8)
        window = settings["context_window_size"]
        before = [np.r_[[-1, -1], ids][one : one + 2][2 - window :].tolist() for one in places]
        tokens = [Token(int(ids[one]), tuple(previous), True) for one, previous in zip(places, before)]
        probabilities = [[confidences[one], 1 - confidences[one], 0.0, 0.0, 0.0] for one in places]
        own = [Route([one % 3, 3 + one % 2], [0.5, 0.5]) for one in places]  # no two places route alike
        found += var.forward(tokens, [probabilities], [own])[0]
    return found, known


@pytest.mark.parametrize("seed", range(3))
def test_equal_keys_decide_alike_in_the_reference(seed):
    random = np.random.default_rng(100 + seed)
    by_key, merged = {}, 0
    for _ in range(300):
        settings = {
            "frequency_threshold": int(random.integers(10, 80)),
            "entropy_threshold": float(random.random()),
            "confidence_threshold": float(random.choice([0.5, 0.7, 0.8])),
            "cache_size": int(random.choice([0, 3, 40, 60])),
            "cache_ttl_seconds": int(random.choice([2, 5, 10, 20])),
            "context_window_size": int(random.integers(0, 3)),
            "fast_path_experts": int(random.integers(1, 3)),
        }
        found, known = decided(settings, seed)
        key = known.of(settings)
        if key == NEVER:
            assert {decision.path for decision in found} == {LEARNED}
        merged += key in by_key
        assert by_key.setdefault(key, found) == found
    assert merged > 30 and NEVER in by_key and len(by_key) > 30
