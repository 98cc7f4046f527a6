"""A completion written one token at a time, the whole text fed again for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


@torch.inference_mode()
def complete(
    model: Any, tokenizer: Any, problem: dict[str, Any], number: int, settings: Any
) -> tuple[str, int, str]:
    """Text, tokens and end of completion `number`; the model routes as it was trained."""
    random = np.random.default_rng([settings.seed, problem["sample_id"], number])
    prompt = tokenizer.encode(problem["prompt"])
    ids = list(prompt)
    while True:
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double()
        ids.append(drawn(logits, random, settings) if number else int(logits.argmax()))
        text = tokenizer.decode(ids, skip_special_tokens=True)[len(tokenizer.decode(prompt)) :]
        written = len(ids) - len(prompt)
        if ids[-1] == tokenizer.eos_token_id:
            return text, written, "end of text"
        for place in range(len(text)):
            if any(text[place:].startswith(stop) for stop in problem["stop"]):
                return text[:place], written, "stop"
        if written == settings.max_new_tokens:
            return text, written, "length"


def drawn(logits: torch.Tensor, random: np.random.Generator, settings: Any) -> int:
    """The token at which the running sum of probabilities passes a uniform share of those that are kept."""
    shares = (logits / settings.temperature).softmax(-1).tolist()
    order = sorted(range(len(shares)), key=lambda token: (-shares[token], token))
    kept, total = [], 0.0
    for token in order:
        kept.append(token)
        total += shares[token]
        if total >= settings.top_p:
            break
    aim, passed = random.random() * total, 0.0
    for token in kept:
        passed += shares[token]
        if passed > aim:
            return token
    return kept[-1]
