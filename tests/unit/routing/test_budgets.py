"""Budgets: the mean that is promised is the rule's own, and no alpha comes nearer to the target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import routing_rules as reference
from reference.router_logits import normal_null, null_distributions, router_logits
from switchyard.artifacts.files import write_table
from switchyard.errors import InputError
from switchyard.routing import (
    BenjaminiHochberg,
    BudgetBenjaminiHochberg,
    NullDistribution,
    budget_table,
    nulls_table,
    p_values,
    read_budget,
    solve_alpha,
)
from switchyard.routing.budgets import entry_levels

LOGITS = [
    np.random.default_rng(seed).normal(0.3 * seed, 1.0, size=(300, 16)).astype(np.float32)
    for seed in range(2)
]
NULL = [normal_null(), normal_null(centre=0.4)]


def executed(alpha: float, min_k: int, max_k: int) -> float:
    """The mean number of experts that the rule itself chooses."""
    rule = BenjaminiHochberg(alpha, max_k, min_k, null=NULL)
    counts = [rule.select(torch.from_numpy(one), layer).count for layer, one in enumerate(LOGITS)]
    return torch.cat(counts).double().mean().item()


@given(data=st.data(), null=null_distributions())
def test_levels_are_where_the_reference_changes(data: st.DataObject, null: NullDistribution) -> None:
    logits = data.draw(router_logits(experts=(1, 2, 3, 8))).double().numpy()
    alpha = data.draw(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
    num_experts = logits.shape[-1]
    max_k = data.draw(st.integers(1, num_experts))
    min_k = data.draw(st.integers(0, max_k))
    levels = entry_levels([logits], [null], max_k)
    assert levels.shape == (len(logits), max_k) and (np.diff(levels, axis=-1) >= 0).all()
    if (np.abs(levels - alpha) > 1e-12).all():
        mean = min_k + (levels[:, min_k:] <= alpha).sum() / len(logits)
        assert mean == pytest.approx(
            reference.mean_count(p_values(logits, null).tolist(), alpha, min_k, max_k), abs=1e-12
        )


@pytest.mark.parametrize(
    ("target_k", "min_k", "max_k"), [(2, 1, 8), (4, 1, 8), (7, 1, 8), (4.5, 0, 16), (0.5, 0, 16), (6, 5, 7)]
)
def test_the_rule_spends_what_was_solved(target_k: float, min_k: int, max_k: int) -> None:
    budget = solve_alpha(LOGITS, NULL, target_k=target_k, min_k=min_k, max_k=max_k)
    assert 0.0 < budget.alpha < 1.0
    assert budget.mean_experts == pytest.approx(executed(budget.alpha, min_k, max_k), abs=1e-12)
    assert abs(budget.mean_experts - target_k) < 0.02
    for factor in (1 - 1e-4, 1 - 1e-5, 1 + 1e-5, 1 + 1e-4):
        other = executed(min(budget.alpha * factor, 1 - 1e-9), min_k, max_k)
        assert abs(other - target_k) >= abs(budget.mean_experts - target_k) - 1e-12
    assert budget == solve_alpha(LOGITS, NULL, target_k=target_k, min_k=min_k, max_k=max_k)


def test_a_larger_target_needs_a_larger_alpha() -> None:
    alphas = [solve_alpha(LOGITS, NULL, target_k=k, min_k=1, max_k=8).alpha for k in range(2, 8)]
    assert (np.diff(alphas) > 0).all()


def test_ties_jump_over_the_target() -> None:
    """All logits equal: every token has 8 rejections from alpha = 0.4 on and none below."""
    null = [NullDistribution([0.0, 1.0], [0.0, 1.0])]
    logits = [np.full((10, 8), 0.6)]
    below = solve_alpha(logits, null, target_k=2.9, min_k=0, max_k=6)
    above = solve_alpha(logits, null, target_k=3.1, min_k=0, max_k=6)
    assert (below.mean_experts, above.mean_experts) == (0.0, 6.0)
    assert below.alpha < 0.4 <= above.alpha < below.alpha + 1e-6


def test_small_levels_are_found_too() -> None:
    """Under a null that lies far below the logits, alpha is of the order of 1e-5."""
    far = [normal_null(centre=-3.8)] * 2
    budget = solve_alpha(LOGITS, far, target_k=3, min_k=1, max_k=8)
    assert budget.alpha < 1e-3
    assert abs(budget.mean_experts - 3) < 0.02


def test_refuses_what_no_alpha_reaches() -> None:
    for target_k in (0.5, 8.5):
        with pytest.raises(
            InputError, match=r"out of reach, alpha from 0 to 1 gives 1\.0\d to 8\.00 with min_k 1"
        ):
            solve_alpha(LOGITS, NULL, target_k=target_k, min_k=1, max_k=8)
    with pytest.raises(InputError, match="max_k is 17 but there are 16 experts"):
        solve_alpha(LOGITS, NULL, target_k=4, min_k=1, max_k=17)


SETTINGS = [
    {"null": null, "min_k": min_k, "max_k": max_k, "target_k": target_k}
    for null, min_k, max_k, target_k in [
        ("pooled", 1, 8, 5),
        ("unselected", 1, 8, 5),
        ("pooled", 0, 16, 4.5),
        ("pooled", 1, 8, 4),
    ]
]


def test_the_table_holds_what_is_solved_one_by_one(tmp_path: Path) -> None:
    nulls = {"pooled": NULL, "unselected": [normal_null(centre=-1.0)] * 2}
    table = budget_table(LOGITS, nulls, SETTINGS)
    assert table.schema.names == ["null", "min_k", "max_k", "target_k", "alpha", "mean_experts"]
    pq.write_table(table, tmp_path / "budgets.parquet")
    for row, one in zip(table.to_pylist(), SETTINGS, strict=True):
        rest = {key: value for key, value in one.items() if key != "null"}
        budget = solve_alpha(LOGITS, nulls[one["null"]], **rest)
        assert (row["alpha"], row["mean_experts"]) == budget
        assert read_budget(tmp_path / "budgets.parquet", **one) == budget
    with pytest.raises(InputError, match=r"has none for null pooled, min_k 1, max_k 8, target_k 6\.0"):
        read_budget(tmp_path / "budgets.parquet", **{**SETTINGS[0], "target_k": 6})


def test_the_rule_is_made_from_a_study(tmp_path: Path) -> None:
    nulls = {"pooled": NULL, "unselected": [normal_null(centre=-1.0)] * 2}
    write_table(tmp_path / "budgets.parquet", budget_table(LOGITS, nulls, SETTINGS))
    write_table(
        tmp_path / "nulls.parquet",
        nulls_table([{name: nulls[name][layer] for name in nulls} for layer in range(2)]),
    )
    files = {"nulls": tmp_path / "nulls.parquet", "budgets": tmp_path / "budgets.parquet"}
    settings = {"target_k": 5, "max_k": 8, "weighting": "sum_to_one"}
    pooled = BudgetBenjaminiHochberg.from_study(settings, files)
    assert pooled.alpha == solve_alpha(LOGITS, NULL, target_k=5, min_k=1, max_k=8).alpha
    assert (pooled.target_k, pooled.limits, pooled.weighting) == (5, (1, 8), "sum_to_one")
    assert pooled.null[1].logit[0] == pytest.approx(-4.6)
    unselected = BudgetBenjaminiHochberg.from_study({**settings, "null_distribution": "unselected"}, files)
    assert unselected.alpha < pooled.alpha
    none = BudgetBenjaminiHochberg.from_study({**settings, "min_k": 0, "max_k": 16, "target_k": 4.5}, files)
    assert none.limits == (0, 16)
    logits = torch.from_numpy(LOGITS[1])
    plain = BenjaminiHochberg(pooled.alpha, 8, null=NULL, weighting="sum_to_one").select(logits, 1)
    own = pooled.select(logits, 1)
    assert all(torch.equal(*pair) for pair in zip(own[:4], plain[:4], strict=True))
    assert own.path is None and plain.path is None
    with pytest.raises(InputError, match="has none for"):
        BudgetBenjaminiHochberg.from_study({**settings, "target_k": 6}, files)
