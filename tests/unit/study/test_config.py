"""The configuration as data: the schema describes every field, fills in defaults, and refuses the rest."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from switchyard.errors import InputError
from switchyard.study import config

ROOT = Path(__file__).parents[3]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


def refused(default: dict, overlay: dict, schema: dict, root: Path = ROOT) -> str:
    """The single line that the default study with `overlay` over it is refused with."""
    with pytest.raises(InputError) as caught:
        config.resolve(config.merge(default, overlay), schema, root)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("config: ")
    return message


def fields(node: Any, place: str = "schema") -> Iterator[tuple[str, dict]]:
    """Every property of every level of a schema, conditions and alternatives left out."""
    if isinstance(node, list):
        for number, child in enumerate(node):
            yield from fields(child, f"{place}[{number}]")
    if not isinstance(node, dict):
        return
    for name, child in node.get("properties", {}).items():
        yield f"{place}.{name}", child
    for key, child in node.items():
        if key not in ("if", "then"):
            yield from fields(child, f"{place}.{key}")


# --- the schema itself


def test_the_schema_is_a_json_schema(schema: dict) -> None:
    Draft202012Validator.check_schema(schema)


def test_every_field_is_described(schema: dict) -> None:
    found = dict(fields(schema))
    assert len(found) > 60
    for place, field in found.items():
        target = schema["$defs"][field["$ref"].split("/")[-1]] if "$ref" in field else {}
        assert field.get("description") or target.get("description"), place


def test_every_map_refuses_unknown_keys_or_says_why_not(schema: dict) -> None:
    def maps(node: Any, place: str) -> Iterator[tuple[str, dict]]:
        if isinstance(node, dict):
            if node.get("type") == "object":
                yield place, node
            for key, child in node.items():
                yield from maps(child, f"{place}.{key}")

    # `routing_set` leaves what is unknown to `unevaluatedProperties`.
    open_maps = {
        place.split(".")[-1] for place, node in maps(schema, "") if "additionalProperties" not in node
    }
    assert open_maps == {"routing_set"}


@pytest.mark.parametrize("study", [None, *STUDIES], ids=lambda path: path.stem if path else "default")
def test_every_study_of_the_project_is_valid(
    study: Path | None, default: dict, schema: dict, tmp_path: Path
) -> None:
    merged = config.merge(default, config.read(study)) if study else default
    for dataset in [*(merged["datasets"] or {}).values(), *merged["code"]["datasets"].values()]:
        if dataset and dataset["source"] == "file":
            (tmp_path / merged["data_folder"]).mkdir(parents=True, exist_ok=True)
            (tmp_path / merged["data_folder"] / dataset["path"]).touch()
    resolved = config.resolve(merged, schema, tmp_path)
    assert study is None or resolved["study"] == study.stem
    assert set(resolved["evaluation"]["models"]) <= set(resolved["models"])


# --- reading


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study: a\nspeed: {rounds: 3}\nstudy: b\n", ["'study'", "line 3", "line 1"]),
        ("speed:\n  rounds: 3\n  rounds: 4\n", ["'rounds'", "line 3", "line 2"]),
        ("routing: {bh: {alpha: 0.3, alpha: 0.4}}\n", ["'alpha'", "line 1"]),
        ("study: [a\n", ["not YAML"]),
        ("study: a\n  b: c\n", ["line 2", "not YAML"]),
        ("? [a, b]\n: c\n", ["not YAML", "unhashable"]),
        ("study: caf\xe9\n".encode("latin-1"), ["not YAML"]),
        ("", ["a map", "NoneType"]),
        ("- a\n", ["a map", "list"]),
        ("study: !!python/object/apply:os.getcwd []\n", ["not YAML"]),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        config.read(path)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in ["bad.yaml", *words]), caught.value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.yaml: no such study file"):
        config.read(tmp_path / "gone.yaml")


def test_the_same_key_in_two_maps_is_no_repetition(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &shared {k: 1, l: 2}\nb: {<<: *shared, k: 3}\n")
    assert config.read(tmp_path / "a.yaml") == {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}}


# --- merging


def test_maps_merge_and_lists_replace() -> None:
    base = {"a": {"x": [1, 2], "y": {"z": 1}}, "b": 1}
    assert config.merge(base, {"a": {"x": [3], "y": {"w": 2}}}) == {
        "a": {"x": [3], "y": {"z": 1, "w": 2}},
        "b": 1,
    }
    assert config.merge(base, {}) == base
    assert config.merge(base, {"a": None})["a"] is None
    assert base == {"a": {"x": [1, 2], "y": {"z": 1}}, "b": 1}


def test_null_drops_a_named_entry_and_only_there(default: dict, schema: dict) -> None:
    resolved = config.resolve(config.merge(default, {"datasets": {"cloze": None}}), schema, ROOT)
    assert list(resolved["datasets"]) == ["heldout", "choice"]
    assert resolved["evaluation"]["spelled_out_samples"] is None
    assert "calibration.tokens" in refused(default, {"calibration": {"tokens": None}}, schema)
    everything = dict.fromkeys(default["routing"])
    assert "routing" in refused(default, {"routing": everything}, schema)


def test_resolving_changes_nothing_that_it_was_given(default: dict, schema: dict) -> None:
    before = copy.deepcopy((default, schema))
    config.resolve(default, schema, ROOT)
    assert (default, schema) == before


# --- defaults


def test_defaults_are_filled_in_at_every_level(default: dict, schema: dict) -> None:
    del default["speed"]
    default["evaluation"] = {"models": ["pocket-olmoe", "pocket-mixtral"]}
    resolved = config.resolve(default, schema, ROOT)
    assert resolved["speed"] == {"rounds": 5, "prefill_tokens": 1024, "decode_tokens": 24, "threads": 1}
    assert resolved["evaluation"]["batch_tokens"] == 4096
    assert resolved["data_folder"] == "data"
    assert resolved["models"]["pocket-olmoe"]["dtype"] == "float32"  # pattern, then reference
    assert resolved["models"]["pocket-olmoe"]["training"]["learning_rate"] == 0.004
    assert resolved["datasets"]["heldout"]["split"] == "test"
    assert resolved["calibration"]["validation"]["samples"] == 200  # beside a description


def test_defaults_come_through_conditions(default: dict, schema: dict) -> None:
    sets = config.resolve(default, schema, ROOT)["routing"]
    assert sets["baselines"] == {
        "rule": "topk",
        "k": [8, 16, 32, 64],
        "models": ["pocket-olmoe"],
        "weighting": "model",
        "enabled": True,
    }
    assert sets["bh"]["min_k"] == 1 and sets["bh"]["null_distribution"] == "pooled"


def test_calibration_on_an_evaluated_text_is_refused(default: dict, schema: dict) -> None:
    overlay = {"calibration": {"calibration": {"split": "test"}}}
    with pytest.raises(InputError, match="give calibration another split"):
        config.resolve(config.merge(default, overlay), schema, ROOT)


@pytest.mark.parametrize(("kind", "layout"), [("choice", "arc"), ("choice", "plain"), ("cloze", "plain")])
def test_every_layout_of_the_library_can_be_asked_for(
    kind: str, layout: str, default: dict, schema: dict, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").touch()
    entry = {"kind": kind, "source": "file", "path": "rows.jsonl", "layout": layout}
    overlay = {"datasets": {"mine": entry}, "data_folder": str(tmp_path)}
    assert "mine" in config.resolve(config.merge(default, overlay), schema, ROOT)["datasets"]


def test_a_given_value_is_never_overwritten(default: dict, schema: dict) -> None:
    overlay = {
        "routing": {"bh": {"min_k": 0, "weighting": "sum_to_one"}},
        "evaluation": {"keep_logits": False},
    }
    resolved = config.resolve(config.merge(default, overlay), schema, ROOT)
    assert resolved["routing"]["bh"]["min_k"] == 0 and resolved["routing"]["bh"]["weighting"] == "sum_to_one"
    assert resolved["evaluation"]["keep_logits"] is False


def test_resolving_twice_is_resolving_once(default: dict, schema: dict) -> None:
    once = config.resolve(default, schema, ROOT)
    assert config.resolve(once, schema, ROOT) == once


# --- what is refused

HUB = {"source": "hub", "repository": "owner/name"}
FILE = {"source": "file", "path": "rows.jsonl"}

PROBLEMS = {"kind": "code", "source": "file", "layout": "humaneval", "path": "none.jsonl"}
"""A set of problems that is nowhere."""

MISSPELT = {
    "top level": ({"studdy": "x"}, "did you mean 'study'"),
    "corpus": ({"corpus": {"package": ["numpy"]}}, "did you mean 'packages'"),
    "models.pocket-olmoe": ({"models": {"pocket-olmoe": {"retrian": True}}}, "did you mean 'retrain'"),
    "models.pocket-olmoe.training": (
        {"models": {"pocket-olmoe": {"training": {"step": 3}}}},
        "did you mean 'steps'",
    ),
    "datasets.heldout": ({"datasets": {"heldout": {"sampels": 3}}}, "did you mean 'samples'"),
    "corpora.documentation": ({"corpora": {"documentation": {"sauce": "file"}}}, "did you mean 'source'"),
    "observation": ({"observation": {"shard": 3}}, "did you mean 'shards'"),
    "calibration": ({"calibration": {"token": 200}}, "did you mean 'tokens'"),
    "calibration.validation": ({"calibration": {"validation": {"splitt": "x"}}}, "did you mean 'split'"),
    "routing.bh": ({"routing": {"bh": {"alpa": 0.3}}}, "did you mean 'alpha'"),
    "routing.baselines": (
        {"routing": {"baselines": {"max_k": 3}}},
        "known are rule, enabled, models, weighting, k",
    ),
    "evaluation": ({"evaluation": {"bach_tokens": 3}}, "did you mean 'batch_tokens'"),
    "var": ({"var": {"sample": 3}}, "did you mean 'samples'"),
    "var.sweep": ({"var": {"sweep": {"quantile": [1]}}}, "did you mean 'quantiles'"),
    "var.custom.custom": ({"var": {"custom": {"custom": {"cash_size": 3}}}}, "did you mean 'cache_size'"),
    "var.datasets.tuning": ({"var": {"datasets": {"tuning": {"splitt": "x"}}}}, "did you mean 'split'"),
    "profile": ({"profile": {"batch": [1]}}, "did you mean 'batches'"),
    "code": ({"code": {"second": 3}}, "did you mean 'seconds'"),
    "code.datasets.own": (
        {
            "code": {
                "datasets": {
                    "own": {"kind": "code", "source": "file", "layout": "mbpp", "path": "x", "topp": 1}
                }
            }
        },
        "did you mean 'top_p'",
    ),
    "search": ({"search": {"seed": [3]}}, "did you mean 'seeds'"),
    "search.spaces": ({"search": {"spaces": {"quantile": {}}}}, "did you mean 'quantiles'"),
    "search.spaces.roadmap": ({"search": {"spaces": {"roadmap": {"ad": []}}}}, "did you mean 'add'"),
    "speed": ({"speed": {"round": 3}}, "did you mean 'rounds'"),
}


@pytest.mark.parametrize("section", MISSPELT)
def test_a_misspelt_key_is_refused_in_every_section(section: str, default: dict, schema: dict) -> None:
    overlay, hint = MISSPELT[section]
    message = refused(default, overlay, schema)
    assert message.startswith(f"config: {section}: unknown key") and hint in message


def test_every_section_has_its_misspelt_key(schema: dict) -> None:
    assert {place.split(".")[0] for place in MISSPELT} == {"top level", *schema["required"]} - {"study"}


REFUSED = {
    "alpha of 30": ({"routing": {"bh": {"alpha": 30}}}, ["routing.bh.alpha", "30", "0.99"]),
    "alpha of 30 in a list": ({"routing": {"bh": {"alpha": [0.3, 30]}}}, ["routing.bh.alpha.1", "30"]),
    "alpha between hundredths": (
        {"routing": {"bh": {"alpha": 0.305}}},
        ["routing.bh", "0.305", "multiple of 0.01"],
    ),
    "alpha of 0": ({"routing": {"bh": {"alpha": 0}}}, ["routing.bh.alpha", "0.01"]),
    "alpha of 1": ({"routing": {"bh": {"alpha": 1}}}, ["routing.bh.alpha", "0.99"]),
    "alpha as a string": ({"routing": {"bh": {"alpha": "0.3"}}}, ["routing.bh.alpha", "write 0.3"]),
    "the same alpha twice": ({"routing": {"bh": {"alpha": [0.3, 0.3]}}}, ["routing.bh.alpha", "non-unique"]),
    "a corpus that is none": (
        {"observation": {"corpus": "c4"}},
        ["observation.corpus", "'c4'", "documentation"],
    ),
    "a model that is none": ({"observation": {"models": ["olmoe"]}}, ["observation.models", "'olmoe'"]),
    "a corpus without its file": (
        {"corpora": {"mine": {"source": "file", "paths": ["no.jsonl"]}}},
        ["corpora.mine.paths", "no.jsonl"],
    ),
    "a hub corpus without a commit": (
        {"corpora": {"c4": {"source": "hub", "repository": "allenai/c4", "revision": "main"}}},
        ["corpora.c4.revision", "40 hexadecimal digits"],
    ),
    "WikiText with domains": (
        {"corpora": {"documentation": {"layout": "wikitext", "domain": "topic"}}},
        ["corpora.documentation.domain", "topic"],
    ),
    "a corpus of files without paths": ({"corpora": {"mine": {"source": "file"}}}, ["corpora.mine", "paths"]),
    "no k": ({"routing": {"baselines": {"k": []}}}, ["routing.baselines.k", "non-empty"]),
    "k of 0": ({"routing": {"baselines": {"k": 0}}}, ["routing.baselines.k", "minimum of 1"]),
    "k of true": ({"routing": {"baselines": {"k": True}}}, ["routing.baselines.k", "integer"]),
    "min_k above max_k": ({"routing": {"bh": {"min_k": 9}}}, ["routing.bh", "min_k 9", "max_k 8"]),
    "a rule that is none": ({"routing": {"bh": {"rule": "bg"}}}, ["routing.bh.rule", "topk", "bh"]),
    "a null that is none": ({"routing": {"bh": {"null_distribution": "x"}}}, ["null_distribution", "pooled"]),
    "a weighting that is none": (
        {"routing": {"bh": {"weighting": "x"}}},
        ["routing.bh.weighting", "sum_to_one"],
    ),
    "two sets of one name": (
        {"routing": {"again": {"rule": "topk", "k": 16, "models": ["pocket-olmoe"]}}},
        ["two sets", "pocket-olmoe", "'16experts_topk_baseline'"],
    ),
    "a set for a model that is not evaluated": (
        {"routing": {"bh": {"models": ["pocket-olmoe", "x"]}}},
        ["routing.bh.models", "'x'", "pocket-olmoe, pocket-mixtral"],
    ),
    "a set of no model": ({"routing": {"bh": {"models": []}}}, ["routing.bh.models", "non-empty"]),
    "the same model twice in a set": (
        {"routing": {"bh": {"models": ["pocket-olmoe"] * 2}}},
        ["routing.bh.models", "non-unique"],
    ),
    "a model without a set": (
        {"routing": {name: {"enabled": False} for name in ("mixtral_static", "mixtral_mixed", "var")}},
        ["no enabled set", "pocket-mixtral", "evaluation.models"],
    ),
    "VAR on a model that is not observed": (
        {"observation": {"models": ["pocket-olmoe"]}, "var": {"models": ["pocket-mixtral"]}},
        ["var.models", "pocket-mixtral", "not observed"],
    ),
    "a set with rule var on a model without tables": (
        {"var": {"models": ["pocket-olmoe"]}, "routing": {"var": {"models": ["pocket-mixtral"]}}},
        ["routing", "pocket-mixtral", "var.models"],
    ),
    "VAR judged on a final set": (
        {"var": {"datasets": {"tuning": {"split": "test"}}}},
        ["var.datasets.tuning", "final set", "another split"],
    ),
    "VAR judged on the text of its tables": (
        {"var": {"datasets": {"tuning": {"split": "train"}}}},
        ["var.datasets.tuning", "training text", "validation"],
    ),
    "VAR without a configuration": (
        {"var": {"presets": [], "custom": {"custom": None}}},
        ["var", "no configuration", "var.presets"],
    ),
    "a text of VAR with the name of another": (
        {"var": {"datasets": {"cloze": {"kind": "cloze", "source": "pocket", "split": "validation"}}}},
        ["var.datasets.cloze", "taken"],
    ),
    "VAR without running text": (
        {"var": {"datasets": {"tuning": None}}},
        ["var.datasets", "kind perplexity"],
    ),
    "a configuration of VAR called as a preset": (
        {"var": {"custom": {"balanced": {"cache_size": 0}}}},
        ["var.custom.balanced", "taken"],
    ),
    "an ablation of a model without VAR and BH": (
        {
            "observation": {"models": ["pocket-olmoe"]},
            "var": {"models": ["pocket-olmoe"]},
            "routing": {"var": {"models": ["pocket-olmoe"]}},
            "search": {"models": [], "ablation": {"models": ["pocket-mixtral"]}},
        },
        ["search.ablation.models", "'pocket-mixtral' has neither VAR nor BH", "pocket-olmoe"],
    ),
    "a search on a model without tables": (
        {"var": {"models": ["pocket-olmoe"]}},
        ["search.models", "'pocket-mixtral'", "pocket-olmoe"],
    ),
    "a search of BH on a model without nulls": (
        {
            "search": {"spaces": {"bh": {}}},
            "evaluation": {"models": ["pocket-olmoe"]},
            "routing": {"mixtral_static": {"enabled": False}, "mixtral_mixed": {"enabled": False}},
        },
        ["search.spaces.bh", "pocket-mixtral", "evaluation.models"],
    ),
    "points that no number of batches has": (
        {"search": {"calls": 18}},
        ["search.calls", "18 is no multiple", "search.batch, 4"],
    ),
    "a search on a task": (
        {"search": {"dataset": "tuning-cloze"}},
        ["search.dataset", "no running text", "tuning"],
    ),
    "a search on a final set": ({"search": {"dataset": "heldout"}}, ["search.dataset", "var.datasets"]),
    "a search that validates on its tuning text": (
        {"search": {"final": "tuning"}},
        ["search.final", "heldout"],
    ),
    "a preset that VAR does not have": (
        {"routing": {"var": {"preset": "bold"}}},
        ["routing.var.preset", "bold"],
    ),
    "a profiled model that is not evaluated": (
        {"profile": {"models": ["pocket-bert"]}},
        ["profile.models", "'pocket-bert'", "pocket-olmoe, pocket-mixtral"],
    ),
    "a profiled set that there is not": (
        {"profile": {"sets": ["bhh"]}},
        ["profile.sets", "'bhh'", "did you mean 'bh'?"],
    ),
    "a profiled configuration of VAR that there is not": (
        {"profile": {"var": ["bold"]}},
        ["profile.var", "'bold'", "conservative, balanced, aggressive, custom"],
    ),
    "programs without consent": ({"code": {"datasets": {"own": PROBLEMS}}}, ["allow_code_execution: true"]),
    "programs without room for a prompt": (
        {"allow_code_execution": True, "code": {"datasets": {"own": {**PROBLEMS, "max_new_tokens": 1024}}}},
        ["code.datasets.own.max_new_tokens", "no room for a prompt"],
    ),
    "a set of problems with the name of a text": (
        {"allow_code_execution": True, "code": {"datasets": {"cloze": PROBLEMS}}},
        ["code.datasets.cloze", "taken"],
    ),
    "problems that are no file": (
        {"allow_code_execution": True, "code": {"datasets": {"own": PROBLEMS}}},
        ["code.datasets.own.path", "is no file"],
    ),
    "programs of another kind": (
        {"code": {"datasets": {"own": {**PROBLEMS, "kind": "cloze"}}}},
        ["code.datasets.own.kind", "code"],
    ),
    "programs of no configuration": (
        {"code": {"configurations": ["9experts"]}},
        ["code.configurations", "9experts"],
    ),
    "k above the experts of a model": (
        {"routing": {"mixtral_static": {"k": [2, 9]}}},
        ["routing.mixtral_static", "9 experts", "pocket-mixtral has 8"],
    ),
    "max_k above the experts of a model": (
        {"routing": {"bh": {"max_k": [8, 65]}}},
        ["routing.bh", "65 experts", "pocket-olmoe has 64"],
    ),
    "a set for all models that one is too small for": (
        {"routing": {"bh": {"models": None}}},
        ["routing.bh", "16 experts", "pocket-mixtral has 8"],
    ),
    "a float that YAML reads as a string": (
        {"models": {"pocket-olmoe": {"training": {"learning_rate": "3e-4"}}}},
        ["models.pocket-olmoe.training.learning_rate", "'3e-4'", "write 0.0003"],
    ),
    "a study with a space": ({"study": "a b"}, ["study", "lower-case"]),
    "a study in another folder": ({"study": "../x"}, ["study", "lower-case"]),
    "a model with a slash": ({"models": {"a/b": HUB}}, ["models", "'a/b'"]),
    "a dataset with an underscore": ({"datasets": {"a_b": {}}}, ["datasets", "'a_b'"]),
    "a set with a capital": ({"routing": {"Top": {}}}, ["routing", "'Top'"]),
    "a reserved dataset": (
        {"datasets": {"validation": {"kind": "cloze", "source": "pocket"}}},
        ["datasets.validation", "calibration"],
    ),
    "an unknown model": (
        {"evaluation": {"models": ["pocket-mixtral", "x"]}},
        ["evaluation.models", "'x'", "pocket-olmoe"],
    ),
    "no model to evaluate": ({"evaluation": {"models": []}}, ["evaluation.models", "non-empty"]),
    "the old key of the sets": ({"rules": {"bh": {"alpha": 0.3}}}, ["rules", "now called routing"]),
    "the old key of the model": (
        {"evaluation": {"model": "pocket-olmoe"}},
        ["evaluation.model", "now called evaluation.models"],
    ),
    "a hub model without revision": ({"models": {"x": HUB}}, ["models.x", "'revision' is missing"]),
    "a branch as revision": ({"models": {"x": {**HUB, "revision": "main"}}}, ["models.x.revision", "40"]),
    "a folder that is none": (
        {"models": {"x": {"source": "folder", "path": "nowhere"}}},
        ["models.x.path", "config.json"],
    ),
    "a file without layout": ({"datasets": {"x": {"kind": "cloze", **FILE}}}, ["datasets.x", "'layout'"]),
    "a layout of another kind": (
        {"datasets": {"x": {"kind": "choice", **FILE, "layout": "lambada"}}},
        ["datasets.x.kind", "'choice'", "'cloze'"],
    ),
    "a file that is not there": (
        {"datasets": {"x": {"kind": "cloze", **FILE, "layout": "lambada"}}},
        ["datasets.x.path", "data/rows.jsonl", "data_folder"],
    ),
    "a package that is not installed": (
        {"corpus": {"packages": ["no-such-package"]}},
        ["corpus.packages", "install"],
    ),
    "a section that is no map": ({"speed": 3}, ["speed", "object"]),
    "a section of nothing": ({"evaluation": None}, ["evaluation", "object"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nonsense_is_refused_in_one_line(name: str, default: dict, schema: dict) -> None:
    overlay, words = REFUSED[name]
    message = refused(default, overlay, schema)
    assert all(word in message for word in words), message


def test_packages_matter_only_where_the_corpus_is_used(default: dict, schema: dict) -> None:
    olmoe = config.merge(default, config.read(ROOT / "studies" / "olmoe.yaml"))
    config.resolve(config.merge(olmoe, {"corpus": {"packages": ["no-such-package"]}}), schema, ROOT)
