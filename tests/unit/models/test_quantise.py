"""Packed weights: the values of bitsandbytes, the bytes that are left, and the model that they make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes import functional
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.core_model_loading import MergeModulelist

from reference.moe_models import ARCHITECTURES, padded_batch, random_model
from reference.packed import dequantised, nearest_levels
from switchyard.artifacts.files import write_json
from switchyard.errors import InputError
from switchyard.models.blocks import describe, find_moe_blocks
from switchyard.models.load import load_model
from switchyard.models.packed import PackedLinear, PackedWeights
from switchyard.models.quantise import pack_model
from switchyard.models.quantised_sizes import BLOCK, EXPANDED, KINDS, QUANTISE, Quantise
from switchyard.models.used_experts import only_used
from switchyard.planning import footprint
from switchyard.routing import TopK, attach
from switchyard.routing.mixed_topk import MixedTopK

DTYPES = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_bitsandbytes(kind: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    # Rows of whole blocks: bitsandbytes 0.50 expands others wrongly on a CPU with avx512_bf16.
    weight = torch.randn(3, 40, 128, generator=generator).to(dtype)
    weight[0, 0] = 0.0  # blocks of zeros
    packed = PackedWeights.pack(weight, kind)
    for one, own in zip(weight, packed.expand()):
        if kind == "nf4":
            expected = functional.dequantize_4bit(
                *functional.quantize_4bit(one, blocksize=64, quant_type="nf4")
            )
        else:
            expected = functional.dequantize_blockwise(*functional.quantize_blockwise(one, blocksize=256))
        assert own.dtype == dtype and torch.equal(own, expected)


def test_nf4_is_the_nearest_level_also_in_a_last_block_that_is_not_full() -> None:
    weight = torch.randn(2, 5, 21, generator=torch.Generator().manual_seed(1))
    levels = functional.get_4bit_type("nf4", device="cpu").tolist()
    for one, own in zip(weight, PackedWeights.pack(weight, "nf4").expand()):
        expected = nearest_levels(one.flatten(), levels, BLOCK["nf4"])
        torch.testing.assert_close(own.flatten(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_chosen_is_expanded_alone(kind: str) -> None:
    packed = PackedWeights.pack(torch.randn(6, 8, 32, generator=torch.Generator().manual_seed(2)), kind)
    chosen = torch.tensor([5, 1])
    assert torch.equal(packed.expand(chosen), packed.expand()[chosen])


def bytes_of(module: nn.Module) -> int:
    return sum(one.nbytes for one in module.state_dict().values())


@pytest.fixture(params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model folder as it comes from the hub, in bfloat16."""
    random_model(request.param, torch.bfloat16).save_pretrained(tmp_path)
    return tmp_path


def load(folder: Path, **quantise: str) -> Any:
    write_json(folder / QUANTISE, Quantise(**quantise).as_json())
    return load_model(folder, dtype="bfloat16")


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_left_are_those_that_are_planned(folder: Path, kind: str) -> None:
    """Stock bitsandbytes leaves the experts as they are, which are nearly all of a mixture of experts."""
    plain = load(folder)
    stock = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=BitsAndBytesConfig(load_in_4bit=True)
    )
    experts = sum(bytes_of(block.experts) for block in find_moe_blocks(plain))
    assert sum(bytes_of(block.experts) for block in find_moe_blocks(stock)) == experts

    packed, structure = load(folder, experts=kind, rest=kind), describe(plain.config)
    for name, found in {"rest": packed, "experts": load(folder, experts=kind)}.items():
        stated = {"experts": kind, "rest": kind if name == "rest" else "none"}
        planned = footprint.weights_gb({**structure, "quantise": stated}, "bfloat16") * footprint.GB
        assert bytes_of(found) == pytest.approx(planned, rel=0.02)
    left = sum(bytes_of(block.experts) for block in find_moe_blocks(packed))
    assert left < experts * {"nf4": 0.30, "int8": 0.52}[kind]


