"""What the scores in a file are, which its model's routers chose experts by: the NumPy twin of `families.Router`.

Traces and calibration logits hold selection scores. These are the router's logits, or with a correction bias its
probabilities plus the bias. A file of a family that is not softmax, then top-k says in its schema's metadata how its
probabilities are had back; other files say nothing, and their scores are logits of a softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
import pyarrow.parquet as pq

from switchyard.artifacts.files import readable

KEY = b"switchyard.scores"
"""Key of the description in a Parquet file's schema metadata."""

_TINY = float(np.finfo(np.float32).tiny)
"""The least probability: of less the bias has left nothing in float32."""


@dataclass(frozen=True, eq=False)
class Scores:
    """The selection scores of a model: E experts in L layers.

    A score with a bias is rounded to float32, so that probabilities come back to half a unit in the last place of the
    bias: 6e-8 for biases between 0.5 and 1.
    """

    score: str = "softmax"
    """`softmax` or `sigmoid`: the router's probability of an expert, from its logit."""
    biases: np.ndarray | None = None
    """float32 [L, E], the correction biases; None where scores are logits."""
    groups: tuple[int, int] | None = None
    """Groups of experts there are, and groups that a token may use; None where it may use all experts."""
    group_score: str | None = None
    """How a group is scored, `largest` or `two_largest`."""

    @property
    def are_logits(self) -> bool:
        """Whether softmax of the scores is the router's probabilities."""
        return self.score == "softmax" and self.biases is None

    @property
    def is_plain(self) -> bool:
        """Whether they are logits and no expert is left out before the choice."""
        return self.are_logits and self.groups is None

    def log_probabilities(self, scores: np.ndarray, layer: np.ndarray | int) -> np.ndarray:
        """Numbers whose softmax is the router's probabilities divided by their sum; scores that are logits as they are.

        Shapes: scores [R, E], layer [R] or one for all; float64 [R, E].
        """
        if self.are_logits:
            return scores
        scores = scores.astype(np.float64)
        if self.biases is None:
            return -np.logaddexp(0.0, -scores)
        return np.log(np.maximum(scores - self.biases[layer].astype(np.float64), _TINY))

    def eligible(self, scores: np.ndarray) -> np.ndarray:
        """What rules see: the scores [R, E], minus infinity for experts outside the token's best groups."""
        if self.groups is None:
            return scores
        num_groups, used = self.groups
        grouped = scores.reshape(len(scores), num_groups, -1)  # [R, groups, experts of a group]
        ascending = np.sort(grouped, axis=-1)
        best = ascending[..., -1] if self.group_score == "largest" else ascending[..., -2:].sum(axis=-1)
        left_out = np.ones(best.shape, bool)
        np.put_along_axis(left_out, np.argsort(-best, axis=-1, kind="stable")[:, :used], False, axis=-1)
        return np.where(left_out[..., None], -np.inf, grouped).reshape(scores.shape)

    def as_rules_see(
        self, p_values: Callable[[np.ndarray, int], np.ndarray] | None
    ) -> Callable[[np.ndarray, int], np.ndarray] | None:
        """`p_values(scores [R, E], layer)` of a rule, of the scores that it saw: 1 for an expert that was left out."""
        if p_values is None or self.groups is None:
            return p_values
        return lambda scores, layer: p_values(self.eligible(scores), layer)

    def metadata(self) -> dict[bytes, bytes]:
        """The entry of a file's schema metadata; none where the scores are plain."""
        if self.is_plain:
            return {}
        fields = {
            "score": self.score,
            "biases": self.biases,
            "groups": self.groups,
            "group_score": self.group_score,
        }
        return {KEY: orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> Self:
        """The scores of a file with this schema metadata."""
        fields: dict[str, Any] = orjson.loads((metadata or {}).get(KEY, b"{}"))
        if fields.get("biases") is not None:
            fields["biases"] = np.array(fields["biases"], np.float32)
        if fields.get("groups") is not None:
            fields["groups"] = tuple(fields["groups"])
        return cls(**fields)

    @classmethod
    def of_file(cls, path: str | Path) -> Self:
        """The scores of a Parquet file."""
        with readable(path):
            return cls.from_metadata(pq.read_schema(path).metadata)
