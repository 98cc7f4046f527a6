"""How often two tests of paired losses reject where there is no difference, as a ratio to how often they should.

The test of `switchyard.statistics.paired` (symmetric bootstrap-t) against the percentile bootstrap on the same
resamples, at 0.05 and at 0.05 / 72, the level at which Holm's correction begins for the default study. 1 is honest,
more is too sure. The small level needs many comparisons: of 40,000 it should reject 28.

    .venv/bin/python bench/loss_test_size.py                                             half a minute
    .venv/bin/python bench/loss_test_size.py --comparisons 40000 --study results/pocket  some twenty minutes

A study's own populations are the loss differences of one configuration against another, centred.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np

from switchyard.statistics.paired import ratio_tests, resamplings

SAMPLES, RESAMPLES, AT_ONCE = 100, 19_999, 100
LEVELS = (0.05, 0.05 / 72)
STUDY_PAIRS = {"cloze": "8experts_bh_a060", "choice": "8experts_bh_a030", "heldout": "8experts_bh_a030"}
AGAINST = "8experts_topk_baseline"
DIFFERENCES = """
SELECT this.loss - other.loss AS d, this.loss_tokens AS w
FROM samples AS this JOIN samples AS other USING (model, dataset, sample_id)
WHERE this.config = ? AND other.config = ? AND dataset = ?
"""

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


def made_up(errors: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    """Samples of 20 to 192 tokens whose differences of loss are centred."""

    def draw(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        tokens = random.integers(20, 193, SAMPLES).astype(float)
        return errors(random, SAMPLES) * np.sqrt(tokens), tokens

    return draw


def of_study(folder: Path, dataset: str, config: str) -> Draw:
    """Samples drawn from a study's differences, centred so that nothing is to be found."""
    with duckdb.connect(str(folder / "study.duckdb"), read_only=True) as connection:
        found = connection.execute(DIFFERENCES, [config, AGAINST, dataset]).fetchnumpy()
    d, w = found["d"].astype(float), found["w"].astype(float)
    centred = d - d.sum() / w.sum() * w

    def draw(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        chosen = random.integers(0, len(d), SAMPLES)
        return centred[chosen], w[chosen]

    return draw


def percentile_p(pairs: list[tuple[np.ndarray, np.ndarray]], counts: np.ndarray) -> list[float]:
    """Two-sided p-values of the percentile bootstrap."""
    found = []
    for d, w in pairs:
        ratios = (counts @ d) / (counts @ w)
        tail = 1 + min((ratios <= 0).sum(), (ratios >= 0).sum())
        found.append(min(1.0, 2 * tail / (1 + len(ratios))))
    return found


def main() -> None:
    """Print the ratios of every population."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=2000)
    parser.add_argument("--study", type=Path, help="folder of a finished study")
    asked = parser.parse_args()
    populations = {
        "normal": made_up(lambda random, size: random.normal(size=size)),
        "exponential": made_up(lambda random, size: random.exponential(size=size) - 1),
        "log-normal": made_up(lambda random, size: random.lognormal(size=size) - np.exp(0.5)),
    }
    if asked.study:
        populations |= {
            f"study, {dataset}": of_study(asked.study, dataset, config)
            for dataset, config in STUDY_PAIRS.items()
        }
    counts = np.concatenate(list(resamplings(SAMPLES, RESAMPLES)))
    for name, draw in populations.items():
        random = np.random.default_rng(1)
        own, percentile = [], []
        for _ in range(max(1, asked.comparisons // AT_ONCE)):
            pairs = [draw(random) for _ in range(AT_ONCE)]
            own += [test.p for test in ratio_tests(pairs, resamples=RESAMPLES)]
            percentile += percentile_p(pairs, counts)
        for test, p in {"bootstrap-t": own, "percentile": percentile}.items():
            ratios = "  ".join(
                f"{np.mean(np.array(p) <= level) / level:5.2f} x at {level:.5f}" for level in LEVELS
            )
            print(f"{name:16} {test:12} {ratios}", flush=True)


if __name__ == "__main__":
    main()
