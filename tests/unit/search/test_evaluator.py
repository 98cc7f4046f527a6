"""Points judged on a tiny model, against plain loops; equal decisions are computed once, and NaN is a failed point."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from reference.searched_model import LAYERS, LIMIT, NOTHING, SETTINGS, TOP_K, Made
from reference.var_sweep import TokenByToken, losses
from switchyard.errors import InputError, NotANumber
from switchyard.models.costs import flops_per_token
from switchyard.routing.nulls import NullDistribution
from switchyard.search import evaluator as module
from switchyard.search.batches import Batch, run_batch
from switchyard.search.candidates import BHCandidates, VARCandidates
from switchyard.search.decisions import NEVER
from switchyard.search.evaluator import Speed
from switchyard.search.points import read_points
from switchyard.search.setup import Ready, Search
from switchyard.search.spaces import make_space
from switchyard.search.validation import validate


@pytest.fixture(scope="module")
def made() -> Made:
    return Made()


@pytest.fixture(scope="module")
def judged(made):
    evaluator = made.evaluator()
    return evaluator, made.candidates(evaluator)


def test_quality_cost_and_acting_share_equal_loops_over_tokens(made, judged):
    evaluator, candidates = judged
    rows = made.eligible()

    def route(layer, token, probabilities):
        row = rows.get((layer, token))
        return None if row is None else (row["experts"][:2], row["weights"][:2])

    rule = TokenByToken(route, TOP_K, made.structure["normalise"])
    after, tokens = losses(made.subject.model, made.subject.samples, rule)
    before, _ = losses(made.subject.model, made.subject.samples, None)
    _, found = evaluator.outcome(candidates, SETTINGS)
    assert found.degradation == pytest.approx(
        math.exp((sum(after) - sum(before)) / sum(tokens)) - 1, abs=2e-6
    )
    share = rule.looked_up / rule.tokens
    assert 0.05 < share < 0.95 and found.acting_share == pytest.approx(share)
    cost = flops_per_token(made.structure, rule.experts / rule.tokens, 1 - share)
    assert found.speed == pytest.approx(flops_per_token(made.structure, TOP_K) / cost)


def test_a_point_that_never_acts_is_the_untouched_model(judged):
    evaluator, candidates = judged
    decisions, found = evaluator.outcome(candidates, NOTHING)
    assert decisions == NEVER
    assert (found.degradation, found.speed, found.acting_share, found.feasible) == (0.0, 1.0, 0.0, True)
    assert candidates.decisions({"enable_var": False}) == NEVER
    assert evaluator.evaluate(candidates, {"enable_var": False}).use == (TOP_K, 1.0, 0.0)


def test_points_that_decide_alike_are_computed_once_and_are_alike(made):
    evaluator = made.evaluator()
    candidates = made.candidates(evaluator)
    runs = []
    own = VARCandidates.run

    class Counted(VARCandidates):
        def run(self, settings, *, own_when_full=False):
            runs.append(settings)
            return own(self, settings, own_when_full=own_when_full)

    counted = Counted(**vars(candidates))
    same = {**SETTINGS, "confidence_threshold": 0.5, "context_window_size": 7}
    first, second = (evaluator.outcome(counted, one) for one in (SETTINGS, same))
    assert first == second and len(runs) == 1
    assert evaluator.evaluate(candidates, same).perplexity == first[1].quality


def test_what_is_no_number_has_failed_and_other_errors_stop(made, judged):
    evaluator, candidates = judged

    class Broken(VARCandidates):
        def run(self, settings, *, own_when_full=False):
            raise settings["error"]

        def decisions(self, settings):
            return str(settings["error"])

    broken = Broken(**vars(candidates))
    _, found = evaluator.outcome(broken, {"error": NotANumber("layer 1 is NaN")})
    assert found.failed == "layer 1 is NaN" and found.objective is None
    with pytest.raises(InputError, match="no such file"):
        evaluator.outcome(broken, {"error": InputError("no such file")})


def test_measured_speed_is_the_median_of_interleaved_ratios(made, monkeypatch):
    """Seconds are made up: the untouched model takes 2, 4, 6, VAR 1 each; a rule that is off is the model itself."""
    evaluator = made.evaluator(speed=Speed("measured", 3))
    candidates = made.candidates(evaluator)
    order, slow = [], iter([2.0, 4.0, 6.0])

    def seconds(self, rule):
        order.append(rule is None)
        return next(slow) if rule is None else 1.0

    monkeypatch.setattr(module.Evaluator, "_seconds", seconds)
    assert evaluator.outcome(candidates, SETTINGS)[1].speed == 4.0
    assert order == [False, True, True, False, False, True]
    with pytest.raises(InputError, match="use cost or measured"):
        Speed("guessed")


def test_seconds_are_those_of_a_run(made, judged):
    assert judged[0]._seconds(judged[1].rule(SETTINGS)) > 0


def test_bh_counts_experts_by_token(made, tmp_path, monkeypatch):
    """A null under which every p-value is 0 gives max_k experts to all."""
    null = NullDistribution(np.linspace(-9, -8, 20), np.linspace(0, 1, 20))
    evaluator = made.evaluator()

    class Candidates(BHCandidates):
        def rule(self, settings):
            from switchyard.routing.bh import BenjaminiHochberg

            return BenjaminiHochberg(settings["alpha"], settings["max_k"], null=[null] * LAYERS)

    candidates = Candidates(made.subject, "", "")
    few, trained = ({"alpha": 0.5, "max_k": k, "null_distribution": "pooled"} for k in (2, TOP_K))
    found = evaluator.outcome(candidates, few)[1]
    cost = flops_per_token(made.structure, 2)
    assert found.speed == pytest.approx(flops_per_token(made.structure, TOP_K) / cost)
    assert found.acting_share == 1.0
    same = evaluator.outcome(candidates, trained)[1]
    assert (same.speed, same.acting_share) == (1.0, 0.0) and abs(same.degradation) < 1e-6


SEARCH = Search({"quantiles": {}}, LIMIT, "cost", 3, 0, 96, 1000.0)


class Held(Ready):
    """A search whose table is in memory."""

    def __init__(self, made: Made) -> None:
        super().__init__(SEARCH, made.subject, {})
        self._candidates[False] = made.candidates(self.evaluator)


def batches(made, folder, numbers, method="bayesian", **options):
    stats = pa.Table.from_pylist(made.rows)
    spaces = [
        make_space({"name": "quantiles", "add": ["fast_path_experts"]}, structure=made.structure, stats=stats)
    ]
    paths = [folder / f"{number}.parquet" for number in range(3)]
    ready = Held(made)
    for number in numbers:
        run_batch(ready, spaces, Batch(method, 7, number, 4), paths[:number], paths[number], **options)
    return ready, read_points(paths, spaces)


def test_a_killed_search_goes_on_to_the_same_trajectory(made, tmp_path):
    """Two batches in one process, the third in another, and all three in a third: the files are the same."""
    _, _ = batches(made, tmp_path / "whole", range(3))
    with pytest.raises(FileNotFoundError):  # the third is not there yet
        batches(made, tmp_path / "killed", range(2))
    batches(made, tmp_path / "killed", [2])
    for number in range(3):
        whole, killed = (tmp_path / name / f"{number}.parquet" for name in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes()


def test_the_first_points_of_bayesian_are_those_of_random_and_are_not_run_again(made, tmp_path, monkeypatch):
    _, random = batches(made, tmp_path / "random", range(3), method="random")
    ready, spaces = Held(made), None
    monkeypatch.setattr(ready.evaluator, "_outcome", None)
    stats = pa.Table.from_pylist(made.rows)
    spaces = [
        make_space({"name": "quantiles", "add": ["fast_path_experts"]}, structure=made.structure, stats=stats)
    ]
    other = tmp_path / "random" / "0.parquet"
    run_batch(ready, spaces, Batch("bayesian", 7, 0, 4), [], tmp_path / "0.parquet", others=[other])
    assert read_points([tmp_path / "0.parquet"], spaces).equals(random[random["batch"] == 0])


def test_validation_has_the_interval_of_paired_samples(made):
    ready = Held(made)
    found = validate(ready, SETTINGS)
    low, high = found.degradation_interval
    assert low < found.degradation < high and found.samples == len(made.subject.samples)
    assert found.within_limit == ("PASS" if found.degradation <= LIMIT else "FAIL")
    assert found.perplexity / found.perplexity_untouched - 1 == pytest.approx(found.degradation)
    untouched = validate(ready, {"enable_var": False})
    assert (untouched.degradation, untouched.degradation_interval, untouched.p) == (0.0, [0.0, 0.0], None)
    assert untouched.within_limit == "PASS" and untouched.surely_within_limit
