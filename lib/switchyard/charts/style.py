"""One style for every figure: the same configuration has the same colour and shape wherever it is drawn.

Hue says the largest number of experts a token may get (k or max_k), lightness says alpha, shape says static
(hollow square) or adaptive (filled circle). Hues are those of Okabe and Ito (2008), chosen to be told apart
with colour-blind eyes; every chart repeats the information by position, so that none rests on colour alone.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from switchyard.charts.tables import Tables

HUES = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9")
INK = "#222222"
QUIET = "#767676"
PALEST = 0.72
"""Share of white in the colour of the smallest alpha; the largest alpha has none."""

PICK = "pick"
"""Name of the selection that the key makes and every mark of a configuration listens to."""

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
SMALL = {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"}
CONFIG = {
    "font": FONT,
    "background": "white",
    "padding": 12,
    "view": {"stroke": "#cccccc"},
    "axis": {
        **SMALL,
        "gridColor": "#ececec",
        "domainColor": QUIET,
        "tickColor": QUIET,
        "labelColor": INK,
        "titleColor": INK,
        "labelOverlap": "greedy",
    },
    "title": {
        "fontSize": 13,
        "subtitleFontSize": 11,
        "subtitleColor": "#555555",
        "anchor": "start",
        "frame": "group",
        "color": INK,
        "offset": 8,
        "subtitlePadding": 4,
    },
    "legend": SMALL,
}

STATIC_SETTING = "top-k"


def styled(tables: Tables, frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The `columns` of `frame` (a table with `config_name`) with each configuration's label, colour, shape, places.

    Only what a chart draws goes into it, since the data are copied into every figure.
    """
    looks = configurations(tables).drop(columns=["routing_type", "alpha"])
    return frame[["config_name", *columns]].merge(looks, on="config_name", validate="many_to_one")


def configurations(tables: Tables) -> pd.DataFrame:
    """One row per configuration: label, colour, edge (hue of its family), shape, setting (place on an alpha axis)."""
    configs = tables.configs.copy()
    hues = _hues(configs)
    shades = _shades(configs)
    configs["setting"] = [
        STATIC_SETTING if row.static else f"{row.alpha:.2f}" for row in configs.itertuples()
    ]
    configs["family"] = [f"{row.k_or_max_k}" for row in configs.itertuples()]
    configs["edge"] = [hues[row.k_or_max_k] for row in configs.itertuples()]
    configs["colour"] = [
        "#ffffff" if row.static else tint(hues[row.k_or_max_k], shades[row.alpha])
        for row in configs.itertuples()
    ]
    configs["shape"] = ["square" if row.static else "circle" for row in configs.itertuples()]
    configs["size"] = [70 if row.static else 55 for row in configs.itertuples()]
    return configs


def settings(tables: Tables) -> list[str]:
    """Places on an alpha axis, in order: `top-k`, then each alpha."""
    return list(dict.fromkeys(configurations(tables)["setting"]))


def families(tables: Tables) -> list[str]:
    """k or max_k of the study, ascending, as text."""
    return [str(k) for k in sorted(tables.configs["k_or_max_k"].unique())]


def tint(colour: str, white: float) -> str:
    """`colour` (`#rrggbb`) mixed with a share `white` (0..1) of white."""
    channels = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (255 - channel) * white):02x}" for channel in channels)


def dress(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """The chart with the style's fonts, axes and background."""
    return chart.properties(config=alt.Config(**CONFIG))


def small_title(text: str) -> alt.TitleParams:
    """Heading of one view inside a panel (a dataset, a family)."""
    return alt.TitleParams(text, fontSize=11, fontWeight="normal", anchor="middle", offset=4)


def dataset_title(name: str) -> str:
    """A dataset's key as a reader says it: underscores become spaces."""
    return name.replace("_", " ")


def tooltips(*fields: tuple[str, str, str]) -> list[alt.Tooltip]:
    """Tooltips (field, title, number format; no format for text), the configuration's label first."""
    return [alt.Tooltip("label:N", title="configuration")] + [
        alt.Tooltip(field, title=title, **({"format": form} if form else {})) for field, title, form in fields
    ]


def points(chart: alt.Chart, **encoding: Any) -> alt.Chart:
    """Marks of configurations in their colour, edge and shape."""
    return chart.mark_point(strokeWidth=1.6).encode(
        opacity=faded(0.12),
        fill=alt.Fill("colour:N", scale=None),
        stroke=alt.Stroke("edge:N", scale=None),
        shape=alt.Shape("shape:N", scale=None),
        size=alt.Size("size:Q", scale=None),
        **encoding,
    )


def faded(least: float, full: float = 1.0) -> alt.Opacity:
    """Opacity `full` for the configuration picked in the key (for all while none is), `least` for the rest."""
    return alt.condition(f"{PICK}", alt.value(full), alt.value(least))


def _hues(configs: pd.DataFrame) -> dict[int, str]:
    caps = sorted(configs["k_or_max_k"].unique())
    return {cap: HUES[place % len(HUES)] for place, cap in enumerate(caps)}


def _shades(configs: pd.DataFrame) -> dict[float, float]:
    alphas = sorted(configs.loc[~configs["static"], "alpha"].dropna().unique())
    steps = max(len(alphas) - 1, 1)
    return {
        alpha: PALEST * (1 - place / steps) if len(alphas) > 1 else 0.0 for place, alpha in enumerate(alphas)
    }
