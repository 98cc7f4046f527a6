"""Two configurations compared on the same samples: a bootstrap for losses, McNemar's test for right and wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 49_999
"""The smallest p-value is 1 / (RESAMPLES + 1): after Holm's correction it is below 0.05 among up to 2,499 tests."""

LEVEL = 0.05
"""1 - LEVEL is the coverage of the intervals."""

_ROUNDING = 1e-12
"""Share of its terms below which a difference of sums of squares is rounding."""

_SEED = 20_250_101
_CHUNK = 2**20
"""Entries of the table of counts held at a time: 8 MiB."""


class RatioTest(NamedTuple):
    """A ratio of sums, its 95 % interval, and the two-sided p-value of its being 0; 0 is outside where p <= 0.05."""

    ratio: float
    low: float | None
    high: float | None
    p: float | None


def ratio_tests(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], *, resamples: int = RESAMPLES
) -> list[RatioTest]:
    """Is sum(d) / sum(w) over samples different from 0? For each (d, w) of `pairs`, arrays [samples].

    The symmetric bootstrap-t (Hall, 1988, On symmetric bootstrap confidence intervals): samples are drawn with
    replacement, the ratio's change is divided by its standard error by linearisation in the same resample, and
    p = (1 + resamples at least as far from 0 as the data) / (1 + resamples). The interval reaches as many standard
    errors as the 5 % farthest resamples, so that it leaves out 0 exactly where p <= 0.05.

    The percentile bootstrap is not used because its tail is too light where Holm's correction looks: in 40,000
    simulated comparisons of 100 samples without a difference it rejected at 0.05 / 72 1.6 to 1.9 times as often as it
    should with loss differences of the pocket study, 4.4 times with exponential ones; this test 0.7 to 1.2 and 1.7
    times. Against log-normal differences (skewness 6) neither is safe: 12 and 5 times. `bench/loss_test_size.py` runs
    such simulations.

    All pairs of one number of samples share their resamples, which follow from that number alone: a result does not
    depend on what else is tested. `low`, `high` and `p` are None for one sample; `low` and `high` also where so few
    samples differ that more than 5 % of the resamples hold no difference to measure an error by.
    """
    found: list[RatioTest | None] = [None] * len(pairs)
    sizes = [len(d) for d, _ in pairs]
    for size in sorted(set(sizes)):
        places = [place for place, own in enumerate(sizes) if own == size]
        tests = _tests_of_one_size([_Ratio.of(*pairs[place]) for place in places], size, resamples)
        for place, test in zip(places, tests, strict=True):
            found[place] = test
    return found


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of samples that only one of two gets right being evenly shared (McNemar, 1947)."""
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def resamplings(samples: int, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each sample is drawn: float64 [some resamples, samples], chunk by chunk, the same at every call."""
    random = np.random.default_rng([_SEED, samples])
    even = np.full(samples, 1 / samples)
    step = max(1, _CHUNK // samples)
    for start in range(0, resamples, step):
        yield random.multinomial(samples, even, size=min(step, resamples - start)).astype(np.float64)


class _Ratio(NamedTuple):
    """sum(d) / sum(w), and per sample what its error in a resample needs."""

    value: float
    error: float
    """By linearisation; the factor n / (n - 1) of its square cancels, since resamples are as large as the data."""
    moments: np.ndarray
    """float64 [samples, 5]: e, w, e e, e w, w w, with e = d - value w."""

    @classmethod
    def of(cls, d: np.ndarray, w: np.ndarray) -> _Ratio:
        d, w = np.asarray(d, np.float64), np.asarray(w, np.float64)
        value = d.sum() / w.sum()
        e = d - value * w
        error = np.sqrt(e @ e) / w.sum()
        return cls(float(value), float(error), np.stack([e, w, e * e, e * w, w * w], axis=1))

    def studentised(self, counts: np.ndarray) -> np.ndarray:
        """|change of the ratio| / its error in each resample; infinite where there is a change but no error."""
        e, w, ee, ew, ww = (counts @ self.moments).T
        change = e / w
        squares = ee - 2 * change * ew + change**2 * ww
        squares[squares < _ROUNDING * (ee + change**2 * ww)] = 0.0
        return _over(change, np.sqrt(squares) / w)


def _tests_of_one_size(ratios: list[_Ratio], samples: int, resamples: int) -> list[RatioTest]:
    if samples < 2:
        return [RatioTest(ratio.value, None, None, None) for ratio in ratios]
    parts = [[ratio.studentised(counts) for ratio in ratios] for counts in resamplings(samples, resamples)]
    return [
        _test(ratio, np.concatenate(distances)) for ratio, distances in zip(ratios, zip(*parts), strict=True)
    ]


def _test(ratio: _Ratio, distances: np.ndarray) -> RatioTest:
    farther = int(np.count_nonzero(distances >= _over(ratio.value, ratio.error)))
    p = (1 + farther) / (1 + distances.size)
    place = int(LEVEL * (1 + distances.size))
    reach = np.partition(distances, -place)[-place]
    if np.isinf(reach):
        return RatioTest(ratio.value, None, None, p)
    half = float(reach) * ratio.error
    return RatioTest(ratio.value, ratio.value - half, ratio.value + half, p)


def _over(change: np.ndarray | float, error: np.ndarray | float) -> np.ndarray:
    """|change| / error, 0 where nothing changed."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(change, 0), 0.0, np.abs(change) / np.asarray(error))
