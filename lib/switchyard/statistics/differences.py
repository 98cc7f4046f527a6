"""Losses that differ, tested pair by pair as one family: what tables of paired losses have in their columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from switchyard.statistics.multiplicity import holm, verdict
from switchyard.statistics.paired import RatioTest, ratio_tests


def difference_columns(
    differences: Sequence[np.ndarray | None], tokens: np.ndarray, prefix: str = ""
) -> list[dict[str, Any]]:
    """For each comparison `{prefix}loss_difference, loss_low, loss_high, p, p_holm, verdict`.

    Args:
        differences: nats per sample, [samples] each; None where nothing is compared, all columns are then None.
        tokens: targets of each sample, [samples]; a difference is a sum of nats over a sum of targets.
        prefix: stands before each column.

    `p_holm` is corrected for the number of comparisons. Nothing is tested where no sample differs: `p` is None.
    """
    asked = [one for one in differences if one is not None]
    tests = iter(ratio_tests([(one, tokens) for one in asked]))
    found = [None if one is None else next(tests) for one in differences]
    ps = [_p(test, one) for test, one in zip(found, differences, strict=True)]
    return [
        {
            f"{prefix}loss_difference": test and test.ratio,
            f"{prefix}loss_low": test and test.low,
            f"{prefix}loss_high": test and test.high,
            f"{prefix}p": p,
            f"{prefix}p_holm": adjusted,
            f"{prefix}verdict": test and verdict(-test.ratio, adjusted),
        }
        for test, p, adjusted in zip(found, ps, holm(ps), strict=True)
    ]


def _p(test: RatioTest | None, difference: np.ndarray | None) -> float | None:
    return test.p if test is not None and difference.any() else None
