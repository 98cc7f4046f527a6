"""Who is compared with whom, as tables: no words here, and no number that is not taken from the aggregate tables.

An adaptive rule chooses the number of experts of each token by looking at it. Static top-k does not, and neither do
the controls: `mixed_topk` and `random_count` draw it.
"""

from __future__ import annotations

import pandas as pd

from switchyard.statistics import multiplicity
from switchyard.warehouse.study_tables import STATIC, Tables

CONTROLS = ("mixed_topk", "random_count")
"""`routing_type` of rules whose number of experts is drawn."""

MIXED, RANDOM, BUDGET = "mixed_topk", "random_count", "bh_budget"

BETTER, WORSE, ALIKE = multiplicity.BETTER, multiplicity.WORSE, multiplicity.UNDECIDED
"""Verdicts at equal compute, after Holm's correction."""

UNDECIDED = "undecided"
"""Against the trained top-k: the uncorrected 95 % interval holds 0, or there is none."""

MOSTLY = 0.5
"""Above this share a bound, and not the test, makes most decisions."""


def configurations(tables: Tables) -> pd.DataFrame:
    """`configurations` with the roles `static`, `control`, `adaptive` and the overall means.

    Static rules first, by their k, then the others in the study's order: the order of all tables of the report.
    """
    frame = tables.configurations.copy()
    frame["static"] = frame["routing_type"] == STATIC
    frame["control"] = frame["routing_type"].isin(CONTROLS)
    frame["adaptive"] = ~frame["static"] & ~frame["control"]
    order = frame["k_or_max_k"].where(frame["static"], float("inf")).sort_values(kind="stable").index
    means = tables.overall.set_index("config_name")
    means = means[[name for name in means if name not in frame]]
    return frame.loc[order].join(means, on="config_name").reset_index(drop=True)


def adaptive(tables: Tables) -> pd.DataFrame:
    """The rows of `configurations` whose rule looks at the token."""
    frame = configurations(tables)
    return frame[frame["adaptive"]].reset_index(drop=True)


def at_equal_compute(tables: Tables) -> pd.DataFrame:
    """`equal_compute` with `label`, `set_name` and `adaptive`, measures as floats."""
    roles = configurations(tables)[["config_name", "label", "set_name", "adaptive"]]
    frame = tables.equal_compute.merge(roles, on="config_name", how="inner", validate="many_to_one")
    words = {"model", "config_name", "dataset", "against", "loss_verdict", "accuracy_verdict", *roles.columns}
    frame = frame.astype({name: float for name in frame.columns if name not in words})
    return _in_order(tables, frame)


def verdicts(tables: Tables) -> pd.DataFrame:
    """The rows of `at_equal_compute` on adaptive rules: what the verdicts are counted over."""
    frame = at_equal_compute(tables)
    return frame[frame["adaptive"]].reset_index(drop=True)


def unmatched(tables: Tables) -> pd.DataFrame:
    """Adaptive configurations without a mixed static top-k of their own."""
    frame = adaptive(tables)
    return frame[~frame["config_name"].isin(tables.equal_compute["config_name"])]


def against_trained(tables: Tables) -> pd.DataFrame:
    """Every configuration that is matched with no other, on every dataset, against the trained top-k.

    The columns of `paired_differences`, the roles, `avg_experts`, `saves` (fewer experts than the trained top-k) and
    `verdict` by the 95 % interval of the paired loss: better below 0, worse above, otherwise undecided.
    """
    roles = configurations(tables)[["config_name", "label", "set_name", "static", "adaptive", "matched"]]
    costs = tables.results[["config_name", "dataset", "avg_experts"]]
    frame = tables.differences.merge(costs, on=["config_name", "dataset"], validate="one_to_one")
    frame = frame.merge(roles, on="config_name")
    frame = frame[(frame["config_name"] != tables.trained) & frame["matched"].isna()].copy()
    frame["verdict"] = UNDECIDED
    frame.loc[frame["loss_difference_high"] < 0, "verdict"] = BETTER
    frame.loc[frame["loss_difference_low"] > 0, "verdict"] = WORSE
    frame["saves"] = frame["avg_experts"] < tables.trained_top_k
    return _in_order(tables, frame)


