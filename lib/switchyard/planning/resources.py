"""What each job asks for: memory, room on a card, minutes. Snakemake counts only what it is asked to count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from switchyard.planning import footprint
from switchyard.study.study import Study

AROUND_MB = 500
"""Snakemake starts itself twice around a job of a cluster, and a script waits for a worker."""

MERGE_MB = 1500
"""A job that adds up the counts of shards, beside the counts."""


def minutes(number: int) -> Callable[..., int]:
    """The `runtime` of a job in minutes, more at each attempt; a cluster ends a job that takes longer."""
    return lambda wildcards, attempt: attempt * number


class JobResources:
    """Resources of the jobs of a study that run a model or count what it does."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def model(
        self,
        batch_tokens: int,
        *,
        runtime: int = 60,
        experiments: bool = False,
        counted: float = 0,
    ) -> dict[str, Any]:
        """Resources of a job that runs the model `wildcards.model`.

        `gpu_mem_gb` lets jobs share a card (--resources gpu_mem_gb=80), of which a job leases that much. `gpu`,
        `mem_mb` and `runtime` are what a cluster is asked for; the last two grow with each attempt. `models` lets the
        members of a group take turns.

        Args:
            experiments: the process may run any configuration of the model, so that the largest counts; otherwise the
                model runs as it was trained.
            counted: how many times the job holds the counts of an observed shard.
        """

        def needs(wildcards: Any) -> tuple[dict[str, Any] | None, str, int | None]:
            structure = self.study.structure(wildcards.model)
            dtype = self.study.config["models"][wildcards.model]["dtype"]
            if experiments:
                return structure, dtype, self.most_experts(wildcards.model, self.study.of(wildcards.model))
            return structure, dtype, structure and structure["top_k"]

        def host(wildcards: Any, attempt: int) -> int:
            structure, dtype, slots = needs(wildcards)
            needed = footprint.mem_mb(structure, dtype, batch_tokens, slots=slots)
            return attempt * (AROUND_MB + needed + int(1000 * self.counts_gb(wildcards.model, counted)))

        def cards(wildcards: Any) -> int:
            return self.study.config["models"][wildcards.model].get("cards", 1)

        def card(wildcards: Any) -> int:
            structure, dtype, slots = needs(wildcards)
            return footprint.gpu_mem_gb(structure, dtype, batch_tokens, slots=slots, cards=cards(wildcards))

        return {"mem_mb": host, "gpu_mem_gb": card, "gpu": cards, "models": 1, "runtime": minutes(runtime)}

    def counts(self, times: float) -> Callable[..., int]:
        """`mem_mb` of a job without a model that holds `times` the counts of an observed shard."""
        return lambda wildcards, attempt: (
            attempt * int(MERGE_MB + 1000 * self.counts_gb(wildcards.model, times))
        )

    def counts_gb(self, model: str, times: float) -> float:
        """GB of `times` the counts of an observed shard; 0 for a model of which nothing is known."""
        structure, layers = self.study.structure(model), self.study.config["observation"]["layers"]
        if not structure or not times:
            return 0.0
        return times * footprint.observation_gb(structure, layers=len(layers) if layers else None)

    def most_experts(self, model: str, configs: Iterable[str]) -> int | None:
        """The most experts that some configurations may give a token; None if the settings of one do not say."""
        ones = [self.study.configurations[model, name] for name in configs]
        matched = [self.study.configurations[model, one.settings.get("matched", one.name)] for one in ones]
        most = [one.most_experts for one in matched]
        return None if None in most else max(most)
