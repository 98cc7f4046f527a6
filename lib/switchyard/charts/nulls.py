"""Is a null distribution of router logits right on text it was not fitted on? p-value histograms, Simes check."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.errors import InputError

PER_ROW = 3
WIDTH, HEIGHT = 250, 130
"""Pixels of one view."""

REFERENCE = {"strokeDash": [5, 3], "strokeWidth": 1.2, "color": style.INK}
"""What a null that is right gives, over the lines, which would hide it where the null is right."""


def null_histograms(check: pd.DataFrame, *, nulls: list[str] | None = None) -> alt.TopLevelMixin:
    """Small multiples: one view per null, one line per layer, density of p-values over 0..1.

    `check` has `null, layer, bin_left, bin_right, share` (shares of one null and layer sum to 1); density is share
    over bin width, so that a null that is right lies on the dashed line at 1. `nulls` chooses and orders views.
    """
    _require(check, "null check", ("null", "layer", "bin_left", "bin_right", "share"))
    frame = check.assign(density=check["share"] / (check["bin_right"] - check["bin_left"]))
    scale = alt.Scale(domain=[0, max(2.0, 1.05 * float(frame["density"].max()))], nice=False)
    return _small_multiples(
        frame,
        nulls,
        lambda own: _densities(own, scale),
        "p-values of router logits on held-out text, by null distribution",
        "density; flat at 1 (dashed) is a null that is right; one line per layer, dark to light with depth",
    )


def simes_check(summary: pd.DataFrame, *, nulls: list[str] | None = None) -> alt.TopLevelMixin:
    """Small multiples: one view per null, one line per layer, share of tokens without a rejection over alpha.

    `summary` has `null, layer, alpha, no_rejection_share, expected_no_rejection`; the dashed line is what uniform,
    independent p-values give, 1 - alpha. `nulls` chooses and orders views.
    """
    columns = ("null", "layer", "alpha", "no_rejection_share", "expected_no_rejection")
    _require(summary, "null summary", columns)
    last = min(1.0, float(summary["alpha"].max()) + 0.05)
    return _small_multiples(
        summary,
        nulls,
        lambda own: _no_rejections(own, last),
        "Simes check: tokens without a rejection on held-out text, by null distribution",
        "share of tokens; dashed: 1 − α, what chance gives; one line per layer, dark to light with depth",
    )


def _require(frame: pd.DataFrame, name: str, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(f"{name}: no column {', '.join(missing)}; run the calibrate stage again")


def _small_multiples(
    frame: pd.DataFrame,
    nulls: list[str] | None,
    view: Callable[[pd.DataFrame], alt.LayerChart],
    title: str,
    subtitle: str,
) -> alt.TopLevelMixin:
    """A view for each null, `PER_ROW` beside each other."""
    views = [
        view(frame[frame["null"] == name]).properties(
            width=WIDTH, height=HEIGHT, title=style.small_title(name)
        )
        for name in nulls or list(dict.fromkeys(frame["null"]))
    ]
    rows = [
        alt.hconcat(*views[start : start + PER_ROW], spacing=16) for start in range(0, len(views), PER_ROW)
    ]
    return style.dress(alt.vconcat(*rows, spacing=18, title=alt.TitleParams(title, subtitle=subtitle)))


def _densities(frame: pd.DataFrame, scale: alt.Scale) -> alt.LayerChart:
    x = alt.X(
        "bin_left:Q",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(title="p-value", format=".1f", tickCount=5),
    )
    y = alt.Y("density:Q", scale=scale, axis=alt.Axis(title="density", tickCount=5))
    tips = [
        alt.Tooltip("layer:O"),
        alt.Tooltip("bin_left:Q", title="from p", format=".2f"),
        alt.Tooltip("share:Q", format=".2%"),
        alt.Tooltip("density:Q", format=".2f"),
    ]
    lines = alt.Chart(_closed(frame)).mark_line(interpolate="step-after", strokeWidth=1.4, clip=True)
    uniform = alt.Chart(pd.DataFrame({"density": [1.0]})).mark_rule(**REFERENCE)
    return alt.layer(lines.encode(x=x, y=y, color=_by_layer(), tooltip=tips), uniform.encode(y=y))


def _no_rejections(frame: pd.DataFrame, last: float) -> alt.LayerChart:
    x = alt.X(
        "alpha:Q",
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(title="α (false discovery rate)", format=".1f", tickCount=5),
    )
    scale = alt.Scale(domain=[0, 1], nice=False)
    y = alt.Y(
        "no_rejection_share:Q",
        scale=scale,
        axis=alt.Axis(title="no rejection", format=".0%", tickCount=5),
    )
    tips = [
        alt.Tooltip("layer:O"),
        alt.Tooltip("alpha:Q", title="α", format=".2f"),
        alt.Tooltip("no_rejection_share:Q", title="no rejection", format=".1%"),
        alt.Tooltip("expected_no_rejection:Q", title="by chance", format=".1%"),
    ]
    columns = ["layer", "alpha", "no_rejection_share", "expected_no_rejection"]
    lines = alt.Chart(frame[columns]).mark_line(strokeWidth=1.4, point=alt.OverlayMarkDef(size=14))
    chance = alt.Chart(pd.DataFrame({"alpha": [0.0, last], "no_rejection_share": [1.0, 1 - last]})).mark_line(
        **REFERENCE
    )
    return alt.layer(lines.encode(x=x, y=y, color=_by_layer(), tooltip=tips), chance.encode(x=x, y=y))


def _by_layer() -> alt.Color:
    return alt.Color(
        "layer:O",
        scale=alt.Scale(scheme=alt.SchemeParams(name="viridis", extent=[0, 0.85])),
        legend=alt.Legend(title="layer", columns=2, symbolType="stroke", symbolStrokeWidth=2),
    )


def _closed(frame: pd.DataFrame) -> pd.DataFrame:
    """The bins with the right end of the last one, so that a step line runs to 1."""
    last = frame.loc[frame.groupby("layer")["bin_right"].idxmax()]
    return pd.concat([frame, last.assign(bin_left=last["bin_right"])]).sort_values(
        ["layer", "bin_left"], kind="stable"
    )
