"""One style for every figure: the same configuration has the same colour and shape wherever it is drawn.

| what | drawn as |
|---|---|
| static top-k | hollow square in ink, a thin line of ink through all k |
| an adaptive rule | filled mark; the shape says the rule (BH a circle, BH at a given mean a diamond, others `MARKS`) |
| its largest number of experts | hue, where the null is the default one |
| another null than the default | a hue of its own |
| its dial (alpha, gamma, p, target) | lightness: the largest is darkest |
| another weighting or floor than the default | another shape, one that no rule of the study has |
| a control (mixed static, random count) | small grey mark |

In the default study hue is max_k; in a study of nulls, where every rule has the same max_k, hue is the null, with no
further switch. The first six hues are those of Okabe and Ito (2008), and all nine stay apart under protanopia and
deuteranopia (tested); every chart repeats the information by position, so that none rests on colour alone.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import cycle
from typing import Any

import altair as alt
import pandas as pd

from switchyard.warehouse.study_tables import Tables

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
INK = "#222222"
QUIET = "#767676"
GREY = "#8a8a8a"
BETTER, EQUAL, WORSE = "#0072B2", "#f7f7f7", "#D55E00"
"""Ends and middle of every diverging colour scale."""
PALEST = 0.66
"""Share of white in the colour of the smallest value of a rule's dial; the largest has none."""

MARKS = {
    "topk": "square",
    "bh": "circle",
    "bh_budget": "diamond",
    "by": "triangle-up",
    "higher_criticism": "triangle-down",
    "conformal": "triangle-right",
    "local_fdr": "triangle-left",
    "top_p": "cross",
}
"""Shape of each rule; a rule that is not here, and a rule's further variants, get a shape left over."""
SIZES = {"square": 46, "diamond": 72, "cross": 66}
"""Area in pixels of the shapes that would look larger or smaller than a circle of 55."""
CONTROLS = {
    "mixed_topk": "M-1,-0.25L1,-0.25L1,0.25L-1,0.25Z",
    "random_count": "M-1,-0.7L-0.7,-1L0,-0.3L0.7,-1L1,-0.7L0.3,0L1,0.7L0.7,1L0,0.3L-0.7,1L-1,0.7L-0.3,0Z",
}
"""Shapes (SVG paths) of the rules that only answer what if: a dash and a slanted cross."""
DEFAULTS = {"null_name": "pooled", "weighting": "model", "min_k": 1}
"""What needs no mention in a name, as in config.schema.yaml; where a study lacks it, the study's first stands in."""

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

LOOKS = ["config_name", "label", "colour", "edge", "shape", "size"]


