"""The analyses of routing in plain loops: one token, one expert, one place at a time.

A text is a list of sequences, a sequence a list of tokens, a token the list of experts it uses, most probable first.
"""

from __future__ import annotations

import math
from itertools import combinations, pairwise

Token = list[int]
Text = list[list[Token]]


def tokens_of(text: Text) -> list[Token]:
    return [token for sequence in text for token in sequence]


def uses(text: Text, expert: int) -> int:
    return sum(expert in token for token in tokens_of(text))


def together(text: Text, expert: int, other: int) -> int:
    return sum(expert in token and other in token for token in tokens_of(text))


def saturation(then: list[Token], final: list[Token]) -> float:
    shares = [len(set(a) & set(b)) / len(b) for a, b in zip(then, final, strict=True)]
    return sum(shares) / len(shares)


def neighbours(text: Text) -> list[tuple[Token, Token]]:
    return [pair for sequence in text for pair in pairwise(sequence)]


def measures_of_repetition(pairs: list[tuple[Token, Token]]) -> tuple[float, float, float] | None:
    """Shares over pairs of tokens: of the experts in common, of an equal first choice, of one of the first two."""
    if not pairs:
        return None
    in_common = [len(set(a) & set(b)) / len(a) for a, b in pairs]
    first = [a[0] == b[0] for a, b in pairs]
    first_or_second = [bool(set(a[:2]) & set(b[:2])) for a, b in pairs]
    return tuple(math.fsum(values) / len(pairs) for values in (in_common, first, first_or_second))


def independent_pairs(text: Text) -> list[tuple[Token, Token]]:
    """Every token with every token, itself included: two tokens drawn independently."""
    return [(a, b) for a in tokens_of(text) for b in tokens_of(text)]


def segments(text: Text, length: int) -> list[list[Token]]:
    return [
        sequence[start : start + length] for sequence in text for start in range(len(sequence) - length + 1)
    ]


def segment_routing(text: Text, length: int, num_experts: int) -> tuple[float, int, float] | None:
    """Best F1, the number of uses from which on an expert is activated, activated experts over used ones."""
    found = segments(text, length)
    best = None
    for threshold in range(1, length + 1):
        true_positive = false_positive = false_negative = activated = used = 0
        for segment in found:
            for expert in range(num_experts):
                frequency = sum(expert in token for token in segment)
                used += frequency
                activated += length * (frequency >= threshold)
                for token in segment:
                    active = frequency >= threshold
                    true_positive += active and expert in token
                    false_positive += active and expert not in token
                    false_negative += not active and expert in token
        if used:
            f1 = 2 * true_positive / (2 * true_positive + false_positive + false_negative)
            if best is None or f1 > best[0]:
                best = (f1, threshold, activated / used)
    return best


def independent_segment_routing(text: Text, length: int, num_experts: int) -> float:
    """The best F1 where each of a segment's tokens is drawn on its own: an expert's tokens are binomial."""
    tokens = tokens_of(text)
    best = 0.0
    for threshold in range(1, length + 1):
        true_positive = false_positive = false_negative = 0.0
        for expert in range(num_experts):
            p = uses(text, expert) / len(tokens)
            for f in range(length + 1):
                probability = math.comb(length, f) * p**f * (1 - p) ** (length - f)
                if f >= threshold:
                    true_positive += probability * f
                    false_positive += probability * (length - f)
                else:
                    false_negative += probability * f
        best = max(best, 2 * true_positive / (2 * true_positive + false_positive + false_negative))
    return best


def cache_hits(text: Text, length: int, size: int) -> int:
    hits = 0
    for sequence in text:
        cached: set[int] = set()
        for place, token in enumerate(sequence):
            hits += len(cached & set(token))
            cached |= set(token)
            ahead = sequence[place + 1 : place + 1 + length]
            while len(cached) > size:
                idle = cached - set(token)
                wanted = {expert: sum(expert in other for other in ahead) for expert in idle}
                cached.remove(min(idle, key=lambda expert: (wanted[expert], -expert)))
    return hits


def best_fixed_cache(text: Text, size: int, num_experts: int) -> float:
    """The best hit rate of any fixed set of experts, over all sets."""
    total = sum(len(token) for token in tokens_of(text))
    sets = combinations(range(num_experts), size)
    return max(sum(uses(text, expert) for expert in chosen) for chosen in sets) / total


def occurrences(
    tokens: list[tuple[str, int, Token]], *, domain: str | None = None, token_id: int | None = None
) -> list[Token]:
    """Experts of the tokens (domain, token id, experts) of a domain, or with a token id."""
    return [
        experts
        for of, number, experts in tokens
        if (domain is None or of == domain) and (token_id is None or number == token_id)
    ]


def routed_share(found: list[Token], expert: int, choices: int) -> float:
    """Share of tokens that have the expert among their first `choices`."""
    return sum(expert in experts[:choices] for experts in found) / len(found)


def favourite(found: list[Token], num_experts: int, choices: int) -> tuple[int, float]:
    """The expert with the largest share, the lowest of equals, and the share."""
    shares = [routed_share(found, expert, choices) for expert in range(num_experts)]
    return shares.index(max(shares)), max(shares)
