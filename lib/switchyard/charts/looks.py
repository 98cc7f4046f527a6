"""The same configuration has the same shape, hue and lightness wherever it is drawn.

| what | drawn as |
|---|---|
| static top-k | hollow square in ink, a thin line of ink through all k |
| an adaptive rule (`kind`) | filled mark; the shape says the rule (BH a circle, others in `MARKS`) |
| its largest number of experts, or another null than the default one (`family`) | hue |
| its hyperparameter (`setting`: alpha, gamma, p, target) | lightness: the largest value is darkest |
| another weighting or floor than the default | another shape, one that no rule of the study has |
| a control (mixed static, random count) | small grey mark |

In the default study hue is max_k; in a study of nulls, where every rule has the same max_k, hue is the null, with no
further switch. Each of the three is a scale with a legend; a click in a legend fades what it does not name. Every chart
repeats the information by position, so that none rests on colour alone.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import cycle
from typing import Any, NamedTuple

import pandas as pd

from switchyard.charts import style
from switchyard.warehouse.study_tables import Tables

PALEST = 0.66
"""Share of white in the fill of the smallest value of a hyperparameter; the largest has none."""
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
PATHS = {
    "square": "M-0.91,-0.91L0.91,-0.91L0.91,0.91L-0.91,0.91Z",
    "diamond": "M0,-1.15L1.15,0L0,1.15L-1.15,0Z",
    "cross": "M-1.1,-0.44L-0.44,-0.44L-0.44,-1.1L0.44,-1.1L0.44,-0.44L1.1,-0.44L1.1,0.44L0.44,0.44L0.44,1.1L-0.44,1.1"
    "L-0.44,0.44L-1.1,0.44Z",
}
"""Vega's shapes (SVG paths) that would look larger or smaller than a circle of the same size."""
STATIC = "static top-k"
CONTROLS = {"mixed_topk": "mixed static k", "random_count": "random count"}
"""Rules that only answer what if, with their names."""
CONTROL_MARKS = {
    "mixed static k": "M-0.7,-0.17L0.7,-0.17L0.7,0.17L-0.7,0.17Z",
    "random count": "M-0.7,-0.5L-0.5,-0.7L0,-0.2L0.5,-0.7L0.7,-0.5L0.2,0L0.7,0.5L0.5,0.7L0,0.2L-0.5,0.7L-0.7,0.5"
    "L-0.2,0Z",
}
"""Their shapes (SVG paths): a dash and a slanted cross."""
NONE = "none"
"""Setting of rules without a hyperparameter."""
DEFAULTS = {"null_name": "pooled", "weighting": "model", "min_k": 1}
"""What needs no mention in a name, as in config.schema.yaml; where a study lacks it, the study's first stands in."""
LOOKS = ["config_name", "label", "kind", "family", "setting", "fill"]
PICKS = {"kind": "picked_rule", "family": "picked_family", "setting": "picked_setting"}
"""Names of the selections that clicks in the legends make."""