def styled(tables: Tables, frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The `columns` of `frame` (a table with `config_name`) with each configuration's label, colour, shape and size.

    A column that `frame` lacks is one of `configurations`. Only what a chart draws goes into it, since the data are
    copied into every figure.
    """
    own = [column for column in columns if column in frame]
    looks = configurations(tables)[LOOKS + [column for column in columns if column not in frame]]
    return frame[["config_name", *own]].merge(looks, on="config_name", validate="many_to_one")


@lru_cache(maxsize=4)
def configurations(tables: Tables) -> pd.DataFrame:
    """One row per configuration, static ones by k, then the others in study order, with its looks.

    `rule` and `setting` are the parts of its label before and after the dial's value (`BH α`, `0.30`), `kind` is the
    shape's meaning (rule and variant), `control` tells mixed and random ones, and LOOKS are what marks are drawn with.
    """
    place = {name: place for place, name in enumerate(tables.configurations["config_name"])}
    configs = tables.configs.assign(place=tables.configs["config_name"].map(place))
    configs = configs.sort_values(["static", "place"], ascending=[False, True])
    order = configs["k_or_max_k"].where(configs["static"], float("inf"))
    configs = configs.loc[order.sort_values(kind="stable").index].reset_index(drop=True)
    heads = configs["label"].str.split(",").str[0].str.rsplit(n=1)
    configs["rule"] = heads.str[0]
    configs["setting"] = heads.str[-1].where(~configs["static"], configs["k_or_max_k"].astype(str))
    configs["control"] = configs["routing_type"].isin(CONTROLS)
    return configs.assign(**_looks(configs))


def default(values: pd.Series, column: str) -> Any:
    """The value of `column` that needs no mention: the project's default where the study has it, else its first."""
    present = values.dropna()
    return DEFAULTS[column] if DEFAULTS[column] in set(present) else next(iter(present), None)


def _looks(configs: pd.DataFrame) -> dict[str, list]:
    adaptive = configs[~configs["static"] & ~configs["control"]]
    hues, shapes, shades = _hues(adaptive), _shapes(configs, adaptive), _shades(adaptive)
    looks: dict[str, list] = {name: [] for name in ("kind", "colour", "edge", "shape", "size")}
    usual = default(adaptive["null_name"], "null_name")
    for row in configs.itertuples():
        kind = _kind(row, adaptive)
        if row.static:
            look = (kind, "#ffffff", INK, MARKS["topk"], SIZES["square"])
        elif row.control:
            look = (kind, GREY, GREY, CONTROLS[row.routing_type], 26)
        else:
            edge = hues[_hue_key(row, usual)]
            look = (
                kind,
                tint(edge, shades[row.routing_type, row.setting]),
                edge,
                shapes[kind],
                SIZES.get(shapes[kind], 55),
            )
        for name, value in zip(looks, look, strict=True):
            looks[name].append(value)
    return looks


def _hue_key(row: Any, usual: str | None) -> int | str:
    """What hue stands for: the largest number of experts under the usual null, any other null itself."""
    return row.k_or_max_k if pd.isna(row.null_name) or row.null_name == usual else row.null_name


def _hues(adaptive: pd.DataFrame) -> dict[int | str, str]:
    usual = default(adaptive["null_name"], "null_name")
    keys = list(dict.fromkeys(_hue_key(row, usual) for row in adaptive.itertuples()))
    caps = sorted(key for key in keys if not isinstance(key, str))
    return dict(zip(caps + [key for key in keys if isinstance(key, str)], cycle(HUES), strict=False))


def _kind(row: Any, adaptive: pd.DataFrame) -> str:
    """Rule, and weighting and floor where they are not the usual ones."""
    if row.static or row.control:
        return row.routing_type
    mates = adaptive[adaptive["routing_type"] == row.routing_type]
    parts = [row.rule]
    if not pd.isna(row.weighting) and row.weighting != default(mates["weighting"], "weighting"):
        parts.append(row.weighting)
    if not pd.isna(row.min_k) and row.min_k != default(mates["min_k"], "min_k"):
        parts.append(f"min {row.min_k:g}")
    return ", ".join(parts)


def _shapes(configs: pd.DataFrame, adaptive: pd.DataFrame) -> dict[str, str]:
    kinds = {_kind(row, adaptive): row for row in adaptive.itertuples()}
    own = {
        kind: MARKS[row.routing_type]
        for kind, row in kinds.items()
        if kind == row.rule and row.routing_type in MARKS
    }
    spare = [shape for shape in MARKS.values() if shape not in {*own.values(), MARKS["topk"]}]
    others = [kind for kind in kinds if kind not in own]
    return own | dict(zip(others, cycle(spare or ["circle"]), strict=False))


def _shades(adaptive: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Share of white for each rule's settings: the largest value of the dial has none."""
    shades = {}
    for rule, rows in adaptive.groupby("routing_type", sort=False):
        settings = sorted_settings(rows["setting"])
        steps = max(len(settings) - 1, 1)
        for place, setting in enumerate(settings):
            shades[rule, setting] = PALEST * (1 - place / steps) if len(settings) > 1 else 0.0
    return shades


def sorted_settings(settings: pd.Series) -> list[str]:
    """Values of a dial as they are printed, in rising order; in the order given where one is no number."""
    values = list(dict.fromkeys(settings))
    numbers = pd.to_numeric(pd.Series(values, dtype=str), errors="coerce")
    return values if numbers.isna().any() else sorted(values, key=float)


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


def faded(least: float, full: float = 1.0) -> alt.OpacityValue:
    """Opacity `full` for the configuration picked in the key (for all while none is), `least` for the rest."""
    return alt.OpacityValue(least, condition={"param": PICK, "value": full})
