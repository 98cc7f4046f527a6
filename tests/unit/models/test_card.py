"""The model card says what the files say, and nothing that no file says."""

from __future__ import annotations

from typing import Any

import pytest

from reference.model_files import CORPUS, STRUCTURE, TRAINING
from switchyard.models.card import model_card


def card(accuracy: float = 0.4, error: float = 0.05) -> str:
    assessment: dict[str, Any] = {
        "datasets": {
            "heldout": {"kind": "perplexity", "samples": 100, "perplexity": 17.346},
            "choice": {
                "kind": "choice",
                "samples": 96,
                "accuracy": accuracy,
                "standard_error": error,
                "chance": 0.25,
            },
        },
        "layers": [{"layer": 0, "experts_used": 61, "busiest_over_even": 3.456}],
    }
    return model_card("pocket", training=TRAINING, structure=STRUCTURE, assessment=assessment, corpus=CORPUS)


@pytest.mark.parametrize(
    "words",
    [
        "# pocket\n",
        "real olmoe architecture",
        "20 steps of 4 x 256 tokens (20,480 tokens), AdamW, peak rate 0.004, seed 7",
        "| 20,480 | 4.125 | 2.893 | 18.0 |",
        "| num_experts | 64 |",
        "| normalise | False |",
        "numpy 2.4.1: documents 1,200 test, 9,800 train",
        f"`{'ab' * 32}`",
        "| heldout | 100 | perplexity 17.35 |  |  |",
        "| choice | 96 | accuracy 0.400 ± 0.050 | 0.250 | 3.0 |",
        "| 0 | 61 | 3.46 |",
        "make study STUDY=studies/retrain.yaml",
    ],
)
def test_the_card_holds(words: str) -> None:
    assert words in card()


def test_a_perfect_score_has_no_standard_error_to_divide_by() -> None:
    assert "| choice | 96 | accuracy 1.000 ± 0.000 | 0.250 | inf |" in card(accuracy=1.0, error=0.0)


def test_every_table_is_rectangular() -> None:
    for block in card().split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_the_card_is_the_same_every_time() -> None:
    assert card() == card()
