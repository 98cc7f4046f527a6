"""The nine-panel figure: quality, cost, dials, frontier, behaviour and speed on one page."""

from __future__ import annotations

import altair as alt

from switchyard.charts import style
from switchyard.charts.key import key
from switchyard.charts.panels import BARE
from switchyard.warehouse.study_tables import Tables

COLUMNS = 3


def nine_panel(tables: Tables) -> alt.VConcatChart:
    """All panels in rows of three under one key; a click in the key highlights a configuration in every panel."""
    panels = [draw(tables) for draw in BARE.values()]
    grid = alt.concat(*panels, columns=COLUMNS, spacing=alt.RowColnumber(column=40, row=34), align="each")
    title = alt.TitleParams(
        _title(tables), subtitle=_subtitle(tables), fontSize=16, anchor="start", offset=14
    )
    figure = alt.vconcat(key(tables), grid, spacing=30, title=title)
    return style.dress(figure.resolve_scale(xOffset="independent"))


def _title(tables: Tables) -> str:
    looks = style.configurations(tables)
    static, controls = int(looks["static"].sum()), int(looks["control"].sum())
    return (
        f"Expert routing: {static} static and {len(looks) - static - controls} adaptive rules "
        f"on {len(tables.datasets)} dataset{'s' if len(tables.datasets) > 1 else ''}"
    )


def _subtitle(tables: Tables) -> list[str]:
    return [
        "Hollow squares are static top-k, filled marks adaptive rules: shape says the rule, hue its largest number of "
        "experts or its null, lightness its dial; see the key.",
        f"Every comparison is with top-{tables.trained_top_k}, the number of experts the model was trained with "
        "(dashed lines).",
    ]
