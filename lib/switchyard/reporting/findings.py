"""What the tables say, as data: budgets, dominance, verdicts against the trained top-k. No words here.

Quality is perplexity, which every dataset has; accuracy is asked where a dataset has one. Budgets are mean
experts per token, the measure that does not depend on a machine.
"""

from __future__ import annotations

import pandas as pd

from switchyard.charts.tables import Tables

BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"
MOSTLY = 0.5
"""Above this share a bound, and not the test, makes most decisions."""


def verdicts(tables: Tables) -> pd.DataFrame:
    """Every configuration but the trained one on every dataset: `verdict` by the 95 % interval of the paired loss.

    Better: the interval lies below 0; worse: above 0; undecided: it holds 0 or is not defined. With the columns of
    `paired_differences`, `avg_experts`, `saves` (fewer experts than the trained top-k) and `static`.
    """
    costs = tables.results[["config_name", "dataset", "avg_experts"]]
    frame = tables.differences.merge(costs, on=["config_name", "dataset"], validate="one_to_one")
    frame = frame.merge(tables.configs[["config_name", "static", "label"]], on="config_name")
    frame = frame[frame["config_name"] != tables.trained].copy()
    frame["verdict"] = UNDECIDED
    frame.loc[frame["loss_difference_high"] < 0, "verdict"] = BETTER
    frame.loc[frame["loss_difference_low"] > 0, "verdict"] = WORSE
    frame["saves"] = frame["avg_experts"] < tables.trained_top_k
    return frame.reset_index(drop=True)


def budgets(tables: Tables) -> list[int]:
    """Budgets of mean experts worth a row: powers of two, the trained and the largest K, if a configuration fits."""
    highest = int(tables.configs["k_or_max_k"].max())
    steps = {2**power for power in range(highest.bit_length()) if 2**power <= highest}
    cheapest = tables.results["avg_experts"].min()
    return sorted(step for step in steps | {tables.trained_top_k, highest} if step >= cheapest)


def best_at_budget(tables: Tables) -> pd.DataFrame:
    """For each budget and dataset the configuration(s) of lowest perplexity with at most that many experts a token.

    Rows: budget, dataset, config_name (the cheapest of equals), perplexity, avg_experts, equals (how many share
    that perplexity).
    """
    rows = []
    for budget in budgets(tables):
        for dataset in tables.datasets:
            fits = tables.results[
                (tables.results["dataset"] == dataset) & (tables.results["avg_experts"] <= budget)
            ]
            if len(fits):
                best = fits[fits["perplexity"] == fits["perplexity"].min()].sort_values(
                    ["avg_experts", "config_name"]
                )
                first = best.iloc[0]
                rows.append(
                    (
                        budget,
                        dataset,
                        first["config_name"],
                        first["perplexity"],
                        first["avg_experts"],
                        len(best),
                    )
                )
    return pd.DataFrame(
        rows, columns=["budget", "dataset", "config_name", "perplexity", "avg_experts", "equals"]
    )


def dominated(tables: Tables) -> pd.DataFrame:
    """Configurations that another beats on every dataset: no more experts, lower perplexity, no lower accuracy.

    Rows: config_name, by (of those that beat it, the one of lowest mean loss). O(configurations squared).
    """
    experts, loss, accuracy = (
        _wide(tables, column) for column in ("avg_experts", "perplexity", "avg_task_accuracy")
    )
    rows = []
    for name in experts.index:
        beaten = (experts <= experts.loc[name]).all(axis=1) & (loss < loss.loc[name]).all(axis=1)
        beaten &= ((accuracy >= accuracy.loc[name]) | accuracy.isna()).all(axis=1)
        if beaten.any():
            rows.append((name, loss[beaten].rank().mean(axis=1).idxmin()))
    return pd.DataFrame(rows, columns=["config_name", "by"])


