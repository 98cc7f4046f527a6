"""The key to the configurations: a block per rule, dials across and families down; a click highlights one."""

from __future__ import annotations

from dataclasses import dataclass, field

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.warehouse.study_tables import Tables

LETTER = 5.6
"""Pixels of a letter at the key's size of type."""
ROW = 18
GAP = 24
HEAD = 34
"""Pixels from a block's heading to its first row of marks."""
CONTROL_NAMES = {"mixed_topk": "mixed static k", "random_count": "random count"}


@dataclass
class _Block:
    """Marks and words of one block, in pixels from its upper left corner."""

    marks: list[pd.DataFrame] = field(default_factory=list)
    words: list[dict] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0

    def say(self, text: str, x: float, y: float, *, align: str = "center", bold: bool = False) -> None:
        self.words.append({"text": text, "x": x, "y": y, "align": align, "bold": bold})
        left = {"left": 0.0, "center": 0.5, "right": 1.0}[align] * LETTER * len(text)
        self.width = max(self.width, x - left + LETTER * len(text))
        self.height = max(self.height, y + ROW / 2)


def key(tables: Tables, configs: pd.DataFrame | None = None, *, across: bool = True) -> alt.LayerChart:
    """The marks of `configs` (rows of `style.configurations`; default: all but controls), blocks beside each other.

    In the interactive figure a click on a mark fades all other configurations. `across=False` stacks the blocks.
    """
    looks = style.configurations(tables)
    configs = looks[~looks["control"]] if configs is None else configs
    marks, words = [], []
    right = bottom = left = top = 0.0
    for block in _blocks(configs):
        marks += [rows.assign(x=rows["x"] + left, y=rows["y"] + top) for rows in block.marks]
        words += [word | {"x": word["x"] + left, "y": word["y"] + top} for word in block.words]
        right, bottom = max(right, left + block.width), max(bottom, top + block.height)
        left, top = (right + GAP, 0.0) if across else (0.0, bottom + GAP / 2)
    return _draw(pd.concat(marks), pd.DataFrame(words), width=round(right), height=round(bottom))


def with_key(
    panel: alt.TopLevelMixin, tables: Tables, configs: pd.DataFrame | None = None
) -> alt.HConcatChart:
    """A panel that stands alone: the key at its right, in the style."""
    legend = key(tables, configs, across=False)
    return style.dress(alt.hconcat(panel, legend, spacing=28).resolve_scale(xOffset="independent"))


def _blocks(configs: pd.DataFrame) -> list[_Block]:
    adaptive = configs[~configs["static"] & ~configs["control"]]
    blocks = [_static(configs[configs["static"]])] if configs["static"].any() else []
    blocks += [_rule(kind, rows) for kind, rows in adaptive.groupby("kind", sort=False)]
    return blocks + ([_controls(configs[configs["control"]])] if configs["control"].any() else [])


def _static(rows: pd.DataFrame) -> _Block:
    return _grid("static top-k", rows.assign(row=""), heading_of_rows="")


def _rule(kind: str, rows: pd.DataFrame) -> _Block:
    dimensions = [name for name in ("null_name", "k_or_max_k") if rows[name].nunique() > 1] or ["k_or_max_k"]
    heading = {"k_or_max_k": "max_k", "null_name": "null"}
    names = rows[dimensions].astype(str).agg(", ".join, axis=1)
    return _grid(
        kind, rows.assign(row=names), heading_of_rows=", ".join(heading[name] for name in dimensions)
    )


def _grid(heading: str, rows: pd.DataFrame, *, heading_of_rows: str) -> _Block:
    """A table of marks: settings across, rows down."""
    block = _Block()
    names = list(dict.fromkeys(rows["row"]))
    settings = style.sorted_settings(rows["setting"])
    left = LETTER * max(map(len, [*names, heading_of_rows])) + (12 if heading_of_rows else 0)
    step = max(22.0, LETTER * max(map(len, settings)) + 9)
    columns = {setting: left + step * (place + 0.5) for place, setting in enumerate(settings)}
    block.say(heading, left + 4, 0, align="left", bold=True)
    block.say(heading_of_rows, left - 6, 16, align="right")
    for setting, x in columns.items():
        block.say(setting, x, 16)
    for place, name in enumerate(names):
        block.say(name, left - 6, HEAD + ROW * place, align="right")
    places = {name: HEAD + ROW * place for place, name in enumerate(names)}
    block.marks = [rows.assign(x=rows["setting"].map(columns), y=rows["row"].map(places))]
    block.width = max(block.width, left + step * len(settings))
    block.height = HEAD + ROW * (len(names) - 0.5)
    return block


def _controls(rows: pd.DataFrame) -> _Block:
    """One mark for each control, since its configurations look alike; a click on it picks nothing."""
    block = _Block()
    block.say("controls", 0, 0, align="left", bold=True)
    for place, (kind, mates) in enumerate(rows.groupby("routing_type", sort=False)):
        y = 16 + ROW * place
        block.marks.append(mates.head(1).assign(x=8.0, y=y))
        block.say(CONTROL_NAMES.get(kind, kind), 20, y, align="left")
    return block


def _draw(marks: pd.DataFrame, words: pd.DataFrame, *, width: int, height: int) -> alt.LayerChart:
    pick = alt.selection_point(
        name=style.PICK, fields=["config_name"], on="click", clear="dblclick", nearest=False
    )
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, width], nice=False, zero=False))
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[height, -ROW / 2], nice=False, zero=False))
    columns = [*style.LOOKS, "x", "y"]
    own = style.points(alt.Chart(marks.loc[~marks["control"], columns], name="key"), x=x, y=y)
    layers = [own.encode(tooltip=style.tooltips()).add_params(pick)]
    if marks["control"].any():
        plain = style.points(alt.Chart(marks.loc[marks["control"], columns]), x=x, y=y)
        layers.append(plain.encode(opacity=alt.value(1)))
    for (align, bold), rows in words[words["text"] != ""].groupby(["align", "bold"]):
        text = alt.Chart(rows[["text", "x", "y"]]).mark_text(
            align=align, fontSize=11, fontWeight="bold" if bold else "normal", color=style.INK
        )
        layers.append(text.encode(x=x, y=y, text="text:N"))
    return alt.layer(*layers).properties(width=width, height=height, view=alt.ViewBackground(stroke=None))
