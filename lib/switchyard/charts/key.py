"""The key to the configurations: rows are k or max_k, columns are static or alpha; a click highlights one."""

from __future__ import annotations

import altair as alt

from switchyard.charts import style
from switchyard.charts.tables import Tables


def key(tables: Tables) -> alt.Chart:
    """Every configuration's mark in a grid; in the interactive figure a click on one fades the others."""
    pick = alt.selection_point(name=style.PICK, fields=["config_name"], on="click", clear="dblclick")
    frame = style.configurations(tables)
    x = alt.X(
        "setting:N",
        sort=style.settings(tables),
        axis=alt.Axis(
            orient="top",
            title="static, or α of BH",
            labelAngle=0,
            domain=False,
            ticks=False,
            grid=False,
            labelOverlap=False,
        ),
    )
    y = alt.Y(
        "family:N",
        sort=style.families(tables),
        axis=alt.Axis(
            title="k or max_k",
            titlePadding=8,
            domain=False,
            ticks=False,
            grid=False,
        ),
    )
    return (
        style.points(alt.Chart(frame, name="key"), x=x, y=y, tooltip=style.tooltips())
        .add_params(pick)
        .properties(
            width=38 * frame["setting"].nunique(),
            height=22 * frame["family"].nunique(),
            view=alt.ViewBackground(stroke=None),
        )
    )


def with_key(panel: alt.TopLevelMixin, tables: Tables) -> alt.HConcatChart:
    """A panel that stands alone: the key at its right, in the style."""
    return style.dress(alt.hconcat(panel, key(tables), spacing=28).resolve_scale(xOffset="independent"))
