"""What quantising does to routing: a packed model against the same weights as they are, on the same text.

Both run the trained top-k. A layer sees what the layers before it made of the text, so that changes of
experts build up with depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import duckdb
import numpy as np
import pandas as pd

from switchyard.artifacts.files import read_table
from switchyard.errors import InputError
from switchyard.statistics.multiplicity import holm, verdict
from switchyard.statistics.paired import ratio_tests

_TOKENS = """
SELECT layer, sample_id, count(*) AS tokens,
       sum((list_sort(a.experts) <> list_sort(b.experts))::INT) AS changed,
       sum(len(list_intersect(a.experts, b.experts)) / len(a.experts)) AS kept,
       {logits}
FROM read_parquet(?) AS a JOIN read_parquet(?) AS b USING (sample_id, sequence, layer, position)
GROUP BY ALL ORDER BY ALL
"""
"""Per layer and sample, of a the base and b the packed model: tokens with another set of experts, and sums."""

_LOGITS = """
sum(list_distance(a.router_logits::DOUBLE[], b.router_logits::DOUBLE[]) ** 2 / len(a.router_logits)) AS squares,
sum(list_aggregate(a.router_logits::DOUBLE[], 'var_pop')) AS variance
"""


class Runs(NamedTuple):
    """The trained top-k of a packed model and of its base on one dataset."""

    model: str
    base: str
    dataset: str
    trace: Path
    base_trace: Path
    scores: Path
    base_scores: Path

    @classmethod
    def of(cls, *, model: str, base: str, dataset: str, **files: str) -> Self:
        """From names and paths as text."""
        return cls(model, base, dataset, **{name: Path(path) for name, path in files.items()})


def routing_changes(runs: Runs, *, keeps_logits: bool = True) -> pd.DataFrame:
    """A row per layer.

    Returns:
        `changed_share` of the tokens have another set of experts, with the 95 % interval `low`, `high` over samples;
        `kept_share` of a token's experts are chosen by both; `logit_error` is the root mean square difference of router
        logits over their own standard deviation within a token, NaN where traces hold none.

    Raises:
        InputError: the two traces share no token.
    """
    logits = _LOGITS if keeps_logits else "NULL AS squares, NULL AS variance"
    with duckdb.connect() as connection:
        query = connection.execute(_TOKENS.format(logits=logits), [str(runs.base_trace), str(runs.trace)])
        found = query.df()
    if found.empty:
        raise InputError(
            f"{runs.trace}: shares no token with {runs.base_trace}; evaluate both on one dataset"
        )
    layers = [own for _, own in found.groupby("layer")]
    tests = ratio_tests([(own["changed"].to_numpy(float), own["tokens"].to_numpy(float)) for own in layers])
    rows = []
    for own, test in zip(layers, tests, strict=True):
        sums = own[["tokens", "changed", "kept", "squares", "variance"]].astype(float).sum(min_count=1)
        low, high = (None, None) if test.low is None else (max(0.0, test.low), min(1.0, test.high))
        error = float(np.sqrt(sums["squares"] / sums["variance"])) if keeps_logits else float("nan")
        rows.append(
            {
                "layer": int(own["layer"].iloc[0]),
                "tokens": int(sums["tokens"]),
                "changed_share": test.ratio,
                "low": low,
                "high": high,
                "kept_share": sums["kept"] / sums["tokens"],
                "logit_error": error,
            }
        )
    return pd.DataFrame(rows).assign(model=runs.model, base=runs.base, dataset=runs.dataset)


def loss_changes(pairs: Sequence[Runs]) -> pd.DataFrame:
    """A row per packed model and dataset: loss per token against the base, paired by sample.

    `low` and `high` are the 95 % interval of `loss_difference`; `adjusted_p` is Holm's over all rows of a base, and
    `verdict` follows it. `first_choice_changed` is the share of scored positions with another most probable token.
    """
    columns = ["sample_id", "loss", "loss_tokens", "argmax_ids"]
    rows, terms = [], []
    for runs in pairs:
        base, own = (
            read_table(path, columns=columns).to_pandas() for path in (runs.base_scores, runs.scores)
        )
        both = base.merge(own, on="sample_id", suffixes=("_base", ""))
        tokens = both["loss_tokens"].to_numpy(float)
        terms.append(((both["loss"] - both["loss_base"]).to_numpy(float), tokens))
        ids, base_ids = (np.concatenate(both[name].to_list()) for name in ("argmax_ids", "argmax_ids_base"))
        rows.append(
            {
                **{"model": runs.model, "base": runs.base, "dataset": runs.dataset, "samples": len(both)},
                "base_loss": both["loss_base"].sum() / tokens.sum(),
                "first_choice_changed": float((ids != base_ids).mean()),
            }
        )
    for row, test in zip(rows, ratio_tests(terms), strict=True):
        row |= {"loss_difference": test.ratio, "low": test.low, "high": test.high, "p": test.p}
    return _judged(pd.DataFrame(rows))


def _judged(found: pd.DataFrame) -> pd.DataFrame:
    """With Holm's correction over all rows of a base model."""
    adjusted = found.groupby("base")["p"].transform(lambda p: holm(p.to_list()))
    said = [verdict(-gain, p) for gain, p in zip(found["loss_difference"], adjusted, strict=True)]
    return found.assign(adjusted_p=adjusted, verdict=said)


def with_formats(found: pd.DataFrame, quantise: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The columns `experts` and `rest` say how each packed model is quantised."""
    kinds = pd.DataFrame.from_dict({name: dict(one) for name, one in quantise.items()}, orient="index")
    return found.join(kinds[["experts", "rest"]], on="model")