@pytest.mark.parametrize("rest", ["none", "nf4"])
@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_loading_packs_as_packing_what_was_loaded(folder: Path, kind: str, rest: str) -> None:
    expected = pack_model(load(folder), Quantise(kind, rest))
    found = load(folder, experts=kind, rest=rest)
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    batch = padded_batch("right")
    assert torch.equal(found(**batch).logits, expected(**batch).logits)
    assert isinstance(found.base_model.layers[0].self_attn.q_proj, PackedLinear) == (rest != "none")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loading_joins_one_expert_at_a_time(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_model(architecture, torch.bfloat16).save_pretrained(tmp_path)
    sizes: list[int] = []
    whole = MergeModulelist.convert

    def counting(self: MergeModulelist, tensors: dict[str, Any], *others: Any, **how: Any) -> Any:
        sizes.extend(len(one) for one in tensors.values())
        return whole(self, tensors, *others, **how)

    monkeypatch.setattr(MergeModulelist, "convert", counting)
    blocks = find_moe_blocks(load(tmp_path, experts="nf4"))
    assert sizes == [1] * (3 * sum(block.experts.num_experts for block in blocks))


RULES = {
    "trained top-k": lambda k: TopK(k),
    "top-1": lambda k: TopK(1),
    "one more": lambda k: TopK(k + 1),
    "empty slots": lambda k: MixedTopK(k - 0.5),
    "empty tokens": lambda k: MixedTopK(0.5),
}


@pytest.mark.parametrize("expanded", [1, 2**25], ids=["one expert at a time", "all at once"])
@pytest.mark.parametrize("own_when_full", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_attach_is_exact_against_the_same_weights_dequantised(
    architecture: str,
    dtype: torch.dtype,
    kind: str,
    own_when_full: bool,
    expanded: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(EXPANDED, "cpu", expanded)
    model = pack_model(random_model(architecture, dtype), Quantise(kind, kind))
    twin, batch = dequantised(model), padded_batch("left")
    assert torch.equal(model(**batch).logits, twin(**batch).logits)
    for rule in (make(model.config.num_experts_per_tok) for make in RULES.values()):
        found = []
        for one in (model, twin):
            with attach(one, rule, own_when_full=own_when_full):
                cache = one(**batch, use_cache=True)
                mask = torch.cat([batch["attention_mask"], torch.ones(3, 1, dtype=torch.long)], dim=1)
                token = batch["input_ids"][:, -1:]
                more = one(input_ids=token, attention_mask=mask, past_key_values=cache.past_key_values)
                alone = one(input_ids=token[:1])
            found.append([cache.logits, more.logits, alone.logits])
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found)), rule


@torch.inference_mode()
def test_the_trained_top_k_attached_is_the_packed_model_itself() -> None:
    model = pack_model(random_model("olmoe"), Quantise("nf4"))
    batch = padded_batch("right")
    own = model(**batch).logits
    with attach(model, TopK(4)):
        assert torch.equal(model(**batch).logits, own)
    assert torch.equal(model(**batch).logits, own)


@torch.inference_mode()
def test_only_used_experts_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pack_model(random_model("olmoe"), Quantise("nf4"))
    expanded: list[int] = []
    whole = PackedWeights.expand

    def counting(self: PackedWeights, chosen: torch.Tensor | None = None) -> torch.Tensor:
        expanded.append(len(self.codes) if chosen is None else len(chosen))
        return whole(self, chosen)

    monkeypatch.setattr(PackedWeights, "expand", counting)
    token = torch.tensor([[5]])
    model(token)
    assert expanded == [4] * 6  # three layers, two matrices each
    expanded.clear()
    with attach(model, TopK(2)):
        model(token)
    assert expanded == [2] * 6
    expanded.clear()
    matrix = find_moe_blocks(model)[0].experts.down_proj.shape[1:].numel() * 4
    monkeypatch.setitem(EXPANDED, "cpu", 3 * matrix)  # of the other matrix one
    model(token)
    assert expanded == [1, 1, 1, 1, 3, 1] * 3


def test_used_experts_are_renumbered_and_empty_slots_stay_empty() -> None:
    experts = find_moe_blocks(pack_model(random_model("olmoe"), Quantise("nf4")))[0].experts
    used, index = only_used(experts, torch.tensor([[7, 3], [16, 7]]))
    assert used.num_experts == 2 and index.tolist() == [[1, 0], [2, 1]]
    assert torch.equal(torch.cat([*used.parts("down_proj")]), experts.down_proj.expand()[[3, 7]])


@torch.inference_mode()
def test_experts_on_the_host_are_expanded_where_the_model_is(tmp_path: Path) -> None:
    random_model("olmoe", torch.bfloat16).save_pretrained(tmp_path)
    here, hosted = load(tmp_path, experts="nf4"), load(tmp_path, experts="nf4", experts_on="host")
    packed = find_moe_blocks(hosted)[0].experts.down_proj
    assert packed.device == torch.device("cpu") and packed.codes.device.type == "cpu"
    batch = padded_batch("right")
    assert torch.equal(here(**batch).logits, hosted(**batch).logits)


def test_misshapen_and_missing_weights_are_refused(tmp_path: Path) -> None:
    model = random_model("olmoe")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    write_json(tmp_path / "config.json", {**config, "intermediate_size": 24})
    with pytest.raises(InputError, match="wrong shape"):
        load(tmp_path, experts="nf4", rest="nf4")
    write_json(tmp_path / "config.json", {**config, "num_hidden_layers": 4})
    with pytest.raises(InputError, match="no weights for"):
        load(tmp_path, experts="nf4", rest="nf4")


@torch.inference_mode()
def test_an_attached_packed_model_is_compiled_whole() -> None:
    model = pack_model(random_model("olmoe"), Quantise("nf4", "int8"))
    batch = padded_batch("right")["input_ids"]
    with attach(model, TopK(3), own_when_full=False):
        expected = model(batch).logits
        found = torch.compile(model, backend="eager", fullgraph=True)(batch).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
