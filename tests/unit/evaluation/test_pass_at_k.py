"""The estimator of pass@k against every draw counted."""

from __future__ import annotations

import pytest

from reference import pass_at_k as reference
from switchyard.evaluation.pass_at_k import mean_pass_at_k, pass_at_k


def test_all_small_cases() -> None:
    for samples in range(1, 11):
        for passed in range(samples + 1):
            for k in range(1, samples + 1):
                expected = reference.pass_at_k(samples, passed, k)
                assert pass_at_k(samples, passed, k) == pytest.approx(expected, abs=1e-14)


def test_limits() -> None:
    assert pass_at_k(200, 0, 100) == 0
    assert pass_at_k(200, 200, 1) == pass_at_k(5, 3, 3) == 1
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(9, 9, 10) is None


def test_means() -> None:
    assert mean_pass_at_k([(2, 1), (4, 0)], 1) == 0.25
    assert mean_pass_at_k([(2, 1), (4, 0)], 3) is None
    assert mean_pass_at_k([], 1) is None
