"""The nine panels by name, and the figure of all of them."""

from __future__ import annotations

from collections.abc import Callable

import altair as alt

from switchyard.charts import heatmap, layers, measures, style, tradeoff
from switchyard.charts.floor_ceiling import floor_and_ceiling
from switchyard.charts.looks import configurations
from switchyard.charts.marks import clickable
from switchyard.charts.panel import without_controls
from switchyard.charts.save import Figure
from switchyard.warehouse.study_tables import Tables

Panel = Callable[..., alt.TopLevelMixin]

BARE: dict[str, Panel] = {
    "perplexity": measures.perplexity,
    "accuracy": measures.accuracy,
    "experts": measures.experts,
    "heatmap": heatmap.heatmap,
    "pareto": tradeoff.pareto,
    "floor_ceiling": floor_and_ceiling,
    "utilisation": measures.utilisation,
    "layers": layers.layers,
    "speed": tradeoff.speed,
}
"""Panels as parts of the nine-panel figure, in its order."""
UNMARKED = {"heatmap", "floor_ceiling"}
"""Panels that show no configuration's own mark."""
COLUMNS, PAGE_COLUMNS = 3, 2


def _alone(name: str) -> Panel:
    def draw(tables: Tables) -> alt.TopLevelMixin:
        panel = BARE[name](tables)
        return style.dress(panel if name in UNMARKED else clickable(panel, name))

    draw.__name__ = name
    draw.__doc__ = BARE[name].__doc__
    return draw


PANELS: dict[str, Panel] = {name: _alone(name) for name in BARE}
"""Each panel as a figure that stands alone."""


def nine_panel(tables: Tables) -> Figure:
    """All panels in rows, legends above them; a click in a legend highlights what it names in every panel."""
    return Figure(*(_rows(tables, columns) for columns in (COLUMNS, PAGE_COLUMNS)))


def _rows(tables: Tables, columns: int) -> alt.TopLevelMixin:
    panels = [draw(tables, without_controls(tables)) for draw in BARE.values()]
    spacing = alt.RowColnumber(column=40, row=34)
    grid = alt.concat(*panels, columns=columns, spacing=spacing, align="each")
    grid = grid.resolve_scale(xOffset="independent", size="independent", color="independent")
    title = style.heading(_title(tables), _subtitle(tables))
    return style.dress(clickable(grid.properties(title=title), "perplexity"), legends="top")


def _title(tables: Tables) -> str:
    looks = configurations(tables)
    static, controls = int(looks["static"].sum()), int(looks["control"].sum())
    return (
        f"Expert routing: {static} static and {len(looks) - static - controls} adaptive rules "
        f"on {len(tables.datasets)} dataset{'s' if len(tables.datasets) > 1 else ''}"
    )


def _subtitle(tables: Tables) -> list[str]:
    return [
        "Hollow squares are static top-k, filled marks adaptive rules: shape says the rule, hue its largest number of "
        "experts or its null, lightness its hyperparameter.",
        f"Every comparison is with top-{tables.trained_top_k}, the number of experts the model was trained with "
        "(dashed lines).",
    ]