def beaten_by_static(tables: Tables) -> pd.DataFrame:
    """Adaptive experiments for which a static rule has no more experts on the same dataset and lower perplexity.

    Rows: config_name, dataset, perplexity, avg_experts, by (the best such static rule), by_perplexity, by_experts.
    """
    rows = []
    for adaptive, static in _adaptive_and_static(tables):
        better = static[
            (static["avg_experts"] <= adaptive.avg_experts) & (static["perplexity"] < adaptive.perplexity)
        ]
        if len(better):
            best = better.sort_values(["perplexity", "avg_experts"]).iloc[0]
            rows.append((*_point(adaptive), best["config_name"], best["perplexity"], best["avg_experts"]))
    return pd.DataFrame(rows, columns=[*_POINT, "by", "by_perplexity", "by_experts"])


def without_static_rival(tables: Tables) -> pd.DataFrame:
    """Adaptive experiments cheaper than every static rule of the study: nothing to compare with at their budget."""
    rows = [
        _point(a)
        for a, static in _adaptive_and_static(tables)
        if not (static["avg_experts"] <= a.avg_experts).any()
    ]
    return pd.DataFrame(rows, columns=_POINT)


def bounds(tables: Tables) -> pd.DataFrame:
    """Adaptive configurations with their mean floor and ceiling shares over datasets and mean experts."""
    columns = ["floor_hit_rate", "ceiling_hit_rate", "avg_experts"]
    means = tables.results.groupby("config_name", sort=False)[columns].mean().reset_index()
    return tables.configs[~tables.configs["static"]].merge(means, on="config_name")


def keepers(tables: Tables) -> pd.DataFrame:
    """Adaptive configurations that save experts and are not worse than the trained top-k on any dataset.

    Cheapest first; `better` says on how many datasets the interval lies below 0, `allowed` the largest loss per token
    (nats) that an interval still holds.
    """
    frame = verdicts(tables)
    groups = frame[~frame["static"]].groupby("config_name", sort=False)
    summary = groups.agg(
        avg_experts=("avg_experts", "mean"),
        saves=("saves", "all"),
        worse=("verdict", lambda values: int((values == WORSE).sum())),
        better=("verdict", lambda values: int((values == BETTER).sum())),
        allowed=("loss_difference_high", "max"),
    ).reset_index()
    return summary[summary["saves"] & (summary["worse"] == 0)].sort_values(["avg_experts", "config_name"])


def speeds(tables: Tables) -> pd.DataFrame:
    """Adaptive configurations with fewer experts than trained, and how fast they were against the trained top-k.

    `speedup` is tokens per second over that of the trained top-k, `slower` says that it is below 1; configurations
    whose speed was not measured have no row.
    """
    speed = tables.results.groupby("config_name")["tokens_per_second"].max().astype(float)
    experts = tables.results.groupby("config_name")["avg_experts"].mean()
    frame = tables.configs[~tables.configs["static"]].copy()
    frame["tokens_per_second"] = frame["config_name"].map(speed).astype(float)
    frame["speedup"] = frame["tokens_per_second"] / speed.get(tables.trained, float("nan"))
    frame["slower"] = frame["speedup"] < 1
    saves = frame["config_name"].map(experts).astype(float) < tables.trained_top_k
    return frame[saves & frame["speedup"].notna()]


_POINT = ["config_name", "dataset", "perplexity", "avg_experts"]


def _point(row) -> tuple:
    return tuple(getattr(row, column) for column in _POINT)


def _adaptive_and_static(tables: Tables):
    """Every adaptive experiment with the static experiments of its dataset."""
    names = set(tables.configs.loc[tables.configs["static"], "config_name"])
    is_static = tables.results["config_name"].isin(names)
    static = dict(iter(tables.results[is_static].groupby("dataset")))
    nothing = tables.results.iloc[:0]
    for row in tables.results[~is_static].itertuples():
        yield row, static.get(row.dataset, nothing)


def _wide(tables: Tables, column: str) -> pd.DataFrame:
    """Configurations x datasets."""
    wide = tables.results.pivot(index="config_name", columns="dataset", values=column).astype(float)
    return wide.loc[list(tables.configs["config_name"])]
