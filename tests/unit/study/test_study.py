"""A study as the workflow sees it: experiments of several models, and the files that their jobs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from switchyard.study import config
from switchyard.study.configurations import RUN_SETTINGS
from switchyard.study.experiment import Experiment
from switchyard.study.study import Key, Study

ROOT = Path(__file__).parents[3]
OLMOE, MIXTRAL = "pocket-olmoe", "pocket-mixtral"
BH, TOPK = "4experts_bh_a030", "2experts_topk_baseline"
SETS = {
    "bh": {"rule": "bh", "max_k": 4, "alpha": 0.3, "models": [OLMOE], "keep_logits": False},
    "conformal": {"rule": "conformal", "max_k": 4, "alpha": 0.3, "models": [OLMOE]},
    "budget": {"rule": "bh_budget", "max_k": 4, "target_k": 3, "models": [MIXTRAL]},
    "mixed": {"rule": "mixed_topk", "match": ["bh", "budget"]},
    "top": {"rule": "topk", "k": 2},
}


@pytest.fixture
def study(default: dict[str, Any], schema: dict[str, Any]) -> Study:
    return Study(config.resolve({**default, "study": "two", "routing": SETS}, schema, ROOT), ROOT)


def test_experiments_go_model_by_model_and_dataset_by_dataset(study: Study) -> None:
    assert study.models == [OLMOE, MIXTRAL]
    assert [(key.model, key.config) for key in study.experiments[::3]] == list(study.configurations)
    assert [key.dataset for key in study.experiments] == study.datasets * len(study.configurations)
    assert {key.model for key in study.experiments if key.config == TOPK} == {OLMOE, MIXTRAL}
    assert list(study.of(OLMOE)) == [BH, "4experts_conformal_a030", f"mixed_topk_as_{BH}", TOPK]
    assert len(study.of(OLMOE)) + len(study.of(MIXTRAL)) == len(study.configurations)


def test_every_experiment_has_files_of_its_own(study: Study) -> None:
    files = study.files("evaluate/{model}/traces/{config}_{dataset}.parquet")
    assert len(set(files)) == len(files) == len(study.experiments)
    some = study.files("{dataset}/{model}.json", [Key(MIXTRAL, TOPK, "cloze")])
    assert some == ["results/two/cloze/pocket-mixtral.json"]


def test_a_rule_reads_files_of_its_own_model(study: Study) -> None:
    calibrate = "results/two/calibrate"
    budget = next(name for name in study.of(MIXTRAL) if "budget" in name and "mixed" not in name)
    assert study.rule_files(OLMOE, TOPK, ["cloze"]) == {}
    assert study.rule_files(OLMOE, BH, ["cloze"]) == {"nulls": f"{calibrate}/{OLMOE}/nulls.parquet"}
    conformal = study.rule_files(OLMOE, "4experts_conformal_a030", ["cloze"])
    assert conformal == {"logits": f"{calibrate}/{OLMOE}/calibration_logits.parquet"}
    assert study.rule_files(MIXTRAL, budget, ["cloze"]) == {
        "nulls": f"{calibrate}/{MIXTRAL}/nulls.parquet",
        "budgets": f"{calibrate}/{MIXTRAL}/budgets/{budget}.parquet",
    }
    traces = [
        f"results/two/evaluate/{OLMOE}/traces/{BH}_{dataset}.parquet" for dataset in ("cloze", "choice")
    ]
    assert study.rule_files(OLMOE, f"mixed_topk_as_{BH}", ["cloze", "choice"]) == {"matched": traces}
    assert study.budgets() == [(MIXTRAL, budget)]


def test_the_files_of_several_rules_come_once(study: Study) -> None:
    for model in study.models:
        every = study.files_of_rules(model, study.of(model))
        assert every == sorted(set(every)) and all(f"/{model}/" in file for file in every)
        for name in study.of(model):
            for file in study.rule_files(model, name, study.datasets).values():
                assert set([file] if isinstance(file, str) else file) <= set(every)
    assert study.files_of_rules(OLMOE, [TOPK]) == []


def test_an_experiment_holds_what_its_job_needs(study: Study) -> None:
    for key in study.experiments:
        found = study.experiment(*key)
        assert (found.model, found.config, found.dataset, found.study) == (*key, "two")
        assert found.model_entry == study.config["models"][key.model]
        assert found.dataset_entry == study.config["datasets"][key.dataset]
        assert Experiment.from_json(found.as_json()) == found
        job = study.configurations[key.model, key.config].job
        assert (found.config, found.home, found.settings) == (job["config"], job["home"], job["settings"])


def test_a_set_overrides_the_evaluation_for_itself_alone(study: Study) -> None:
    for key in study.experiments:
        run = study.experiment(*key).run
        expected = {
            name: study.config["evaluation"][name] for name in ("batch_tokens", "threads", *RUN_SETTINGS)
        }
        if key.config == BH:
            expected["keep_logits"] = False
        assert vars(run) == expected


def test_one_set_differs_in_the_experiments_of_its_own_models_alone(
    study: Study, default: dict[str, Any], schema: dict[str, Any]
) -> None:
    changed = {**SETS, "budget": {**SETS["budget"], "target_k": 2}}
    other = Study(config.resolve({**default, "study": "two", "routing": changed}, schema, ROOT), ROOT)
    for key in set(study.experiments) & set(other.experiments):
        assert study.experiment(*key) == other.experiment(*key)
    assert {key.model for key in set(study.experiments) ^ set(other.experiments)} == {MIXTRAL}


def test_a_study_of_the_pocket_models_asks_the_hub_for_nothing(
    study: Study, default: dict[str, Any], schema: dict[str, Any]
) -> None:
    assert not study.uses_hub and study.environment()["HF_HUB_OFFLINE"] == "1"
    assert study.trained == []
    merged = config.merge(default, config.read(ROOT / "studies" / "olmoe.yaml"))
    large = Study(config.resolve(merged, schema, ROOT), ROOT)
    assert large.uses_hub and "HF_HUB_OFFLINE" not in large.environment()


def test_the_shipped_models_are_found_from_another_folder(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert f"resources/{OLMOE}/config.json" in study.model_source(OLMOE)
    monkeypatch.chdir(tmp_path)
    files = [Path(file) for file in study.model_source(OLMOE)]
    assert ROOT / "resources" / OLMOE / "config.json" in [file.resolve() for file in files]
    assert not any(file.is_absolute() for file in files)
    assert study.structure(OLMOE)["num_experts"] == 64


def test_the_shipped_models_are_known_before_they_are_prepared(study: Study) -> None:
    known = {model: study.structure(model) for model in study.models}
    assert [known[model]["num_experts"] for model in study.models] == [64, 8]
