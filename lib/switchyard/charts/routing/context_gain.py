"""What the previous tokens say about a token's experts beyond its id, and what tables keyed by either would hit.

All layers lie along the axis, so that this figure is the same on paper and on a page.
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing import landmarks
from switchyard.charts.routing.layers import GAP, WIDTH, Figure, heading, layers_x
from switchyard.errors import InputError

HEIGHT = 240
SHARES = alt.Scale(domain=[0, 1.04], nice=False)
NEEDED = ("layer", "context", "information_gain", "information_gain_held_out", "chance")
PLACES = {
    "in_sample": "in-sample: a table of each domain, scored on itself",
    "leave_one_domain_out": "on other documents: a table of the other domains",
}
ONE_DOMAIN = "only one domain: nothing is left to make a table from"


def context_gain(context: pd.DataFrame) -> Figure:
    """Information gain of n previous tokens, and ceilings of tables, over layers; `context` is `context.parquet`.

    Raises:
        InputError: a column is missing.
    """
    keys = [f"{place}_{level}" for place in PLACES for level in ("global", "token", "context")]
    missing = [name for name in (*NEEDED, *keys) if name not in context]
    if missing:
        raise InputError(f"context: no column {', '.join(missing)}; run the observe stage again")
    layers = [str(one) for one in sorted(context["layer"].unique())]
    windows = sorted(context["context"].unique())
    x = layers_x(layers)
    width = (WIDTH - 2 * GAP) // 3
    views = [_gains(gains(context), windows, x), *(_ceilings(context, place, x) for place in PLACES)]
    names = ["information gain of context over the token id", *PLACES.values()]
    views = [
        view.properties(width=width, height=HEIGHT, title=style.small_title(name))
        for view, name in zip(views, names, strict=True)
    ]
    title = heading(
        "What context tells about a token's experts",
        subtitle=[
            "Left: nats per used expert; filled and solid is held out, from other domains' counts; hollow and dashed "
            "is in-sample and biased upwards.",
            "Right: share of the used experts that a table would hit that lists as many experts per key as a token "
            "uses; a key without counts falls back to the coarser one.",
        ],
    )
    chart = style.dress(alt.hconcat(*views, spacing=22, title=title).resolve_scale(color="independent"))
    return Figure(chart, chart)


def gains(context: pd.DataFrame) -> pd.DataFrame:
    """Columns `layer, key, measured, gain` (nats)."""
    columns = {"held out": "information_gain_held_out", "in-sample": "information_gain"}
    parts = [
        pd.DataFrame(
            {
                "layer": context["layer"].astype(str),
                "key": context["context"].map(_name),
                "measured": name,
                "gain": context[column].astype(float),
            }
        )
        for name, column in columns.items()
    ]
    return pd.concat(parts).dropna()


def ceilings(context: pd.DataFrame, place: str) -> pd.DataFrame:
    """Columns `layer, key, share`: `global` and `token id` of the shortest context's uses, then n-grams."""
    fewest = context[context["context"] == context["context"].min()]
    parts = [(fewest, "one list for all", f"{place}_global"), (fewest, "token id", f"{place}_token")]
    parts += [(own, _name(window), f"{place}_context") for window, own in context.groupby("context")]
    frames = [
        pd.DataFrame({"layer": own["layer"].astype(str), "key": key, "share": own[column].astype(float)})
        for own, key, column in parts
    ]
    return pd.concat(frames).dropna()


def _name(window: int) -> str:
    return f"token id and {window} before"


def _hues(windows: list[int]) -> alt.Scale:
    names = ["one list for all", "token id", *map(_name, windows)]
    hues = [style.GREY, style.HUES[0], style.HUES[1], style.HUES[2], style.HUES[3], style.HUES[6]]
    return alt.Scale(domain=names, range=hues[: len(names)])


def _key(scale: alt.Scale, names: list[str]) -> alt.Color:
    legend = alt.Legend(
        title=None, orient="bottom", columns=2, values=names, symbolType="stroke", symbolStrokeWidth=3
    )
    return alt.Color("key:N", scale=scale, legend=legend)


def _gains(frame: pd.DataFrame, windows: list[int], x: alt.X) -> alt.LayerChart:
    low, high = min(0.0, frame["gain"].min()), max(frame["gain"].max(), 0.01)
    margin = axes.MARGIN * (high - low)
    scale = alt.Scale(domain=[low - margin, high + margin], nice=False)
    y = alt.Y("gain:Q", scale=scale, axis={"title": "gain (nats)", "format": ".2~f", "tickCount": 6})
    colour = _key(_hues(windows), [_name(window) for window in windows])
    tips = [
        alt.Tooltip("layer:N"),
        alt.Tooltip("key:N"),
        alt.Tooltip("measured:N"),
        alt.Tooltip("gain:Q", title="gain (nats)", format="+.4f"),
    ]
    zero = (
        alt.Chart(pd.DataFrame({"at": [0.0]}))
        .mark_rule(**landmarks.DASH)
        .encode(y=alt.Y("at:Q", scale=scale))
    )
    layers = [zero]
    for measured, dash, filled in (("in-sample", [3, 3], False), ("held out", [1, 0], True)):
        own = alt.Chart(frame[frame["measured"] == measured]).encode(x=x, y=y, color=colour, tooltip=tips)
        layers += [
            own.mark_line(strokeWidth=1.6, strokeDash=dash),
            own.mark_point(size=36, opacity=1, **({"filled": True} if filled else {"fill": "white"})),
        ]
    notes = [] if (frame["measured"] == "held out").any() else [_said(f"held out: {ONE_DOMAIN}")]
    return alt.layer(*layers, *notes)


def _ceilings(context: pd.DataFrame, place: str, x: alt.X) -> alt.LayerChart:
    frame = ceilings(context, place)
    y = alt.Y(
        "share:Q", scale=SHARES, axis={"title": "share of used experts hit", "format": ".0%", "tickCount": 6}
    )
    chance = float(context["chance"].iloc[0])
    line = landmarks.across(chance, f"chance {chance:.1%}", SHARES, above=False)
    scale = _hues(sorted(context["context"].unique()))
    tips = [alt.Tooltip("layer:N"), alt.Tooltip("key:N"), alt.Tooltip("share:Q", format=".1%")]
    base = alt.Chart(frame).encode(x=x, y=y, color=_key(scale, scale["domain"]), tooltip=tips)
    notes = [] if len(frame) else [_said(ONE_DOMAIN)]
    return alt.layer(
        *line, base.mark_line(strokeWidth=1.6), base.mark_point(size=36, filled=True, opacity=1), *notes
    )


def _said(words: str) -> alt.Chart:
    text = alt.Chart(pd.DataFrame({"words": [words]})).mark_text(fontSize=11, color=style.QUIET, limit=340)
    return text.encode(x=alt.value(180), y=alt.value(HEIGHT - 60), text="words:N")
