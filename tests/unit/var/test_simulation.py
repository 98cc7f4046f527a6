"""The simulated caches against the router's own hits and against the definition, one token at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.var import CACHED, Known, NaiveVAR, Route, Token
from switchyard.errors import InputError
from switchyard.var.config import VARConfig
from switchyard.var.simulation import Stream, simulate

RATE = 4.0
FAST_ID = 0
TABLE = {(0, FAST_ID): Known(100, 0.1, Route([0], [1.0]))}


def random_stream(seed: int, tokens: int) -> Stream:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 5, tokens)
    confidence = rng.choice([0.3, 0.6, 0.9], tokens).astype(np.float32)
    forward = np.sort(rng.integers(0, max(1, tokens // 5), tokens))
    return Stream(ids, rng.integers(-1, 1, (tokens, 2)), confidence, forward, ids == FAST_ID)


def hits(stream: Stream, config: VARConfig, forward: np.ndarray) -> tuple[int, int]:
    """Look-ups and hits of the reference, fed with the tokens of each forward."""
    naive = NaiveVAR(config, TABLE, True, RATE)
    window = config.context_window_size
    found = 0
    for number in np.unique(forward):
        rows = np.flatnonzero(forward == number)
        tokens = [
            Token(int(stream.token_id[row]), tuple(stream.previous[row, 2 - window :].tolist()), True)
            for row in rows
        ]
        probabilities = [[[float(stream.confidence[row])] for row in rows]]
        decisions = naive.forward(tokens, probabilities, [[Route([0], [1.0])] * len(rows)])
        found += sum(decision.path == CACHED for decision in decisions[0])
    return naive.lookups.get(0, 0), found


@given(
    seed=st.integers(0, 10**6),
    tokens=st.integers(1, 60),
    size=st.sampled_from([0, 1, 3, 20]),
    ttl=st.sampled_from([0.5, 3.0, 100.0]),
    window=st.integers(0, 2),
)
def test_both_caches_are_those_of_the_definition(
    seed: int, tokens: int, size: int, ttl: float, window: int
) -> None:
    stream = random_stream(seed, tokens)
    config = VARConfig(
        cache_size=size, cache_ttl_seconds=ttl, context_window_size=window, confidence_threshold=0.5
    )
    found = simulate(stream, config, RATE)
    if size == 0:
        assert found == (0, 0, 0)
        return
    assert (found.lookups, found.forward_hits) == hits(stream, config, stream.forward)
    assert (found.lookups, found.sequential_hits) == hits(stream, config, np.arange(tokens))


def test_a_sequential_cache_hits_within_a_forward() -> None:
    ids, previous = np.array([7, 7, 7, 7]), np.full((4, 1), -1)
    stream = Stream(ids, previous, np.full(4, 0.9, np.float32), np.array([0, 0, 0, 1]))
    assert simulate(stream, VARConfig(context_window_size=1), RATE) == (4, 1, 3)


def test_refuses_streams_that_say_too_little() -> None:
    stream = random_stream(0, 5)
    with pytest.raises(InputError, match="2 previous ids, context_window_size is 4"):
        simulate(stream, VARConfig(), RATE)
    with pytest.raises(InputError, match="differ in length"):
        simulate(stream._replace(forward=np.zeros(4)), VARConfig(context_window_size=1), RATE)
