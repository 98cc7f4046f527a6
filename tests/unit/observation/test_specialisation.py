"""Domain and vocabulary specialisation against counting tokens, on made-up counts and on those of OLMoE."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reference import routing_analyses as reference
from switchyard.errors import InputError
from switchyard.observation import specialisation

OLMOE = Path(__file__).parents[4] / "shared" / "data" / "olmoe_token_expert_counts.parquet"

Tokens = list[tuple[str, int, list[int]]]


def made_up(num_experts: int, top_k: int, domains: list[str], tokens: int, seed: int = 0) -> Tokens:
    """Random tokens (domain, token id, experts): ids of uneven frequency with experts of their own."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(tokens):
        token_id = int(rng.geometric(0.2))
        weights = np.roll(1.0 / np.arange(1, num_experts + 1) ** 2, token_id)
        experts = rng.choice(num_experts, top_k, replace=False, p=weights / weights.sum())
        made.append((domains[rng.integers(len(domains))], token_id, experts.tolist()))
    return made


def table(layers: dict[int, Tokens], *, first: bool = True) -> pa.Table:
    used, tops = Counter(), Counter()
    for layer, tokens in layers.items():
        for domain, token_id, experts in tokens:
            used.update((layer, domain, token_id, expert) for expert in experts)
            tops[layer, domain, token_id, experts[0]] += 1
    names = ("layer", "domain", "token_id", "expert")
    rows = [dict(zip(names, key)) | {"count": count, "top_count": tops[key]} for key, count in used.items()]
    made = pa.Table.from_pylist(rows)
    return made if first else made.drop_columns("top_count")


SHAPES = [
    (6, 2, ["a", "b", "c"], 200),
    (5, 1, ["a", "b"], 60),
    (3, 3, ["a"], 30),
    (1, 1, ["a"], 12),
    (8, 2, ["a"], 1),
    (16, 4, ["b", "a"], 150),
]


_FIRST = {"choices": pa.string(), "layer": pa.int16()}
_USED = {"token_id": pa.int32(), "expert": pa.int16(), "uses": pa.int64(), "frequency": pa.int64()}
SHARES = _FIRST | _USED | {"share": pa.float64(), "chance": pa.float64()}
BY_LAYER = _FIRST | {"token_ids": pa.int64(), "specialisation": pa.float64(), "chance": pa.float64()}
"""Columns and their types, also where there are no rows."""


@pytest.mark.parametrize("num_experts, top_k, domains, number", SHAPES)
@pytest.mark.parametrize("first", [True, False])
def test_domains(num_experts: int, top_k: int, domains: list[str], number: int, first: bool) -> None:
    layers = {layer: made_up(num_experts, top_k, domains, number, layer) for layer in (2, 5)}
    found = specialisation.domain_specialisation(
        table(layers, first=first), top_k=top_k, num_experts=num_experts
    )
    expected = []
    for choices, of_token in (("used", top_k), ("first", 1))[: 1 + first]:
        for layer, tokens in layers.items():
            for domain in sorted({domain for domain, _, _ in tokens}):
                mine = reference.occurrences(tokens, domain=domain)
                for expert in range(num_experts):
                    share = reference.routed_share(mine, expert, of_token)
                    uses = sum(expert in experts[:of_token] for experts in mine)
                    chance = of_token / num_experts
                    expected.append((choices, layer, domain, expert, uses, len(mine), share, chance))
    assert [tuple(row.values()) for row in found.to_pylist()] == expected


