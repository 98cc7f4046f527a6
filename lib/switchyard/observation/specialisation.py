"""Domain and vocabulary specialisation, from counts of how often each token id used each expert in each domain.

Both are shares of tokens that are routed to an expert (OLMoE, arXiv:2409.02060, section 5): of the tokens of a domain,
or of the occurrences of a token id as input. What is counted is named in the column `choices` of every result: `used`,
the expert is among the k that the token uses; `first`, it is the token's most probable one (only where the counts have
the column `top_count`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from switchyard.errors import InputError
from switchyard.observation.counters import result_table, share
from switchyard.observation.input_tables import names, need, whole_numbers

LEAST_FREQUENCY = 8
"""Occurrences that a token id needs: the largest of many shares of a few occurrences is large by chance alone."""

_COUNTED = ("layer", "domain", "token_id", "expert", "count")
_CHOICES = {"used": "count", "first": "top_count"}
_PLACE = "expert counts"


def domain_specialisation(counts: pa.Table, *, top_k: int, num_experts: int) -> pa.Table:
    """The share of a domain's tokens that each expert is chosen for: N(expert, domain) / N(domain).

    Args:
        counts: layer, domain, token_id, expert, count (occurrences of the id that used the expert), and if known
            top_count (those whose most probable expert it was); what is absent is 0.
        top_k: experts that a token uses.
        num_experts: experts of a layer.

    Returns:
        choices, layer, domain, expert, `uses` (tokens it was chosen for), `tokens` of the domain, `share` = uses /
        tokens, and `chance`, the share with all experts alike: k / E, of the first choice 1 / E. Every expert has a
        row for every layer and domain that has tokens.

    Raises:
        InputError: columns missing, or counts that do not add up.
    """
    frame = _checked(counts, top_k, num_experts)
    parts = []
    for choices, column in _present(frame):
        places = ["layer", "domain"]
        dense = frame.pivot_table(index=places, columns="expert", values=column, aggfunc="sum", fill_value=0)
        dense = dense.reindex(columns=range(num_experts), fill_value=0)
        part = dense.stack().rename("uses").reset_index()
        tokens = dense.sum(axis=1) // _per_token(choices, top_k)
        part["tokens"] = tokens.repeat(num_experts).to_numpy()
        parts.append(_with_share(part, choices, part["tokens"], top_k, num_experts))
    columns = ("choices", "layer", "domain", "expert", "uses", "tokens", "share", "chance")
    return _result(parts, columns, shares=("share", "chance"))


def token_expert_shares(
    counts: pa.Table, *, top_k: int, num_experts: int, minimum_frequency: int = LEAST_FREQUENCY
) -> pa.Table:
    """The share of a token id's occurrences as input that each expert is chosen for, all domains together.

    Vocabulary specialisation of one expert on one token id: N(token id, expert) / N(token id).

    Args:
        counts, top_k, num_experts: as for `domain_specialisation`.
        minimum_frequency: occurrences that a token id needs to be listed.

    Returns:
        choices, layer, token_id, expert, `uses`, `frequency` (occurrences of the token id), `share` = uses / frequency,
        chance; rows with no uses are left out
    """
    frame = _checked(counts, top_k, num_experts)
    parts = []
    for choices, column in _present(frame):
        part = frame.groupby(["layer", "token_id", "expert"])[column].sum().rename("uses").reset_index()
        totals = part.groupby(["layer", "token_id"])["uses"].transform("sum")
        part["frequency"] = totals // _per_token(choices, top_k)
        part = part[(part["frequency"] >= minimum_frequency) & (part["uses"] > 0)]
        parts.append(_with_share(part, choices, part["frequency"], top_k, num_experts))
    columns = ("choices", "layer", "token_id", "expert", "uses", "frequency", "share", "chance")
    return _result(parts, columns, shares=("share", "chance"))


def favourite_experts(shares: pa.Table) -> pa.Table:
    """The rows of `token_expert_shares` with the largest share of each token id; ties to the lowest expert."""
    frame = shares.to_pandas().sort_values(
        ["choices", "layer", "token_id", "uses", "expert"], ascending=[False, True, True, False, True]
    )
    largest = frame.drop_duplicates(["choices", "layer", "token_id"])
    return pa.Table.from_pandas(largest, schema=shares.schema, preserve_index=False)


def vocabulary_specialisation(favourites: pa.Table, *, num_experts: int) -> pa.Table:
    """How specialised each expert is on the token ids that it is the favourite of.

    Args:
        favourites: `favourite_experts`.
        num_experts: experts of a layer.

    Returns:
        choices, layer, expert; `token_ids`, the number of token ids whose favourite it is; `specialisation`, the mean
        over them of the share of their occurrences that it is chosen for, each token id alike, null if there are none;
        chance. A largest share lies above chance even with random routing, the more so the rarer the token id.
    """
    frame = favourites.to_pandas()
    means = _means(frame, ["choices", "layer", "expert"])
    places = frame[["choices", "layer", "chance"]].drop_duplicates()
    every = places.merge(pd.DataFrame({"expert": np.arange(num_experts)}), how="cross")
    every = every.merge(means, how="left", on=["choices", "layer", "expert"])
    every["token_ids"] = every["token_ids"].fillna(0).astype(np.int64)
    columns = ("choices", "layer", "expert", "token_ids", "specialisation", "chance")
    return _result([every], columns, shares=("specialisation", "chance"))


def vocabulary_specialisation_by_layer(favourites: pa.Table) -> pa.Table:
    """The mean over token ids of the largest share of their occurrences, each token id alike.

    Returns:
        choices, layer, `token_ids`, `specialisation`, chance
    """
    frame = favourites.to_pandas()
    means = _means(frame, ["choices", "layer", "chance"])
    columns = ("choices", "layer", "token_ids", "specialisation", "chance")
    return _result([means], columns, shares=("specialisation", "chance"))


def _means(favourites: pd.DataFrame, places: list[str]) -> pd.DataFrame:
    """Number of token ids and mean share at each of `places`, in the order of the favourites' choices and layers."""
    shares = favourites.groupby(places, sort=False)["share"]
    return shares.agg(token_ids="size", specialisation="mean").reset_index()


