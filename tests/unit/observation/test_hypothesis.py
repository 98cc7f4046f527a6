"""VAR's hypothesis against plain loops, at its boundaries, and on tables that are not as they should be."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reference import observation_hypothesis as reference
from switchyard.artifacts.files import write_table
from switchyard.errors import InputError
from switchyard.observation.correlation import EXACT, spearman
from switchyard.observation.criteria import criteria_met, grades
from switchyard.observation.hypothesis import validate
from switchyard.observation.input_tables import read_table
from switchyard.observation.validation_report import report_text
from switchyard.observation.verbs import register

NAMES = ("frequencies", "mean entropies")
THRESHOLDS = {"frequency_threshold": 5, "entropy_threshold": 0.5}


def frame(frequency: Any, entropy: Any, **columns: Any) -> pd.DataFrame:
    """Routing statistics of tokens 0, 1, ...; what is not told is alike for all."""
    rows = {"token_id": np.arange(len(frequency)), "frequency": frequency, "mean_entropy": entropy}
    return pd.DataFrame({**rows, "routing_consistency": 0.5, **columns})


def only(stats_table: pd.DataFrame | pa.Table, **options: Any) -> dict[str, Any]:
    (layer,) = validate(stats_table, **options).layers
    return layer


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of one layer: ties, values on the thresholds, NaN, infinity, never seen, special tokens."""
    entropy = st.sampled_from((0.0, 0.25, 0.5, 0.75)) | st.floats(0, 2) | st.just(math.nan)
    consistency = st.floats(0, 1) | st.sampled_from((0.0, 1.0, math.nan, math.inf))
    row = st.fixed_dictionaries(
        {
            "token_str": st.sampled_from(("a", "<s>", " </s> ", "<|end|>", "<0x0A>", "<sum>", "|>", None)),
            "frequency": st.sampled_from((0, 1, 4, 5, 6)) | st.integers(1, 10**6) | st.just(math.nan),
            "mean_entropy": entropy,
            "routing_consistency": consistency,
        }
    )
    found = draw(st.lists(row, min_size=1, max_size=20))
    return [{"token_id": token, **one} for token, one in enumerate(found)]


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(rows=rows(), arrow=st.booleans())
def test_equals_plain_loops(rows: list[dict], arrow: bool) -> None:
    table = pa.Table.from_pylist(rows) if arrow else pd.DataFrame(rows)
    layer = only(table, **THRESHOLDS)
    for name, value in reference.measures(rows, **THRESHOLDS).items():
        assert layer[name] == (pytest.approx(value) if isinstance(value, float) else value), name
    use = [one for one in rows if reference.unusable(one) is None]
    if use:
        entropy = reference.entropy([one["mean_entropy"] for one in use])
        assert {key: pytest.approx(value, abs=1e-12) for key, value in entropy.items()} == layer["entropy"]
    json.dumps(validate(table, **THRESHOLDS).as_json(), allow_nan=False)
    absent = {name for name, value in layer.items() if value is None and name != "layer"}
    assert set(layer["undefined"]) == absent and all(layer["undefined"].values())
    report_text(validate(table, **THRESHOLDS))


def test_more_types_than_the_top() -> None:
    rng = np.random.default_rng(0)
    table = frame(rng.zipf(1.5, 1500).clip(max=10**6), rng.random(1500), routing_consistency=rng.random(1500))
    layer = only(table)
    expected = reference.measures(table.to_dict("records"), frequency_threshold=50, entropy_threshold=0.5)
    for name, value in expected.items():
        assert layer[name] == (pytest.approx(value) if isinstance(value, float) else value), name
    assert layer["top_types"] == 1000 and layer["top_1000_coverage"] < 1


def test_zipf_s_law_is_found() -> None:
    layer = only(frame((10**9 / np.arange(1, 2001) ** 1.2).astype(int), np.zeros(2000)))
    assert layer["zipf_exponent"] == pytest.approx(1.2, abs=1e-3)
    assert layer["zipf_r_squared"] == pytest.approx(1.0, abs=1e-4)


