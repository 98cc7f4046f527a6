"""The untouched model against VAR: paired tests over samples and rounds, and the criteria that were set beforehand.

Quality is paired by sample: over seeds a sample that was drawn several times counts once, with its mean loss. Speed is
paired by round of an interleaved measurement.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from switchyard.errors import InputError
from switchyard.statistics.multiplicity import LEVEL, holm
from switchyard.statistics.paired import mcnemar, ratio_tests

PASS, FAIL, NOT_MEASURED = "PASS", "FAIL", "not measured"

GRADES = ("Excellent", "Good", "Acceptable", "Insufficient")


class Criterion(NamedTuple):
    """One line of a list of criteria."""

    name: str
    source: str
    """`README` of phase 2 or `roadmap`."""
    limit: str
    measured: float | None
    verdict: str
    grade: str | None = None


def quality(runs: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `others` (VAR) lose against `runs` (the untouched model) on one dataset.

    `loss`: mean nats per target token of both, `difference` (above 0 is worse) with its 95 % bootstrap-t interval,
    `perplexity_change` (share) with its interval, paired t-test, Wilcoxon's signed-rank test and Cohen's d of the
    per-sample means. p-values are None where no sample differs: such a pair is no test. `accuracy`: both, and McNemar's
    exact p-value; None for running text.

    Args:
        runs: result JSONs of the same dataset, one per seed, with `samples`.
        others: those of VAR, of the same seeds.

    Raises:
        InputError: the two were not given the same samples.
    """
    first, second = _by_sample(runs), _by_sample(others)
    if first.keys() != second.keys():
        raise InputError(
            f"{_place(runs)}: the two were given other samples; evaluate both with the same dataset, seed and samples"
        )
    pairs = [(first[name], second[name]) for name in sorted(first)]
    if [one.tokens for one, _ in pairs] != [other.tokens for _, other in pairs]:
        raise InputError(f"{_place(runs)}: target tokens differ; evaluate both with the same tokenizer")
    tokens = np.array([one.tokens for one, _ in pairs], float)
    before = np.array([one.loss for one, _ in pairs])
    after = np.array([other.loss for _, other in pairs])
    ratio = ratio_tests([(after - before, tokens)])[0]
    return {
        "samples": len(pairs),
        "loss": {
            "baseline": float(before.sum() / tokens.sum()),
            "var": float(after.sum() / tokens.sum()),
            "difference": ratio.ratio,
            "interval": [ratio.low, ratio.high],
            "bootstrap_p": ratio.p if (after != before).any() else None,
            **paired_tests(before / tokens, after / tokens),
        },
        "perplexity_change": math.expm1(ratio.ratio),
        "perplexity_change_interval": [
            None if bound is None else math.expm1(bound) for bound in (ratio.low, ratio.high)
        ],
        "accuracy": _accuracy(pairs),
    }


