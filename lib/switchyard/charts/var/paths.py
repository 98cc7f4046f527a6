"""VAR's decisions in their order, drawn from the names of its paths and of its settings."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.var.performance import PATHS

QUESTIONS = {
    "fast": ["frequency ≥ frequency_threshold", "and mean entropy < entropy_threshold?"],
    "cached": ["context of context_window_size tokens in the cache,", "not older than cache_ttl_seconds?"],
}
"""What decides for a path; the learned path takes what is left."""
ANSWERS = {
    "fast": ["experts of the routing table,", "by token id"],
    "cached": ["experts of the cache,", "by token and context"],
    "learned": ["the model's own router;", "cached if confidence ≥ confidence_threshold"],
}
ORDER = ("fast", "cached", "learned")
WIDTH, STEP, BOX = 620, 92, 58
"""Pixels: of the drawing, from one question to the next, of a box's height."""
LEFT, RIGHT = 300, 250
"""Pixels of the widths of questions and answers."""


def var_paths() -> alt.LayerChart:
    """Questions at the left, one below the other; their answers, the paths, at the right."""
    assert sorted(ORDER) == sorted(PATHS)
    boxes = pd.DataFrame([box for place, path in enumerate(ORDER) for box in _boxes(place, path)])
    rules = pd.DataFrame([rule for place, path in enumerate(ORDER[:-1]) for rule in _rules(place)])
    height = STEP * (len(ORDER) - 1) + BOX
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, WIDTH], nice=False))
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[height, 0], nice=False))
    base = alt.Chart(boxes).encode(x=x, y=y)
    fill = alt.Fill(
        "kind:N", legend=None, scale=alt.Scale(domain=["question", "path"], range=["#ffffff", "#e8f1f8"])
    )
    drawn = base.mark_rect(stroke=style.INK, cornerRadius=4).encode(x2="x2:Q", y2="y2:Q", fill=fill)
    words = base.mark_text(fontSize=11, color=style.INK, lineHeight=14, baseline="middle").encode(
        x=alt.X("middle:Q", axis=None), y=alt.Y("line:Q", axis=None), text="text:N"
    )
    lines = alt.Chart(rules).mark_rule(color=style.INK).encode(x=x, y=y, x2="x2:Q", y2="y2:Q")
    heads = (
        alt.Chart(rules)
        .mark_point(filled=True, color=style.INK, size=60, opacity=1)
        .encode(x=alt.X("x2:Q", axis=None), y=alt.Y("y2:Q", axis=None), shape=alt.Shape("head:N", scale=None))
    )
    notes = (
        alt.Chart(rules)
        .mark_text(fontSize=11, align="left", color=style.INK)
        .encode(x=alt.X("note_x:Q", axis=None), y=alt.Y("note_y:Q", axis=None), text="answer:N")
    )
    chart = alt.layer(lines, heads, notes, drawn, words).properties(
        width=WIDTH, height=height, view=alt.ViewBackground(stroke=None)
    )
    return style.dress(chart)


def _boxes(place: int, path: str) -> list[dict]:
    top = STEP * place
    found = []
    if path in QUESTIONS:
        found.append({"kind": "question", "text": QUESTIONS[path], "x": 0, "x2": LEFT})
    answer = [f"{path} path", *ANSWERS[path]]
    left = WIDTH - RIGHT if path in QUESTIONS else LEFT / 2 - RIGHT / 2
    found.append({"kind": "path", "text": answer, "x": left, "x2": left + RIGHT})
    return [
        {
            **one,
            "y": top,
            "y2": top + BOX,
            "middle": (one["x"] + one["x2"]) / 2,
            "line": top + BOX / 2 - 7 * (len(one["text"]) - 1),
        }
        for one in found
    ]


def _rules(place: int) -> list[dict]:
    top, middle = STEP * place, STEP * place + BOX / 2
    right = {"x": LEFT, "y": middle, "x2": WIDTH - RIGHT - 4, "y2": middle, "head": "triangle-right"}
    down = {"x": LEFT / 2, "y": top + BOX, "x2": LEFT / 2, "y2": top + STEP - 4, "head": "triangle-down"}
    return [
        {**right, "answer": "yes", "note_x": LEFT + 8, "note_y": middle - 9},
        {**down, "answer": "no", "note_x": LEFT / 2 + 8, "note_y": top + (BOX + STEP) / 2},
    ]