def styled(tables: Tables, frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The `columns` of `frame` (a table with `config_name`) with each configuration's LOOKS.

    A column that `frame` lacks is one of `configurations`. Only what a chart draws goes into it, since the data are
    copied into every figure. Static rules come first, then controls, so that other marks lie over them.
    """
    own = [column for column in columns if column in frame]
    looks = configurations(tables)[LOOKS + [column for column in columns if column not in frame]]
    found = looks.merge(frame[["config_name", *own]], on="config_name", validate="one_to_many")
    drawn = found["family"].map({"static": 0, "control": 1}).fillna(2)
    return found.iloc[drawn.argsort(kind="stable")].reset_index(drop=True)


@lru_cache(maxsize=4)
def configurations(tables: Tables) -> pd.DataFrame:
    """One row per configuration, static ones by k, then the others in study order, with its looks.

    `rule` and `value` are the parts of its label before and after the hyperparameter's value (`BH α`, `0.30`);
    `control` marks mixed and random ones; `kind`, `family` and `setting` are drawn as shape, hue and lightness, and
    `fill` is a hue with a lightness.
    """
    place = {name: place for place, name in enumerate(tables.configurations["config_name"])}
    configs = tables.configs.assign(place=tables.configs["config_name"].map(place))
    order = configs["k_or_max_k"].where(configs["static"], float("inf"))
    configs = configs.assign(order=order).sort_values(["order", "place"], kind="stable", ignore_index=True)
    heads = configs["label"].str.split(",").str[0].str.rsplit(n=1)
    configs["rule"], configs["value"] = heads.str[0], heads.str[-1]
    configs["control"] = configs["routing_type"].isin(CONTROLS)
    adaptive = configs[~configs["static"] & ~configs["control"]]
    usual = default(adaptive["null_name"], "null_name")
    rows = list(configs.itertuples())
    configs = configs.assign(
        kind=[_kind(row, adaptive) for row in rows],
        family=[_family(row, usual) for row in rows],
        setting=[
            NONE if row.static or row.control else f"{row.rule.split()[-1]} {row.value}".strip()
            for row in rows
        ],
    )
    return configs.assign(fill=configs["family"] + ", " + configs["setting"])


def default(values: pd.Series, column: str) -> Any:
    """The value of `column` that needs no mention: the project's default where the study has it, else its first."""
    present = values.dropna()
    return DEFAULTS[column] if DEFAULTS[column] in set(present) else next(iter(present), None)


def _kind(row: Any, adaptive: pd.DataFrame) -> str:
    """Rule, and weighting and floor where they are not the usual ones."""
    if row.static or row.control:
        return STATIC if row.static else CONTROLS[row.routing_type]
    mates = adaptive[adaptive["routing_type"] == row.routing_type]
    parts = [row.rule]
    if not pd.isna(row.weighting) and row.weighting != default(mates["weighting"], "weighting"):
        parts.append(row.weighting)
    if not pd.isna(row.min_k) and row.min_k != default(mates["min_k"], "min_k"):
        parts.append(f"min {row.min_k:g}")
    return ", ".join(parts)


def _family(row: Any, usual: str | None) -> str:
    """What hue stands for: the largest number of experts under the usual null, any other null itself."""
    if row.static or row.control:
        return "static" if row.static else "control"
    return str(row.k_or_max_k) if pd.isna(row.null_name) or row.null_name == usual else row.null_name


class Scales(NamedTuple):
    """What each value of a field looks like: shape by kind, colour by family, darkness (0..1) by setting, fill."""

    shapes: dict[str, str]
    hues: dict[str, str]
    shades: dict[str, float]
    fills: dict[str, str]


@lru_cache(maxsize=4)
def scales(tables: Tables) -> Scales:
    """The scales of a study, the same in every figure, legends in the order of the study."""
    configs = configurations(tables)
    adaptive = configs[~configs["static"] & ~configs["control"]]
    families = sorted(
        adaptive["family"].unique(), key=lambda one: (not one.isdigit(), one.isdigit() and int(one))
    )
    hues = dict(zip(families, cycle(style.HUES), strict=False))
    shades = {NONE: 1.0}
    for _, rows in adaptive.groupby(adaptive["rule"].str.split().str[-1], sort=False):
        values = sorted_values(rows["value"])
        names = dict(zip(rows["value"], rows["setting"], strict=True))
        steps = max(len(values) - 1, 1)
        shades |= {
            names[one]: 1 - PALEST * (len(values) - 1 - place) / steps for place, one in enumerate(values)
        }
    looks = configs.drop_duplicates("fill").itertuples()
    fills = {row.fill: style.tint(hues.get(row.family, style.GREY), 1 - shades[row.setting]) for row in looks}
    hues = {**hues, "static": style.INK, "control": style.GREY}
    return Scales(_shapes(configs, adaptive), hues, shades, {**fills, f"static, {NONE}": "#ffffff"})


def _shapes(configs: pd.DataFrame, adaptive: pd.DataFrame) -> dict[str, str]:
    """Static rules and controls have their own shapes, a rule's usual variant that of MARKS, others what is left."""
    kinds = adaptive.drop_duplicates("kind").set_index("kind")
    own = {
        kind: MARKS[row.routing_type]
        for kind, row in kinds.iterrows()
        if kind == row["rule"] and row.routing_type in MARKS
    }
    spare = [shape for shape in MARKS.values() if shape not in {*own.values(), MARKS["topk"]}]
    left = dict(
        zip([kind for kind in kinds.index if kind not in own], cycle(spare or ["circle"]), strict=False)
    )
    found = {STATIC: MARKS["topk"], **own, **left, **CONTROL_MARKS}
    return {kind: found[kind] for kind in configs["kind"].unique()}


def sorted_values(values: pd.Series) -> list[str]:
    """Values of a hyperparameter as they are printed, in rising order; in the order given where one is no number."""
    found = list(dict.fromkeys(values))
    numbers = pd.to_numeric(pd.Series(found, dtype=str), errors="coerce")
    return found if numbers.isna().any() else sorted(found, key=float)
