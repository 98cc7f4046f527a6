"""Candidates run in the sandbox, several at a time; what was found before a kill is not run again."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from switchyard.artifacts.stamps import sha256_json
from switchyard.errors import InputError
from switchyard.evaluation.pass_at_k import mean_pass_at_k
from switchyard.evaluation.sandbox.candidate import REASONS, Outcome
from switchyard.evaluation.sandbox.open import Proved

log = logging.getLogger(__name__)

WORKERS_PER_CORE = 2
"""Programs that run at once: the start of a sandbox is mostly waiting."""


class Candidate(NamedTuple):
    """A completion of a problem, and the program that it makes with the problem's tests."""

    task_id: str
    number: int
    """Among the completions of its problem."""
    completion: str
    program: str


def candidates_of(
    problems: Sequence[Mapping[str, Any]], completions: Sequence[tuple[str, str]], *, place: str
) -> list[Candidate]:
    """A candidate for each (task_id, completion), in their order.

    Args:
        problems: rows of a prepared table of kind code.
        completions: of these problems.
        place: where the completions come from, for messages.

    Raises:
        InputError: a completion of no problem, or a problem without one.
    """
    by_name = {one["task_id"]: one for one in problems}
    seen: Counter[str] = Counter()
    found = []
    for task_id, completion in completions:
        if task_id not in by_name:
            raise InputError(
                f"{place}: task_id {task_id!r} is not among the problems, the first of them is "
                f"{next(iter(by_name))!r}; give the problems that the samples were made for"
            )
        one = by_name[task_id]
        program = f"{one['head']}{completion}\n{one['tests']}"
        found.append(Candidate(task_id, seen[task_id], completion, program))
        seen[task_id] += 1
    if missing := [name for name in by_name if not seen[name]]:
        raise InputError(
            f"{place}: {len(missing)} of {len(by_name)} problems have no sample, the first is {missing[0]}; add "
            "samples, or leave these problems out"
        )
    return found


def score(
    candidates: Sequence[Candidate],
    proved: Proved,
    *,
    workers: int,
    kept: Path,
    progress: Callable[[int], object] | None = None,
) -> list[Outcome]:
    """What becomes of each candidate, in their order.

    Args:
        workers: candidates that run at once.
        kept: a file of outcomes so far, which an earlier call may have begun. The caller deletes it when it has
            written the results.
        progress: called with the number of candidates done.
    """
    keys = [_key(one, proved) for one in candidates]
    found = {key: outcome for key, outcome in _read(kept) if key in set(keys)}
    if found:
        log.warning(
            "%d of %d candidates were scored before, and are not run again", len(found), len(candidates)
        )
    if progress is not None:
        progress(len(found))
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.open("a", encoding="utf-8") as file, ThreadPoolExecutor(workers) as pool:
        waiting = {
            pool.submit(proved.sandbox.run, one.program): key
            for key, one in zip(keys, candidates, strict=True)
            if key not in found
        }
        try:
            for done in as_completed(waiting):
                found[waiting[done]] = outcome = done.result()
                file.write(json.dumps([waiting[done], *outcome]) + "\n")
                file.flush()
                if progress is not None:
                    progress(1)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [found[key] for key in keys]


def _key(candidate: Candidate, proved: Proved) -> str:
    """What an outcome depends on."""
    return sha256_json([*candidate, proved.stamp])


def _read(kept: Path) -> Iterator[tuple[str, Outcome]]:
    """Outcomes of an earlier call; a line that a kill cut short is left out, and ended for what follows it."""
    if not kept.is_file():
        return
    lines = kept.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        with kept.open("a", encoding="utf-8") as file:
            file.write("\n")
    for line in lines:
        try:
            key, reason, message = json.loads(line)
        except ValueError:
            continue
        if reason in REASONS:
            yield key, Outcome(reason, message)


def summary(
    candidates: Sequence[Candidate], outcomes: Sequence[Outcome], ks: Sequence[int]
) -> dict[str, Any]:
    """`pass@k` for each k, counts of reasons, and the same of every problem.

    `pass@k` is None where a problem has fewer than k samples.
    """
    by_problem: dict[str, list[Outcome]] = {}
    for candidate, outcome in zip(candidates, outcomes, strict=True):
        by_problem.setdefault(candidate.task_id, []).append(outcome)
    counts = {name: (len(own), _passed(own)) for name, own in by_problem.items()}
    for k in ks:
        if any(samples < k for samples, _ in counts.values()):
            log.warning("pass@%d needs %d samples of every problem, and is left out", k, k)
    return {
        **{f"pass@{k}": mean_pass_at_k(counts.values(), k) for k in ks},
        "problems": len(by_problem),
        "samples": len(candidates),
        "reasons": _reasons(outcomes),
        "per_problem": [
            {
                "task_id": name,
                "samples": len(own),
                "passed": _passed(own),
                **{f"pass@{k}": mean_pass_at_k([counts[name]], k) for k in ks},
                "outcomes": [outcome._asdict() for outcome in own],
            }
            for name, own in by_problem.items()
        ],
    }


def report(
    candidates: Sequence[Candidate], outcomes: Sequence[Outcome], is_greedy: Sequence[bool], ks: Sequence[int]
) -> dict[str, Any]:
    """`pass@1` of the greedy completions, `pass@k` of the drawn ones, and the `summary` of both.

    Without drawn completions `sampled` and the larger k are None.
    """
    parts = {}
    for name, wanted in (("greedy", True), ("sampled", False)):
        own = [place for place, greedy in enumerate(is_greedy) if greedy is wanted]
        picked = [candidates[place] for place in own], [outcomes[place] for place in own]
        parts[name] = summary(*picked, [1] if wanted else ks) if own else None
    drawn = parts["sampled"] or {}
    shares = {f"pass@{k}": drawn.get(f"pass@{k}") for k in ks if k > 1}
    return {"pass@1": parts["greedy"]["pass@1"], **shares, **parts}


def scored(candidates: Sequence[Candidate], outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """A row of each sample: `task_id, sample, completion, passed, reason, message`."""
    for one, outcome in zip(candidates, outcomes, strict=True):
        yield {
            "task_id": one.task_id,
            "sample": one.number,
            "completion": one.completion,
            "passed": outcome.reason == "passed",
            **outcome._asdict(),
        }


def _passed(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.reason == "passed" for outcome in outcomes)


def _reasons(outcomes: Sequence[Outcome]) -> dict[str, int]:
    counted = Counter(outcome.reason for outcome in outcomes)
    return {reason: counted[reason] for reason in REASONS}
