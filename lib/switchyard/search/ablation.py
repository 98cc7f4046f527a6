"""Ablation: the components of a rule switched off in turn, each compared with the whole rule on the same samples."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from switchyard.errors import NotANumber
from switchyard.routing.mixed_topk import MixedTopK
from switchyard.search.candidates import Candidates, Subject, counted_run
from switchyard.search.evaluator import Evaluator, perplexity
from switchyard.statistics.differences import difference_columns
from switchyard.var.runs import Run, Use

NUMBERS = (
    "mean_experts",
    "acting_share",
    "flops_ratio",
    "loss",
    "perplexity",
    "untouched_difference",
    "loss_difference",
    "loss_low",
    "loss_high",
    "p",
    "p_holm",
)
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("rule", "config", "component", "change", "settings", "failed")]
    + [(name, pa.float64()) for name in NUMBERS]
    + [("verdict", pa.string())]
)
"""Of the table of all rules; `ablate` says what the columns are."""

WHOLE = "none"
"""Component of the row of the whole rule."""


class Component(NamedTuple):
    """A component of a rule and what replaces it."""

    name: str
    change: str
    """In words."""
    settings: dict[str, Any] | None
    """Those of the rule without it; None: static top-k at the whole rule's mean number of experts."""


def var_components(whole: Mapping[str, Any], num_experts: int) -> list[Component]:
    """VAR's paths, its stored weights, and each of its thresholds; `whole` are fields of a VARConfig.

    A threshold that is off lets everything pass. Settings that the whole rule has off are left out.
    """
    other = "live" if whole["route_weights"] == "table" else "table"
    changes = [
        ("fast path", "no token id is eligible", {"entropy_threshold": 0.0}),
        ("cache", "no entries", {"cache_size": 0}),
        (f"{whole['route_weights']} weights", f"{other} weights", {"route_weights": other}),
        ("frequency threshold", "0", {"frequency_threshold": 0}),
        ("entropy threshold", "ln E", {"entropy_threshold": math.log(num_experts)}),
        ("confidence threshold", "0", {"confidence_threshold": 0.0}),
        ("context in the cache key", "the token id alone", {"context_window_size": 0}),
        ("fewer fast-path experts", "the trained top-k", {"fast_path_experts": None}),
    ]
    return _changed(whole, changes)


def bh_components(whole: Mapping[str, Any], num_experts: int) -> list[Component]:
    """BH's test, the kernel of its null, its weighting and its limits; `whole` are settings of a configuration."""
    other = "sum_to_one" if whole["weighting"] == "model" else "model"
    changes = [
        ("kernel of the null", "empirical null", {"null_distribution": "empirical"}),
        (f"weighting {whole['weighting']}", f"weighting {other}", {"weighting": other}),
        ("min_k", "0", {"min_k": 0}),
        ("max_k", f"{num_experts}, all experts", {"max_k": num_experts}),
    ]
    test = Component("test", "a draw with the same mean", None)
    return [test, *_changed(whole, changes)]


def ablate(
    evaluator: Evaluator,
    candidates: Candidates,
    whole: Mapping[str, Any],
    components: Iterable[Component],
) -> list[dict[str, Any]]:
    """A row for the whole rule, then one for each component that is off.

    Columns: `component`, `change` (words), `settings` (JSON), `failed` (why there are no numbers, else None);
    `mean_experts`, `acting_share` (of the tokens of all MoE blocks that are not routed as by the untouched model),
    `flops_ratio` (matrix products per token, to the untouched model); `loss` (nats per target token), `perplexity`, and
    `loss_difference` to the whole rule with the columns of `difference_columns`, one Holm family. The whole rule is
    compared with the untouched model in `untouched_difference`, nats per target token.
    """
    run, use = candidates.run(whole, own_when_full=False)
    rows, differences = [_row(evaluator, Component(WHOLE, "", dict(whole)), run, use)], [None]
    for one in components:
        try:
            own, used = _run(evaluator.subject, candidates, one, whole, use)
        except NotANumber as error:
            rows.append({**_named(one), "failed": str(error)})
            differences.append(None)
            continue
        rows.append(_row(evaluator, one, own, used))
        differences.append(own.loss - run.loss)
    columns = difference_columns(differences, run.tokens)
    return [row | added for row, added in zip(rows, columns, strict=True)]


def _changed(whole: Mapping[str, Any], changes: Iterable[tuple[str, str, dict[str, Any]]]) -> list[Component]:
    """The components whose change makes a difference to the settings."""
    different = [
        (name, words, change)
        for name, words, change in changes
        if any(whole.get(key) != value for key, value in change.items())
    ]
    return [Component(name, words, {**whole, **change}) for name, words, change in different]


def _run(
    subject: Subject, candidates: Candidates, one: Component, whole: Mapping[str, Any], use: Use
) -> tuple[Run, Use]:
    if one.settings is not None:
        return candidates.run(one.settings, own_when_full=False)
    rule = MixedTopK(use.mean_experts, whole["weighting"])
    return counted_run(subject, rule, own_when_full=False)


def _row(evaluator: Evaluator, one: Component, run: Run, use: Use) -> dict[str, Any]:
    return {
        **_named(one),
        "failed": None,
        "mean_experts": use.mean_experts,
        "acting_share": use.acting_share,
        "flops_ratio": 1 / evaluator.cost(use),
        "loss": float(run.loss.sum() / run.tokens.sum()),
        "perplexity": perplexity(run),
        "untouched_difference": float((run.loss - evaluator.untouched.loss).sum() / run.tokens.sum()),
    }


def _named(one: Component) -> dict[str, Any]:
    return {"component": one.name, "change": one.change, "settings": json.dumps(one.settings, sort_keys=True)}
