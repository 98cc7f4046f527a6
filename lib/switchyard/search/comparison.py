"""Is one method better than another at equal budget? Asked over seeds, said either way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import t, ttest_rel

from switchyard.errors import InputError
from switchyard.search.objective import NO_SPEED_UP
from switchyard.statistics.multiplicity import LEVEL, verdict


@dataclass(frozen=True)
class Comparison:
    """The best feasible speeds of two methods at the same number of points, paired by seed."""

    method: str
    control: str
    budget: int
    """Points of each seed and method that count: the most that all of them have. Failed points are part of it."""
    seeds: int
    mean: float
    """Of the method."""
    control_mean: float
    difference: float
    """Mean over seeds of the method's best minus the control's."""
    low: float | None
    high: float | None
    """95 % interval of the difference (Student's t); None for one seed or where all differences are equal."""
    p: float | None
    """Two-sided paired t-test; 1 where no seed differs."""
    p_sign_flip: float
    """Exact two-sided test that only supposes that the two could be exchanged: never below 2 / 2**seeds."""
    wins: int
    losses: int
    """Seeds in which the method found more, and less."""
    verdict: str
    """better, worse or not distinguishable, by `p`."""


def best_by_seed(rows: pd.DataFrame, budget: int) -> dict[int, float]:
    """The best feasible speed among the first `budget` points of each seed; 1, the untouched model's, without any."""
    first = rows[rows.groupby("seed").cumcount() < budget]
    speeds = first["speed"].where(first["feasible"].eq(True))
    return speeds.groupby(first["seed"]).max().fillna(NO_SPEED_UP).to_dict()


def compare(rows: dict[str, pd.DataFrame], method: str = "bayesian", control: str = "random") -> Comparison:
    """Compare two methods by the rows of `read_points` of each.

    With three seeds the t-test rests on its assumption that differences are normal, which three cannot show, and the
    sign-flip test cannot go below 0.25. Both stand in the result.

    Raises:
        InputError: they have no seed in common.
    """
    both = sorted(set(rows[method]["seed"]) & set(rows[control]["seed"]))
    if not both:
        raise InputError(
            f"search: {method} and {control} have no seed in common; run both with the same seeds"
        )
    kept = {name: rows[name][rows[name]["seed"].isin(both)] for name in (method, control)}
    budget = min(int(one.groupby("seed").size().min()) for one in kept.values())
    ours, theirs = (np.array(list(best_by_seed(kept[name], budget).values())) for name in (method, control))
    difference = ours - theirs
    low, high, p = _student(difference)
    return Comparison(
        method=method,
        control=control,
        budget=budget,
        seeds=len(both),
        mean=float(ours.mean()),
        control_mean=float(theirs.mean()),
        difference=float(difference.mean()),
        low=low,
        high=high,
        p=p,
        p_sign_flip=sign_flip(difference),
        wins=int((difference > 0).sum()),
        losses=int((difference < 0).sum()),
        verdict=verdict(float(difference.mean()), p),
    )


def sign_flip(differences: np.ndarray) -> float:
    """Share of all assignments of signs whose sum is at least as far from 0; [seeds], at most 16."""
    signs = np.array(list(product((1, -1), repeat=len(differences))))
    sums = np.abs(signs @ differences)
    return float((sums >= sums[0] * (1 - 1e-12)).mean())


def _student(differences: np.ndarray) -> tuple[float | None, float | None, float | None]:
    n = len(differences)
    if not differences.any():
        return None, None, 1.0
    if n < 2 or np.ptp(differences) == 0:
        return None, None, None
    half = t.ppf(1 - LEVEL / 2, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    mean = differences.mean()
    return float(mean - half), float(mean + half), float(ttest_rel(differences, np.zeros(n)).pvalue)
