"""Adaptive rules against static top-k at equal compute: the same samples, the same mean number of experts.

The compute-matched baseline of a configuration is mixed static top-k, run with the mean that the configuration had on
that dataset: between its two values of k nothing is interpolated, and outside them nothing is extrapolated.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from switchyard.errors import InputError
from switchyard.statistics.multiplicity import holm, verdict
from switchyard.statistics.paired import RatioTest, mcnemar, ratio_tests
from switchyard.warehouse.database import open_read_only, rows
from switchyard.warehouse.invariants import ImpossibleResult
from switchyard.warehouse.tables import write_printed

NAME = "equal_compute"

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("config_name", pa.string()),
        ("dataset", pa.string()),
        ("against", pa.string()),
        ("samples", pa.int64()),
        ("avg_experts", pa.float64()),
        ("against_avg_experts", pa.float64()),
        ("loss_difference", pa.float64()),
        ("loss_difference_low", pa.float64()),
        ("loss_difference_high", pa.float64()),
        ("loss_p", pa.float64()),
        ("loss_p_holm", pa.float64()),
        ("loss_verdict", pa.string()),
        ("accuracy_difference", pa.float64()),
        ("only_this_correct", pa.int64()),
        ("only_against_correct", pa.int64()),
        ("mcnemar_p", pa.float64()),
        ("accuracy_p_holm", pa.float64()),
        ("accuracy_verdict", pa.string()),
    ]
)

STANDARD_ERRORS = 6.0
"""How far the mean of a mixed top-k may lie from the mean it was given; chance takes it farther once in 5e8 runs."""

_COMPARISONS = """
SELECT mixed.model, mixed.matched AS config_name, mixed.dataset, mixed.config AS against,
    own.avg_experts, drawn.avg_experts AS against_avg_experts, mixed.num_layers
FROM experiments AS mixed
    LEFT JOIN experiments AS this
        ON this.model = mixed.model AND this.config = mixed.matched AND this.dataset = mixed.dataset
    LEFT JOIN quality AS own ON own.model = this.model AND own.config = this.config AND own.dataset = this.dataset
    LEFT JOIN quality AS drawn
        ON drawn.model = mixed.model AND drawn.config = mixed.config AND drawn.dataset = mixed.dataset
WHERE mixed.strategy = 'mixed_topk' AND mixed.matched IS NOT NULL
ORDER BY this.ordinal, mixed.ordinal
"""

_PAIRS = """
SELECT this.sample_id IS NOT DISTINCT FROM other.sample_id AND this.tokens IS NOT DISTINCT FROM other.tokens
        AND this.loss_tokens IS NOT DISTINCT FROM other.loss_tokens AS paired,
    this.loss - other.loss AS difference, this.loss_tokens AS weight,
    this.tokens AS tokens, len(this.log_likelihood) AS sequences,
    coalesce(this.correct_norm, this.correct) AS right_here,
    coalesce(other.correct_norm, other.correct) AS right_there
FROM (FROM samples WHERE model = $model AND config = $config_name AND dataset = $dataset) AS this
    FULL JOIN (FROM samples WHERE model = $model AND config = $against AND dataset = $dataset) AS other
    ON this.sample_id = other.sample_id
