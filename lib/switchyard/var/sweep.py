"""Where VAR begins to act: coverage, loss and cost over its thresholds, beside rules that look nothing up.

All points are run on the same samples. A point's loss is paired by sample with the untouched model and with static
top-k that costs at most as much.

| kind | what |
|---|---|
| `untouched` | the model's own routing |
| `fast_path` | the table alone: entropy thresholds at quantiles of the model's entropies, and frequency thresholds |
| `cache` | the cache alone: confidence thresholds at quantiles of the confidences on these samples |
| `static` | top-k, from 1 to the trained k |
| `no_key` | each layer's most used experts for every token, with the weights of the model's own router |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from switchyard.evaluation.sequences import Sample
from switchyard.models.costs import flops_per_token
from switchyard.routing.topk import TopK
from switchyard.statistics.differences import difference_columns
from switchyard.text.kinds import kind_of
from switchyard.var.config import ROUTE_WEIGHTS, VARConfig
from switchyard.var.grid import Grid
from switchyard.var.router import VARRouter
from switchyard.var.runs import Run, confidences_into, looked_up_use, run_rule
from switchyard.var.table import RoutingTable

UNTOUCHED, FAST_PATH, CACHE, STATIC, NO_KEY = "untouched", "fast_path", "cache", "static", "no_key"

SETTINGS = (
    "quantile",
    "frequency_threshold",
    "entropy_threshold",
    "confidence_threshold",
    "context_window_size",
    "fast_path_experts",
    "route_weights",
)
"""Columns that say how a point was set; null where a point has no such setting."""


@dataclass(frozen=True)
class Point:
    """A rule with what its row says of it."""

    kind: str
    rule: VARRouter | TopK | None
    settings: dict[str, Any] = field(default_factory=dict)
    """Some of SETTINGS."""


class Observed(NamedTuple):
    """What is known of a model before it is swept."""

    table: pa.Table
    """Its routing table."""
    counts: pa.Table
    """Its expert counts: `layer, domain, token_id, expert, count`."""
    structure: Mapping[str, Any]


def sweep(
    model: torch.nn.Module,
    tokenizer: Any,
    dataset: pa.Table,
    samples: Sequence[Sample],
    observed: Observed,
    grid: Grid,
    *,
    batch_tokens: int,
    tokens_per_second: float,
    progress: Callable[[int], object] | None = None,
) -> pa.Table:
    """One row per point: `kind`, SETTINGS, and what it covers, costs and loses.

    Columns: shares of the tokens on each path (`fast, cached, learned`) and `coverage`, the first two together;
    `mean_experts`; `router_share`, of the rows of all MoE blocks whose router ran; `flops_per_token` and `flops_ratio`
    to the untouched model; `loss` (nats per target token), `perplexity`; `loss_difference` from the untouched model
    with its 95 % bootstrap-t interval (`loss_low`, `loss_high`), `p`, `p_holm`, `verdict`. The same against static
    top-k of at most as many operations: `static_k` and columns that begin with `static_`. The points of one model are
    one Holm family for each of the two. Nothing is tested where no sample differs.

    Args:
        model: a Hugging Face MoE model in evaluation mode.
        tokenizer: its tokenizer.
        dataset: the prepared table that `samples` come from.
        samples: what every point is run on.
        observed: what the table of routes is made from.
        grid: what is swept.
        batch_tokens: most tokens of a batch, padding included. Caches are written between batches.
        tokens_per_second: what turns tokens seen into the age of a cache entry.
        progress: called with 1 after each point.
    """
    runs = partial(run_rule, model, tokenizer, kind_of(dataset), list(samples), batch_tokens)
    confidences: list[np.ndarray] = []
    untouched = runs(None, observer=confidences_into(confidences))
    found = [(Point(UNTOUCHED, None), untouched)]
    for point in points(observed, np.concatenate(confidences), grid, tokens_per_second):
        found.append((point, runs(point.rule)))
        if progress:
            progress(1)
    rows = [{**_described(point), **_cost(point, run, observed.structure)} for point, run in found]
    _compare(rows, np.array([run.loss for _, run in found]), untouched.tokens)
    return pa.Table.from_pylist(rows)


def points(
    observed: Observed, confidences: np.ndarray, grid: Grid, tokens_per_second: float
) -> Iterator[Point]:
    """All points of a sweep but the untouched model.

    All quantiles go with the first frequency threshold; the other frequency thresholds with everything eligible.
    `confidences`, float32 [layers * tokens], are the largest router probabilities of real tokens.
    """
    structure = observed.structure
    top_k = structure["top_k"]
    table = RoutingTable.of(observed.table)
    first, *others = grid.frequency_thresholds
    highest = math.log(structure["num_experts"])
    entropies = _quantiles(observed.table, grid.quantiles, highest)
    for quantile, entropy, frequency in [
        *((quantile, entropy, first) for quantile, entropy in zip(grid.quantiles, entropies, strict=True)),
        *((1.0, highest, frequency) for frequency in others),
    ]:
        for used in grid.experts(top_k):
            for weights in ROUTE_WEIGHTS:
                settings = {"frequency_threshold": frequency, "entropy_threshold": entropy}
                settings |= {"fast_path_experts": used, "route_weights": weights}
                rule = VARRouter(VARConfig(**settings, cache_size=0), table)
                yield Point(FAST_PATH, rule, {"quantile": quantile, **settings})
    for quantile in grid.confidence_quantiles:
        threshold = float(np.quantile(confidences, quantile)) if quantile else 0.0
        for window in grid.context_windows:
            for weights in ROUTE_WEIGHTS:
                settings = {"confidence_threshold": threshold, "context_window_size": window}
                settings |= {"route_weights": weights}
                rule = VARRouter(VARConfig(**settings), tokens_per_second=tokens_per_second)
                yield Point(CACHE, rule, {"quantile": quantile, **settings})
    for k in range(1, top_k + 1):
        yield Point(STATIC, TopK(k))
    every = RoutingTable.without_key(observed.counts, top_k=top_k, num_experts=structure["num_experts"])
    for used in grid.experts(top_k):
        settings = {"fast_path_experts": used, "route_weights": "live"}
        config = VARConfig(**settings, frequency_threshold=0, entropy_threshold=1, cache_size=0)
        yield Point(NO_KEY, VARRouter(config, every), settings)


def _quantiles(table: pa.Table, quantiles: Sequence[float], highest: float) -> list[float]:
    """Quantiles of the mean entropies over the occurrences of token ids in all layers; 1: the highest there can be."""
    entropy, frequency = table["mean_entropy"].to_numpy(), table["frequency"].to_numpy()
    found = np.quantile(entropy, quantiles, weights=frequency, method="inverted_cdf")
    return [highest if one == 1 else float(value) for one, value in zip(quantiles, found, strict=True)]


def _described(point: Point) -> dict[str, Any]:
    return {"kind": point.kind, **{name: point.settings.get(name) for name in SETTINGS}}


def _cost(point: Point, run: Run, structure: Mapping[str, Any]) -> dict[str, Any]:
    top_k = structure["top_k"]
    used = point.settings.get("fast_path_experts")
    most = point.rule.k if isinstance(point.rule, TopK) else top_k
    use = looked_up_use(run.shares, used or top_k, most, point.settings.get("route_weights"))
    flops = flops_per_token(structure, use.mean_experts, use.router_share)
    return {
        **{path: run.shares[path] for path in ("fast", "cached", "learned")},
        "coverage": use.acting_share,
        "mean_experts": use.mean_experts,
        "router_share": use.router_share,
        "flops_per_token": flops,
        "flops_ratio": flops / flops_per_token(structure, top_k),
    }


def _compare(rows: list[dict[str, Any]], losses: np.ndarray, tokens: np.ndarray) -> None:
    """Add losses [points, samples] and their paired tests to the rows; the first row is the untouched model."""
    for row, loss in zip(rows, losses, strict=True):
        mean = float(loss.sum() / tokens.sum())
        row |= {"loss": mean, "perplexity": math.exp(mean)}
    _add(rows, difference_columns(losses - losses[0], tokens))
    against = [_static_of_at_most(row, rows) for row in rows]
    for row, place in zip(rows, against, strict=True):
        row["static_k"] = None if place is None else int(rows[place]["mean_experts"])
    differences = [
        None if place is None else loss - losses[place] for loss, place in zip(losses, against, strict=True)
    ]
    _add(rows, difference_columns(differences, tokens, "static_"))


def _add(rows: list[dict[str, Any]], columns: list[dict[str, Any]]) -> None:
    for row, added in zip(rows, columns, strict=True):
        row |= added


def _static_of_at_most(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Place of the dearest static top-k that costs no more than a point; None where there is none, or none is asked."""
    if row["kind"] in (UNTOUCHED, STATIC):
        return None
    able = [
        place
        for place, one in enumerate(rows)
        if one["kind"] == STATIC and one["flops_per_token"] <= row["flops_per_token"]
    ]
    return max(able, key=lambda place: rows[place]["flops_per_token"], default=None)
