"""The files of an observation: routing statistics, counts, and what was counted in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.csv

from switchyard.artifacts.files import atomic, write_table, write_text
from switchyard.artifacts.stamps import attach_to
from switchyard.observation.shards import Observation
from switchyard.observation.statistics import lists_as_json
from switchyard.observation.summary import kept_contexts, summary_text


def publish(
    seen: Observation,
    tokenizer: Any,
    output: Mapping[str, Path],
    made: Mapping[str, Any],
    *,
    model: str,
    corpus: str,
    shards: int,
    batches: int,
) -> None:
    """Write `statistics`, `csv`, `counts`, `contexts` and `summary` to their paths, and a table per counter.

    Args:
        seen: the observation of the whole text.
        tokenizer: the model's.
        output: a path by each of these names, and by that of each counter.
        made: the run stamp.
        model: its name, for the summary.
        corpus: what was read, in words.
        shards: how many the text was divided into.
        batches: how many they had together.
    """
    stamp = {"provenance": made, "totals": dict(seen.totals), "num_experts": seen.statistics.num_experts}
    table = seen.statistics.table(lambda token: tokenizer.decode([token]))
    write_table(output["statistics"], table, stamp)
    with atomic(output["csv"]) as partial:
        pyarrow.csv.write_csv(lists_as_json(table), partial)
    write_table(output["counts"], seen.statistics.counts(), stamp)
    kept = {str(context): share for context, share in kept_contexts(seen).items()}
    write_table(output["contexts"], seen.ngrams.table(), {**stamp, "kept": kept})
    for name, counter in seen.counters.items():
        write_table(output[name], counter.table(), stamp)
    names = dict(zip(table["token_id"].to_pylist(), table["token_str"].to_pylist()))
    write_text(
        output["summary"],
        summary_text(seen, names, model=model, corpus=corpus, shards=shards, batches=batches),
    )
    for name in ("csv", "summary"):
        attach_to(output[name], made)
