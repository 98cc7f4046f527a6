"""p-value histograms: is a null distribution of router logits right on text it was not fitted on?"""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.errors import InputError

COLUMNS = ("null", "layer", "bin_left", "bin_right", "share")
PER_ROW = 3


def null_histograms(check: pd.DataFrame, *, nulls: list[str] | None = None) -> alt.TopLevelMixin:
    """Small multiples: one view per null, one line per layer, density of p-values over 0..1.

    `check` has `null, layer, bin_left, bin_right, share` (shares of one null and layer sum to 1); density is share
    over bin width, so that a null that is right lies on the dashed line at 1. `nulls` chooses and orders views.
    """
    missing = [column for column in COLUMNS if column not in check]
    if missing:
        raise InputError(f"null check: no column {', '.join(missing)}; run the calibrate stage again")
    frame = check.assign(density=check["share"] / (check["bin_right"] - check["bin_left"]))
    names = nulls or list(dict.fromkeys(frame["null"]))
    scale = alt.Scale(domain=[0, max(2.0, 1.05 * float(frame["density"].max()))], nice=False)
    views = [_view(frame[frame["null"] == name], name, scale) for name in names]
    rows = [
        alt.hconcat(*views[start : start + PER_ROW], spacing=16) for start in range(0, len(views), PER_ROW)
    ]
    title = alt.TitleParams(
        "p-values of router logits on held-out text, by null distribution",
        subtitle="density; flat at 1 (dashed) is a null that is right; one line per layer, dark to light with depth",
    )
    return style.dress(alt.vconcat(*rows, spacing=18, title=title))


def _view(frame: pd.DataFrame, name: str, scale: alt.Scale) -> alt.LayerChart:
    x = alt.X(
        "bin_left:Q",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(title="p-value", format=".1f", tickCount=5),
    )
    y = alt.Y("density:Q", scale=scale, axis=alt.Axis(title="density", tickCount=5))
    colour = alt.Color(
        "layer:O",
        scale=alt.Scale(scheme=alt.SchemeParams(name="viridis", extent=[0, 0.85])),
        legend=alt.Legend(title="layer", columns=2),
    )
    tips = [
        alt.Tooltip("layer:O"),
        alt.Tooltip("bin_left:Q", title="from p", format=".2f"),
        alt.Tooltip("share:Q", format=".2%"),
        alt.Tooltip("density:Q", format=".2f"),
    ]
    lines = alt.Chart(_closed(frame)).mark_line(interpolate="step-after", strokeWidth=1.4, clip=True)
    uniform = alt.Chart(pd.DataFrame({"density": [1.0]})).mark_rule(strokeDash=[5, 3], color=style.QUIET)
    layered = alt.layer(uniform.encode(y=y), lines.encode(x=x, y=y, color=colour, tooltip=tips))
    return layered.properties(width=250, height=130, title=style.small_title(name))


def _closed(frame: pd.DataFrame) -> pd.DataFrame:
    """The bins with the right end of the last one, so that a step line runs to 1."""
    last = frame.loc[frame.groupby("layer")["bin_right"].idxmax()]
    return pd.concat([frame, last.assign(bin_left=last["bin_right"])]).sort_values(
        ["layer", "bin_left"], kind="stable"
    )
