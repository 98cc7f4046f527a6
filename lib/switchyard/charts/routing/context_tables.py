"""What the figure of context is drawn from: information gain of n-grams, and what tables of them would hit."""

from __future__ import annotations

import pandas as pd


def gains(context: pd.DataFrame) -> pd.DataFrame:
    """Columns `layer, key, measured, gain` (nats)."""
    found = context.rename(columns={"information_gain_held_out": "held out", "information_gain": "in-sample"})
    found = found.assign(layer=found["layer"].astype(str), key=found["context"].map(name_of))
    found = found.melt(["layer", "key"], ["held out", "in-sample"], "measured", "gain")
    return found.astype({"gain": float}).dropna()


def ceilings(context: pd.DataFrame, place: str) -> pd.DataFrame:
    """Columns `layer, key, share`: `global` and `token id` of the shortest context's uses, then n-grams."""
    fewest = context[context["context"] == context["context"].min()]
    parts = [(fewest, "one list for all", f"{place}_global"), (fewest, "token id", f"{place}_token")]
    parts += [(own, name_of(window), f"{place}_context") for window, own in context.groupby("context")]
    frames = [
        pd.DataFrame({"layer": own["layer"].astype(str), "key": key, "share": own[column].astype(float)})
        for own, key, column in parts
    ]
    return pd.concat(frames).dropna()


def name_of(window: int) -> str:
    """How a legend calls keys of the token id and `window` tokens before it."""
    return f"token id and {window} before"
