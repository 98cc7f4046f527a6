"""Configurations compared by the problems that they solve: McNemar's test, corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from switchyard.statistics.multiplicity import holm, verdict
from switchyard.statistics.paired import mcnemar


def compare_solved(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every configuration against the reference, by greedy completions of the same problems.

    The reference is static top-k with the trained k, or the first configuration where that was not run. `both`,
    `only_first` (the reference), `only_second` and `neither` count problems; `p` is McNemar's exact one, `p_holm` is
    corrected for the number of comparisons.

    Args:
        scores: results of rule score_code, of one model and one set of problems.
    """
    first = next((one for one in scores if _is_trained(one)), scores[0])
    others = [one for one in scores if one is not first]
    found = [_compared(first, one) for one in others]
    adjusted = holm([one["p"] for one in found])
    for one, p in zip(found, adjusted, strict=True):
        one |= {"p_holm": p, "verdict": verdict(one["only_second"] - one["only_first"], p)}
    return {"reference": first["config"], "pass@1": first["pass@1"], "comparisons": found}


def _is_trained(score: Mapping[str, Any]) -> bool:
    return score["strategy"] == "topk" and score["k_or_max_k"] == score["trained_top_k"]


def _compared(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    solved = [_solved(one) for one in (first, second)]
    pairs = [(solved[0][name], solved[1][name]) for name in solved[0]]
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    return {
        "config": second["config"],
        "pass@1": second["pass@1"],
        "problems": len(pairs),
        "both": pairs.count((True, True)),
        "only_first": only_first,
        "only_second": only_second,
        "neither": pairs.count((False, False)),
        "p": mcnemar(only_first, only_second),
    }


def _solved(score: Mapping[str, Any]) -> dict[str, bool]:
    """Whether the greedy completion of each problem passed."""
    return {one["task_id"]: one["passed"] > 0 for one in score["greedy"]["per_problem"]}
