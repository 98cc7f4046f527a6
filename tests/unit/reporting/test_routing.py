"""Pages of what observing models found: every row, the outcome in a sentence, and a dash for what is not defined."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from switchyard.observation.ceiling import table_ceiling
from switchyard.observation.context import context_measures
from switchyard.observation.hypothesis import validate
from switchyard.reporting.routing import (
    analysis_rows,
    ceiling_rows,
    verdict_rows,
    write_ceilings,
    write_hypothesis,
)


def statistics(layers: int, *, sure: bool) -> pd.DataFrame:
    """Token types whose entropy falls with frequency, below half a nat if `sure`."""
    frequency = np.arange(1000, 0, -10)
    entropy = np.linspace(0.01, 0.4 if sure else 2.0, len(frequency)) + (0.0 if sure else 1.0)
    one = pd.DataFrame(
        {"token_id": np.arange(len(frequency)), "frequency": frequency, "mean_entropy": entropy}
    ).assign(token_str="a", routing_consistency=0.9)
    return pd.concat([one.assign(layer=layer) for layer in range(layers)])


def verdict(model: str, layers: int, *, sure: bool) -> dict:
    return {"model": model, **validate(statistics(layers, sure=sure)).as_json()}


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page.read_text()))


def test_the_outcome_stands_first_and_every_layer_has_a_row(tmp_path: Path) -> None:
    verdicts = [verdict("one", 2, sure=True), verdict("two", 3, sure=False)]
    rows = verdict_rows(verdicts)
    assert rows["verdict"].tolist() == ["supported"] * 2 + ["not supported"] * 3
    assert rows["layer"].tolist() == [0, 1, 0, 1, 2]
    assert abs(rows.loc[0, "spearman_rho"] + 1.0) < 1e-9
    write_hypothesis(tmp_path / "page.html", verdicts, stamp={"made": "here"})
    told = text_of(tmp_path / "page.html")
    assert "Supported in 2 of 2 layers of one and 0 of 3 layers of two." in told
    assert "below -0.4 with p below 0.01, at least 30%" in told and "more than 40%" in told
    assert '{"made":"here"}' in (tmp_path / "page.html").read_text()


def counts(domains: list[str]) -> pa.Table:
    """Token 0 uses expert 0, token 1 expert 1, in every domain, after either token."""
    rows = [
        {"layer": 0, "domain": domain, "context": 1, "key": 10 * before + token, "token_id": token}
        | {"expert": token, "count": 5}
        for domain in domains
        for token in (0, 1)
        for before in (0, 1)
    ]
    return pa.Table.from_pylist(rows)


def test_tables_are_told_from_coarse_to_fine(tmp_path: Path) -> None:
    table = counts(["a", "b"])
    ceilings = [{"model": "one", **table_ceiling(table, top_k=1)}]
    contexts = {"one": context_measures(table, top_k=1).to_pandas()}
    rows = ceiling_rows(ceilings, contexts)
    assert rows["key"].tolist() == ["nothing", "token id", "token id and 1 token before it"]
    assert rows["leave_one_domain_out"].tolist() == [0.5, 1.0, 1.0]
    assert rows["chance"].tolist() == [0.5] * 3
    write_ceilings(tmp_path / "page.html", ceilings, contexts)
    assert "50.0%" in text_of(tmp_path / "page.html")


def test_one_domain_leaves_a_dash(tmp_path: Path) -> None:
    table = counts(["a"])
    ceilings = [{"model": "one", **table_ceiling(table, top_k=1)}]
    write_ceilings(tmp_path / "page.html", ceilings, {"one": context_measures(table, top_k=1).to_pandas()})
    told = text_of(tmp_path / "page.html")
    assert "–" in told and "nan" not in told.lower()


def test_every_analysis_stands_beside_its_chance() -> None:
    layer = {"layer": [0, 1]}
    made = {
        "repetition": {"share": [0.3, 0.4], "expected_share": [0.1, 0.1]}
        | {"first_choice_share": [0.2, 0.2], "expected_first_choice_share": [0.01, 0.01]},
        "segments": {"segment_length": [4, 4], "segment_routing_best_performance": [0.5, 0.6]}
        | {"expected_segment_routing_best_performance": [0.4, 0.4]},
        "caches": {"segment_length": [4, 4], "cache_size": [16, 16], "segment_cache_hit_rate": [0.5, 0.6]}
        | {"fixed_hit_rate": [0.3, 0.3]},
        "coactivation": {
            "expert": [1, 1],
            "other": [2, 2],
            "share": [0.7, 0.8],
            "expected_share": [0.1, 0.1],
        },
        "domain_specialisation": {"choices": ["used", "used"], "expert": [3, 3], "domain": ["a", "a"]}
        | {"share": [0.5, 0.5], "chance": [0.1, 0.1]},
        "vocabulary_by_layer": {
            "choices": ["used", "used"],
            "specialisation": [0.9, 0.9],
            "chance": [0.1, 0.1],
        },
        "saturation": {"step": [100, 100], "saturation": [0.6, 0.7], "chance": [0.1, 0.1]},
    }
    tables = {name: pd.DataFrame(layer | columns) for name, columns in made.items()}
    without = {name: table for name, table in tables.items() if name != "saturation"}
    rows = analysis_rows({"one": tables, "two": without})
    assert rows["model"].tolist() == ["one"] * 16 + ["two"] * 14
    assert not rows.isna().any(axis=None)
    own = rows[(rows["model"] == "one") & (rows["layer"] == 1)].set_index("measure")
    assert own.loc["router saturation after step 100", "value"] == 0.7
    assert own.loc["co-activation, strongest pair: expert 2 given 1", ["value", "chance"]].tolist() == [
        0.8,
        0.1,
    ]
    assert own.loc["segment cache hit rate, 4 tokens ahead, 16 experts cached", "chance"] == 0.3