# --- Spearman


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(data=st.data(), n=st.integers(3, 40))
def test_rho_is_that_of_plain_loops_and_scipy(data: st.DataObject, n: int) -> None:
    values = st.lists(st.integers(0, 5).map(float), min_size=n, max_size=n)
    x, y = data.draw(values), data.draw(values)
    found = spearman(np.array(x), np.array(y), names=NAMES)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found.rho is found.p is found.low is None and "are equal" in found.reason
        return
    assert found.rho == pytest.approx(reference.rho(x, y), abs=1e-12)
    if n > EXACT:
        assert found.p == stats.spearmanr(x, y).pvalue
    if found.low is not None:
        assert (found.low, found.high) == pytest.approx(reference.interval(found.rho, n))
        assert found.low < found.rho < found.high


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_few_rows_have_the_exact_p(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.permutation(n).astype(float), rng.integers(0, n, n).astype(float)
    found = spearman(x, y, names=NAMES)
    if found.rho is not None:
        assert found.p == pytest.approx(reference.exact_p(x.tolist(), y.tolist()))


def test_three_rows_in_order_prove_nothing() -> None:
    found = spearman(np.arange(3.0), -np.arange(3.0), names=NAMES)
    assert (found.rho, found.p, found.low) == (-1.0, pytest.approx(1 / 3), None)
    assert found.reason == "no interval for 3 rows"


def test_perfect_order_has_no_interval() -> None:
    found = spearman(np.arange(20.0), np.arange(20.0) ** 3, names=NAMES)
    assert found.rho == pytest.approx(1.0) and found.low is None and "perfect order" in found.reason


def test_the_interval_covers_the_truth() -> None:
    """Bivariate normal with rho_S = 6 / pi * asin(r / 2); 95 % intervals of 400 samples of 100 rows."""
    rng, r = np.random.default_rng(0), -0.6
    truth = 6 / math.pi * math.asin(r / 2)
    covered = 0
    for _ in range(400):
        x = rng.normal(size=100)
        found = spearman(x, r * x + math.sqrt(1 - r * r) * rng.normal(size=100), names=NAMES)
        covered += found.low <= truth <= found.high
    assert 0.92 < covered / 400 < 0.98


def test_rounding_is_no_variation_of_entropy() -> None:
    """A uniform router's entropies differ in their last bits."""
    noise = np.random.default_rng(0).normal(size=100) * 1e-8
    layer = only(frame(np.arange(1, 101), math.log(8) + noise), num_experts=8)
    assert layer["spearman_rho"] is None
    assert layer["undefined"]["spearman_rho"] == "all mean entropies are equal"
    assert layer["grades"]["correlation"] == "insufficient" and not layer["criteria"]["correlation"]


def test_variants_of_the_correlation() -> None:
    frequency, entropy = np.arange(1, 31), np.concatenate([np.arange(15.0), np.arange(15.0)[::-1]]) / 10
    text = ["</s>" if token >= 28 else "word" for token in range(30)]
    variants = only(frame(frequency, entropy, token_str=text), minimum_frequency=16)["variants"]
    assert {name: one["n"] for name, one in variants.items()} == {
        "all_rows": 30,
        "without_special_tokens": 28,
        "minimum_frequency": 13,
    }
    assert variants["all_rows"]["rho"] == pytest.approx(reference.rho(frequency.tolist(), entropy.tolist()))
    assert variants["minimum_frequency"]["rho"] == pytest.approx(-1.0)


# --- grades and criteria, exactly as written


@pytest.mark.parametrize(
    ("rho", "p", "grade", "met"),
    [
        (-0.61, 0.0009, "excellent", True),
        (-0.6, 0.0009, "good", True),
        (-0.61, 0.001, "good", True),
        (-0.41, 0.0099, "good", True),
        (-0.4, 0.0, "acceptable", False),
        (-0.9, 0.01, "acceptable", False),
        (-0.31, 0.049, "acceptable", False),
        (-0.3, 0.0, "insufficient", False),
        (-0.9, 0.05, "insufficient", False),
        (0.9, 0.0, "insufficient", False),
        (None, None, "insufficient", False),
    ],
)
def test_correlation_grades(rho: float | None, p: float | None, grade: str, met: bool) -> None:
    asked = {"rho": rho, "p": p, "low_entropy": 1.0, "coverage": 1.0}
    assert (grades(**asked)["correlation"], criteria_met(**asked)["correlation"]) == (grade, met)


@pytest.mark.parametrize(
    ("share", "low_entropy", "coverage", "met"),
    [
        (0.61, "excellent", "excellent", (True, True)),
        (0.6, "excellent", "good", (True, True)),
        (0.5, "good", "acceptable", (True, True)),
        (0.41, "good", "acceptable", (True, True)),
        (0.4, "acceptable", "insufficient", (True, False)),
        (0.3, "acceptable", "insufficient", (True, False)),
        (0.299, "insufficient", "insufficient", (False, False)),
        (None, "insufficient", "insufficient", (False, False)),
    ],
)
def test_share_grades(share: float | None, low_entropy: str, coverage: str, met: tuple) -> None:
    asked = {"rho": -0.5, "p": 0.001, "low_entropy": share, "coverage": share}
    found = grades(**asked)
    assert (found["low_entropy"], found["coverage"]) == (low_entropy, coverage)
    told = criteria_met(**asked)
    assert (told["low_entropy"], told["coverage"]) == met


def test_thresholds_are_strict_for_entropy_and_not_for_frequency() -> None:
    layer = only(frame([50, 50, 49, 1000], [0.49, 0.5, 0.1, 0.9]))
    assert (layer["eligible_tokens"], layer["low_entropy_fraction"]) == (1, 0.5)
    assert layer["fast_path_coverage"] == 50 / 1149


# --- layers and verdicts


def supported_layer(layer: int | None, *, good: bool, types: int = 200) -> pd.DataFrame:
    entropy = np.linspace(0, 1, types) if good else np.linspace(1, 2, types)
    table = frame(np.arange(types, 0, -1) * 50, entropy)
    return table if layer is None else table.assign(layer=layer)


def test_every_layer_has_its_own_verdict() -> None:
    table = pd.concat([supported_layer(3, good=True), supported_layer(1, good=False)])
    verdict = validate(table.sample(frac=1, random_state=0))
    assert [(one["layer"], one["supported"]) for one in verdict.layers] == [(1, False), (3, True)]
    assert (verdict.supported, verdict.supported_layers) == (False, [3])
    text = report_text(verdict)
    assert "✗ VAR Hypothesis NOT SUPPORTED: it holds in 1 of 2 layers" in text
    assert "✓ VAR Hypothesis SUPPORTED: layer 3" in text and "✗ VAR Hypothesis NOT SUPPORTED: layer 1" in text


def test_a_layer_of_its_own_is_the_same_as_beside_others() -> None:
    apart = supported_layer(None, good=True)
    verdict = validate(pd.concat([apart.assign(layer=0), supported_layer(1, good=False)]))
    assert {**verdict.layers[0], "layer": None} == only(apart)


def test_no_layer_column() -> None:
    verdict = validate(supported_layer(None, good=True))
    assert verdict.layers[0]["layer"] is None and verdict.supported
    assert "✓ VAR Hypothesis SUPPORTED: all rows (no column layer)" in report_text(verdict)


def test_special_tokens_by_their_ids() -> None:
    table = frame([9, 8, 7, 6], [0.1, 0.2, 0.3, 0.4], token_str=["<s>", "a", "b", "c"])
    assert only(table)["unusable"]["special"] == 1
    assert only(table, special_ids=[2, 3])["unusable"]["special"] == 2
    assert only(table, special_ids=[])["unusable_rows"] == 0


def test_nothing_but_special_tokens() -> None:
    verdict = validate(frame([9, 8], [0.1, 0.2], token_str=["<s>", "<|pad|>"]))
    (layer,) = verdict.layers
    assert not verdict.supported and set(layer["grades"].values()) == {"insufficient"}
    assert (layer["unusable_rows"], layer["unusable_occurrences"], layer["token_types"]) == (2, 17, 0)
    assert "Token occurrence coverage: undefined (no usable rows)" in report_text(verdict)


def test_unusable_rows_change_nothing_else() -> None:
    table = supported_layer(None, good=True)
    poison = frame([10**9, 5, 0], [0.0, math.nan, 0.0], token_str=["</s>", "x", "y"])
    poison["token_id"] += 1000
    clean, poisoned = only(table), only(pd.concat([table, poison]))
    assert poisoned["unusable"] == {"never_seen": 1, "not_a_number": 1, "special": 1}
    for name in clean.keys() - {"variants", "unusable", "unusable_rows", "unusable_occurrences"}:
        assert clean[name] == poisoned[name], name
    assert "3 (1 never seen, 1 not a number, 1 special tokens)" in report_text(
        validate(pd.concat([table, poison]))
    )


GOOD = frame([60, 50, 40], [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (
            GOOD.drop(columns="frequency"),
            {},
            "column frequency is missing; give routing statistics with columns",
        ),
        (GOOD.drop(columns="mean_entropy"), {}, "column mean_entropy is missing"),
        (GOOD.drop(columns="token_id"), {}, "column token_id is missing"),
        (GOOD.drop(columns="routing_consistency"), {}, "column routing_consistency is missing"),
        (GOOD.head(0), {}, "has no rows"),
        (GOOD.assign(frequency=-3), {}, "column frequency holds -3, which cannot be"),
        (GOOD.assign(frequency=2**62), {}, "column frequency sums to"),
        (GOOD.assign(frequency=0.25), {}, "column frequency holds 0.25; give counts"),
        (GOOD.assign(mean_entropy=-0.1), {}, "column mean_entropy holds -0.1, which cannot be"),
        (GOOD.assign(mean_entropy=2.2), {"num_experts": 8}, r"mean_entropy holds 2.2, .* lies in 0..2.079"),
        (GOOD.assign(routing_consistency=1.01), {}, "column routing_consistency holds 1.01, which cannot be"),
        (GOOD.assign(mean_entropy="low"), {}, "column mean_entropy holds str"),
        (GOOD.assign(token_id=7), {}, "token id 7 has several rows and no column layer"),
        (GOOD.assign(token_id=7, layer=2), {}, "token id 7 has several rows in layer 2"),
        (GOOD.assign(layer=[0, 1, None]), {}, "column layer holds empty cells"),
        (GOOD, {"frequency_threshold": -1}, "frequency_threshold is -1"),
        (GOOD, {"entropy_threshold": math.nan}, "entropy_threshold is nan"),
    ],
)
def test_refuses(table: pd.DataFrame, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        validate(table, **options)
    assert "\n" not in str(caught.value)


def test_single_precision_is_not_refused() -> None:
    one_above = np.nextafter(np.float32(1), np.float32(2))
    table = frame([3, 2, 1], np.float32(math.log(8)) + np.float32(1e-6), routing_consistency=one_above)
    assert only(table, num_experts=8)["unusable_rows"] == 0


# --- the verb


def run_verb(*arguments: str | Path) -> None:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    parsed = parser.parse_args(["validate-hypothesis", *(str(one) for one in arguments)])
    parsed.run(parsed)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_verb_writes_both_files(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = supported_layer(0, good=True).assign(token_str="a\nb")
    table.loc[3, ["mean_entropy", "token_str"]] = [math.nan, "null"]
    place = tmp_path / f"stats.{kind}"
    if kind == "csv":
        table.to_csv(place, index=False)
    else:
        write_table(place, pa.Table.from_pandas(table, preserve_index=False))
    run_verb("--input", place, "--output", tmp_path / "out")
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert verdict == validate(table).as_json()
    assert verdict["layers"][0]["unusable"]["not_a_number"] == 1
    assert capsys.readouterr().out == (tmp_path / "out" / "validation_report.txt").read_text()
    run_verb(
        "--input",
        place,
        "--output",
        tmp_path / "out",
        "--frequency-threshold",
        "9000",
        "--entropy-threshold",
        "0.1",
    )
    stricter = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert (stricter["thresholds"]["frequency_threshold"], stricter["supported"]) == (9000, False)


def test_the_verb_leaves_nothing_behind_when_it_refuses(tmp_path: Path) -> None:
    write_table(tmp_path / "stats.parquet", pa.Table.from_pandas(GOOD.drop(columns="frequency")))
    with pytest.raises(InputError, match="stats.parquet: column frequency is missing"):
        run_verb("--input", tmp_path / "stats.parquet", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="is a file; give a folder"):
        run_verb("--input", tmp_path / "stats.parquet", "--output", tmp_path / "stats.parquet")


@pytest.mark.parametrize("ids", [[1, 5], [1, 5, 6]], ids=["a range", "a column"])
def test_an_index_of_pandas_is_a_column(ids: list[int], tmp_path: Path) -> None:
    columns = {"frequency": 5, "mean_entropy": 0.1, "routing_consistency": 1.0}
    frame = pd.DataFrame({"token_id": ids}).assign(**columns).set_index("token_id")
    frame.to_parquet(tmp_path / "indexed.parquet")
    (layer,) = validate(read_table(tmp_path / "indexed.parquet")).layers
    assert (layer["token_types"], layer["unusable_rows"]) == (len(ids), 0)


def test_a_column_of_nothing_is_told_and_not_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text(
        "token_id,frequency,mean_entropy,routing_consistency\n1,5,,1.0\n2,6,,0.9\n"
    )
    (layer,) = validate(read_table(tmp_path / "empty.csv")).layers
    assert (layer["token_types"], layer["unusable"]["not_a_number"]) == (0, 2)
