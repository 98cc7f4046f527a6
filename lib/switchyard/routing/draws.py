"""Uniform draws that are a function of the token alone: equal on every device, in any batch and in any order.

A hash of (salt, sample, layer, position) by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), in the int64
arithmetic that every device has: products wrap around, and a shift to the right is made logical by a mask.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

import torch

from switchyard.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import TokenContext

_STEP = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def token_draws(context: TokenContext | None, layer: int, *, rule: str) -> Tensor:
    """`uniform_draws` of every row of a forward, float64 [tokens], with the rule's name for a salt.

    The sequence is left out: what the options of a choice have in common is routed alike in all of them.
    Raises InputError where there is no context.
    """
    if context is None:
        raise InputError(f"{rule}: draws by sample and position: attach the rule or pass a TokenContext")
    return uniform_draws(context.sample, layer, context.position, salt=rule)


def uniform_draws(sample: Tensor, layer: int, position: Tensor, *, salt: str) -> Tensor:
    """Draws from the uniform distribution on [0, 1), float64 [tokens], multiples of 2^-53.

    Args:
        sample: int64 [tokens].
        position: int64 [tokens].
        salt: what the draws are for; those of different salts are independent.
    """
    state = torch.full_like(sample, _salt(salt))
    for key in (sample, torch.full_like(sample, layer), position):
        state = _mix(state + (key + 1) * _wrap(_STEP))
    return _shift(state, 11).to(torch.float64) * 2.0**-53


@cache
def _salt(text: str) -> int:
    """The first 64 bits of the text's SHA-256, as an int64."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def _mix(state: Tensor) -> Tensor:
    """The finaliser: a bijection of 64 bits, each of which depends on all."""
    state = (state ^ _shift(state, 30)) * _wrap(_FACTORS[0])
    state = (state ^ _shift(state, 27)) * _wrap(_FACTORS[1])
    return state ^ _shift(state, 31)


def _shift(state: Tensor, bits: int) -> Tensor:
    """A logical shift to the right of int64."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _wrap(value: int) -> int:
    """The int64 with the lowest 64 bits of `value`."""
    return (value + 2**63) % 2**64 - 2**63
