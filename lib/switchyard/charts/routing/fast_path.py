"""The fast path in numbers: who is eligible and why others are not, and what other thresholds would give.

Every table has `layer` first; shares of a layer with no usable type are missing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from switchyard.charts.routing.token_types import TokenTypes

PARTS = ("eligible", "too rare", "too uncertain", "both")
"""What a token type is; `too rare` is certain enough, `too uncertain` frequent enough."""
FREQUENCY_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10)
ENTROPY_STEPS = (0.5, 1, 2, 3, 4, 6, 8)
"""Multiples of the study's thresholds that are tried; of entropies, those up to the axis's end."""
RANKS = 60
"""Places of the curve over ranked types."""


def parts(types: TokenTypes) -> pd.DataFrame:
    """Columns `layer, of, part, share, number`: token types and occurrences that are eligible, or why they are not."""
    rows = types.rows
    part = np.select(
        [rows["eligible"], rows["certain"], rows["frequent"]],
        ["eligible", "too rare", "too uncertain"],
        "both",
    )
    groups = (
        rows.groupby(["layer", part], sort=False)["frequency"]
        .agg(["size", "sum"])
        .rename_axis(["layer", "part"])
    )
    found = (
        groups.set_axis(["token types", "occurrences"], axis=1)
        .rename_axis(columns="of")
        .stack()
        .rename("number")
    )
    found = found.reset_index()
    whole = found.groupby(["layer", "of"])["number"].transform("sum")
    order = found["part"].map({name: place for place, name in enumerate(PARTS)})
    return found.assign(share=found["number"] / whole, order=order)


def coverages(types: TokenTypes) -> pd.DataFrame:
    """Columns `layer, name, share` of the occurrences: on the fast path, meeting either condition, of top types."""
    found = []
    for layer, own in types.rows.groupby("layer", sort=False):
        whole = own["frequency"].sum()
        one = types.found[layer]
        shares = {
            "fast path": one["fast_path_coverage"],
            "frequent": own.loc[own["frequent"], "frequency"].sum() / whole,
            "low entropy": own.loc[own["certain"], "frequency"].sum() / whole,
            f"top {types.thresholds['top_types']:,}": one["top_1000_coverage"],
        }
        found += [{"layer": layer, "name": name, "share": share} for name, share in shares.items()]
    return pd.DataFrame(found, columns=["layer", "name", "share"])


def sensitivity(types: TokenTypes) -> pd.DataFrame:
    """Columns `layer, frequency, entropy, coverage, own` (1: the study's thresholds): coverage at thresholds."""
    least, below = types.thresholds["frequency_threshold"], types.thresholds["entropy_threshold"]
    frequencies = sorted({least * step if step < 1 else least * int(step) for step in FREQUENCY_STEPS})
    entropies = sorted({below * step for step in ENTROPY_STEPS if step <= 1 or below * step <= types.top})
    found = []
    for layer, own in types.rows.groupby("layer", sort=False):
        frequency, entropy = own["frequency"].to_numpy(), own["mean_entropy"].to_numpy()
        for at_least in frequencies:
            for under in entropies:
                taken = frequency[(frequency >= at_least) & (entropy < under)].sum() / frequency.sum()
                same = int(at_least == least and under == below)
                found.append((layer, at_least, under, taken, same))
    return pd.DataFrame(found, columns=["layer", "frequency", "entropy", "coverage", "own"])


def over_ranks(types: TokenTypes) -> pd.DataFrame:
    """Columns `layer, rank, of, share`: of the occurrences that the first `rank` types have, all or eligible ones."""
    found = []
    for layer, own in types.rows.groupby("layer", sort=False):
        ranks = np.unique(np.geomspace(1, len(own), RANKS).round().astype(int))
        whole = own["frequency"].cumsum().to_numpy()
        taken = own["frequency"].where(own["eligible"], 0).cumsum().to_numpy()
        for name, sums in {"all": whole, "eligible": taken}.items():
            share = sums[ranks - 1] / whole[-1]
            found.append(pd.DataFrame({"layer": layer, "rank": ranks, "of": name, "share": share}))
    return pd.concat(found) if found else pd.DataFrame(columns=["layer", "rank", "of", "share"])
