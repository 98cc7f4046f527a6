"""Tests and criteria against plain formulas and scipy, on made-up results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from switchyard.errors import InputError
from switchyard.var.comparison import criteria, judged, paired_tests, pooled, quality, speed, summary
from switchyard.var.results import compare, table

SHARES = {"fast": 30.0, "cached": 60.0, "learned": 10.0}


def run(
    losses: dict[int, float], *, name: str = "baseline", correct: dict | None = None, seed: int = 0
) -> dict:
    tokens = {sample: 10 + sample for sample in losses}
    loss = sum(losses.values()) / sum(tokens.values())
    overall = {"routing_distribution": SHARES, "cache_hit_rate": 50.0, "total_calls": 100}
    return {
        "mode": "baseline" if name == "baseline" else "var",
        "name": name,
        "model_name": "tiny",
        "dataset_name": "text",
        "seed": seed,
        "var_config": None,
        "evaluation": {
            "loss": loss,
            "perplexity": math.exp(loss),
            "bits_per_byte": 1.0,
            "accuracy": correct and 0.5,
        },
        "throughput": {"total_tokens": 100, "elapsed_seconds": 2.0, "tokens_per_second": 50.0 + seed},
        "memory": {"var_bytes": 8, "peak_bytes": 1000},
        "var_stats": None if name == "baseline" else {"overall": overall, "per_layer": {"0": overall}},
        "samples": [
            {
                "sample_id": sample,
                "loss": value,
                "loss_tokens": tokens[sample],
                "bytes": 3 * tokens[sample],
                "correct": correct and correct[sample],
            }
            for sample, value in losses.items()
        ],
    }


def test_samples_are_paired_and_those_of_several_seeds_count_once() -> None:
    before = [run({0: 20.0, 1: 22.0}), run({1: 22.0, 2: 24.0}, seed=1)]
    after = [run({0: 21.0, 1: 22.0}, name="a"), run({1: 24.0, 2: 24.0}, name="a", seed=1)]
    found = quality(before, after)
    assert found["samples"] == 3
    loss = found["loss"]
    assert loss["baseline"] == pytest.approx((20 + 22 + 24) / (10 + 11 + 12))
    assert loss["difference"] == pytest.approx((1 + 1 + 0) / 33)
    assert found["perplexity_change"] == pytest.approx(math.exp(loss["var"]) / math.exp(loss["baseline"]) - 1)
    assert loss["interval"] == [None, None]  # of so few samples


def test_paired_tests_are_scipys_and_cohens_d_is_mean_over_deviation() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.normal(2, 1, 30), generator.normal(2.2, 1, 30)
    found = paired_tests(before, after)
    difference = after - before
    t = difference.mean() / (difference.std(ddof=1) / math.sqrt(30))
    assert found["t"] == pytest.approx(t)
    assert found["t_p"] == pytest.approx(2 * stats.t.sf(abs(t), 29))
    assert found["wilcoxon_p"] == pytest.approx(stats.wilcoxon(difference).pvalue)
    assert found["cohens_d"] == pytest.approx(difference.mean() / difference.std(ddof=1))
    assert set(paired_tests(before, before).values()) == {None}


def test_speed_is_paired_by_round() -> None:
    baseline = [1.0, 2.0, 4.0]
    found = speed(baseline, [value / 1.5 for value in baseline])
    assert found == {"ratio": pytest.approx(1.5), "rounds": 3, "interval": [None, None], "p": None} or (
        found["ratio"] == pytest.approx(1.5)
    )
    noisy = speed([1.0, 1.1, 0.9, 1.0], [0.8, 0.9, 0.75, 0.7])
    logs = np.log(np.array([1.0, 1.1, 0.9, 1.0]) / np.array([0.8, 0.9, 0.75, 0.7]))
    t = logs.mean() / (logs.std(ddof=1) / 2)
    assert noisy["p"] == pytest.approx(stats.t.sf(t, 3))
    reach = stats.t.ppf(0.975, 3) * logs.std(ddof=1) / 2
    assert noisy["interval"] == [
        pytest.approx(math.exp(logs.mean() - reach)),
        pytest.approx(math.exp(logs.mean() + reach)),
    ]
    assert speed([0.7, 0.8, 0.9], [1.0, 1.1, 1.0])["p"] > 0.95


def test_other_samples_or_tokens_are_refused() -> None:
    with pytest.raises(InputError, match="given other samples"):
        quality([run({0: 1.0})], [run({1: 1.0})])
    other = run({0: 1.0, 1: 2.0})
    other["samples"][0]["loss_tokens"] = 99
    with pytest.raises(InputError, match="target tokens differ"):
        quality([run({0: 1.0, 1: 2.0})], [other])


def test_right_and_wrong_answers_are_compared_by_mcnemar() -> None:
    right = {sample: sample < 6 for sample in range(8)}
    wrong = {sample: sample < 1 for sample in range(8)}
    losses = dict.fromkeys(range(8), 1.0)
    found = quality([run(losses, correct=right)], [run(losses, correct=wrong)])["accuracy"]
    assert (found["baseline"], found["var"]) == (0.75, 0.125)
    assert found["mcnemar_p"] == pytest.approx(stats.binomtest(5, 5).pvalue)
    assert found["difference"] == pytest.approx(-0.625)


def compared(
    change: float, *, learned: float, prefill: float | None, p: float = 0.01, p95: float = 1.0
) -> dict:
    shares = {"fast": 100 - learned, "cached": 0.0, "learned": learned}
    measured = {
        "prefill": {"ratio": prefill, "p": p, "interval": [None, None]},
        "latency_p50": {"ratio": p95, "p": 0.5, "interval": [None, None]},
        "latency_p95": {"ratio": p95, "p": 0.5, "interval": [None, None]},
    }
    return {
        "name": "a",
        "dataset": "text",
        "quality": {
            "perplexity_change": change,
            "loss": {
                "baseline": 2.0,
                "var": 2.0 + math.log1p(change),
                "difference": math.log1p(change),
                "significant": change > 0,
            },
        },
        "throughput": {"baseline": 100.0, "var": 150.0},
        "speed": None if prefill is None else measured,
        "var_stats": {"overall": {"routing_distribution": shares}},
    }


def with_criteria(given: dict) -> dict:
    return {**given, "criteria": [line._asdict() for line in criteria(given)]}


@pytest.mark.parametrize(
    ("given", "verdicts", "grades"),
    [
        (
            compared(0.004, learned=9, prefill=1.6, p95=1.3),
            ["PASS", "PASS", "PASS", "FAIL", "not measured", "PASS", "PASS"],
            ["Excellent", "Excellent", "Excellent"],
        ),
        (
            compared(-0.001, learned=16, prefill=1.25, p=0.2),
            ["PASS", "FAIL", "FAIL", "PASS", "not measured", "FAIL", "FAIL"],
            ["Excellent", "Acceptable", "Acceptable"],
        ),
        (
            compared(0.03, learned=100, prefill=None),
            ["FAIL", "not measured", "FAIL", "FAIL", "not measured", "not measured", "not measured"],
            ["Insufficient", None, "Insufficient"],
        ),
    ],
)
def test_each_criterion_passes_fails_or_was_not_measured(given: dict, verdicts: list, grades: list) -> None:
    found = criteria(given)
    assert [one.verdict for one in found] == verdicts
    assert [one.grade for one in found[:3]] == grades


def test_the_console_table_has_the_lines_of_the_readme() -> None:
    text = summary(with_criteria(compared(0.0065, learned=13.5, prefill=None)))
    for line in ("  Baseline: 7.39", "  Difference: +0.65%", "  Speedup:  1.50x", "  learned : 13.5%"):
        assert line in text
    assert "learned routing < 15 % (README):" in text and "PASS (Good)" in text


def test_a_configuration_is_compared_on_every_set_and_holm_corrects_over_all() -> None:
    generator = np.random.default_rng(1)
    losses = {sample: float(value) for sample, value in enumerate(generator.uniform(20, 30, 40))}
    worse = {sample: value + 1 + 0.1 * (sample % 3) for sample, value in losses.items()}
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {
        ("baseline", "text"): [run(losses)],
        ("same", "text"): [run(losses, name="same")],
        ("worse", "text"): [run(worse, name="worse")],
    }
    same, other = compare(runs, None)
    assert (same["quality"]["loss"]["p_holm"], same["quality"]["loss"]["significant"]) == (None, False)
    assert (
        other["quality"]["loss"]["p_holm"] == other["quality"]["loss"]["bootstrap_p"]
    )  # the one test there is
    assert other["quality"]["loss"]["significant"]
    low, high = other["quality"]["loss"]["interval"]
    assert 0 < low < other["quality"]["loss"]["difference"] < high
    rows = table([same, other])
    assert list(rows["config"]) == ["same", "worse"] and rows["fast_percent"].tolist() == [30.0, 30.0]
    assert judged([]) == []


def test_runs_are_pooled_with_each_sample_once() -> None:
    runs = [run({0: 20.0, 1: 22.0}), run({1: 24.0, 2: 24.0}, seed=1)]
    found = pooled(runs)
    assert (
        found["loss"] == pytest.approx((20 + 23 + 24) / (10 + 11 + 12)) == quality(runs, runs)["loss"]["var"]
    )
    assert found["bits_per_byte"] == pytest.approx(67 / math.log(2) / (3 * 33))
    assert (found["total_tokens"], found["accuracy"]) == (33, None)


def test_tasks_are_not_judged_by_perplexity_and_speed_is_that_of_the_criteria() -> None:
    text = summary({**compared(0.5, learned=100, prefill=1.48), "criteria": []})
    assert "Success Criteria" not in text and "1.48x (side by side, prefill)" in text
