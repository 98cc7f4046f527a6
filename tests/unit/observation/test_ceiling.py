"""Ceilings of routing tables against plain loops, and on the real OLMoE."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reference import observation_ceiling as reference
from switchyard.errors import InputError
from switchyard.observation import counts as counting
from switchyard.observation.ceiling import most_used, table_ceiling
from switchyard.observation.verbs import register

REAL_COUNTS = Path(__file__).resolve().parents[4] / "shared/data/olmoe_token_expert_counts.parquet"
COLUMNS = {"layer": pa.int16(), "domain": pa.string(), "token_id": pa.int32(), "expert": pa.int16()}
SCHEMA = pa.schema([*COLUMNS.items(), ("count", pa.int64())])


def row(domain: str, token_id: int, expert: int, count: int, layer: int = 0) -> dict[str, Any]:
    return {"layer": layer, "domain": domain, "token_id": token_id, "expert": expert, "count": count}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict], int, int]:
    """Rows with ties, repeated rows and zero counts, num_experts and top_k."""
    num_experts = draw(st.sampled_from((1, 2, 3, 8)))
    rows = st.builds(
        row,
        domain=st.sampled_from("abc"[: draw(st.integers(1, 3))]),
        token_id=st.integers(0, 4) | st.just(100_000),
        expert=st.integers(0, num_experts - 1),
        count=st.integers(0, 3) | st.just(10**9),
        layer=st.sampled_from((0, 7)),
    )
    return draw(st.lists(rows, min_size=1, max_size=25)), num_experts, draw(st.integers(1, num_experts))


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(case=tables(), block=st.sampled_from((1, 20, 2**22)))
def test_equals_plain_loops(case: tuple, block: int) -> None:
    rows, num_experts, top_k = case
    assume(any(one["count"] for one in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_BLOCK", block)
        found = table_ceiling(pa.Table.from_pylist(rows, SCHEMA), top_k=top_k, num_experts=num_experts)
    assert found["chance"] == top_k / num_experts
    assert [one["layer"] for one in found["layers"]] == sorted({one["layer"] for one in rows if one["count"]})
    for layer in found["layers"]:
        own = [one for one in rows if one["layer"] == layer["layer"]]
        expected = reference.ceilings(own, ["global", "token"], top_k, num_experts)
        assert layer["keys"] == len({one["token_id"] for one in own if one["count"]})
        assert layer["domains"] == list(expected)
        assert_shares(layer, expected)
        for part in layer["by_domain"]:
            assert_shares(part, {part["domain"]: expected[part["domain"]]})
        assert bool(layer["undefined"]) == (len(expected) == 1)


def assert_shares(found: dict, expected: dict) -> None:
    assert found["uses"] == sum(one["token"]["uses"] for one in expected.values())
    for level in ("token", "global"):
        for name, part in (("in_sample", "in_sample"), ("leave_one_domain_out", "left_out")):
            assert found[level][name] == reference.share(expected, level, part)
    assert found["token"]["unseen_share"] == reference.share(expected, "token", "unseen")


def test_most_used_gives_ties_to_the_lowest_index() -> None:
    counts = np.array([[0, 5, 5, 1], [0, 0, 0, 0], [2**56, 0, 1, 2**56]])
    assert most_used(counts, 3).tolist() == [[1, 2, 3], [0, 1, 2], [0, 3, 2]]


def test_every_expert_listed_hits_everything() -> None:
    rows = [
        row(domain, token, expert, 1 + token) for domain in "ab" for token in range(3) for expert in range(4)
    ]
    layer = table_ceiling(pa.Table.from_pylist(rows, SCHEMA), top_k=4)["layers"][0]
    assert layer["token"] == {"in_sample": 1.0, "leave_one_domain_out": 1.0, "unseen_share": 0.0}
    assert layer["global"] == {"in_sample": 1.0, "leave_one_domain_out": 1.0}


def test_uniform_uses_are_hit_by_chance() -> None:
    rows = [row(domain, token, expert, 7) for domain in "ab" for token in range(3) for expert in range(8)]
    layer = table_ceiling(pa.Table.from_pylist(rows, SCHEMA), top_k=2)["layers"][0]
    assert layer["token"]["leave_one_domain_out"] == layer["global"]["in_sample"] == 2 / 8


def test_the_order_of_the_rows_is_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = [row("abc"[d], t, e, int(rng.integers(5))) for d in range(3) for t in range(5) for e in range(6)]
    shuffled = [rows[place] for place in rng.permutation(len(rows))]
    first, second = (table_ceiling(pa.Table.from_pylist(one, SCHEMA), top_k=2) for one in (rows, shuffled))
    assert first == second


GOOD = pa.Table.from_pylist([row("a", 1, 2, 3), row("b", 1, 0, 3)], SCHEMA)


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (
            GOOD.drop_columns("domain"),
            {},
            "counts: column domain is missing; give a count table with columns",
        ),
        (GOOD.drop_columns("count"), {}, "column count is missing"),
        (GOOD.slice(0, 0), {}, "counts no use"),
        (GOOD.set_column(4, "count", pa.array([0, 0])), {}, "counts no use"),
        (GOOD.set_column(4, "count", pa.array([1, -2])), {}, "column count holds -2"),
        (GOOD.set_column(4, "count", pa.array([1.0, 2.0])), {}, "column count holds double"),
        (GOOD.set_column(4, "count", pa.array([2**62, 2**62])), {}, "column count sums to 9.22e[+]18"),
        (
            GOOD.set_column(4, "count", pa.array([2**63 + 5, 1], pa.uint64())),
            {},
            "column count sums to 9.22e[+]18",
        ),
        (GOOD.set_column(3, "expert", pa.array([None, 2], pa.int16())), {}, "column expert holds empty"),
        (GOOD.set_column(1, "domain", pa.array([None, "a"])), {}, "column domain has empty cells"),
        (GOOD, {"num_experts": 2}, "expert 2 is not below 2"),
        (GOOD, {"top_k": 4}, "top_k is 4 and there are 3 experts"),
        (GOOD, {"top_k": 0}, "top_k is 0"),
    ],
)
def test_refuses(table: pa.Table, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        table_ceiling(table, **{"top_k": 2, **options})
    assert "\n" not in str(caught.value)


def test_the_real_olmoe() -> None:
    """Shares known before: in-sample, leave-one-domain-out, each of layers 0, 7 and 15."""
    if not REAL_COUNTS.exists():
        pytest.skip(f"{REAL_COUNTS.name} is not beside the checkout")
    found = table_ceiling(pq.read_table(REAL_COUNTS), top_k=8)
    assert (found["num_experts"], found["chance"]) == (64, 0.125)
    assert found["num_experts_from"] == "largest expert of the table + 1"
    shares = {
        one["layer"]: tuple(round(one["token"][name], 3) for name in ("in_sample", "leave_one_domain_out"))
        for one in found["layers"]
    }
    assert shares == {0: (0.583, 0.244), 7: (0.703, 0.380), 15: (0.743, 0.402)}


def run_verb(*arguments: str | Path) -> None:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    parsed = parser.parse_args([str(one) for one in arguments])
    parsed.run(parsed)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(GOOD, tmp_path / "counts.parquet")
    place = ("--counts", tmp_path / "counts.parquet", "--output", tmp_path / "ceiling.json")
    run_verb("table-ceiling", *place, "--top-k", "1")
    assert json.loads((tmp_path / "ceiling.json").read_text()) == table_ceiling(GOOD, top_k=1)
    assert "3 experts (largest expert of the table + 1)" in capsys.readouterr().out
    run_verb("table-ceiling", *place, "--top-k", "1", "--num-experts", "8")
    assert json.loads((tmp_path / "ceiling.json").read_text())["chance"] == 1 / 8


def test_the_verb_says_why_a_share_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(GOOD.slice(0, 1), tmp_path / "counts.parquet")
    output = tmp_path / "ceiling.json"
    run_verb("table-ceiling", "--counts", tmp_path / "counts.parquet", "--output", output, "--top-k", "1")
    layer = json.loads(output.read_text())["layers"][0]
    assert layer["token"] == {"in_sample": 1.0, "leave_one_domain_out": None, "unseen_share": None}
    assert "only one domain" in layer["undefined"]["leave_one_domain_out"]
    assert "leave-one-domain-out undefined (only one domain" in capsys.readouterr().out


def test_the_verb_refuses_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    for name, words in (("broken.parquet", "no whole Parquet"), ("absent.parquet", "no such file")):
        with pytest.raises(InputError, match=words):
            run_verb(
                "table-ceiling", "--counts", tmp_path / name, "--output", tmp_path / "o.json", "--top-k", "1"
            )
    assert not (tmp_path / "o.json").exists()
