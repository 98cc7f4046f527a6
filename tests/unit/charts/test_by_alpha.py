import altair as alt
import pytest

from switchyard.charts.by_alpha import APART, HEIGHT, numbered, shown

SCALES = {
    "log": (
        alt.Scale(type="log", base=2, domain=[1, 64]),
        lambda value: HEIGHT / 6 * (value.bit_length() - 1),
    ),
    "linear": (alt.Scale(domain=[0, 190]), float),
}


@pytest.mark.parametrize("kind", SCALES)
def test_numbers_of_the_ruler_stand_apart(kind):
    scale, place = SCALES[kind]
    values = {k: k for k in (1, 2, 4, 8, 16, 32, 64)}
    said = numbered(values, scale, first=8)
    places = sorted(place(values[k]) for k in said)
    assert all(b - a >= APART - 1e-9 for a, b in zip(places, places[1:], strict=False))
    assert 8 in said and len(said) == {"log": 7, "linear": 3}[kind]


def test_the_trained_k_is_said_where_all_coincide():
    assert numbered({1: 5.0, 8: 5.0, 64: 5.0}, alt.Scale(domain=[0, 10]), first=8) == [8]


def test_panels_along_alpha_draw_static_rules_and_the_grid(made_up):
    tables = made_up(controls=True, others=True)
    assert set(shown(tables, tables.results)["routing_type"]) == {"topk", "bh"}
