"""Expert co-activation: which experts are used together for the same token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from switchyard.observation.counters import RoutingCounter, result_table, share
from switchyard.observation.routed_tokens import RoutedTokens


@dataclass(kw_only=True)
class Coactivation(RoutingCounter):
    """How often every two experts of a layer are used by the same token (OLMoE, arXiv:2409.02060, section 5).

    All pairs among the k experts of a token count, not only neighbours in the order of probability.

    Attributes:
        together: [layers, experts, experts], tokens that used both experts; symmetric, with the uses on its diagonal.
    """

    together: np.ndarray

    @classmethod
    def _blank(cls, shape: tuple[int, int], top_k: int) -> dict[str, np.ndarray]:
        return {"together": np.zeros((*shape, shape[1]))}

    def _count(self, routed: RoutedTokens) -> None:
        for layer, used in enumerate(routed.used):
            ones = used.astype(np.float32)
            self.together[layer] += (ones.T @ ones).astype(np.int64)

    def check(self) -> None:
        """Raise InputError for counts that no routing can have."""
        super().check()
        uses, together = self.uses, self.together
        shape = (*uses.shape, uses.shape[1])
        self._refuse_unless("pairs are of every layer and two experts", together.shape == shape)
        self._refuse_unless("pairs are symmetric", (together == together.transpose(0, 2, 1)).all())
        self._refuse_unless(
            "an expert is used with itself whenever it is used",
            (np.diagonal(together, axis1=1, axis2=2) == uses).all(),
        )
        self._refuse_unless(
            "no pair is used more often than either expert",
            (together <= np.minimum(uses[:, :, None], uses[:, None])).all(),
        )
        self._refuse_unless(
            "an expert's pairs sum to uses x k", (together.sum(axis=2) == self.top_k * uses).all()
        )

    def table(self) -> pa.Table:
        """One row per layer and ordered pair of different experts.

        Returns:
            layer, expert, other; `together`, tokens that used both; `uses`, tokens that used the expert; `share` =
            together / uses, the share of the expert's tokens that used the other too, null for an expert never used;
            `expected_share` = uses of the other / tokens, what it would be if the two were independent. A token
            uses k different experts, so that evenly used experts chosen at random stay below that: their share is
            (k - 1) / (E - 1), not k / E.
        """
        self.check()
        layers, expert, other = np.nonzero(
            np.broadcast_to(~np.eye(int(self.num_experts), dtype=bool), self.together.shape)
        )
        together, uses = self.together[layers, expert, other], self.uses[layers, expert]
        columns = {
            "layer": self.layers[layers],
            "expert": expert,
            "other": other,
            "together": together,
            "uses": uses,
            "share": share(together, uses),
            "expected_share": share(self.uses[layers, other], self.tokens),
        }
        return result_table(columns, shares=["share", "expected_share"])
