"""Weights kept in 4 or 8 bits, of which only what is asked for is expanded.

The formats are those of bitsandbytes: blocks of weights, each with its largest magnitude as scale, and for each weight
the nearest level of a table. bitsandbytes itself quantises the matrices of `nn.Linear` and leaves fused experts, nearly
all of a mixture of experts, as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from switchyard.models.quantised_sizes import BLOCK, KINDS

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # it advises kernels from the hub

from bitsandbytes import functional  # noqa: E402

PIECE = 2**20
"""Weights that a CPU quantises at once, a multiple of every block: small temporaries leave no holes in the heap."""


class PackedWeights(nn.Module):
    """Matrices [number, *shape] of one kind, by number: `codes` and `scales` stay, `expand` makes weights of some."""

    def __init__(
        self, codes: Tensor, scales: Tensor, *, kind: str, shape: Sequence[int], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.kind, self.shape, self.dtype = kind, torch.Size([len(codes), *shape]), dtype
        self.register_buffer("codes", codes)  # uint8 [number, bytes]
        # [number, blocks] in the weights' dtype, which holds the largest magnitude of a block exactly
        self.register_buffer("scales", scales)
        self.levels = _levels(kind)  # no buffer: transformers empties those that no checkpoint holds
        self.device: torch.device | None = None
        """Where `expand` puts weights, if not where the codes are."""

    @classmethod
    def pack(cls, matrices: Tensor | Iterable[Tensor], kind: str, number: int | None = None) -> PackedWeights:
        """Quantise `number` matrices [rows, columns], each for itself; a last block that is not full is allowed.

        Only one matrix of an iterator is held at a time. `number` may be left out where `matrices` has a length.

        Raises:
            ValueError: the matrices differ in shape.
        """
        number, shape = len(matrices) if number is None else number, None
        for place, matrix in enumerate(matrices):
            if shape not in (None, matrix.shape):
                raise ValueError(f"matrix {place} is {list(matrix.shape)}, the first one {list(shape)}")
            flat = matrix.detach().flatten()
            flat = nn.functional.pad(flat, (0, -len(flat) % BLOCK[kind]))
            own_codes, own_scales = quantise(flat, kind)
            if shape is None:
                codes = own_codes.new_empty(number, len(own_codes))
                scales, shape = matrix.new_empty(number, len(own_scales)), matrix.shape
            codes[place], scales[place] = own_codes, own_scales
        return cls(codes, scales, kind=kind, shape=shape, dtype=scales.dtype)

    def expand(self, chosen: Tensor | None = None) -> Tensor:
        """The weights of the matrices with the numbers `chosen` [n], or of all: [n, rows, columns]."""
        codes, scales = self.codes, self.scales
        if chosen is not None:
            chosen = chosen.to(codes.device)
            codes, scales = codes.index_select(0, chosen), scales.index_select(0, chosen)
        device = self.device or codes.device
        flat = self._dequantise(codes.to(device), scales.to(device))
        return flat[:, : self.shape[1:].numel()].reshape(-1, *self.shape[1:])

    def _dequantise(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Weights [n, weights of a matrix] of codes [n, bytes] and scales [n, blocks]."""
        block, flat_scales = BLOCK[self.kind], scales.flatten().float()
        shape = [len(codes), codes.shape[1] * 8 // KINDS[self.kind]]
        if self.kind == "nf4":
            return torch.ops.bitsandbytes.dequantize_4bit(
                codes.flatten(), flat_scales, block, self.kind, shape, self.dtype
            )
        levels = self.levels.to(codes.device)
        return torch.ops.bitsandbytes.dequantize_blockwise(codes, flat_scales, levels, block, self.dtype)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{list(self.shape)}, {self.kind}"


class PackedLinear(nn.Module):
    """An `nn.Linear` with packed weights; they are expanded at each call."""

    def __init__(self, weight: PackedWeights, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, rows: Tensor) -> Tensor:
        """`rows` [..., in_features] times the matrix: [..., out_features]."""
        return nn.functional.linear(rows, self.weight.expand()[0], self.bias)


def quantise(flat: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Codes uint8 and scales float32 of weights [n], n a multiple of the kind's block.

    bitsandbytes on a CPU compares each weight with all 16 levels of nf4 at once; counting the levels below it is
    quicker and gives the same codes. Its int8 codes on a CPU are at times a few levels off the nearest.
    """
    if kind == "nf4" and not flat.is_cuda:
        codes, scales = zip(*map(_nf4, flat.split(PIECE)))
        return torch.cat(codes), torch.cat(scales)
    if kind == "nf4":
        codes, state = functional.quantize_4bit(flat, blocksize=BLOCK[kind], quant_type=kind)
    else:
        codes, state = functional.quantize_blockwise(flat, blocksize=BLOCK[kind])
    return codes.flatten(), state.absmax


def _nf4(flat: Tensor) -> tuple[Tensor, Tensor]:
    """What `functional.quantize_4bit` gives: two codes in a byte, the first in its upper half."""
    shares = flat.to(torch.float32, copy=True).view(-1, BLOCK["nf4"])
    scales = torch.maximum(shares.amax(1), -shares.amin(1))
    shares /= scales.clamp(min=torch.finfo(torch.float32).tiny).unsqueeze(1)
    levels = _levels("nf4")
    codes = shares.new_zeros(shares.shape, dtype=torch.uint8)
    is_above = shares.new_empty(shares.shape, dtype=torch.bool)
    for between in ((levels[1:] + levels[:-1]) / 2).tolist():
        codes += torch.gt(shares, between, out=is_above)
    codes = codes.flatten()
    return codes[::2] << 4 | codes[1::2], scales


@cache
def _levels(kind: str) -> Tensor:
    """The levels of a kind in ascending order, float32, from -1 to 1."""
    if kind == "nf4":
        return functional.get_4bit_type(kind, device="cpu")
    return functional.create_dynamic_map()
