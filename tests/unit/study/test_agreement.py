"""What a configuration and its models say about each other is checked before the first job."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from switchyard.errors import InputError
from switchyard.study import config

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "resources" / "pocket-olmoe"
STATED = {
    "model_type": "olmoe",
    "num_layers": 4,
    "num_experts": 8,
    "top_k": 2,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "vocab_size": 10,
    "tie_word_embeddings": False,
}


def retrained(shape: dict[str, Any] | None = None, **training: Any) -> dict[str, Any]:
    return {"models": {"pocket-olmoe": {"retrain": True, "training": {"shape": shape or {}, **training}}}}


def hub(**stated: Any) -> dict[str, Any]:
    """A hub model beside the pocket ones, evaluated with the trained top-k."""
    entry = {"source": "hub", "repository": "a/b", "revision": "a" * 40, "structure": {**STATED, **stated}}
    return {
        "models": {"m": entry},
        "evaluation": {"models": ["pocket-olmoe", "pocket-mixtral", "m"]},
        "observation": {"models": ["pocket-olmoe"]},
        "search": {"models": []},
        "routing": {"own": {"rule": "topk", "k": [2], "models": ["m"]}},
    }


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "dataset beyond the positions": (
        {"datasets": {"heldout": {"max_length": 513}}},
        ["datasets.heldout.max_length", "pocket-olmoe", "at most 512", "513", "lower it"],
    ),
    "calibration beyond the positions": (
        {"calibration": {"max_length": 1024}},
        ["calibration.max_length", "at most 512"],
    ),
    "observation beyond the positions": (
        {"observation": {"max_length": 1024}},
        ["observation.max_length", "at most 512"],
    ),
    "decoding beyond the positions": (
        {"speed": {"decode_tokens": 481}},
        ["speed.decode_tokens", "at most 512", "513"],
    ),
    "stated positions of a hub model": (
        hub(max_position_embeddings=128),
        ["datasets.heldout.max_length", "m was trained", "at most 128"],
    ),
    "a layer that is none": (
        {"observation": {"layers": [0, 4]}},
        ["observation.layers", "4 is no MoE block", "4 of"],
    ),
    "a segment longer than a window": (
        {"observation": {"segments": [4, 193]}},
        ["observation.segments", "193", "192"],
    ),
    "more shards than windows": (
        {"observation": {"shards": 20, "tokens": 1920}},
        ["observation.shards", "20 shards share 10 windows"],
    ),
    "a floor above the ceiling": ({"routing": {"bh": {"min_k": 9, "max_k": [8]}}}, ["routing.bh", "min_k 9"]),
    "a budget above the ceiling": (
        {"routing": {"budget": {"target_k": [65], "max_k": 64}}},
        ["routing.budget", "target_k 65", "1 to max_k 64"],
    ),
    "a budget below the floor": (
        {"routing": {"budget": {"target_k": [2], "min_k": 3}}},
        ["routing.budget", "target_k 2", "min_k 3"],
    ),
    "more experts than the model has": (
        {"routing": {"mixtral_static": {"k": [9]}}},
        ["routing.mixtral_static", "9 experts a token, pocket-mixtral has 8"],
    ),
    "a null without an expert left": (
        {
            "routing": {
                "own": {
                    "rule": "bh",
                    "max_k": 2,
                    "alpha": 0.3,
                    "null_distribution": "trimmed_8",
                    "models": ["pocket-mixtral"],
                }
            }
        },
        ["routing.own", "pocket-mixtral has no null trimmed_8", "8 of 8 experts"],
    ),
    "windows of the training beyond the positions": (
        retrained(sequence_length=513),
        ["training.sequence_length", "at most 512"],
    ),
    "more experts used than there are": (
        retrained({"num_experts_per_tok": 65}),
        ["training.shape", "65 experts"],
    ),
    "a field of another architecture": (
        retrained({"num_local_experts": 8}),
        ["shape.num_local_experts", "num_experts", "rename"],
    ),
    "a field that there is not": (retrained({"hiden_size": 8}), ["'hiden_size'", "'hidden_size'"]),
    "heads that share unevenly": (
        retrained({"num_attention_heads": 4, "num_key_value_heads": 3}),
        ["training.shape", "4 attention heads cannot share 3"],
    ),
    "a width that heads do not divide": (
        retrained({"hidden_size": 100, "num_attention_heads": 3}),
        ["training.shape", "100 is no multiple of 3"],
    ),
    "a warm-up longer than the training": (
        retrained(steps=10, warmup_steps=11),
        ["training.warmup_steps", "11 of 10"],
    ),
    "a shipped folder that is not there": (
        {"models": {"pocket-olmoe": {"path": "resources/nowhere"}}},
        ["models.pocket-olmoe.path", "holds no config.json"],
    ),
    "stated experts": (hub(top_k=9), ["models.m.structure", "9 experts per token of 8"]),
    "stated layers": (hub(num_hidden_layers=3), ["models.m.structure", "4 layers with experts of 3"]),
}


def refused(overlay: dict[str, Any], default: dict, schema: dict, root: Path = ROOT) -> str:
    with pytest.raises(InputError) as caught:
        config.resolve(config.merge(copy.deepcopy(default), overlay), schema, root)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("config: ")
    return message


@pytest.mark.parametrize("case", CASES)
def test_a_disagreement_is_one_line(
    case: str, default: dict, schema: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    overlay, words = CASES[case]
    message = refused(overlay, default, schema)
    assert all(word in message for word in words), message


def test_the_largest_values_that_fit_are_taken(
    default: dict, schema: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    overlay = {
        "datasets": {"heldout": {"max_length": 512}},
        "calibration": {"max_length": 512},
        "observation": {"max_length": 512, "layers": [3], "segments": [512]},
        "speed": {"decode_tokens": 480},
    }
    config.resolve(config.merge(copy.deepcopy(default), overlay), schema, ROOT)
    config.resolve(config.merge(copy.deepcopy(default), hub(max_position_embeddings=512)), schema, ROOT)


@pytest.mark.parametrize(
    ("missing", "word"),
    [("config.json", "config.json"), ("*.safetensors", ".safetensors"), ("tokenizer.json", "tokenizer")],
)
def test_a_model_folder_that_lacks_a_file_is_refused(
    missing: str, word: str, default: dict, schema: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    shutil.copytree(SHIPPED, tmp_path / "m", ignore=shutil.ignore_patterns(missing))
    message = refused({"models": {"own": {"source": "folder", "path": str(tmp_path / "m")}}}, default, schema)
    assert "models.own.path" in message and f"holds no {word}" in message


def test_positions_of_a_folder_are_read_from_its_config(
    default: dict, schema: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    shutil.copytree(SHIPPED, tmp_path / "m")
    content = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**content, "max_position_embeddings": 100}))
    overlay = {"models": {"pocket-olmoe": {"source": "folder", "path": str(tmp_path / "m")}}}
    assert "pocket-olmoe was trained on sequences of at most 100" in refused(overlay, default, schema)