@pytest.mark.parametrize("num_experts, top_k, domains, number", SHAPES)
@pytest.mark.parametrize("least", [1, 8, 10**6])
def test_vocabulary(num_experts: int, top_k: int, domains: list[str], number: int, least: int) -> None:
    layers = {layer: made_up(num_experts, top_k, domains, number, layer) for layer in (2, 5)}
    sizes = {"top_k": top_k, "num_experts": num_experts}
    shares = specialisation.token_expert_shares(table(layers), **sizes, minimum_frequency=least)
    favourites = specialisation.favourite_experts(shares)
    by_expert = specialisation.vocabulary_specialisation(favourites, num_experts=num_experts)
    by_layer = specialisation.vocabulary_specialisation_by_layer(favourites)
    told = {name: [] for name in ("shares", "favourites", "by_expert", "by_layer")}
    for choices, of_token in (("used", top_k), ("first", 1)):
        chance = of_token / num_experts
        for layer, tokens in layers.items():
            largest: dict[int, tuple[int, float]] = {}
            for token_id in sorted({token_id for _, token_id, _ in tokens}):
                mine = reference.occurrences(tokens, token_id=token_id)
                if len(mine) < least:
                    continue
                largest[token_id] = reference.favourite(mine, num_experts, of_token)
                for expert in range(num_experts):
                    if share := reference.routed_share(mine, expert, of_token):
                        uses = round(share * len(mine))
                        row = (choices, layer, token_id, expert, uses, len(mine), share, chance)
                        told["shares"].append(row)
                        if expert == largest[token_id][0]:
                            told["favourites"].append(row)
            if largest:
                for expert in range(num_experts):
                    own = [share for favourite, share in largest.values() if favourite == expert]
                    mean = np.mean(own) if own else None
                    told["by_expert"].append((choices, layer, expert, len(own), mean, chance))
                mean = np.mean([share for _, share in largest.values()])
                told["by_layer"].append((choices, layer, len(largest), mean, chance))
    for name, found in (("shares", shares), ("favourites", favourites)):
        assert [tuple(row.values()) for row in found.to_pylist()] == told[name]
    for found, kinds in ((shares, SHARES), (by_layer, BY_LAYER)):
        assert found.schema.names == list(kinds) and found.schema.types == list(kinds.values())
    for name, found in (("by_expert", by_expert), ("by_layer", by_layer)):
        rows = [tuple(row.values()) for row in found.to_pylist()]
        assert [row[:-2] + row[-1:] for row in rows] == [row[:-2] + row[-1:] for row in told[name]]
        assert [row[-2] for row in rows] == pytest.approx([row[-2] for row in told[name]])


def test_shares_of_a_domain_sum_to_k() -> None:
    found = specialisation.domain_specialisation(
        table({0: made_up(6, 2, ["a", "b"], 100)}), top_k=2, num_experts=6
    ).to_pandas()
    sums = found.groupby(["choices", "domain"])["share"].sum()
    assert sums["used"].to_list() == pytest.approx([2, 2]) and sums["first"].to_list() == pytest.approx(
        [1, 1]
    )


def row(**changes: object) -> dict:
    return {"layer": 0, "domain": "a", "token_id": 7, "expert": 0, "count": 4, "top_count": 4} | changes


@pytest.mark.parametrize(
    "rows, told",
    [
        ([row()], "no 2 experts a token"),
        ([row(count=5, top_count=4), row(expert=1, count=3, top_count=0)], "no 2 experts a token"),
        ([row(count=3, top_count=2), row(expert=1, count=2, top_count=0)], "no 2 experts a token"),
        ([row(top_count=3), row(expert=1, top_count=0)], "token id 7 in layer 0, domain a"),
        ([row(), row(expert=4, top_count=0)], "expert 4 is not below 4"),
        ([row(count=0, top_count=0)], "no use of any expert"),
        ([row(count=-1)], "from 0 upwards"),
    ],
)
def test_counts_that_cannot_be_true_are_refused(rows: list[dict], told: str) -> None:
    with pytest.raises(InputError, match=told):
        specialisation.domain_specialisation(pa.Table.from_pylist(rows), top_k=2, num_experts=4)


@pytest.mark.skipif(not OLMOE.exists(), reason="the counts of OLMoE are not beside the project")
def test_olmoe() -> None:
    """Real counts add up, and are specialised by vocabulary and by domain far above chance in every layer."""
    counts = pq.read_table(OLMOE)
    shares = specialisation.token_expert_shares(counts, top_k=8, num_experts=64)
    by_layer = specialisation.vocabulary_specialisation_by_layer(specialisation.favourite_experts(shares))
    assert by_layer["layer"].to_pylist() == [0, 7, 15] and set(by_layer["chance"].to_pylist()) == {0.125}
    assert all(0.9 < value < 1 for value in by_layer["specialisation"].to_pylist())
    domains = specialisation.domain_specialisation(counts, top_k=8, num_experts=64).to_pandas()
    assert (domains["tokens"] == 208_896).all() and len(domains) == 3 * 4 * 64
    assert domains["share"].max() > 0.5


def test_a_first_choice_among_tied_experts_need_not_be_used() -> None:
    """The statistics' first choice is the lowest of equals; the model's own call may leave it out."""
    rows = {"layer": [0, 0], "domain": ["all"] * 2, "token_id": [1, 1], "expert": [0, 1]}
    counts = pa.table(rows | {"count": [0, 1], "top_count": [1, 0]})
    found = specialisation.domain_specialisation(counts, top_k=1, num_experts=2).to_pandas()
    assert found.loc[found["choices"] == "first", "share"].tolist() == [1.0, 0.0]
