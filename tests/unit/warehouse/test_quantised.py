"""What quantising changed, compared with a loop over tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from switchyard.artifacts.files import write_table
from switchyard.charts.quantised import quantised_routing
from switchyard.warehouse.quantised import Runs, loss_changes, routing_changes, with_formats

LAYERS, SAMPLES, TOKENS, EXPERTS = 2, 24, 4, 6
KEYS = [
    (sample, layer, position)
    for sample in range(SAMPLES)
    for layer in range(LAYERS)
    for position in range(TOKENS)
]


def written(folder: Path, name: str, *, seed: int, shift: float) -> dict[str, Path]:
    """A trace of top-2 and scores; logits of seed 0, moved by noise of another seed."""
    base = np.random.default_rng(0).normal(size=(len(KEYS), EXPERTS))
    logits = (base + shift * np.random.default_rng(seed).normal(size=base.shape)).astype(np.float32)
    columns = dict(zip(("sample_id", "layer", "position"), np.array(KEYS).T.tolist()))
    experts = np.argsort(-logits, axis=1)[:, :2].astype(np.int16)
    trace = {**columns, "sequence": [0] * len(KEYS), "experts": experts.tolist()}
    flat = pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), EXPERTS)
    write_table(folder / f"{name}.parquet", pa.table({**trace, "router_logits": flat}))
    losses = 10 + np.arange(SAMPLES) * 0.1 + shift * (1 + np.random.default_rng(9).random(SAMPLES))
    argmax = [[1, 2, 3 + (seed > 0 and sample == 0)] for sample in range(SAMPLES)]
    scores = {"sample_id": list(range(SAMPLES)), "loss": losses.tolist(), "loss_tokens": [TOKENS] * SAMPLES}
    write_table(folder / f"{name}_scores.parquet", pa.table({**scores, "argmax_ids": argmax}))
    return {"trace": folder / f"{name}.parquet", "scores": folder / f"{name}_scores.parquet"}


@pytest.fixture
def runs(tmp_path: Path) -> list[Runs]:
    base = written(tmp_path, "base", seed=0, shift=0.0)
    found = []
    for name, shift in {"same": 0.0, "moved": 1.0}.items():
        own = written(tmp_path, name, seed=1, shift=shift)
        found.append(Runs(name, "base", "text", own["trace"], base["trace"], own["scores"], base["scores"]))
    return found


def test_shares_are_those_of_a_loop_over_tokens(runs: list[Runs]) -> None:
    base, own = (pd.read_parquet(path) for path in (runs[1].base_trace, runs[1].trace))
    found = routing_changes(runs[1]).set_index("layer")
    for layer in range(LAYERS):
        changed = kept = squares = variance = 0.0
        rows = [place for place, key in enumerate(KEYS) if key[1] == layer]
        for row in rows:
            before, after = set(base["experts"][row]), set(own["experts"][row])
            changed += before != after
            kept += len(before & after) / 2
            squares += ((base["router_logits"][row] - own["router_logits"][row]) ** 2).mean()
            variance += base["router_logits"][row].var()
        assert found.loc[layer, "changed_share"] == pytest.approx(changed / len(rows)) and changed
        assert found.loc[layer, "kept_share"] == pytest.approx(kept / len(rows))
        assert found.loc[layer, "logit_error"] == pytest.approx((squares / variance) ** 0.5, rel=1e-4)
        assert found.loc[layer, "low"] <= found.loc[layer, "changed_share"] <= found.loc[layer, "high"]


def test_equal_runs_differ_in_nothing(runs: list[Runs]) -> None:
    assert (routing_changes(runs[0])[["changed_share", "logit_error"]] == 0).all(axis=None)
    assert routing_changes(runs[0], keeps_logits=False)["logit_error"].isna().all()


def test_losses_are_paired_and_judged_together(runs: list[Runs]) -> None:
    found = loss_changes(runs).set_index("model")
    base, own = (pd.read_parquet(path) for path in (runs[1].base_scores, runs[1].scores))
    expected = (own["loss"] - base["loss"]).sum() / (TOKENS * SAMPLES)
    assert found.loc["moved", "loss_difference"] == pytest.approx(expected)
    assert found.loc["moved", "adjusted_p"] == pytest.approx(min(1, 2 * found.loc["moved", "p"]))
    assert found.loc["moved", "verdict"] == "worse" and found.loc["same", "verdict"] == "not distinguishable"
    assert found.loc["moved", "first_choice_changed"] == pytest.approx(1 / (3 * SAMPLES))


def test_the_figure_holds_every_format_and_base(runs: list[Runs]) -> None:
    formats = {name: {"experts": "nf4", "rest": rest} for name, rest in (("same", "none"), ("moved", "nf4"))}
    routing = with_formats(pd.concat([routing_changes(one) for one in runs], ignore_index=True), formats)
    drawn = str(quantised_routing(routing, with_formats(loss_changes(runs), formats)).to_dict())
    assert "'nf4, rest nf4'" in drawn and "'text': 'base'" in drawn