def against_trained_by_configuration(tables: Tables) -> pd.DataFrame:
    """The same, one row per configuration and cheapest first.

    `better`, `worse`: datasets; `saves`: on all of them; `cost`, `allowed`: the largest difference of loss, and the
    largest that an interval still holds, nats per target token.
    """
    groups = against_trained(tables).groupby("config_name", sort=False)
    frame = groups.agg(
        label=("label", "first"),
        static=("static", "first"),
        adaptive=("adaptive", "first"),
        avg_experts=("avg_experts", "mean"),
        saves=("saves", "all"),
        datasets=("dataset", "count"),
        better=("verdict", lambda values: int((values == BETTER).sum())),
        worse=("verdict", lambda values: int((values == WORSE).sum())),
        cost=("loss_difference", "max"),
        allowed=("loss_difference_high", "max"),
    )
    return frame.reset_index().sort_values(["avg_experts", "config_name"])


def against_random_counts(tables: Tables) -> pd.DataFrame:
    """Adaptive experiments against random counts of their own distribution: `loss_difference`, this minus that."""
    frame = configurations(tables)
    partners = frame.loc[frame["routing_type"] == RANDOM, ["config_name", "matched"]]
    losses = tables.results[["config_name", "dataset", "avg_loss"]]
    drawn = partners.merge(losses, on="config_name").drop(columns="config_name")
    drawn = drawn.rename(columns={"matched": "config_name", "avg_loss": "random_loss"})
    pairs = losses.merge(drawn, on=["config_name", "dataset"])
    return _in_order(tables, pairs.assign(loss_difference=pairs["avg_loss"] - pairs["random_loss"]))


def speeds(tables: Tables) -> pd.DataFrame:
    """Configurations that are matched with no other and whose speed was measured.

    `speedup` is tokens per second over those of the trained top-k, `partner_*` are the measures of the mixed static
    top-k of the same mean number of experts, `partner_ratio` tokens per second over the partner's.
    """
    frame = configurations(tables)
    measures = frame.set_index("config_name")[["tokens_per_second", "latency_ms_per_token"]].astype(float)
    partners = (
        frame[frame["routing_type"] == MIXED].dropna(subset="matched").set_index("matched")["config_name"]
    )
    frame = frame[frame["matched"].isna()].copy()
    frame["partner"] = frame["config_name"].map(partners)
    for measure in measures:
        frame[f"partner_{measure}"] = frame["partner"].map(measures[measure]).astype(float)
    frame["speedup"] = frame["tokens_per_second"].astype(float) / measures["tokens_per_second"].get(
        tables.trained
    )
    frame["partner_ratio"] = frame["tokens_per_second"].astype(float) / frame["partner_tokens_per_second"]
    frame["saves"] = frame["avg_experts"] < tables.trained_top_k
    return frame[frame["tokens_per_second"].notna()]


def bounds(tables: Tables) -> pd.DataFrame:
    """Adaptive configurations with the shares of their decisions on the floor, between and on the ceiling."""
    frame = adaptive(tables)
    return frame.assign(between=1 - frame["floor_hit_rate"] - frame["ceiling_hit_rate"])


def budgets(tables: Tables) -> pd.DataFrame:
    """Configurations of BH at a given budget: `target` is the mean number of experts asked for, on calibration text."""
    frame = configurations(tables)
    frame = frame[frame["routing_type"] == BUDGET].copy()
    frame["target"] = frame["target_k"].astype(float)
    return frame.reset_index(drop=True)


def _in_order(tables: Tables, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by configuration in the report's order, then by dataset."""
    order = {"config_name": list(configurations(tables)["config_name"]), "dataset": tables.datasets}
    return frame.sort_values(
        list(order), key=lambda values: values.map(order[values.name].index)
    ).reset_index(drop=True)
