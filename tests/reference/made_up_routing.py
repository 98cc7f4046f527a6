"""Made-up routing for tests: texts of `routing_analyses`, one per layer, and the arrays that the library takes."""

from __future__ import annotations

import numpy as np

from reference.routing_analyses import Text

SHAPES = [
    (6, 2, [9, 4, 1, 7]),
    (5, 3, [6, 0, 2]),
    (4, 1, [8, 3]),
    (1, 1, [3, 2]),
    (3, 3, [5]),
    (64, 8, [20, 33]),
    (8, 2, [1]),
    (8, 2, [1, 1, 1]),
    (8, 2, [0]),
    (8, 2, []),
]
"""Experts, experts per token, lengths of sequences: ordinary ones, one expert, k = E, single tokens, nothing at all."""


def routing(num_experts: int, top_k: int, lengths: list[int], layers: int = 3, seed: int = 0) -> list[Text]:
    """Random texts, one per layer, that favour low experts and repeat themselves now and then."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, num_experts + 1)
    texts: list[Text] = []
    for _ in range(layers):
        text: Text = []
        for length in lengths:
            sequence: list[list[int]] = []
            for place in range(length):
                drawn = rng.choice(num_experts, top_k, replace=False, p=weights / weights.sum())
                again = place > 0 and rng.random() < 0.4
                sequence.append(rng.permutation(sequence[-1]).tolist() if again else drawn.tolist())
            text.append(sequence)
        texts.append(text)
    return texts


def flat(texts: list[Text], top_k: int) -> tuple[np.ndarray, list[int]]:
    """Experts [layers, tokens, k] and the lengths of the sequences."""
    lengths = [len(sequence) for sequence in texts[0]]
    experts = np.array([[token for sequence in text for token in sequence] for text in texts], int)
    return experts.reshape(len(texts), sum(lengths), top_k), lengths