def _present(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return [(choices, column) for choices, column in _CHOICES.items() if column in frame]


def _per_token(choices: str, top_k: int) -> int:
    return top_k if choices == "used" else 1


def _with_share(
    part: pd.DataFrame, choices: str, whole: pd.Series, top_k: int, num_experts: int
) -> pd.DataFrame:
    return part.assign(
        choices=choices, share=share(part["uses"], whole), chance=_per_token(choices, top_k) / num_experts
    )


def _result(parts: list[pd.DataFrame], columns: tuple[str, ...], shares: tuple[str, ...]) -> pa.Table:
    frame = pd.concat(parts, ignore_index=True)
    return result_table({name: frame[name] for name in columns}, shares=shares)


def _checked(counts: pa.Table, top_k: int, num_experts: int) -> pd.DataFrame:
    """The counts, one row per (layer, domain, token_id, expert), if some routing can have them."""
    need(counts.column_names, _COUNTED, _PLACE, "a count table")
    counted = [column for column in _CHOICES.values() if column in counts.column_names]
    numbers = ("layer", "token_id", "expert", *counted)
    frame = pd.DataFrame({name: whole_numbers(counts, name, _PLACE) for name in numbers})
    codes, domains = names(counts, "domain", _PLACE)
    frame["domain"] = np.asarray(domains, object)[codes]
    if not frame["count"].any():
        raise InputError(f"{_PLACE}: no use of any expert, give a table with counts above 0")
    if frame["expert"].max() >= num_experts:
        raise InputError(
            f"{_PLACE}: expert {frame['expert'].max()} is not below {num_experts}; raise num_experts"
        )
    keys = ["layer", "domain", "token_id"]
    frame = frame.groupby([*keys, "expert"], as_index=False)[counted].sum()
    totals = frame.groupby(keys)[counted].transform("sum")
    possible = (totals["count"] % top_k == 0) & (frame["count"] * top_k <= totals["count"])
    if "top_count" in counted:
        possible &= (
            totals["top_count"] * top_k == totals["count"]
        )  # of tied experts the model may use another
    if not possible.all():
        row = frame[~possible].iloc[0]
        raise InputError(
            f"{_PLACE}: counts of token id {row['token_id']} in layer {row['layer']}, domain {row['domain']}, are "
            f"those of no {top_k} experts a token, give the right top_k or observe again"
        )
    return frame
