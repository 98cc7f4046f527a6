"""What stands beside a shipped model: its training, its structure, and its corpus."""

from __future__ import annotations

import math

TRAINING = {
    "recipe": {
        "architecture": "olmoe",
        "steps": 20,
        "batch_size": 4,
        "sequence_length": 256,
        "learning_rate": 0.004,
        "seed": 7,
    },
    "log": [
        {"step": 10, "tokens": 10240, "training_loss": 5.25, "validation_loss": 5.0},
        {"step": 20, "tokens": 20480, "training_loss": 4.125, "validation_loss": math.log(18.04)},
    ],
}
STRUCTURE = {
    "num_layers": 4,
    "hidden_size": 128,
    "num_experts": 64,
    "top_k": 8,
    "intermediate_size": 64,
    "normalise": False,
    "vocab_size": 4096,
}
CORPUS = {
    "packages": {"numpy": "2.4.1"},
    "documents": {"test": 1200, "train": 9800},
    "fingerprint": "ab" * 32,
}
