"""A batch of routed tokens, as the analyses of routing count it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from switchyard.errors import InputError

MOST_TOKENS = 2**24
"""Tokens of a batch at most: up to here sums of ones in float32 are exact."""


class RoutedTokens:
    """A batch of tokens with the experts that each of them used in every layer."""

    def __init__(self, experts: ArrayLike, lengths: ArrayLike, *, num_experts: int) -> None:
        """Take the routing of a batch, without padding.

        Args:
            experts: int [layers, tokens, k], the experts of each token, distinct, most probable first.
            lengths: int [stretches], the number of tokens of each stretch, in order. The tokens of a stretch stood
                next to each other in one sequence: a sequence ends a stretch, and so does a token left out.

        Raises:
            InputError: shapes or lengths that do not fit, an expert out of range or twice in a token.
        """
        self.experts = np.asarray(experts)
        self.lengths = np.asarray(lengths, np.int64)
        self.num_experts = num_experts
        if self.experts.ndim != 3 or not 1 <= self.experts.shape[2] <= num_experts:
            raise InputError(
                f"routed tokens: experts have the shape {self.experts.shape}, give [layers, tokens, k], k >= 1"
            )
        if self.experts.shape[1] > MOST_TOKENS:
            raise InputError(f"routed tokens: {self.experts.shape[1]} at once, give at most {MOST_TOKENS}")
        if (self.lengths < 0).any() or self.lengths.sum() != self.experts.shape[1]:
            raise InputError(
                f"routed tokens: lengths sum to {self.lengths.sum()}, there are {self.experts.shape[1]} tokens"
            )
        if self.experts.size and not 0 <= self.experts.min() <= self.experts.max() < num_experts:
            raise InputError(f"routed tokens: an expert is outside 0..{num_experts - 1}")
        if np.count_nonzero(self.used) != self.experts.size:
            raise InputError("routed tokens: a token names an expert twice, give distinct ones")

    @cached_property
    def used(self) -> np.ndarray:
        """Bool [layers, tokens, experts]: which experts each token used."""
        used = np.zeros((*self.experts.shape[:2], self.num_experts), bool)
        np.put_along_axis(used, self.experts.astype(np.int64, copy=False), True, axis=2)
        return used

    @cached_property
    def uses(self) -> np.ndarray:
        """Int64 [layers, experts]: number of tokens that used each expert."""
        return tallied(self.experts.reshape(len(self.experts), -1), self.num_experts)

    @cached_property
    def uses_before(self) -> np.ndarray:
        """Int32 [layers, tokens + 1, experts]: number of the batch's tokens before each place that used each expert."""
        before = np.zeros((len(self.experts), self.experts.shape[1] + 1, self.num_experts), np.int32)
        np.cumsum(self.used, axis=1, out=before[:, 1:])
        return before

    @cached_property
    def remaining(self) -> np.ndarray:
        """Int64 [tokens]: number of tokens from each one to the end of its stretch, itself included."""
        return np.repeat(np.cumsum(self.lengths), self.lengths) - np.arange(self.experts.shape[1])


def tallied(values: np.ndarray, size: int) -> np.ndarray:
    """How often each of 0..size-1 stands in each row: int64 [rows, size] of integers [rows, n]."""
    rows = len(values)
    places = values + size * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), minlength=rows * size).reshape(rows, size)
