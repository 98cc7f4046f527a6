import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from switchyard.charts.tradeoff import undominated

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=14)


def naive(points):
    """Points that no other beats: none has at most the same of both with one of them lower."""
    return sorted(
        (x, y) for x, y in points if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
    )


@given(POINTS)
def test_equals_the_definition(points):
    frame = pd.DataFrame(points, columns=["cost", "loss"])
    kept = undominated(frame, cost="cost", loss="loss")
    assert sorted(map(tuple, kept[["cost", "loss"]].to_numpy().tolist())) == naive(points)


@given(POINTS, st.randoms())
def test_order_of_rows_does_not_matter(points, random):
    shuffled = list(points)
    random.shuffle(shuffled)
    one, other = (
        undominated(pd.DataFrame(p, columns=["cost", "loss"]), cost="cost", loss="loss").to_numpy().tolist()
        for p in (points, shuffled)
    )
    assert one == other
