"""What the stage of the search writes about a model, with numbers that are true of nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from reference import search as reference
from switchyard.search.components import NUMBERS, SCHEMA
from switchyard.search.methods import ask
from switchyard.search.objective import Objective, Outcome
from switchyard.search.points import trajectory
from switchyard.search.space import Space
from switchyard.search.spaces import make_space

STRUCTURE = {"num_experts": 8, "top_k": 2}
SPACES = [make_space("roadmap", structure=STRUCTURE), make_space("bh", structure=STRUCTURE)]
SETTINGS = {"max_quality_degradation": 0.005, "speedup": "cost", "dataset": "tuning", "final": "heldout"}
OBJECTIVE = Objective(reference.BASELINE, reference.LIMIT)


def judged(space: Space, point: dict[str, Any], place: int) -> Outcome:
    """Every fifth point fails, every third does nothing."""
    if place % 5 == 4:
        return Outcome(failed="quality is nan")
    if place % 3 == 2:
        return OBJECTIVE.outcome(reference.BASELINE, 1.0, 0.0)
    if space.name == "bh":
        return OBJECTIVE.outcome(reference.BASELINE * (1 + 0.1 * point["alpha"]), 1 + point["alpha"], 0.5)
    return OBJECTIVE.outcome(*reference.var_like(point), 0.25)


def rows(*, seeds: tuple[int, ...] = (0, 1, 2), fails: bool = False) -> dict[str, pd.DataFrame]:
    """Trajectories by method."""
    found = {}
    for method, own in (("grid", seeds[:1]), ("bayesian", seeds), ("random", seeds)):
        kept = []
        for seed in own:
            for space in SPACES:
                points = ask("random", space, seed + 10 * (method == "random"), 0, 8)
                for place, point in enumerate(points):
                    outcome = Outcome(failed="all fail") if fails else judged(space, point, place)
                    row = {"batch": 0, "seed": seed, "space": space.name, "place": place}
                    kept.append({**row, "decisions": str(point), **point, **vars(outcome)})
        frame = pd.DataFrame(kept)
        for name in ("quality", "speed", "degradation", "objective", "acting_share"):
            frame[name] = frame[name].astype(float)
        found[method] = trajectory(frame)
    return found


def validated(*, degradation: float, speed: float, limit: float = 0.005) -> dict[str, Any]:
    """One entry of `validation.json`."""
    return {
        "samples": 40,
        "perplexity_untouched": 20.0,
        "perplexity": 20.0 * (1 + degradation),
        "degradation": degradation,
        "degradation_interval": [degradation - 0.002, degradation + 0.002] if degradation else [0.0, 0.0],
        "p": 0.01 if degradation else None,
        "max_quality_degradation": limit,
        "within_limit": "PASS" if degradation <= limit else "FAIL",
        "surely_within_limit": degradation + 0.002 <= limit,
        "speed": speed,
        "acting_share": 0.25,
        "shares": {"learned": 0.75, "fast": 0.25, "cached": 0.0},
    }


def manual(*, speed: float = 1.01) -> dict[str, Any]:
    """The configurations of `manual.json`."""
    return {
        name: {
            "tuning": validated(degradation=0.001, speed=one),
            "final": validated(degradation=0.009, speed=one),
        }
        for name, one in (("balanced", 1.0), ("custom", speed))
    }


def validations() -> dict[str, Any]:
    """`validation.json` by method."""
    return {
        "grid": validated(degradation=0.0, speed=1.0),
        "bayesian": validated(degradation=0.004, speed=1.1),
        "random": validated(degradation=0.02, speed=1.05),
    }


def ablation() -> pd.DataFrame:
    """`ablation.parquet` of a model with both rules; without the last component there are no numbers."""
    found = []
    for rule, names in {"var": ("fast path", "cache"), "bh": ("test", "weighting model", "min_k")}.items():
        for place, name in enumerate(("none", *names)):
            failed = "layer 1 is NaN" if name == "min_k" else None
            difference = None if name == "none" or failed else 0.01 * place
            numbers = dict.fromkeys(NUMBERS, None if failed else 0.5)
            numbers |= {"loss_difference": difference, "loss_low": difference and difference - 0.015}
            numbers |= {"loss_high": difference and difference + 0.015}
            words = {"config": f"{rule}_one", "component": name, "change": "off", "settings": "{}"}
            verdict = None if difference is None else "worse" if place == 2 else "not distinguishable"
            found.append({"rule": rule, **words, "failed": failed, **numbers, "verdict": verdict})
    return pa.Table.from_pylist(found, schema=SCHEMA).to_pandas()


def sensitivity() -> pd.DataFrame:
    """`sensitivity.parquet`: speed follows alpha, and nothing else does."""
    found = []
    for space in SPACES:
        for column in ("speed", "degradation"):
            for one in space.dimensions:
                values = one.choices or [str(one.at(unit)) for unit in np.linspace(0, 1, 5)]
                for place, value in enumerate(values):
                    mean = 1 + 0.125 * place * (one.name == "alpha")
                    row = {"space": space.name, "column": column, "dimension": one.name, "value": value}
                    found.append({**row, "mean": mean, "std": 0.0625})
    return pd.DataFrame(found)
