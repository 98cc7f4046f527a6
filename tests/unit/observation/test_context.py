"""What context tells, against plain loops, and where the answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reference import observation_ceiling as reference
from switchyard.errors import InputError
from switchyard.observation.context import LEVELS, SCHEMA, context_measures

COUNTS = pa.schema(
    [("layer", pa.int16()), ("domain", pa.string()), ("context", pa.int8()), ("key", pa.int32())]
    + [("token_id", pa.int32()), ("expert", pa.int16()), ("count", pa.int64())]
)


def row(domain: str, token_id: int, key: int, expert: int, count: int, **place: int) -> dict[str, Any]:
    columns = {"layer": 0, "context": 1, **place, "domain": domain, "key": key}
    return {**columns, "token_id": token_id, "expert": expert, "count": count}


def measured(rows: list[dict], **options: Any) -> list[dict[str, Any]]:
    return context_measures(pa.Table.from_pylist(rows, COUNTS), **{"top_k": 1, **options}).to_pylist()


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict], int, int]:
    num_experts = draw(st.sampled_from((1, 2, 5)))
    rows = st.builds(
        row,
        domain=st.sampled_from("abc"[: draw(st.integers(1, 3))]),
        token_id=st.integers(0, 2),
        key=st.integers(0, 3),
        expert=st.integers(0, num_experts - 1),
        count=st.integers(0, 4),
        layer=st.sampled_from((0, 3)),
        context=st.sampled_from((1, 2)),
    )
    return draw(st.lists(rows, min_size=1, max_size=30)), num_experts, draw(st.integers(1, num_experts))


@settings(derandomize=True, database=None, deadline=None, max_examples=40)
@given(case=tables())
def test_equals_plain_loops(case: tuple) -> None:
    rows, num_experts, top_k = case
    assume(any(one["count"] for one in rows))
    found = measured(rows, top_k=top_k, num_experts=num_experts)
    places = sorted({(one["layer"], one["context"]) for one in rows if one["count"]})
    assert [(one["layer"], one["context"]) for one in found] == places
    for one in found:
        own = [r for r in rows if (r["layer"], r["context"]) == (one["layer"], one["context"]) and r["count"]]
        expected = reference.ceilings(own, list(LEVELS), top_k, num_experts)
        contexts = {(r["token_id"], r["key"]) for r in own}
        tokens = {token for token, _ in contexts}
        assert (one["keys"], one["token_ids"]) == (len(contexts), len(tokens))
        assert one["uses"] == sum(r["count"] for r in own)
        for depth, level in enumerate(LEVELS, start=1):
            assert one[f"in_sample_{level}"] == reference.share(expected, level, "in_sample")
            assert one[f"leave_one_domain_out_{level}"] == reference.share(expected, level, "left_out")
            near = {"rel": 1e-12, "abs": 1e-12}
            entropy = reference.entropy(own, level, num_experts)
            assert one[f"entropy_{level}"] == pytest.approx(entropy, **near)
            crossed = reference.cross_entropy(own, list(LEVELS[:depth]), num_experts)
            assert one[f"cross_entropy_{level}"] == (crossed and pytest.approx(crossed, **near))
        for level in ("token", "context"):
            assert one[f"unseen_share_{level}"] == reference.share(expected, level, "unseen")
        assert one["information_gain"] >= -1e-12
        assert one["entropy_global"] <= math.log(num_experts) + 1e-12


def test_a_context_that_decides_the_expert() -> None:
    """Two contexts of one token id, each with an expert of its own, the same in every domain."""
    rows = [row(domain, 5, key, key, 10_000) for domain in "ab" for key in (0, 1)]
    (found,) = measured(rows)
    assert found["information_gain"] == pytest.approx(math.log(2))
    assert found["information_gain_held_out"] == pytest.approx(math.log(2), abs=1e-3)
    assert (found["leave_one_domain_out_token"], found["leave_one_domain_out_context"]) == (0.5, 1.0)


def test_a_context_that_tells_nothing_gains_in_sample_only() -> None:
    rng = np.random.default_rng(0)
    rows = [row("ab"[i % 2], 5, i // 4, int(rng.integers(8)), 1) for i in range(4000)]
    (found,) = measured(rows)
    assert found["information_gain"] > 0.5
    assert -0.1 < found["information_gain_held_out"] < 0.01


def test_the_same_uses_on_both_sides() -> None:
    """Token ids are counted where the context is known, not where another number of previous tokens is."""
    rows = [row(domain, 5, 0, 0, 3) for domain in "ab"]
    rows += [row(domain, 5, 0, expert, 3, context=2) for domain in "ab" for expert in range(4)]
    first, second = measured(rows)
    assert first["entropy_token"] == 0.0
    assert second["entropy_token"] == pytest.approx(math.log(4))


def test_the_kept_share_is_told_by_context() -> None:
    rows = [row("a", 1, 0, 0, 1, context=context) for context in (1, 2)]
    assert [one["kept_share"] for one in measured(rows, kept={1: 0.75})] == [0.75, None]


def test_one_domain_leaves_nothing_to_hold_out() -> None:
    (found,) = measured([row("a", 1, key, key % 3, 2) for key in range(5)])
    absent = {name for name, value in found.items() if value is None}
    held_out = {name for name in SCHEMA.names if name.startswith(("leave_one", "cross_", "unseen_"))}
    assert absent == held_out | {"information_gain_held_out", "kept_share"}


@pytest.mark.parametrize("column", COUNTS.names)
def test_refuses_a_table_without_a_column(column: str) -> None:
    table = pa.Table.from_pylist([row("a", 1, 2, 3, 4)], COUNTS)
    with pytest.raises(InputError, match=f"column {column} is missing"):
        context_measures(table.drop_columns(column), top_k=1)
