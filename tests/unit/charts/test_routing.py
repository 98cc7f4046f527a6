"""The figures of routing: what is drawn is what the statistics and the verdict say, in every layer."""

from __future__ import annotations

import io
import math
import re
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import vl_convert

from switchyard.charts.routing import fast_path, points
from switchyard.charts.routing.context_gain import context_gain
from switchyard.charts.routing.context_tables import ceilings, gains
from switchyard.charts.routing.entropies import cumulative, ranges
from switchyard.charts.routing.entropy_distribution import entropy_distribution
from switchyard.charts.routing.expert_shares import effective, order
from switchyard.charts.routing.fastpath_coverage import fastpath_coverage
from switchyard.charts.routing.frequency_vs_entropy import frequency_vs_entropy, region
from switchyard.charts.routing.layers import CHOSEN, drawn, table
from switchyard.charts.routing.routing_consistency import routing_consistency
from switchyard.charts.routing.token_expert_heatmap import token_expert_heatmap
from switchyard.charts.routing.token_text import named, visible
from switchyard.charts.routing.token_types import TokenTypes, percent
from switchyard.charts.save import Figure, save
from switchyard.errors import InputError
from switchyard.observation.hypothesis import validate

EXPERTS = 16
DRAWS = (frequency_vs_entropy, entropy_distribution, routing_consistency, fastpath_coverage)
TEXTS = (" the", "\n", " a", 'say "', "x,y", "<|endoftext|>")


def made_up(layers=(0, 1), size=300, *, certain=True, seed=0) -> pd.DataFrame:
    """Statistics of `size` token ids; about a fifth of the types are below 0.5 nats where `certain`."""
    rng = np.random.default_rng(seed)
    frequency = np.maximum(5000 / np.arange(1, size + 1), 1).astype(int)
    low = 0.05 if certain else 1.0
    return pd.concat(
        pd.DataFrame(
            {
                "layer": layer,
                "token_id": np.arange(size),
                "token_str": [TEXTS[one] if one < len(TEXTS) else f"t{one}" for one in range(size)],
                "frequency": frequency,
                "mean_entropy": rng.uniform(low, 2.5, size),
                "routing_consistency": rng.uniform(0.1, 1.0, size),
            }
        )
        for layer in layers
    ).reset_index(drop=True)


def types_of(stats: pd.DataFrame, **thresholds) -> TokenTypes:
    return TokenTypes.of(stats, validate(stats, **thresholds).as_json(), num_experts=EXPERTS)


