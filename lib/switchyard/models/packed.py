"""Weights kept in 4 or 8 bits, of which only what is asked for is expanded.

The formats are those of bitsandbytes: blocks of weights, each with its largest magnitude as scale, and for each weight
the nearest level of a table. bitsandbytes itself quantises the matrices of `nn.Linear` and leaves fused experts, nearly
all of a mixture of experts, as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from bitsandbytes import functional
from torch import Tensor, nn

from switchyard.models.quantised_sizes import BLOCK, KINDS


class PackedWeights(nn.Module):
    """Matrices [number, *shape] of one kind, by number: `codes` and `scales` stay, `expand` makes weights of some."""

    def __init__(
        self, codes: Tensor, scales: Tensor, *, kind: str, shape: Sequence[int], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.kind, self.shape, self.dtype = kind, tuple(shape), dtype
        self.register_buffer("codes", codes)  # uint8 [number, bytes]
        self.register_buffer("scales", scales)  # float32 [number, blocks]
        self.levels = _levels(kind)  # no buffer: transformers empties those that no checkpoint holds
        self.device: torch.device | None = None
        """Where `expand` puts weights, if not where the codes are."""

    @classmethod
    def pack(cls, weight: Tensor, kind: str) -> PackedWeights:
        """Quantise matrices [number, rows, columns], each for itself; a last block that is not full is allowed."""
        flat = weight.detach().flatten(1)
        flat = nn.functional.pad(flat, (0, -flat.shape[1] % BLOCK[kind]))
        codes, scales = zip(*(quantise(one, kind) for one in flat))
        return cls(
            torch.stack(codes), torch.stack(scales), kind=kind, shape=weight.shape[1:], dtype=weight.dtype
        )

    def expand(self, chosen: Tensor | None = None) -> Tensor:
        """The weights of the matrices with the numbers `chosen` [n], or of all: [n, rows, columns]."""
        codes, scales = self.codes, self.scales
        if chosen is not None:
            chosen = chosen.to(codes.device)
            codes, scales = codes.index_select(0, chosen), scales.index_select(0, chosen)
        device = self.device or codes.device
        flat = self._dequantise(codes.to(device), scales.to(device))
        return flat[:, : self.shape[0] * self.shape[1]].reshape(-1, *self.shape)

    def _dequantise(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Weights [n, weights of a matrix] of codes [n, bytes] and scales [n, blocks]."""
        block, flat_scales = BLOCK[self.kind], scales.flatten()
        shape = [len(codes), codes.shape[1] * 8 // KINDS[self.kind]]
        if self.kind == "nf4":
            return torch.ops.bitsandbytes.dequantize_4bit(
                codes.flatten(), flat_scales, block, self.kind, shape, self.dtype
            )
        levels = self.levels.to(codes.device)
        return torch.ops.bitsandbytes.dequantize_blockwise(codes, flat_scales, levels, block, self.dtype)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{len(self.codes)} x {self.shape}, {self.kind}"


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
        return _nf4(flat)
    if kind == "nf4":
        codes, state = functional.quantize_4bit(flat, blocksize=BLOCK[kind], quant_type=kind)
    else:
        codes, state = functional.quantize_blockwise(flat, blocksize=BLOCK[kind])
    return codes.flatten(), state.absmax


def _nf4(flat: Tensor) -> tuple[Tensor, Tensor]:
    """What `functional.quantize_4bit` gives: two codes in a byte, the first in its upper half."""
    blocks = flat.view(-1, BLOCK["nf4"]).float()
    scales = blocks.abs().amax(1)
    shares = (blocks / scales.clamp(min=torch.finfo(torch.float32).tiny).unsqueeze(1)).flatten()
    levels = _levels("nf4")
    codes = torch.zeros_like(shares, dtype=torch.uint8)
    for between in ((levels[1:] + levels[:-1]) / 2).tolist():
        codes += shares > between
    return codes[::2] << 4 | codes[1::2], scales


@cache
def _levels(kind: str) -> Tensor:
    """The levels of a kind in ascending order, float32, from -1 to 1."""
    if kind == "nf4":
        return functional.get_4bit_type(kind, device="cpu")
    return functional.create_dynamic_map()
