"""Packed experts against experts as they are: a forward over a batch, and decoding at batch 1.

A layer of OLMoE-1B-7B with random weights. Where a token uses 8 of 64 experts, expanding the used ones is compared
with expanding a whole layer, which `bitsandbytes.nn.parametrize` does at each use. A few at a time, as the product
does, is compared with all used ones at once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor, nn

from bench.attached import Size, wide
from bench.paired import Line, ratios, seconds
from switchyard.models import packed
from switchyard.models.quantise import pack_model, return_large_blocks
from switchyard.models.quantised_sizes import EXPANDED, KINDS, Quantise

WEIGHTS = 2**22
"""Weights of a matrix that is packed and expanded."""


def lines(device: str) -> Iterator[Line]:
    """One thread on a CPU, as an experiment has."""
    torch.set_num_threads(1)
    return_large_blocks()  # as loading does
    size = wide(device)
    yield from _forwards(size, device)
    if device == "cpu":
        yield _packing()


def _forwards(size: Size, device: str) -> Iterator[Line]:
    models = {kind: pack_model(copy.deepcopy(size.model), Quantise(kind)) for kind in KINDS}
    whole = copy.deepcopy(models["nf4"])
    for module in whole.modules():
        if isinstance(module, packed.PackedWeights):
            module.expand = partial(_expand_all, module)
    for name, ids in {
        f"forward of {size.ids.numel()} tokens": size.ids,
        "one token": size.ids[:1, :1],
    }.items():
        calls = {kind: partial(_forward, model, ids) for kind, model in models.items()}
        calls |= {"plain": partial(_forward, size.model, ids), "all": partial(_at_once, whole, ids)}
        calls["at once"] = partial(_at_once, models["nf4"], ids)
        times = seconds(calls, device=device)
        for kind in KINDS:
            yield Line(
                f"{size.name}: {name}, experts in {kind}",
                "the same as they are",
                ratios(times, kind, "plain"),
                "",
            )
        used = f"{size.name}: {name}, used experts expanded"
        yield Line(used, "all expanded", ratios(times, "at once", "all"), "")
        yield Line(f"{used}, a few at a time", "at once", ratios(times, "nf4", "at once"), "")


def _expand_all(module: packed.PackedWeights, chosen: Tensor | None = None) -> Tensor:
    weights = packed.PackedWeights.expand(module)
    return weights if chosen is None else weights[chosen]


def _at_once(model: nn.Module, ids: Tensor) -> None:
    with patch.dict(EXPANDED, dict.fromkeys(EXPANDED, 2**62)):
        _forward(model, ids)


@torch.inference_mode()
def _forward(model: nn.Module, ids: Tensor) -> None:
    model.base_model(input_ids=ids, use_cache=False)


def _packing() -> Line:
    from bitsandbytes.functional import quantize_4bit

    weight = torch.randn(WEIGHTS)
    stock = partial(quantize_4bit, weight, blocksize=packed.BLOCK["nf4"], quant_type="nf4")
    times = seconds({"own": partial(packed.quantise, weight, "nf4"), "stock": stock})
    return Line("packing in nf4", "bitsandbytes on a CPU", ratios(times, "own", "stock"), "")
