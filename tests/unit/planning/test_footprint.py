"""What a model needs: counts of weights against real modules, and what must hold of the sums."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from switchyard.models.blocks import describe
from switchyard.planning.footprint import (
    active_parameters,
    expanded_gb,
    gpu_mem_gb,
    hosted_gb,
    mem_mb,
    parameters,
    weights_gb,
)
from switchyard.study.config import read
from switchyard.study.models import is_cached, known_structure

structure = functools.partial(known_structure, vocabulary_size=4096)

ROOT = Path(__file__).resolve().parents[3]
POCKET = ROOT / "resources" / "pocket-olmoe"


def real_model(kind: str, **fields):
    """A small model with random weights."""
    import transformers

    sizes = {"vocab_size": 97, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 4, "num_experts_per_tok": 2, "pad_token_id": 0}
    config = getattr(transformers, f"{kind}Config")(**{**sizes, **fields})
    return getattr(transformers, f"{kind}ForCausalLM")(config)


def written(model, folder: Path) -> dict:
    """The structure in the folder of a model."""
    model.config.save_pretrained(folder)
    return structure({"source": "folder", "path": str(folder)}, folder / "nothing")


@pytest.fixture
def known(tmp_path):
    return structure({"source": "pocket", "path": str(POCKET)}, tmp_path)


QWEN = {"num_experts": 8, "moe_intermediate_size": 12, "head_dim": 8, "num_key_value_heads": 2}
MODELS = [
    ("Olmoe", {"num_experts": 8, "tie_word_embeddings": True}),
    ("Olmoe", {"num_experts": 8, "tie_word_embeddings": False, "num_key_value_heads": 2}),
    ("Mixtral", {"num_local_experts": 4, "tie_word_embeddings": True, "num_key_value_heads": 4}),
    ("Mixtral", {"num_local_experts": 4, "num_key_value_heads": 1, "head_dim": 16}),
    *(("Qwen3Moe", {**QWEN, "mlp_only_layers": dense}) for dense in ([], [1], [0, 2])),
]


@pytest.mark.parametrize(("kind", "fields"), MODELS)
def test_weights_are_those_of_the_real_module(kind, fields, tmp_path):
    """An unused expert is not active, nor is an embedding that is looked up."""
    model = real_model(kind, **fields)
    known = written(model, tmp_path)
    assert known == describe(model.config)
    dense = fields.get("mlp_only_layers", [])
    known |= {"num_hidden_layers": 3, "num_layers": 3 - len(dense), "dense_intermediate_size": dense and 20}
    counts = {name: weights.numel() for name, weights in model.named_parameters()}
    experts = sum(count for name, count in counts.items() if ".experts." in name)
    looked_up = 0 if model.config.tie_word_embeddings else counts["model.embed_tokens.weight"]
    whole = sum(counts.values())
    assert parameters(known) == whole
    assert active_parameters(known, known["num_experts"]) == whole - looked_up
    assert active_parameters(known) == whole - looked_up - experts + experts * 2 // known["num_experts"]


@pytest.mark.parametrize("needed", [gpu_mem_gb, mem_mb])
def test_a_wide_dense_layer_needs_memory(needed, known):
    dense = {**known, "num_hidden_layers": 5}
    wide = {**dense, "dense_intermediate_size": 10**4}
    plain, more, most = (needed(one, "float32", 10**6, slots=1) for one in (known, dense, wide))
    assert plain <= more < most


@pytest.mark.parametrize("kind", ["olmoe", "mixtral"])
def test_fields_that_a_config_leaves_out_are_those_of_transformers(kind, tmp_path):
    from transformers import AutoConfig

    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    known = structure({"source": "folder", "path": str(tmp_path)}, tmp_path)
    assert known == describe(AutoConfig.for_model(kind))


def test_olmoe_as_its_study_file_states_it():
    entry = read(ROOT / "studies" / "olmoe.yaml")["models"]["olmoe"]
    assert parameters(structure(entry, ROOT / "nothing")) == 6_919_161_856


def test_a_structure_is_the_cached_then_the_prepared_then_the_stated_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    entry = {"source": "hub", "repository": "owner/name", "revision": "1" * 40}
    assert structure(entry, tmp_path) is None
    assert structure({**entry, "structure": {"num_layers": 3}}, tmp_path) == {"num_layers": 3}
    folder = tmp_path / "models--owner--name" / "snapshots" / ("1" * 40)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text((POCKET / "config.json").read_text())
    assert structure(entry, tmp_path)["num_experts"] == 64
    assert structure({**entry, "revision": "2" * 40}, tmp_path) is None
    weights = {"first": "1.safetensors", "second": "2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    (folder / "1.safetensors").touch()
    assert not is_cached(entry)  # a download that was cut short
    (folder / "2.safetensors").touch()
    assert is_cached(entry)
    (tmp_path / "structure.json").write_text('{"num_layers": 7}')  # prepared from what was there before
    assert structure(entry, tmp_path)["num_experts"] == 64
    (folder / "config.json").unlink()
    assert structure({**entry, "structure": {"num_layers": 3}}, tmp_path) == {"num_layers": 7}


def test_a_model_trained_here_has_the_shape_of_its_recipe(tmp_path):
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_experts": 16}
    recipe = {"architecture": "olmoe", "shape": shape}
    entry = {"source": "pocket", "path": str(POCKET), "retrain": True, "training": recipe}
    known = structure(entry, tmp_path, vocabulary_size=512)
    assert (known["hidden_size"], known["num_experts"], known["vocab_size"]) == (32, 16, 512)


@pytest.mark.parametrize("text", ['{"model_type": "llama", "hidden_size": 8}', "{", "[]"])
def test_a_dense_model_and_a_broken_file_have_no_structure(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    assert structure({"source": "folder", "path": str(tmp_path)}, tmp_path / "nothing") is None


@pytest.mark.parametrize("needed", [gpu_mem_gb, mem_mb])
def test_more_tokens_slots_and_precision_never_need_less(needed, known):
    amounts = [needed(known, "float32", tokens, slots=8) for tokens in (1, 1000, 10**5, 10**7)]
    assert amounts == sorted(amounts) and amounts[0] < amounts[-1]
    amounts = [needed(known, "float32", 10**6, slots=slots) for slots in (1, 8, 64)]
    assert amounts == sorted(amounts) and amounts[0] < amounts[-1]
    assert needed(known, "float32", 10**6) == needed(known, "float32", 10**6, slots=64)
    for dtype, one in itertools.product(("bfloat16", "float16"), (known, None)):
        assert needed(one, dtype, 10**6) < needed(one, "float32", 10**6)


def test_a_dag_imports_nothing_heavy_for_it():
    heavy = {"torch", "transformers", "numpy", "yaml", "pyarrow"}
    code = f"import sys, switchyard.planning.footprint; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_packed_weights_take_less_and_expand_a_few_experts(known):
    """nf4: 4 bits and a 64th of 16; the bytes of real models are compared in models/test_quantise.py."""
    packed = known | {"quantise": {"experts": "nf4"}}
    experts = 4 * 64 * 3 * 128 * 64
    saved = weights_gb(known, "bfloat16") - weights_gb(packed, "bfloat16")
    assert saved == pytest.approx(experts * (2 - 0.53125) / 1e9)
    assert expanded_gb(known, "bfloat16", "cpu") == 0
    assert expanded_gb(packed, "bfloat16", "cpu") == pytest.approx(2 * 64 * 2 * 128 * 64 / 1e9)
    large = packed | {"hidden_size": 2048, "intermediate_size": 1024}
    assert expanded_gb(large, "bfloat16", "cpu") == 2**25 / 1e9
    assert expanded_gb(large, "bfloat16", "cuda") == pytest.approx(2 * 64 * 2 * 2048 * 1024 / 1e9)
    larger = packed | {"hidden_size": 16384, "intermediate_size": 32768}  # one expert, whatever it takes
    assert expanded_gb(larger, "bfloat16", "cpu") == pytest.approx(2 * 2 * 16384 * 32768 / 1e9)


def test_experts_on_the_host_take_no_room_on_a_card():
    """Mixtral-8x7B in nf4: 24 GB of experts, and little else."""
    mixtral = structure({"source": "folder", "path": "nowhere", "structure": MIXTRAL})
    packed = {"experts": "nf4", "rest": "nf4", "experts_on": "host"}
    hosted = mixtral | {"quantise": packed}
    on_card = mixtral | {"quantise": packed | {"experts_on": "card"}}
    assert (
        hosted_gb(hosted, "bfloat16") == pytest.approx(24.0, abs=0.1) and hosted_gb(on_card, "bfloat16") == 0
    )
    assert (
        gpu_mem_gb(hosted, "bfloat16", 2048, slots=2) + 23
        <= gpu_mem_gb(on_card, "bfloat16", 2048, slots=2)
        <= 33
    )
    assert mem_mb(hosted, "bfloat16", 2048, slots=2) == mem_mb(on_card, "bfloat16", 2048, slots=2)


MIXTRAL = {
    "model_type": "mixtral",
    "num_layers": 32,
    "num_experts": 8,
    "top_k": 2,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}
