"""The nine-panel figure: quality, cost, dials, frontier, behaviour and speed on one page."""

from __future__ import annotations

import altair as alt

from switchyard.charts import style
from switchyard.charts.key import key
from switchyard.charts.panels import BARE
from switchyard.charts.tables import Tables

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
    static = int(tables.configs["static"].sum())
    return (
        f"Expert routing: {static} static and {len(tables.configs) - static} adaptive rules "
        f"on {len(tables.datasets)} dataset{'s' if len(tables.datasets) > 1 else ''}"
    )


def _subtitle(tables: Tables) -> list[str]:
    return [
        "Hollow squares are static top-k, filled circles Benjamini-Hochberg; hue says the largest number of experts "
        "a token may get, lightness says α.",
        f"Every comparison is with top-{tables.trained_top_k}, the number of experts the model was trained with "
        "(dashed lines).",
    ]