def paired_tests(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Paired t-test, Wilcoxon's signed-rank test and Cohen's d (mean over standard deviation of the differences).

    `before` and `after` are float64 [pairs]. All None where no pair differs, or where there are fewer than two.
    """
    difference = after - before
    if len(difference) < 2 or not difference.any():
        return {"t": None, "t_p": None, "wilcoxon": None, "wilcoxon_p": None, "cohens_d": None}
    t = stats.ttest_rel(after, before)
    ranks = stats.wilcoxon(after, before)
    deviation = difference.std(ddof=1)
    return {
        "t": _finite(t.statistic),
        "t_p": _finite(t.pvalue),
        "wilcoxon": float(ranks.statistic),
        "wilcoxon_p": float(ranks.pvalue),
        "cohens_d": float(difference.mean() / deviation) if deviation else None,
    }


def speed(baseline: Sequence[float], var: Sequence[float]) -> dict[str, Any]:
    """How much faster VAR is, from seconds (or milliseconds) of both in the same rounds of one process.

    `ratio`: the median over rounds of baseline / VAR, above 1 is faster, with a 95 % t-interval of the mean log ratio;
    `p`: one-sided, of its being at most 1. Interval and p are None for fewer than two rounds.
    """
    ratios = np.asarray(baseline, float) / np.asarray(var, float)
    logs = np.log(ratios)
    found = {"ratio": float(np.median(ratios)), "rounds": len(ratios), "interval": [None, None], "p": None}
    if len(logs) < 2 or not logs.std():
        return found
    test = stats.ttest_1samp(logs, 0.0, alternative="greater")
    both = stats.ttest_1samp(logs, 0.0).confidence_interval(1 - LEVEL)
    return {
        **found,
        "interval": [math.exp(both.low), math.exp(both.high)],
        "p": float(test.pvalue),
    }


def judged(comparisons: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The comparisons of one model with `p_holm` and `significant` added to each loss: one Holm family."""
    adjusted = holm([one["quality"]["loss"]["bootstrap_p"] for one in comparisons])
    for one, p in zip(comparisons, adjusted, strict=True):
        one["quality"]["loss"] |= {"p_holm": p, "significant": p is not None and p < LEVEL}
    return comparisons


def criteria(comparison: Mapping[str, Any]) -> list[Criterion]:
    """Both lists of criteria for one comparison on running text (`quality`, `speed`, `var_stats`, see `judged`).

    README of phase 2: perplexity up by less than 1 %; at least 1.2 times the throughput with p < 0.05 that it is above
    1; less than 15 % learned. Roadmap: perplexity up by less than 0.5 % and no significant loss; pass@1 down by less
    than 2 %; at least 1.3 times the throughput; 95th percentile of latency 20 % lower.
    """
    change, loss = comparison["quality"]["perplexity_change"], comparison["quality"]["loss"]
    measured = comparison.get("speed") or {}
    faster, latency = measured.get("prefill"), measured.get("latency_p95")
    ratio = faster and faster["ratio"]
    learned = comparison["var_stats"]["overall"]["routing_distribution"]["learned"] / 100
    is_faster = bool(faster) and faster["p"] is not None and faster["p"] < LEVEL
    worse = loss.get("significant", False) and loss["difference"] > 0
    return [
        Criterion(
            "perplexity",
            "README",
            "< +1 %",
            change,
            _verdict(change < 0.01),
            _grade(change, 0.005, 0.01, 0.02),
        ),
        Criterion(
            "speed-up",
            "README",
            ">= 1.2, p < 0.05",
            ratio,
            _verdict(None if ratio is None else ratio >= 1.2 and is_faster),
            None if ratio is None else _grade(-ratio, -1.5, -1.3, -1.2),
        ),
        Criterion(
            "learned routing",
            "README",
            "< 15 %",
            learned,
            _verdict(learned < 0.15),
            _grade(learned, 0.10, 0.15, 0.20),
        ),
        Criterion(
            "perplexity",
            "roadmap",
            "< +0.5 %, no significant loss",
            change,
            _verdict(change < 0.005 and not worse),
        ),
        Criterion("pass@1", "roadmap", "< -2 %", None, NOT_MEASURED),
        Criterion("speed-up", "roadmap", ">= 1.3", ratio, _verdict(None if ratio is None else ratio >= 1.3)),
        Criterion(
            "latency, 95th percentile",
            "roadmap",
            "-20 %",
            latency and 1 / latency["ratio"] - 1,
            _verdict(latency and 1 / latency["ratio"] <= 0.8),
        ),
    ]


def summary(comparison: Mapping[str, Any]) -> str:
    """The console table of the phase 2 README."""
    line = "=" * 66
    loss, faster = comparison["quality"]["loss"], comparison.get("throughput")
    shares = comparison["var_stats"]["overall"]["routing_distribution"]
    rows = [
        line,
        f"Comparison: Baseline vs VAR ({comparison['name']}, {comparison['dataset']})",
        line,
        "",
        "Perplexity:",
        f"  Baseline: {math.exp(loss['baseline']):.2f}",
        f"  VAR:      {math.exp(loss['var']):.2f}",
        f"  Difference: {100 * comparison['quality']['perplexity_change']:+.2f}%",
        "",
    ]
    if accuracy := comparison["quality"].get("accuracy"):
        rows += [
            "Accuracy:",
            f"  Baseline: {100 * accuracy['baseline']:.2f}%",
            f"  VAR:      {100 * accuracy['var']:.2f}%",
            "",
        ]
    if faster:
        rows += [
            "Throughput:",
            f"  Baseline: {faster['baseline']:.1f} tokens/sec",
            f"  VAR:      {faster['var']:.1f} tokens/sec",
            *_speed_up(comparison.get("speed"), faster),
            "",
        ]
    rows += [
        "VAR Routing Distribution:",
        *(f"  {name:<8}: {share:.1f}%" for name, share in shares.items()),
        "",
    ]
    if judged_by := comparison["criteria"]:
        rows += ["Success Criteria:"]
    for one in (Criterion(**line) for line in judged_by):
        label = f"{one.name} {one.limit} ({one.source}):"
        grade = f" ({one.grade})" if one.grade else ""
        rows.append(f"  {label:<52} {one.verdict}{grade}")
    return "\n".join(rows)


def _speed_up(measured: Mapping[str, Any] | None, throughput: Mapping[str, float]) -> list[str]:
    """Side by side where that was measured, else of two runs one after the other."""
    if measured is None:
        return [f"  Speedup:  {throughput['var'] / throughput['baseline']:.2f}x"]
    return [
        f"  Speedup:  {measured['prefill']['ratio']:.2f}x (side by side, prefill)",
        f"            {measured['latency_p50']['ratio']:.2f}x (side by side, decoding)",
    ]


def pooled(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Runs of one configuration and dataset together, in the schema of `evaluation`; each sample counts once."""
    samples = _by_sample(runs).values()
    tokens = sum(one.tokens for one in samples)
    loss = math.fsum(one.loss for one in samples)
    is_task = any(one.is_correct is not None for one in samples)
    return {
        "loss": loss / tokens,
        "perplexity": math.exp(loss / tokens),
        "total_tokens": tokens,
        "bits_per_byte": None if is_task else loss / math.log(2) / sum(one.bytes for one in samples),
        "accuracy": float(np.mean([one.is_correct for one in samples])) if is_task else None,
    }


class _Sample(NamedTuple):
    loss: float
    tokens: int
    bytes: int | None
    is_correct: float | None


def _by_sample(runs: Sequence[Mapping[str, Any]]) -> dict[int, _Sample]:
    """Each sample once, with means over the runs that drew it."""
    found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        for sample in run["samples"]:
            found[sample["sample_id"]].append(sample)
    return {
        name: _Sample(
            float(np.mean([one["loss"] for one in seen])),
            seen[0]["loss_tokens"],
            seen[0]["bytes"],
            None if seen[0]["correct"] is None else float(np.mean([one["correct"] for one in seen])),
        )
        for name, seen in found.items()
    }


def _accuracy(pairs: Sequence[tuple[_Sample, _Sample]]) -> dict[str, Any] | None:
    """Shares of right answers; a sample that is right in some runs only counts as right from a half on in the test."""
    if any(one.is_correct is None for one, _ in pairs):
        return None
    before = np.array([one.is_correct for one, _ in pairs])
    after = np.array([other.is_correct for _, other in pairs])
    right, still = before >= 0.5, after >= 0.5
    return {
        "baseline": float(before.mean()),
        "var": float(after.mean()),
        "difference": float(after.mean() - before.mean()),
        "mcnemar_p": mcnemar(int((right & ~still).sum()), int((still & ~right).sum())),
    }


def _verdict(holds: bool | None) -> str:
    return NOT_MEASURED if holds is None else PASS if holds else FAIL


def _grade(value: float, *limits: float) -> str:
    """The first grade whose limit `value` lies below."""
    return next((grade for grade, limit in zip(GRADES, limits) if value < limit), GRADES[-1])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _place(runs: Sequence[Mapping[str, Any]]) -> str:
    return f"{runs[0]['model_name']} on {runs[0]['dataset_name']}"
