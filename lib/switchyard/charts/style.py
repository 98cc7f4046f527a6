"""The theme: one palette, one type and one look of titles, axes and legends for every figure."""

from __future__ import annotations

import altair as alt
import pandas as pd

HUES = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#332288",
    "#7A4B1E",
)
"""The first six are those of Okabe and Ito (2008); all nine stay apart under protanopia and deuteranopia (tested)."""
INK, QUIET, GREY, BAND = "#222222", "#767676", "#8a8a8a", "#d4d4d4"
BETTER, EQUAL, WORSE = "#0072B2", "#f7f7f7", "#D55E00"
"""Ends and middle of every diverging colour scale."""

WIDTH, PAGE = 1230, 770
"""Pixels that the views of a whole figure share: in print, and on a page that fits the report's pane."""
DASH = {"strokeDash": [5, 3], "strokeWidth": 1.2}
"""What values are compared with: a landmark, a criterion, zero."""
BARE = alt.ViewBackground(stroke=None)
"""A view without a frame."""

SMALL = {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"}
CONFIG = {
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
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
    "header": {**SMALL, "labelPadding": 7, "titlePadding": 2},
    "legend": {**SMALL, "labelLimit": 240, "titleLimit": 300},
}
TITLES = {
    "label": "configuration",
    "avg_experts": "mean experts",
    "mean_count": "mean experts",
    "tokens_per_second": "tokens/s",
    "avg_task_accuracy": "accuracy",
    "no_rejection_share": "no rejection",
    "expected_no_rejection": "by chance",
    "alpha": "α",
    "left": "from",
    "right": "to",
    "types": "token types",
    "least": "frequency from",
    "most": "to",
}
"""What tooltips call a column; others are called by its own words."""


def dress(chart: alt.TopLevelMixin, *, legends: str = "right") -> alt.TopLevelMixin:
    """The chart with the theme's fonts, axes and background; `legends` is their place (`right`, `top`, `bottom`)."""
    across = {} if legends == "right" else {"columns": 4, "direction": "horizontal"}
    config = {**CONFIG, "legend": {**CONFIG["legend"], "orient": legends, **across}}
    return chart.properties(config=alt.Config(**config))


def heading(title: str, subtitle: str | list[str]) -> alt.TitleParams:
    """Title of a whole figure, with the lines below it."""
    return alt.TitleParams(title, subtitle=subtitle, fontSize=16, anchor="start", offset=14)


def small_title(text: str) -> alt.TitleParams:
    """Heading of one view inside a panel (a dataset, a family)."""
    return alt.TitleParams(text, fontSize=11, fontWeight="normal", anchor="middle", offset=4)


def dataset_title(name: str) -> str:
    """A dataset's key as a reader says it: underscores become spaces."""
    return name.replace("_", " ")


def columns(field: str, order: list[str], *, title: str | None = None) -> alt.Column:
    """A view for each value of a text field, side by side, in an order."""
    return alt.Column(f"{field}:N", sort=list(order), title=title)


def each(views: int, *, gap: int, width: int = WIDTH) -> int:
    """Width in pixels of each of `views` views that share `width`, with `gap` pixels (axis and space) between them."""
    return (width - gap * (views - 1)) // max(views, 1)


def tips(*texts: str, **numbers: str) -> list[alt.Tooltip]:
    """Tooltips: text columns, then numbers by their format."""
    fields = [(f"{name}:N", name, {}) for name in texts]
    fields += [(f"{name}:Q", name, {"format": form}) for name, form in numbers.items()]
    return [
        alt.Tooltip(field, title=TITLES.get(name, name.replace("_", " ")), **form)
        for field, name, form in fields
    ]


def tint(colour: str, white: float) -> str:
    """`colour` (`#rrggbb`) mixed with a share `white` (0..1) of white."""
    channels = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (255 - channel) * white):02x}" for channel in channels)


def once() -> alt.Chart:
    """A chart of one row without a column, for marks at constant places inside a view of other data."""
    return alt.Chart(alt.InlineData(values=[{}]))


def line(*, colour: str = QUIET, **at: float) -> alt.Chart:
    """A dashed line through a whole view at `x` or `y`."""
    return once().mark_rule(color=colour, **DASH).encode(**{axis: alt.datum(one) for axis, one in at.items()})


def empty(words: str, *, width: int = 398, height: int = 190) -> alt.Chart:
    """A view that says in words why nothing is drawn."""
    text = alt.Chart(pd.DataFrame({"words": [words]})).mark_text(color=QUIET).encode(text="words:N")
    return text.properties(width=width, height=height)
