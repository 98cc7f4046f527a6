"""The ceiling of a routing table: the share of the used experts that looking experts up would hit.

A routing table lists for each key the `top_k` experts that the key used most often. Nothing here needs a model: counts
of uses are enough. In-sample, each domain has a table of its own and is scored on itself: more than a table that was
made beforehand can hit. Leave-one-domain-out, each domain is scored with the table of the other domains alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from switchyard.errors import InputError
from switchyard.observation.counts import Counts, CountTable

COLUMNS = ("layer", "domain", "token_id", "expert", "count")
"""What a count table holds."""

ONE_DOMAIN = "only one domain, so that nothing is left to make a table from; give documents several domains"


def most_used(counts: np.ndarray, top_k: int) -> np.ndarray:
    """The `top_k` experts with the largest counts, most used first, ties to the lowest index.

    Args:
        counts: int64 [..., experts], at most 2**63 / experts each.
        top_k: 1..experts.

    Returns:
        int16 [..., top_k]
    """
    num_experts = counts.shape[-1]
    ranked = counts * num_experts + np.arange(num_experts - 1, -1, -1)
    largest = np.partition(ranked, num_experts - top_k, axis=-1)[..., num_experts - top_k :]
    return (num_experts - 1 - np.sort(largest, axis=-1)[..., ::-1] % num_experts).astype(np.int16)


class Hits(NamedTuple):
    """Uses per domain: all, and those that a routing table would hit; the last three are None for a single domain."""

    uses: np.ndarray  # [domains] int64
    in_sample: np.ndarray  # [domains] int64
    left_out: np.ndarray | None  # [domains] int64: with the table of the other domains
    unseen: np.ndarray | None  # [domains] int64: uses at keys that no other domain has
    lists: np.ndarray | None  # [domains, keys, top_k] int16: the table that each domain is scored with


def hits(counts: Counts, top_k: int, fallback: np.ndarray | None = None) -> Hits:
    """Score routing tables on the counts that they come from.

    Args:
        counts: uses by domain, key and expert.
        top_k: experts in a list.
        fallback: int16 [domains, keys, top_k], the list of each key that no other domain has; None: the experts with
            the lowest indices, as a tie of zeros.
    """
    domains, several = counts.num_domains, counts.num_domains > 1
    uses, in_sample, left_out, unseen = np.zeros((4, domains), np.int64)
    lists = np.empty((domains, counts.num_keys, top_k), np.int16) if several else None
    for run, own in counts.blocks():
        uses += own.sum((1, 2))
        in_sample += np.partition(own, -top_k, axis=-1)[..., -top_k:].sum((1, 2))
        if lists is None:
            continue
        others = own.sum(0) - own
        seen = others.any(axis=-1)
        best = most_used(others, top_k)
        lists[:, run] = best if fallback is None else np.where(seen[..., None], best, fallback[:, run])
        left_out += np.take_along_axis(own, lists[:, run].astype(np.int64), axis=-1).sum((1, 2))
        unseen += np.where(seen, 0, own.sum(-1)).sum(-1)
    return Hits(uses, in_sample, *((left_out, unseen, lists) if several else (None, None, None)))


def chained_hits(chain: Sequence[tuple[Counts, np.ndarray | None]], top_k: int) -> list[Hits]:
    """Score tables from coarse to fine, each falling back to the one before it.

    `chain`: counts, and for each of their keys its key in the counts before, int64 [keys], None for the first.
    """
    found: list[Hits] = []
    for counts, parent in chain:
        before = found[-1].lists if parent is not None else None
        found.append(hits(counts, top_k, None if before is None else before[:, parent]))
    return found


def globally(counts: Counts) -> tuple[Counts, None]:
    """The first of a chain: one key for everything."""
    return counts.keyed_by(np.zeros_like(counts.key), 1), None


def table_ceiling(
    table: pa.Table, *, top_k: int, num_experts: int | None = None, place: str = "counts"
) -> dict[str, Any]:
    """Ceilings of tables keyed by token id, and of one global list, layer by layer; domains weighted by their uses.

    Args:
        table: `layer, domain, token_id, expert, count`: how often each token id used each expert.
        top_k: experts in a list.
        num_experts: None: the largest expert of the table + 1.
        place: what messages call the table.

    Returns:
        `top_k`, `num_experts`, `num_experts_from`, `chance` = top_k / num_experts, and `layers`: a dict each with
        `layer, keys, domains, uses`, shares `token` and `global` (`in_sample, leave_one_domain_out`, and for tokens
        `unseen_share`: uses of ids that no other domain has, which fall back to the global list), `by_domain` with the
        same for each domain, and `undefined`: why a share is null.

    Raises:
        InputError: what is wrong with the table, or a `top_k` outside 1..num_experts.
    """
    checked = CountTable.of(table, num_experts=num_experts, place=place)
    check_top_k(top_k, checked.num_experts, place)
    return {
        "top_k": top_k,
        "num_experts": checked.num_experts,
        "num_experts_from": "given" if checked.experts_given else "largest expert of the table + 1",
        "chance": top_k / checked.num_experts,
        "layers": [_layer(layer, part, top_k) for (layer,), part in checked.parts("layer")],
    }


def check_top_k(top_k: int, num_experts: int, place: str) -> None:
    """Raise InputError for a list longer than there are experts, or empty; `place` is what messages call the table."""
    if not 1 <= top_k <= num_experts:
        raise InputError(
            f"{place}: top_k is {top_k} and there are {num_experts} experts; choose 1 to {num_experts}, "
            "or give num_experts"
        )


def _layer(layer: int, part: CountTable, top_k: int) -> dict[str, Any]:
    counts, tokens, domains = part.counts("token_id")
    whole, by_token = chained_hits([globally(counts), (counts, np.zeros(len(tokens), np.int64))], top_k)
    return {
        "layer": layer,
        "keys": len(tokens),
        "domains": domains,
        "uses": int(whole.uses.sum()),
        **_shares(whole, by_token, slice(None)),
        "by_domain": [
            {"domain": name, "uses": int(whole.uses[one]), **_shares(whole, by_token, one)}
            for one, name in enumerate(domains)
        ],
        "undefined": {"leave_one_domain_out": ONE_DOMAIN} if len(domains) == 1 else {},
    }


def _shares(whole: Hits, by_token: Hits, domains: int | slice) -> dict[str, dict[str, float | None]]:
    token = {**shares(by_token, domains), "unseen_share": share(by_token.unseen, by_token, domains)}
    return {"token": token, "global": shares(whole, domains)}


def shares(found: Hits, domains: int | slice = slice(None)) -> dict[str, float | None]:
    """In-sample and leave-one-domain-out share of the uses of some domains."""
    return {
        "in_sample": share(found.in_sample, found, domains),
        "leave_one_domain_out": share(found.left_out, found, domains),
    }


def share(part: np.ndarray | None, found: Hits, domains: int | slice = slice(None)) -> float | None:
    """`part`, int64 [domains], over the uses of some domains: a share, 0..1; None where there is no such part."""
    return None if part is None else int(part[domains].sum()) / int(found.uses[domains].sum())
