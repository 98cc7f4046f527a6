"""A configuration becomes a rule and the head of its logs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switchyard.artifacts.digests import digests
from switchyard.artifacts.files import write_table
from switchyard.artifacts.stamps import sha256_file, sha256_json
from switchyard.errors import InputError
from switchyard.routing.nulls import NullDistribution, nulls_table
from switchyard.study.experiment import SCHEMA_VERSION, Experiment, Run

STRUCTURE = {"num_experts": 64, "num_layers": 2, "top_k": 8}
TOPK = Experiment(
    study="pocket",
    model="olmoe",
    config="8experts_topk_baseline",
    dataset="cloze",
    rule="topk",
    home="switchyard.routing.topk:TopK",
    settings={"k": 8, "weighting": "model"},
    model_entry={"source": "hub", "dtype": "bfloat16", "revision": None, "structure": {"num_experts": 64}},
    dataset_entry={"kind": "cloze", "samples": 200, "max_length": 512},
    run=Run(batch_tokens=4096, threads=1, keep_logits=True, spelled_out_samples=None),
)
BH = replace(
    TOPK,
    config="16experts_bh_a030",
    rule="bh",
    home="switchyard.routing.bh:BenjaminiHochberg",
    settings={
        "max_k": 16,
        "alpha": 0.3,
        "min_k": 2,
        "null_distribution": "trimmed_2",
        "weighting": "sum_to_one",
    },
)


@pytest.fixture
def nulls(tmp_path: Path) -> Path:
    layers = [
        {
            name: NullDistribution(np.array([shift + layer, 9.0]), np.array([0.0, 1.0]))
            for name, shift in {"pooled": 0.0, "trimmed_2": 0.5}.items()
        }
        for layer in range(2)
    ]
    write_table(tmp_path / "nulls.parquet", nulls_table(layers))
    return tmp_path / "nulls.parquet"


def head(experiment: Experiment, nulls: Path, **structure: int) -> dict[str, Any]:
    return experiment.head(experiment.build_rule({"nulls": nulls}), {**STRUCTURE, **structure})


@pytest.mark.parametrize("experiment", [TOPK, BH])
def test_an_experiment_comes_back_equal_from_json(experiment: Experiment) -> None:
    again = Experiment.from_json(json.loads(json.dumps(experiment.as_json())))
    assert again == experiment and isinstance(again.run, Run)
    assert (again.dtype, again.max_length, again.samples) == ("bfloat16", 512, 200)


def test_no_part_of_an_experiment_may_be_missing_or_unknown() -> None:
    content = TOPK.as_json()
    for changed in ({**content, "seed": 1}, {name: content[name] for name in content if name != "run"}):
        with pytest.raises((TypeError, KeyError)):
            Experiment.from_json(changed)


def test_a_rule_has_the_settings_of_its_configuration(nulls: Path) -> None:
    rule = TOPK.build_rule({})
    assert (type(rule).__name__, rule.k, rule.weighting) == ("TopK", 8, "model")
    rule = BH.build_rule({"nulls": nulls})
    assert (rule.alpha, rule.max_k, rule.min_k, rule.weighting) == (0.3, 16, 2, "sum_to_one")
    assert [null.logit[0] for null in rule.null] == [0.5, 1.5]  # trimmed_2, layer by layer


def test_the_null_asked_for_must_be_there(nulls: Path) -> None:
    with pytest.raises(InputError, match="'empirical' is not in"):
        replace(BH, settings={**BH.settings, "null_distribution": "empirical"}).build_rule({"nulls": nulls})


def test_settings_a_rule_does_not_have_are_refused() -> None:
    with pytest.raises(InputError, match="8experts_topk_baseline: settings k, weighting, alpha: .*alpha"):
        replace(TOPK, settings={**TOPK.settings, "alpha": 0.3}).build_rule({})


def test_a_stamp_names_every_file_that_a_rule_reads(nulls: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "trace.parquet", pa.table({"count": [1]}), {"code": "abc"})
    found = digests({"nulls": nulls, "matched": [tmp_path / "trace.parquet"]})
    assert found == {"nulls": sha256_file(nulls), "matched": sha256_json([{"code": "abc"}])}


def test_what_was_run_stands_beside_what_was_asked_for(tmp_path: Path) -> None:
    pq.write_table(pa.table({"count": [1, 2, 2, 2]}), tmp_path / "trace.parquet")
    experiment = replace(
        TOPK,
        config="mixed_topk_as_x",
        rule="mixed_topk",
        home="switchyard.routing.mixed_topk:MixedTopK",
        settings={"matched": "x", "weighting": "model"},
    )
    rule = experiment.build_rule({"matched": [tmp_path / "trace.parquet"]})
    assert experiment.rule_as_run(rule) == {"matched": "x", "weighting": "model", "k": 1.75}


def test_the_head_of_a_static_rule(nulls: Path) -> None:
    assert head(TOPK, nulls) == {
        "schema_version": SCHEMA_VERSION,
        "study": "pocket",
        "model": "olmoe",
        "config": "8experts_topk_baseline",
        "strategy": "topk",
        "k_or_max_k": 8,
        "min_k": 8,
        "alpha": None,
        "null": None,
        "weighting": "model",
        "num_experts": 64,
        "num_layers": 2,
        "trained_top_k": 8,
        "dataset": "cloze",
    }


def test_the_head_of_an_adaptive_rule(nulls: Path) -> None:
    found = head(BH, nulls)
    assert (found["strategy"], found["k_or_max_k"], found["min_k"]) == ("bh", 16, 2)
    assert (found["alpha"], found["null"], found["weighting"]) == (0.3, "trimmed_2", "sum_to_one")


@pytest.mark.parametrize("experiment", [TOPK, BH])
def test_more_experts_than_the_model_has_are_refused(experiment: Experiment, nulls: Path) -> None:
    most = experiment.settings.get("k", experiment.settings.get("max_k"))
    assert head(experiment, nulls, num_experts=most)["num_experts"] == most
    message = f"{experiment.config} asks for {most} experts a token, olmoe has {most - 1}; lower it"
    with pytest.raises(InputError, match=message):
        head(experiment, nulls, num_experts=most - 1)
