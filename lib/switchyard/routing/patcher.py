"""The source documents' router patcher: a thin face over `attach` with a routing log in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from switchyard.errors import InputError
from switchyard.routing.attachment import attach
from switchyard.routing.bh import BenjaminiHochberg
from switchyard.routing.nulls import NullDistribution, p_values
from switchyard.routing.topk import TopK

if TYPE_CHECKING:
    from torch import Tensor, nn

    from switchyard.routing.selection import RoutingRule, Selection, TokenContext

SHOWN_TOKENS = 5
"""Tokens of each layer whose logits and p-values stand in the log."""
PREVIEW_CHARACTERS = 100


class OLMoERouterPatcher:
    """Patch a model's routers, log what they choose sample by sample, and unpatch.

    `nulls` holds one NullDistribution per layer, for `patch_with_bh`. A logged sample is a dict with `sample_id,
    text_preview, num_tokens, loss, layers`, the layers as in an internal routing log; the rows of one batch are
    the sequences of the sample, and successive forwards append to its layer entries. An unpatched model may be
    logged too. Memory grows with the log: for whole experiments use the pipeline's traces.
    """

    def __init__(self, model: nn.Module, nulls: Sequence[NullDistribution] | None = None) -> None:
        self.model = model
        self.nulls = nulls
        self.internal_logs: list[dict[str, Any]] = []
        self.current_sample: dict[str, Any] | None = None
        self._rule: RoutingRule | None = None
        self._patch = ExitStack()
        self._native = ExitStack()
        self._parts: dict[tuple[int, int], list[dict[str, np.ndarray]]] = defaultdict(list)

    def patch_with_topk(self, k: int, *, weighting: str = "model") -> None:
        """Route by static top-k; a patch already there is taken out first."""
        self._put_in(TopK(k, weighting=weighting))

    def patch_with_bh(self, alpha: float, max_k: int, min_k: int = 1, *, weighting: str = "model") -> None:
        """Route by Benjamini-Hochberg at level `alpha`; a patch already there is taken out first.

        Raises InputError where the patcher was made without nulls.
        """
        if self.nulls is None:
            raise InputError(
                "patch_with_bh: no null distributions, make OLMoERouterPatcher(model, nulls=...) with them"
            )
        self._put_in(BenjaminiHochberg(alpha, max_k, min_k, null=self.nulls, weighting=weighting))

    def unpatch(self) -> None:
        """Give the model its own routing back; nothing to do where there is no patch."""
        self._native.close()
        self._patch.close()
        self._rule = None

    def start_sample_logging(self, sample_id: int, text_preview: str) -> None:
        """Log every forward from here on to a new sample.

        Raises:
            InputError: another sample is still being logged.
        """
        if self.current_sample is not None:
            raise InputError(f"sample {self.current_sample['sample_id']} is still being logged, end it first")
        self.current_sample = {"sample_id": sample_id, "text_preview": text_preview[:PREVIEW_CHARACTERS]}
        self._parts.clear()
        if self._rule is None:
            self._native.enter_context(attach(self.model, None, observer=self._observe))

    def end_sample_logging(self, loss: float) -> None:
        """Finish the sample, with its loss, and put it into the log.

        Raises:
            InputError: no sample is being logged.
        """
        if self.current_sample is None:
            raise InputError("end_sample_logging: no sample is being logged, call start_sample_logging first")
        self._native.close()
        layers = [self._layer_entry(*key, self._parts[key]) for key in sorted(self._parts)]
        tokens = sum(len(entry["expert_counts"]) for entry in layers if entry["layer"] == 0)
        self.internal_logs.append(
            {**self.current_sample, "num_tokens": tokens, "loss": loss, "layers": layers}
        )
        self.current_sample = None
        self._parts.clear()

    def get_internal_logs(self) -> list[dict[str, Any]]:
        """The samples logged so far."""
        return self.internal_logs

    def clear_internal_logs(self) -> None:
        """Forget the samples logged so far."""
        self.internal_logs = []

    def get_aggregate_stats(self) -> dict[str, Any]:
        """Counts and usage over every sample logged, {} where there is none; `per_layer_*` are lists by layer."""
        entries = [entry for sample in self.internal_logs for entry in sample["layers"]]
        if not entries:
            return {}
        by_layer = [
            [entry for entry in entries if entry["layer"] == layer]
            for layer in range(1 + max(entry["layer"] for entry in entries))
        ]
        counts = [np.concatenate([entry["expert_counts"] for entry in layer]) for layer in by_layer]
        pooled = np.concatenate(counts)
        return {
            "total_samples": len(self.internal_logs),
            "total_tokens": len(counts[0]),
            "avg_experts": float(pooled.mean()),
            "std_experts": float(pooled.std()),
            "min_experts": int(pooled.min()),
            "max_experts": int(pooled.max()),
            "per_layer_avg_experts": [float(layer.mean()) for layer in counts],
            "per_layer_std_experts": [float(layer.std()) for layer in counts],
            "per_layer_ceiling_hits": _sum_stat(by_layer, "ceiling_hits"),
            "per_layer_floor_hits": _sum_stat(by_layer, "floor_hits"),
            "expert_usage_counts": [_usage(layer) for layer in by_layer],
        }

    def _put_in(self, rule: RoutingRule) -> None:
        if self.current_sample is not None:
            raise InputError(
                f"sample {self.current_sample['sample_id']} is being logged, end it before patching anew"
            )
        self.unpatch()
        self._patch.enter_context(attach(self.model, rule, observer=self._observe))
        self._rule = rule

    def _observe(self, layer: int, logits: Tensor, selection: Selection, context: TokenContext) -> None:
        if self.current_sample is None:
            return
        for row in context.sample.unique().tolist():
            of_row = (context.sample == row) & context.is_token
            parts = {
                "logits": logits.float(),
                "experts": selection.experts,
                "weights": selection.weights.float(),
                "count": selection.count,
            }
            self._parts[row, layer].append({name: part[of_row].cpu().numpy() for name, part in parts.items()})

    def _layer_entry(self, sequence: int, layer: int, parts: list[dict[str, np.ndarray]]) -> dict[str, Any]:
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        logits, count = whole["logits"], whole["count"]
        tests = isinstance(self._rule, BenjaminiHochberg)
        return {
            "layer": layer,
            "sequence": sequence,
            "router_logits_shape": list(logits.shape),
            "selected_experts": _first_of_each(whole["experts"], count),
            "expert_weights": _first_of_each(whole["weights"], count),
            "expert_counts": count.tolist(),
            "router_logits_sample": logits[:SHOWN_TOKENS].tolist(),
            "p_values_sample": p_values(logits[:SHOWN_TOKENS], self.nulls[layer]).tolist() if tests else None,
            "layer_stats": {
                "avg_experts": float(count.mean()),
                "std_experts": float(count.std()),
                **self._limit_hits(count),
            },
        }

    def _limit_hits(self, count: np.ndarray) -> dict[str, int]:
        """Tokens on the ceiling and on the floor; a static rule is all ceiling and no floor."""
        rule = self._rule
        if not isinstance(rule, BenjaminiHochberg) or rule.min_k == rule.max_k:
            return {"ceiling_hits": len(count), "floor_hits": 0}
        return {
            "ceiling_hits": int((count == rule.max_k).sum()),
            "floor_hits": int((count == rule.min_k).sum()),
        }


def _first_of_each(values: np.ndarray, count: np.ndarray) -> list[list]:
    """The first `count` values of each row: [tokens, slots] and [tokens] to lists of their own lengths."""
    return [row[:used].tolist() for row, used in zip(values, count, strict=True)]


def _sum_stat(by_layer: list[list[dict[str, Any]]], name: str) -> list[int]:
    return [sum(entry["layer_stats"][name] for entry in layer) for layer in by_layer]


def _usage(layer: list[dict[str, Any]]) -> list[int]:
    """How often each expert was used, [num_experts]."""
    used = [expert for entry in layer for token in entry["selected_experts"] for expert in token]
    return np.bincount(np.array(used, dtype=np.int64), minlength=layer[0]["router_logits_shape"][1]).tolist()
