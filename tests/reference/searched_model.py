"""A tiny model on a made-up text with made-up statistics: what points of a search are judged on in tests."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from reference.tiny import WORDS, tiny_model, tiny_tokenizer
from switchyard.evaluation.sequences import build_samples
from switchyard.models.blocks import describe
from switchyard.search.candidates import Subject, VARCandidates
from switchyard.search.evaluator import Evaluator
from switchyard.text.sources import Row
from switchyard.text.tasks import prepare
from switchyard.var.table import RoutingTable

LAYERS, EXPERTS, TOP_K, LIMIT = 2, 8, 4, 0.005
SETTINGS = {
    "frequency_threshold": 4,
    "entropy_threshold": 1.2,
    "confidence_threshold": 1.0,
    "cache_size": 0,
    "fast_path_experts": 2,
    "route_weights": "table",
}
NOTHING = {**SETTINGS, "entropy_threshold": 0.0}


class Made:
    """A tiny model, its text, and made-up statistics of it."""

    def __init__(self) -> None:
        tokenizer = tiny_tokenizer()
        model = tiny_model(vocabulary=len(tokenizer), experts=EXPERTS, top_k=TOP_K)
        words = WORDS.split()
        texts = [" ".join(words[one : one + 6]) for one in range(0, 36, 4)]
        rows = [Row.of("made.jsonl", number, {"text": text}) for number, text in enumerate(texts, 1)]
        self.dataset = prepare(rows, kind="perplexity", layout="plain")
        samples = build_samples(self.dataset, tokenizer, max_length=24)
        self.structure = describe(model.config)
        self.subject = Subject(model, tokenizer, self.structure, "perplexity", samples, 96)
        rng = np.random.default_rng(0)
        known = rng.permutation(len(tokenizer))[:300]
        self.rows = [
            {
                "layer": layer,
                "token_id": int(token),
                "frequency": int(rng.integers(1, 12)),
                "mean_entropy": float(rng.uniform(0.2, math.log(EXPERTS))),
                "mean_confidence": float(rng.uniform(0.2, 0.9)),
                "experts": rng.permutation(EXPERTS)[:TOP_K].tolist(),
                "weights": rng.dirichlet(np.ones(TOP_K)).astype(np.float32).tolist(),
            }
            for layer in range(LAYERS)
            for token in known
        ]
        self.table = RoutingTable.of(pa.Table.from_pylist(self.rows))

    def evaluator(self, **settings) -> Evaluator:
        return Evaluator(self.subject, LIMIT, **settings)

    def candidates(self, evaluator: Evaluator) -> VARCandidates:
        return VARCandidates.of(self.subject, self.table, evaluator.highest_confidence, 1000.0)

    def eligible(self) -> dict[tuple[int, int], dict]:
        """Rows that SETTINGS let through."""
        return {
            (row["layer"], row["token_id"]): row
            for row in self.rows
            if row["frequency"] >= 4 and row["mean_entropy"] < 1.2
        }