ORDER BY coalesce(this.sample_id, other.sample_id)
"""


def equal_compute(database: str | Path) -> pa.Table:
    """Every configuration that has an executed mixed top-k as baseline, per dataset, in the study's order.

    Columns: `model, config_name, dataset, against` (the mixed top-k), `samples`; `avg_experts, against_avg_experts`
    (mean experts per layer and token); `loss_difference` (nats per target token, this minus the mixed: above 0 is
    worse) with its 95 % bootstrap interval `loss_difference_low, loss_difference_high` and its p-value `loss_p`
    (`switchyard.statistics.paired`); `accuracy_difference` (share; cloze acc, choice acc_norm), `only_this_correct,
    only_against_correct` (samples) and `mcnemar_p`, all null for text. `loss_p_holm` is adjusted for all losses of
    one model, `accuracy_p_holm` for all its accuracies; `loss_verdict` and `accuracy_verdict` are `better`, `worse` or
    `not distinguishable`. No rows where the study has no such baseline.

    Raises InputError where the configuration of a baseline was not evaluated, ImpossibleResult where the two were given
    other samples or spent a different mean number of experts, so that nothing would be compared at equal compute.
    """
    with open_read_only(database) as connection:
        comparisons = rows(connection, _COMPARISONS)
        samples = [_samples(connection, one) for one in comparisons]
    losses = ratio_tests([(own["difference"], own["weight"]) for own in samples])
    found = [_row(one, own, test) for one, own, test in zip(comparisons, samples, losses, strict=True)]
    for model in {row["model"] for row in found}:
        _judge([row for row in found if row["model"] == model])
    return pa.Table.from_pylist(found, schema=SCHEMA)


def write_equal_compute(
    database: str | Path, folder: str | Path, stamp: dict[str, Any] | None = None
) -> list[Path]:
    """Write the table into `folder` as CSV, JSON and Parquet, as `switchyard.warehouse.tables` does; returns paths."""
    return write_printed(Path(folder) / NAME, equal_compute(database), stamp)


def _samples(connection: duckdb.DuckDBPyConnection, one: dict[str, Any]) -> dict[str, np.ndarray]:
    """The samples of one comparison, column by column, in order."""
    place = f"{one['model']}: {one['config_name']} against {one['against']} on {one['dataset']}"
    if one["avg_experts"] is None:
        raise InputError(
            f"{place}: {one['config_name']} was not evaluated there; evaluate it, or match another"
        )
    named = {name: one[name] for name in ("model", "config_name", "dataset", "against")}
    found = connection.execute(_PAIRS, named).fetchnumpy()
    strangers = int(np.count_nonzero(~found["paired"]))
    if strangers:
        raise ImpossibleResult(
            f"{place}: {strangers} of {len(found['paired'])} samples are not the same in both; "
            "delete the traces and scores of both and evaluate again"
        )
    _refuse_unequal_compute(place, one, found)
    return found


def _refuse_unequal_compute(place: str, one: dict[str, Any], found: dict[str, np.ndarray]) -> None:
    """Raise ImpossibleResult where chance does not explain the difference of the mean number of experts."""
    given, drawn = one["avg_experts"], one["against_avg_experts"]
    allowed = (
        STANDARD_ERRORS * draw_error(given, found["tokens"], found["sequences"], one["num_layers"]) + 1e-9
    )
    if not abs(given - drawn) <= allowed:
        raise ImpossibleResult(
            f"{place}: mean experts are {given:.6f} and {drawn:.6f}, chance allows {allowed:.2g} between them; "
            f"delete the trace and scores of {one['against']} and evaluate it again"
        )


def draw_error(mean: float, tokens: np.ndarray, sequences: np.ndarray, layers: int) -> float:
    """Standard error, at most, of the mean experts of a mixed top-k at `mean`; `tokens` and `sequences` are [samples].

    A decision for k + 1 has the variance f (1 - f), f the fractional part of `mean`. It is drawn by sample, layer and
    position, so that the `sequences` of one sample (the options of a choice) draw alike: a sample with `tokens`
    in all sequences holds at least tokens / sequences draws per layer, each counted at most `sequences` times.
    """
    share = mean % 1.0
    repeated = float((tokens.astype(float) * sequences).sum())
    return math.sqrt(share * (1 - share) * repeated / layers) / float(tokens.sum())


def _row(one: dict[str, Any], own: dict[str, np.ndarray], loss: RatioTest) -> dict[str, Any]:
    """A row without what needs the others."""
    return {
        **{name: one[name] for name in ("model", "config_name", "dataset", "against")},
        "samples": len(own["difference"]),
        "avg_experts": one["avg_experts"],
        "against_avg_experts": one["against_avg_experts"],
        "loss_difference": loss.ratio,
        "loss_difference_low": loss.low,
        "loss_difference_high": loss.high,
        "loss_p": loss.p,
        **_accuracy(own["right_here"], own["right_there"]),
    }


def _accuracy(here: np.ma.MaskedArray, there: np.ma.MaskedArray) -> dict[str, Any]:
    """Right and wrong on the same samples; empty for running text."""
    if np.ma.getmaskarray(here).any():
        return {"mcnemar_p": None}
    only_here, only_there = int((here & ~there).sum()), int((there & ~here).sum())
    return {
        "accuracy_difference": (only_here - only_there) / len(here),
        "only_this_correct": only_here,
        "only_against_correct": only_there,
        "mcnemar_p": mcnemar(only_here, only_there),
    }


def _judge(found: list[dict[str, Any]]) -> None:
    """Adjust the p-values of one model's families, all losses and all accuracies, and add the verdicts."""
    losses = holm([row["loss_p"] for row in found])
    accuracies = holm([row["mcnemar_p"] for row in found])
    for row, loss, accuracy in zip(found, losses, accuracies, strict=True):
        row["loss_p_holm"], row["loss_verdict"] = loss, verdict(-row["loss_difference"], loss)
        if accuracy is not None:
            row["accuracy_p_holm"] = accuracy
            row["accuracy_verdict"] = verdict(row["accuracy_difference"], accuracy)
