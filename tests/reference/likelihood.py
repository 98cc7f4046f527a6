"""Plain versions of what `switchyard.evaluation` does fast: one sequence, one window, one token at a time."""

from __future__ import annotations

import math
from typing import Any

import torch


def log_likelihood(model: Any, input_ids: list[int], target_ids: list[int]) -> tuple[list[float], list[int]]:
    """Log-likelihood and likeliest token at each of the last `len(target_ids)` positions, from full logits."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([input_ids])).logits[0].double()
    found, best = [], []
    for row, target in zip(logits[len(input_ids) - len(target_ids) :].tolist(), target_ids, strict=True):
        highest = max(row)
        total = highest + math.log(sum(math.exp(value - highest) for value in row))
        found.append(row[target] - total)
        best.append(row.index(highest))
    return found, best


def rolling_windows(tokens: list[int], prefix: int, max_length: int) -> list[tuple[list[int], list[int]]]:
    """(fed, scored) windows by the book: score the next `max_length` tokens, feed as many that end before the last."""
    windows = []
    done = 0
    while done < len(tokens):
        scored = tokens[done : done + max_length]
        last = done + len(scored)
        before = [prefix, *tokens][:last]  # everything ahead of the last scored token
        fed = before[-max_length:] if done else before
        windows.append((fed, scored))
        done = last
    return windows


def choice_metrics(rows: list[dict[str, Any]]) -> dict[str, float]:
    """`acc`, `acc_norm` and the perplexity of the true ending, one row after another."""
    right = right_norm = tokens = 0
    loss = 0.0
    for row in rows:
        values = row["log_likelihood"]
        per_character = [value / length for value, length in zip(values, row["characters"], strict=True)]
        right += values.index(max(values)) == row["target"]
        right_norm += per_character.index(max(per_character)) == row["target"]
        loss -= values[row["target"]]
        tokens += row["target_tokens"][row["target"]]
    return {
        "acc": right / len(rows),
        "acc_norm": right_norm / len(rows),
        "perplexity": math.exp(loss / tokens),
    }
