"""The nine panels by name, each as a chart that stands alone."""

from __future__ import annotations

from collections.abc import Callable

import altair as alt

from switchyard.charts import behaviour, by_alpha, heatmap, style, tradeoff
from switchyard.charts.key import with_key
from switchyard.warehouse.study_tables import Tables

Panel = Callable[[Tables], alt.TopLevelMixin]

BARE: dict[str, Panel] = {
    "perplexity": by_alpha.perplexity,
    "accuracy": by_alpha.accuracy,
    "experts": by_alpha.experts,
    "heatmap": heatmap.heatmap,
    "pareto": tradeoff.pareto,
    "floor_ceiling": behaviour.floor_and_ceiling,
    "utilisation": by_alpha.utilisation,
    "layers": behaviour.layers,
    "speed": tradeoff.speed,
}
"""Panels as parts of the nine-panel figure, in its order."""

KEYLESS = {"heatmap", "floor_ceiling"}
"""Panels that show no configuration's own mark."""
WHOLE_KEY = {"pareto", "speed"}
"""Panels that show every rule; the others show static rules and the grid."""


def _alone(name: str) -> Panel:
    def draw(tables: Tables) -> alt.TopLevelMixin:
        panel = BARE[name](tables)
        if name in KEYLESS:
            return style.dress(panel)
        looks = style.configurations(tables)
        drawn = looks[~looks["control"]] if name in WHOLE_KEY else by_alpha.shown(tables, looks)
        return with_key(panel, tables, drawn)

    draw.__name__ = name
    draw.__doc__ = BARE[name].__doc__
    return draw


PANELS: dict[str, Panel] = {name: _alone(name) for name in BARE}
