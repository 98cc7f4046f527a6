"""What a job of each rule costs: its stage, its tokens, its other seconds, its disk, and what bounds its memory.

The one table of the workflow's costs. Seconds of rules without a model scale with what they read; an earlier run's own
benchmark files are believed before them. A rule that is not in the table costs an unknown amount, not nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from switchyard.planning import amounts
from switchyard.planning.amounts import START_S, Forwards, Number, always, by_logits, of_structure
from switchyard.planning.dag import Job
from switchyard.planning.workload import Workload

STAGES = ("prepare", "observe", "calibrate", "evaluate", "aggregate", "publish")


class Rule(NamedTuple):
    """What a job of a rule costs; `seconds` are those beside loads and forwards, `disk` is in bytes."""

    stage: str
    seconds: Number
    disk: Number
    forwards: Callable[[Workload, Job], Forwards] | None = None
    batch: str | None = None
    """The configuration's field that bounds a batch of the model."""

    routed: bool = False
    """Whether its jobs run the model under the study's configurations, not as it was trained."""

    counts: int = 0
    """How many times a job holds the dense counts of an observed shard."""


EVALUATED, OBSERVED = "evaluation.batch_tokens", "observation.batch_tokens"

RULES: dict[str, Rule] = {
    "harvest_corpus": Rule("prepare", always(10.5), always(5e6)),
    "prepare_dataset": Rule("prepare", always(1.5), amounts.prepared_bytes),
    "prepare_corpus": Rule("prepare", amounts.corpus_seconds, amounts.corpus_bytes),
    "train_pocket_model": Rule(
        "prepare",
        always(START_S + 20),
        of_structure(
            lambda work, job, known: (1 + amounts.KEPT_CHECKPOINTS) * amounts.fetched_bytes(work, job, known)
        ),
        amounts.training,
    ),
    "fetch_model": Rule(
        "prepare", of_structure(amounts.fetched_seconds), of_structure(amounts.fetched_bytes)
    ),
    "cut_windows": Rule("observe", amounts.windows_seconds, always(2e5)),
    "observe_shard": Rule(
        "observe",
        of_structure(amounts.shard_seconds),
        of_structure(amounts.shard_bytes),
        amounts.shard,
        OBSERVED,
        counts=1,
    ),
    "merge_shards": Rule(
        "observe",
        of_structure(lambda work, job, known: 5 + 1.3e-6 * amounts.cells(work, known)),
        of_structure(amounts.merged_bytes),
        counts=2,
    ),
    "validate_hypothesis": Rule("observe", always(1.8), always(1e5)),
    "measure_ceilings": Rule(
        "observe",
        of_structure(lambda work, job, known: 2.2 + 1.6e-6 * amounts.cells(work, known)),
        always(1e6),
        counts=4,
    ),
    "measure_saturation": Rule("observe", always(START_S), always(1e5), amounts.saturation, OBSERVED),
    "collect_router_logits": Rule(
        "calibrate", always(START_S), by_logits(0, 3.4), amounts.calibration, EVALUATED
    ),
    "fit_nulls": Rule("calibrate", by_logits(1, 4.5e-7), always(2.5e6)),
    "check_nulls": Rule("calibrate", by_logits(1, 2.1e-6), always(1e6)),
    "solve_budget": Rule("calibrate", by_logits(1, 1.2e-7), always(1e4)),
    "evaluate_experiment": Rule(
        "evaluate",
        of_structure(amounts.experiment_seconds),
        of_structure(amounts.experiment_bytes),
        amounts.experiment,
        EVALUATED,
        routed=True,
    ),
    "measure_speed": Rule(
        "evaluate", always(START_S), always(1e5), amounts.speed, "speed.prefill_tokens", routed=True
    ),
    "assess_model": Rule("evaluate", always(START_S), always(1e4), amounts.assessment, EVALUATED),
    "build_warehouse": Rule("aggregate", of_structure(amounts.warehouse_seconds), always(1e7)),
    "write_summaries": Rule("aggregate", always(0.8), always(1e6)),
    "write_tables": Rule("aggregate", always(0.8), always(1e6)),
    "compare_at_equal_compute": Rule("aggregate", always(3.7), always(1e6)),
    "draw_figures": Rule("publish", always(17), always(3e7)),
    "draw_nulls": Rule("publish", always(7), always(1e6)),
    "write_pages": Rule("publish", always(1.1), always(5e5)),
    "write_routing_pages": Rule("publish", always(0.8), always(5e5)),
    "draw_routing": Rule("publish", always(25), always(2.1e7)),
    "write_inspector": Rule("publish", always(7.5), always(1e6)),
    "write_report": Rule("publish", always(2.2), always(4.6e7)),  # with the HTML report of the whole study
}
"""Every rule of the workflow (a test holds them together)."""
