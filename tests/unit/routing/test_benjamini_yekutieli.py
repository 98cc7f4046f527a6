"""Benjamini-Yekutieli against its definition, against SciPy and against BH."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from reference import routing_rules as reference
from reference.bh import cdf
from reference.router_logits import levels, normal_null, null_distributions, router_logits
from switchyard.artifacts.files import write_table
from switchyard.routing import BenjaminiHochberg, BenjaminiYekutieli, NullDistribution, nulls_table, p_values


@given(data=st.data(), null=null_distributions(), alpha=levels)
def test_equals_the_naive_reference(data: st.DataObject, null: NullDistribution, alpha: float) -> None:
    logits = data.draw(router_logits(on_grid=tuple(null.logit.tolist())))
    max_k = data.draw(st.integers(1, logits.shape[-1]))
    min_k = data.draw(st.integers(0, max_k))
    selection = BenjaminiYekutieli(alpha, max_k, min_k, null=[null]).select(logits, 0)
    for token, row in enumerate(logits.double().tolist()):
        p = [1.0 - cdf(x, null.logit.tolist(), null.cdf.tolist()) for x in row]
        n = reference.benjamini_yekutieli(p, alpha)
        experts = reference.choose(row, n, min_k, max_k)
        assert selection.rejections[token].item() == n
        assert selection.experts[token].tolist() == experts + [len(row)] * (max_k - len(experts))


@given(data=st.data(), null=null_distributions(), alpha=levels)
def test_equals_scipy_away_from_the_boundaries(
    data: st.DataObject, null: NullDistribution, alpha: float
) -> None:
    logits = data.draw(router_logits())
    num_experts = logits.shape[-1]
    p = p_values(logits.double().numpy(), null)
    adjusted = false_discovery_control(p, axis=-1, method="by")
    assume((np.abs(adjusted - alpha) > 1e-12).all())
    selection = BenjaminiYekutieli(alpha, num_experts, 0, null=[null]).select(logits, 0)
    assert selection.rejections.tolist() == (adjusted <= alpha).sum(axis=-1).tolist()


def test_rejects_no_more_than_bh() -> None:
    logits = torch.randn(500, 16, generator=torch.Generator().manual_seed(0)) + 0.5
    rules = [rule(0.5, 16, 0, null=[normal_null()]) for rule in (BenjaminiHochberg, BenjaminiYekutieli)]
    more, fewer = (rule.select(logits, 0).rejections for rule in rules)
    assert (fewer <= more).all() and (fewer < more).any()


def test_one_expert_is_bh() -> None:
    logits = torch.linspace(-3, 3, 50)[:, None]
    rules = [rule(0.2, 1, 0, null=[normal_null()]) for rule in (BenjaminiHochberg, BenjaminiYekutieli)]
    assert torch.equal(*(rule.select(logits, 0).rejections for rule in rules))


def test_is_made_from_a_study(tmp_path: Path) -> None:
    nulls = [{"pooled": normal_null(), "unselected": normal_null(centre=-1.0)}] * 2
    write_table(tmp_path / "nulls.parquet", nulls_table(nulls))
    settings = {"alpha": 0.3, "max_k": 4, "weighting": "sum_to_one"}
    files = {"nulls": tmp_path / "nulls.parquet"}
    for rule_class in (BenjaminiHochberg, BenjaminiYekutieli):
        pooled = rule_class.from_study(settings, files)
        unselected = rule_class.from_study({**settings, "null_distribution": "unselected"}, files)
        assert type(pooled) is rule_class
        assert (pooled.alpha, pooled.limits, pooled.weighting) == (0.3, (1, 4), "sum_to_one")
        assert [null.logit[0] for null in pooled.null] == [-5.0] * 2
        assert [null.logit[0] for null in unselected.null] == [-6.0] * 2


def test_its_p_values_are_the_nulls() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    rule = BenjaminiYekutieli(0.3, 4, null=[normal_null(), normal_null(centre=1.0)])
    assert np.array_equal(rule.p_values(logits, 1), p_values(logits, rule.null[1]))
