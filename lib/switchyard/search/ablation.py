"""Ablation: the components of a rule switched off in turn, each compared with the whole rule on the same samples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from switchyard.errors import NotANumber
from switchyard.routing.mixed_topk import MixedTopK
from switchyard.search.candidates import Candidates, Subject, counted_run
from switchyard.search.components import WHOLE, Component
from switchyard.search.evaluator import Evaluator, perplexity
from switchyard.statistics.differences import difference_columns
from switchyard.var.runs import Run, Use


def ablate(
    evaluator: Evaluator,
    candidates: Candidates,
    whole: Mapping[str, Any],
    components: Iterable[Component],
) -> list[dict[str, Any]]:
    """A row for the whole rule, then one for each component that is off.

    Columns: `component`, `change` (words), `settings` (JSON), `failed` (why there are no numbers, else None);
    `mean_experts`, `acting_share` (of the tokens of all MoE blocks that are not routed as by the untouched model),
    `flops_ratio` (matrix products per token, to the untouched model); `loss` (nats per target token), `perplexity`, and
    `loss_difference` to the whole rule with the columns of `difference_columns`, one Holm family. The whole rule is
    compared with the untouched model in `untouched_difference`, nats per target token.
    """
    run, use = candidates.run(whole, own_when_full=False)
    rows, differences = [_row(evaluator, Component(WHOLE, "", dict(whole)), run, use)], [None]
    for one in components:
        try:
            own, used = _run(evaluator.subject, candidates, one, whole, use)
        except NotANumber as error:
            rows.append({**_named(one), "failed": str(error)})
            differences.append(None)
            continue
        rows.append(_row(evaluator, one, own, used))
        differences.append(own.loss - run.loss)
    columns = difference_columns(differences, run.tokens)
    return [row | added for row, added in zip(rows, columns, strict=True)]


def _run(
    subject: Subject, candidates: Candidates, one: Component, whole: Mapping[str, Any], use: Use
) -> tuple[Run, Use]:
    if one.settings is not None:
        return candidates.run(one.settings, own_when_full=False)
    rule = MixedTopK(use.mean_experts, whole["weighting"])
    return counted_run(subject, rule, own_when_full=False)


def _row(evaluator: Evaluator, one: Component, run: Run, use: Use) -> dict[str, Any]:
    return {
        **_named(one),
        "failed": None,
        "mean_experts": use.mean_experts,
        "acting_share": use.acting_share,
        "flops_ratio": 1 / evaluator.cost(use),
        "loss": float(run.loss.sum() / run.tokens.sum()),
        "perplexity": perplexity(run),
        "untouched_difference": float((run.loss - evaluator.untouched.loss).sum() / run.tokens.sum()),
    }


def _named(one: Component) -> dict[str, Any]:
    return {"component": one.name, "change": one.change, "settings": json.dumps(one.settings, sort_keys=True)}
