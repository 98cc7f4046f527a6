"""A model and a tokenizer that are made in a moment, in the real architecture."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch

WORDS = (
    "the of and a in to that it is was for on as with by he at from his an were are which this be or had "
    "not but one first she has they their her been who also its two when there all after no other some into "
    "Pole vault dog cat tree house reads writes ends begins"
)
"""Words that get tokens of their own; other text is spelled in bytes."""


def write_documents(path: Path, *, number: int = 24, words: int = 30, seed: int = 0) -> list[str]:
    """Documents of random `WORDS` as JSON lines with a column `text`; returns them."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS.split(), k=words)) for _ in range(number)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return texts


def tiny_tokenizer() -> Any:
    """Byte-level BPE over `WORDS`; like OLMoE's it has an end of text, no beginning, and adds no token."""
    from switchyard.text.tokenizer import train_tokenizer

    return train_tokenizer([f"{WORDS} {WORDS}."], vocabulary_size=400)


def tiny_model(*, vocabulary: int = 400, experts: int = 8, top_k: int = 2, seed: int = 0) -> Any:
    """An OLMoE of two layers with random weights, large enough to give distinct answers."""
    from transformers import OlmoeConfig, OlmoeForCausalLM

    torch.manual_seed(seed)
    config = OlmoeConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_experts=experts,
        num_experts_per_tok=top_k,
        max_position_embeddings=128,
        initializer_range=0.2,
        pad_token_id=1,
        eos_token_id=0,
        bos_token_id=None,
    )
    return OlmoeForCausalLM(config).eval()
