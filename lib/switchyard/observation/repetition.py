"""Consecutive-token repetition: how often the next token is routed like this one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from switchyard.observation.counters import RoutingCounter, result_table, share
from switchyard.observation.routed_tokens import RoutedTokens, tallied


@dataclass(kw_only=True)
class Repetition(RoutingCounter):
    """How often neighbouring tokens of a sequence use the same experts (Mixtral, arXiv:2401.04088, section 5).

    Two tokens are neighbours if they stand next to each other in one stretch of `RoutedTokens`.

    Attributes:
        neighbours: pairs of neighbours, the same in every layer.
        repeated: [layers], experts used by both of two neighbours, summed over the pairs: k of a pair at most.
        first_repeated: [layers], pairs whose most probable expert is the same.
        first_or_second_repeated: [layers], pairs that have at least one in common of the two most probable experts
            of each; of the only one where a token uses one expert.
        choices: [layers, experts, experts], tokens by their most probable and their second most probable expert;
            on the diagonal where a token uses one expert.
    """

    neighbours: np.ndarray
    repeated: np.ndarray
    first_repeated: np.ndarray
    first_or_second_repeated: np.ndarray
    choices: np.ndarray

    @classmethod
    def _blank(cls, shape: tuple[int, int], top_k: int) -> dict[str, np.ndarray]:
        of_layers = ("repeated", "first_repeated", "first_or_second_repeated")
        zeros = {name: np.zeros(shape[0]) for name in of_layers}
        return {"neighbours": np.zeros(()), **zeros, "choices": np.zeros((*shape, shape[1]))}

    def _count(self, routed: RoutedTokens) -> None:
        followed = np.flatnonzero(routed.remaining > 1)
        first = routed.experts[:, :, 0].astype(
            np.int64
        )  # the model's own, which may break ties in its own way
        second = routed.experts[:, :, min(1, routed.experts.shape[2] - 1)]
        these, those = ((first[:, at], second[:, at]) for at in (followed, followed + 1))
        same_first = these[0] == those[0]
        any_same = same_first | (these[0] == those[1]) | (these[1] == those[0]) | (these[1] == those[1])
        both = routed.used[:, :-1] & routed.used[:, 1:] & (routed.remaining[:-1, None] > 1)
        self.neighbours += len(followed)
        self.repeated += np.count_nonzero(both, axis=(1, 2))
        self.first_repeated += np.count_nonzero(same_first, axis=1)
        self.first_or_second_repeated += np.count_nonzero(any_same, axis=1)
        counts = tallied(first * routed.num_experts + second, routed.num_experts**2)
        self.choices += counts.reshape(self.choices.shape)

    def check(self) -> None:
        """Raise InputError for counts that no routing can have."""
        super().check()
        self._refuse_unless("no more tokens have a next one than there are", self.neighbours <= self.tokens)
        nested = (self.first_repeated <= self.first_or_second_repeated) & (
            self.first_or_second_repeated <= np.minimum(self.neighbours, self.repeated)
        )
        self._refuse_unless("what repeats in the first choice repeats in the others", nested.all())
        self._refuse_unless(
            "k experts of a pair repeat at most", (self.repeated <= self.top_k * self.neighbours).all()
        )
        self._refuse_unless("choices sum to tokens", (self.choices.sum(axis=(1, 2)) == self.tokens).all())
        self._refuse_unless("first choices are uses", (self.choices.sum(axis=2) <= self.uses).all())

    def table(self) -> pa.Table:
        """One row per layer.

        Each share comes with what it is expected to be for two tokens drawn independently from the layer's tokens
        (`expected_...`, in closed form from how often each expert, and each pair of first and second choice, is
        used), so that a layer that favours some experts everywhere does not pass for one that repeats itself.

        Returns:
            layer, tokens, neighbours; `share`, the share of a token's used experts that the next token uses too;
            `first_choice_share`, the share of pairs with the same most probable expert; `first_or_second_choice_share`,
            the share of pairs with at least one of the two most probable experts in common, null with k = 1. With
            evenly used experts the three are expected at k / E, 1 / E and 1 - C(E - 2, 2) / C(E, 2): 0.25, 0.125 and
            0.464 for Mixtral. Null where no token has a next one.
        """
        self.check()
        first, unordered = self.choices.sum(axis=2), self.choices + self.choices.transpose(0, 2, 1)
        either = unordered.sum(axis=2)
        two_in_common = (unordered.astype(float) ** 2).sum(
            axis=(1, 2)
        ) / 2  # each unordered pair stands there twice
        squares = float(self.tokens) ** 2
        known = np.nan if self.top_k == 1 else 1.0
        columns = {
            "layer": self.layers,
            "tokens": np.full(len(self.layers), self.tokens),
            "neighbours": np.full(len(self.layers), self.neighbours),
            "share": share(self.repeated, self.neighbours * self.top_k),
            "expected_share": share(_sum_of_squares(self.uses), squares * int(self.top_k)),
            "first_choice_share": share(self.first_repeated, self.neighbours),
            "expected_first_choice_share": share(_sum_of_squares(first), squares),
            "first_or_second_choice_share": share(self.first_or_second_repeated, self.neighbours) * known,
            "expected_first_or_second_choice_share": share(_sum_of_squares(either) - two_in_common, squares)
            * known,
        }
        return result_table(columns, shares=[name for name in columns if name.endswith("share")])


def _sum_of_squares(counts: np.ndarray) -> np.ndarray:
    """Float64 [layers] of [layers, experts]: over the squared number of tokens, the mean experts in common."""
    return (counts.astype(float) ** 2).sum(axis=1)
