"""Is a null distribution of router logits right on text it was not fitted on? p-value histograms, Simes check."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.errors import InputError

PER_ROW = 3
WIDTH, HEIGHT = 215, 130
"""Pixels of one view."""
LAYERS = alt.Color(
    "layer:O",
    scale=alt.Scale(scheme=alt.SchemeParams(name="viridis", extent=[0, 0.85])),
    legend=alt.Legend(columns=2, symbolType="stroke", symbolStrokeWidth=2),
)


def null_histograms(check: pd.DataFrame, *, nulls: list[str] | None = None) -> alt.TopLevelMixin:
    """Density of p-values over 0..1: one view per null, one line per layer.

    Args:
        check: `null, layer, bin_left, bin_right, share` (shares of one null and layer sum to 1). Density is share over
            bin width, so that a null that is right lies on the dashed line at 1.
        nulls: the views and their order; default: all.

    Raises:
        InputError: a column is missing.
    """
    _require(check, "null check", ("null", "layer", "bin_left", "bin_right", "share"))
    frame = _closed(check.assign(density=check["share"] / (check["bin_right"] - check["bin_left"])))
    top = max(2.0, 1.05 * float(frame["density"].max()))
    tips = style.tips("layer", bin_left=".2f", share=".2%", density=".2f")
    lines = alt.Chart().mark_line(interpolate="step-after", strokeWidth=1.4, clip=True)
    lines = lines.encode(
        x=axes.x("bin_left:Q", "p-value", axes.SHARES, format=".1f"),
        y=axes.y("density:Q", "density", axes.up_to(top)),
        color=LAYERS,
        tooltip=tips,
    )
    title = alt.TitleParams(
        "p-values of router logits on held-out text, by null distribution",
        subtitle="density; flat at 1 (dashed) is a null that is right; one line per layer, dark to light with depth",
    )
    return _by_null(frame, nulls, title, lines, style.line(y=1, colour=style.INK))


def simes_check(summary: pd.DataFrame, *, nulls: list[str] | None = None) -> alt.TopLevelMixin:
    """Share of tokens without a rejection over alpha: one view per null, one line per layer.

    Args:
        summary: `null, layer, alpha, no_rejection_share, expected_no_rejection`; the dashed line is what uniform,
            independent p-values give, 1 - alpha.
        nulls: the views and their order; default: all.

    Raises:
        InputError: a column is missing.
    """
    columns = ["null", "layer", "alpha", "no_rejection_share", "expected_no_rejection"]
    _require(summary, "null summary", columns)
    last = min(1.0, float(summary["alpha"].max()) + 0.05)
    x = axes.x("alpha:Q", "α (false discovery rate)", axes.up_to(last), format=".1f")
    y = axes.y("no_rejection_share:Q", "no rejection", axes.SHARES, format=".0%")
    tips = style.tips("layer", alpha=".2f", no_rejection_share=".1%", expected_no_rejection=".1%")
    lines = alt.Chart().mark_line(strokeWidth=1.4, point=alt.OverlayMarkDef(size=14))
    chance = alt.Chart(pd.DataFrame({"alpha": [0.0, last], "no_rejection_share": [1.0, 1 - last]}))
    title = alt.TitleParams(
        "Simes check: tokens without a rejection on held-out text, by null distribution",
        subtitle="share of tokens; dashed: 1 − α, what chance gives; one line per layer, dark to light with depth",
    )
    expected = chance.mark_line(color=style.INK, **style.DASH).encode(x=x, y=y)
    return _by_null(
        summary[columns], nulls, title, lines.encode(x=x, y=y, color=LAYERS, tooltip=tips), expected
    )


def _require(frame: pd.DataFrame, name: str, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(f"{name}: no column {', '.join(missing)}; run the calibrate stage again")


def _by_null(
    frame: pd.DataFrame, nulls: list[str] | None, title: alt.TitleParams, *layers: alt.Chart
) -> alt.FacetChart:
    """The layers in a view for each null, `PER_ROW` beside each other, all on the same axes."""
    order = nulls or list(dict.fromkeys(frame["null"]))
    data = frame[frame["null"].isin(order)]
    chart = alt.layer(*layers, data=data).properties(width=WIDTH, height=HEIGHT)
    views = alt.Facet("null:N", sort=order, title=None)
    return style.dress(chart.facet(views, columns=PER_ROW, spacing=16, title=title))


def _closed(frame: pd.DataFrame) -> pd.DataFrame:
    """The bins with the right end of the last one, so that a step line runs to 1."""
    last = frame.loc[frame.groupby(["null", "layer"], sort=False)["bin_right"].idxmax()]
    return pd.concat([frame, last.assign(bin_left=last["bin_right"])]).sort_values(
        ["null", "layer", "bin_left"], kind="stable"
    )