def counts_of(stats: pd.DataFrame, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    keys = stats[["layer", "token_id"]].drop_duplicates()
    parts = [keys.assign(domain=domain, expert=rng.integers(0, EXPERTS, len(keys))) for domain in "aabbb"]
    frame = pd.concat(parts)
    return frame.assign(count=rng.integers(1, 9, len(frame)))


def context_of(layers=(0, 1), windows=(1, 2), *, held_out=True) -> pd.DataFrame:
    rows = []
    for layer in layers:
        for window in windows:
            row = {
                "layer": layer,
                "context": window,
                "chance": 2 / EXPERTS,
                "information_gain": 0.2 * window + layer,
            }
            row["information_gain_held_out"] = 0.01 * window - layer if held_out else None
            for place, level in enumerate(("global", "token", "context")):
                row[f"in_sample_{level}"] = 0.2 + 0.1 * place + 0.05 * window + 0.01 * layer
                row[f"leave_one_domain_out_{level}"] = 0.1 + 0.1 * place + 0.02 * window if held_out else None
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def stats():
    return made_up()


@pytest.fixture(scope="module")
def types(stats):
    return types_of(stats)


@pytest.fixture(scope="module")
def figure_of(types):
    """A function: a figure's `draw` -> the figure of `types`, drawn once for all tests."""
    return cache(lambda draw: draw(types))


def rendered(spec) -> str:
    """The words that a chart (or its dict) shows, between bars."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = vl_convert.vegalite_to_svg(spec if isinstance(spec, dict) else spec.to_dict())
    return re.sub(r"<[^>]*>", "|", svg)


def datasets(chart) -> list[pd.DataFrame]:
    tables = chart.to_dict()["datasets"].values()
    return [
        pd.read_csv(io.StringIO(rows), keep_default_na=False) if isinstance(rows, str) else pd.DataFrame(rows)
        for rows in tables
    ]


def having(chart, *columns: str) -> pd.DataFrame:
    """The rows of all tables in the chart with these columns."""
    found = pd.concat([rows for rows in datasets(chart) if {*columns} <= {*rows}])
    if "layer" not in found:
        return found
    return found.assign(layer=found["layer"].astype(str).str.removeprefix("layer ").astype(int))


@pytest.mark.parametrize("draw", DRAWS)
def test_every_figure_renders_and_says_how_many_are_eligible(types, figure_of, draw):
    svg = rendered(figure_of(draw).drawing)
    assert "NaN" not in svg and "undefined" not in svg
    if draw is not entropy_distribution:
        for one in types.found.values():
            assert f"{one['eligible_tokens']:,} of {one['token_types']:,} token types are eligible" in svg


@pytest.mark.slow
@pytest.mark.parametrize("draw", DRAWS)
def test_nothing_eligible_in_a_table_without_layers(draw):
    stats = made_up(layers=(3,), certain=False).drop(columns=["layer", "token_str"])
    figure = draw(types_of(stats))
    svg = rendered(figure.drawing)
    said = (
        "0 of 300 token types are below"
        if draw is entropy_distribution
        else "0 of 300 token types are eligible"
    )
    assert svg.count(said) == 1 and "all layers together: " in svg and figure.page is figure.drawing


def test_the_region_has_the_edges_of_the_thresholds_and_holds_exactly_the_eligible(stats):
    types = types_of(stats, frequency_threshold=40, entropy_threshold=0.8)
    chart = frequency_vs_entropy(types).drawing
    box = having(chart, "from", "to", "bottom", "high").iloc[0]
    assert (box["from"], box["bottom"], box["high"]) == (40, 0, 0.8)
    marks = having(chart, "x", "y", "types", "eligible")
    inside = marks["x"].between(box["from"], box["to"]) & (marks["y"] < box["high"])
    assert (inside == marks["eligible"].astype(bool)).all()
    eligible = sum(one["eligible_tokens"] for one in types.found.values())
    assert marks.loc[inside, "types"].sum() == eligible > 0
    assert marks["types"].sum() == len(types.rows)
    svg = rendered(chart)
    assert (
        "|frequency ≥ 40|" in svg
        and "|below 0.8 nats|" in svg
        and f"ln {EXPERTS} = {math.log(EXPERTS):.2f}" in svg
    )


def test_a_type_at_a_threshold_is_eligible_by_frequency_and_not_by_entropy():
    stats = made_up(layers=(0,), size=20).assign(frequency=50, mean_entropy=0.4)
    stats.loc[0, "mean_entropy"] = 0.5
    stats.loc[1, "frequency"] = 49
    assert types_of(stats).rows["eligible"].sum() == 20 - 2 - 1  # and one special token
    marks = points.merged(types_of(stats).rows, "frequency", "mean_entropy")
    assert marks.loc[marks["eligible"] == 1, "types"].sum() == 17


def test_rho_is_that_of_the_verdict(types, figure_of):
    drawing = figure_of(frequency_vs_entropy).drawing
    strip = having(drawing, "rho", "low", "high")
    for row in strip.itertuples():
        assert row.rho == pytest.approx(types.found[str(row.layer)]["spearman_rho"], rel=1e-5)
    said = f"layer 1: ρ = {types.found['1']['spearman_rho']:.2f}".replace("-", "−")
    assert said in rendered(drawing)


@pytest.mark.parametrize("most", [60, 200, 100_000])
def test_merged_marks_are_bounded_and_lose_no_type(types, monkeypatch, most):
    monkeypatch.setattr(points, "MARKS_PER_LAYER", most)
    marks = points.merged(types.rows, "frequency", "mean_entropy")
    assert marks.groupby("layer").size().max() <= most
    assert marks["types"].sum() == len(types.rows)
    known = {(row.layer, row.frequency, row.mean_entropy) for row in types.rows.itertuples()}
    assert {(row.layer, row.x, row.y) for row in marks.itertuples()} <= known


def test_histogram_bars_end_at_the_threshold_and_count_every_type(types, figure_of):
    bars = having(figure_of(entropy_distribution).drawing, "left", "right", "types")
    assert bars["types"].sum() == len(types.rows)
    assert not ((bars["left"] < 0.4999) & (bars["right"] > 0.5001)).any()
    assert bars.loc[bars["right"] <= 0.50001, "types"].sum() == types.rows["certain"].sum()


def test_cumulative_shares_against_counting(types):
    found = cumulative(types)
    for row in found[found["layer"] == "1"].iloc[::9].itertuples():
        own = types.rows[types.rows["layer"] == "1"]
        below = own["mean_entropy"] < row.entropy
        uses = own.loc[below, "frequency"].sum() / own["frequency"].sum()
        assert row.below == pytest.approx(below.mean() if row.of == "token types" else uses)
    at = found[(found["layer"] == "0") & (found["entropy"] == 0.5) & (found["of"] == "token types")].iloc[0]
    assert at["below"] == pytest.approx(types.found["0"]["low_entropy_fraction"])


def test_boxes_are_quantiles_of_their_range(types):
    box = ranges(types).query("layer == '0' and range == '10–99'").iloc[0]
    own = types.rows.query("layer == '0' and 10 <= frequency <= 99")["mean_entropy"]
    assert box["types"] == len(own)
    assert box["q1"] == pytest.approx(np.quantile(own, 0.25)) and box["p95"] == pytest.approx(
        np.quantile(own, 0.95)
    )


def test_coverage_bars_parts_and_curve_agree_with_the_verdict(types):
    shares, parts, curve = fast_path.coverages(types), fast_path.parts(types), fast_path.over_ranks(types)
    for layer, one in types.found.items():
        coverage = one["fast_path_coverage"]
        bars = shares[shares["layer"] == layer].set_index("name")["share"]
        assert bars["fast path"] == coverage and bars["fast path"] <= min(
            bars["frequent"], bars["low entropy"]
        )
        own = parts[(parts["layer"] == layer) & (parts["part"] == "eligible")].set_index("of")
        assert own.loc["token types", "number"] == one["eligible_tokens"]
        assert own.loc["occurrences", "share"] == pytest.approx(coverage)
        last = curve[curve["layer"] == layer].groupby("of").last()
        assert set(last["rank"]) == {one["token_types"]} and last.loc["all", "share"] == 1.0
        assert last.loc["eligible", "share"] == pytest.approx(coverage)
    assert parts.groupby(["layer", "of"])["share"].sum().tolist() == pytest.approx([1.0] * 4)


def test_the_outlined_cell_is_the_study_and_every_cell_what_a_verdict_would_say(stats, types):
    found = fast_path.sensitivity(types)
    own = found[found["own"] == 1].set_index("layer")["coverage"]
    assert own.to_dict() == pytest.approx(
        {layer: one["fast_path_coverage"] for layer, one in types.found.items()}
    )
    assert set(found.loc[found["own"] == 1, ["frequency", "entropy"]].itertuples(index=False, name=None)) == {
        (50, 0.5)
    }
    other = found[(found["frequency"] == 100) & (found["entropy"] == 1.5)].set_index("layer")["coverage"]
    verdict = validate(stats, frequency_threshold=100, entropy_threshold=1.5)
    assert other.tolist() == pytest.approx([one["fast_path_coverage"] for one in verdict.layers])


def test_on_paper_the_first_middle_and_last_layer_and_on_the_page_any():
    layers = [str(layer) for layer in range(9)]
    assert drawn(layers) == ["0", "4", "8"] and drawn(layers[:4]) == layers[:4]
    figure = frequency_vs_entropy(types_of(made_up(layers=range(9), size=40)))
    assert set(having(figure.drawing, "x", "types")["layer"]) == {0, 4, 8}
    assert set(having(figure.drawing, "rho")["layer"]) == set(range(9))
    assert set(having(figure.page, "x", "types")["layer"]) == set(range(9))
    (param,) = figure.page.to_dict()["params"]
    assert param["name"] == CHOSEN and param["bind"]["options"] == layers
    for layer in ("0", "7"):
        spec = figure.page.to_dict()
        spec["params"][0]["value"] = layer
        svg = rendered(spec)
        assert svg.count("token types are eligible") == 1 and f"layer {layer}: ρ" in svg


@pytest.mark.slow
@pytest.mark.parametrize("draw", DRAWS)
def test_a_layer_without_usable_rows(draw):
    stats = made_up(size=12)
    stats.loc[stats["layer"] == 1, "mean_entropy"] = np.nan
    svg = rendered(draw(types_of(stats)).drawing)
    assert "layer 1: " in svg and "no token type is usable" in svg and "NaN" not in svg


def test_statistics_and_verdict_of_different_tables_are_refused(stats):
    verdict = validate(stats).as_json()
    with pytest.raises(InputError, match="298 usable rows in layer 0 and 299 in the verdict"):
        TokenTypes.of(stats.iloc[1:], verdict)


def test_tokens_can_be_seen():
    assert [visible(text) for text in (" the", "\n", "a\\n", "", "·", "\x1b", None)] == [
        "·the", "\\n", "a\\\\n", "(empty)", "\\xb7", "\\x1b", "?",
    ]  # fmt: skip
    assert len(visible("x" * 99)) == 18
    twice = pd.DataFrame({"token_id": [5, 7, 9], "token_str": ["�", "�", "b"]})
    assert named(twice).tolist() == ["� 5", "� 7", "b"]
    names = pd.DataFrame({"token": ['say "', "x,y", "\\n"], "value": [1, 2, 3]})
    read = pd.read_csv(io.StringIO(table(names)["values"]))
    assert read["token"].tolist() == names["token"].tolist()


def test_heatmap_cells_are_shares_of_uses(stats, types):
    counts = counts_of(stats)
    cells = having(token_expert_heatmap(types, counts, num_experts=EXPERTS).drawing, "row", "column", "share")
    uses = counts[(counts["layer"] == 1) & (counts["token_id"] == 3)].groupby("expert")["count"].sum()
    own = cells[(cells["layer"] == 1) & (cells["token"] == 'say·"')].set_index("expert")["share"]
    assert own[own > 0].to_dict() == pytest.approx((uses / uses.sum()).to_dict(), abs=1e-4)
    assert set(cells["expert"]) == set(range(EXPERTS))
    assert cells.groupby("layer")["token"].nunique().tolist() == [40, 40]
    assert "<|endoftext|>" not in set(cells["token"])


def test_heatmap_without_a_usable_token_is_empty():
    stats = made_up(layers=(0,), size=6)
    types = types_of(stats.assign(mean_entropy=np.nan))
    svg = rendered(token_expert_heatmap(types, counts_of(stats), num_experts=EXPERTS).drawing)
    assert "Experts of the 0 most frequent token ids" in svg and "NaN" not in svg and "nan" not in svg


def test_order_puts_like_beside_like_and_experts_on_the_diagonal():
    rows, columns = order(np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0.6, 0.4, 0, 0], [0, 0, 0.4, 0.6]]))
    groups = [row % 2 for row in rows]
    assert groups in ([0, 0, 1, 1], [1, 1, 0, 0])
    assert [int(column >= 2) for column in columns] == groups
    assert order(np.ones((1, 3)) / 3)[1].tolist() == [0, 1, 2]


def test_effective_number_of_experts():
    even, one = pd.DataFrame([[3, 3, 3, 3]], index=[7]), pd.DataFrame([[0, 9, 0, 0]], index=[7])
    found = effective({"0": even, "1": one}, [7])
    assert found["median"].tolist() == pytest.approx([4, 1]) and found["whole"].tolist() == pytest.approx(
        [4, 1]
    )


def test_counts_of_other_layers_are_refused(types, stats):
    counts = counts_of(stats)
    with pytest.raises(InputError, match="expert counts: none of layer 1"):
        token_expert_heatmap(types, counts[counts["layer"] == 0], num_experts=EXPERTS)


def test_context_gains_and_ceilings_are_those_of_the_table():
    context = context_of()
    found = gains(context).set_index(["layer", "key", "measured"])["gain"]
    assert found["1", "token id and 2 before", "held out"] == pytest.approx(0.02 - 1)
    assert found["0", "token id and 1 before", "in-sample"] == pytest.approx(0.2)
    shares = ceilings(context, "leave_one_domain_out").set_index(["layer", "key"])["share"]
    assert shares["0", "one list for all"] == pytest.approx(0.12) and shares[
        "0", "token id"
    ] == pytest.approx(0.22)
    assert shares["1", "token id and 2 before"] == pytest.approx(0.34)
    svg = rendered(context_gain(context).drawing)
    assert svg.count("|chance 12.5%|") == 2 and "NaN" not in svg


def test_a_single_domain_is_told_in_place_of_what_it_cannot_have():
    svg = rendered(context_gain(context_of(layers=(3,), windows=(1,), held_out=False)).drawing)
    assert svg.count("only one domain") == 2 and "NaN" not in svg


def test_a_context_table_without_its_columns_is_refused():
    with pytest.raises(InputError, match="context: no column chance"):
        context_gain(context_of().drop(columns="chance"))


def test_files_hold_the_page_and_stay_small(figure_of, tmp_path):
    figure = figure_of(frequency_vs_entropy)
    assert isinstance(figure, Figure)
    svg, _, page = save(figure.drawing, tmp_path, "frequency_vs_entropy", page=figure.page)
    assert CHOSEN in page.read_text() and "token types are eligible" in svg.read_text()
    assert svg.stat().st_size < 1_500_000 and page.stat().st_size < 1_500_000


def test_tokens_cannot_end_the_script_that_holds_them(tmp_path):
    tokens = ["</script>", "<!--", "<script", "<|endoftext|>"]
    stats = made_up(layers=(0,), size=len(tokens)).assign(token_str=tokens)
    figure = frequency_vs_entropy(types_of(stats))
    plain = frequency_vs_entropy(types_of(stats.assign(token_str=list("abcd"))))
    pages = [save(one.drawing, tmp_path, "page", page=one.page)[2].read_text() for one in (figure, plain)]
    assert "\\u003c/script>" in pages[0]
    for mark in ("</script>", "<!--", "<script"):
        assert pages[0].count(mark) == pages[1].count(mark)


def test_percent_never_rounds_a_share_to_nothing():
    said = [percent(share) for share in (0.0, 1e-6, 4e-4, 0.0567, 0.4, 1.0, None)]
    assert said == ["0 %", "under 0.01 %", "0.04 %", "5.7 %", "40 %", "100 %", "undefined"]


def test_region_starts_with_the_axis_where_the_threshold_is_nought(stats):
    box = region(types_of(stats, frequency_threshold=0)).iloc[0]
    assert 0 < box["from"] < 1 < box["to"]
