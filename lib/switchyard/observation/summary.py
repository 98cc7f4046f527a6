"""What an observation read and counted, in words: `analysis_summary.txt`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from switchyard.observation.shards import Observation

COMMONEST = 10
"""Token ids that are named."""


def summary_text(
    seen: Observation, names: Mapping[int, str], *, model: str, corpus: str, shards: int, batches: int
) -> str:
    """The summary: totals, then a block per layer.

    Args:
        seen: the observation of the whole corpus.
        names: the strings of the token ids that were seen.
        corpus: what was read, in words.
    """
    lines = ["Routing analysis", "=" * 60, *_totals(seen, model, corpus, shards, batches)]
    for place in range(len(seen.statistics.layers)):
        lines += ["", *_layer(seen, place, names)]
    return "\n".join(lines) + "\n"


def kept_contexts(seen: Observation) -> dict[int, float]:
    """By number of previous tokens: the share of tokens that have so many and whose n-gram is counted."""
    uses = seen.ngrams.uses  # [domains, contexts]
    kept = np.nansum(seen.ngrams.kept() * uses, axis=0) / np.maximum(uses.sum(axis=0), 1)
    return dict(enumerate(kept.tolist(), start=1))


def _totals(seen: Observation, model: str, corpus: str, shards: int, batches: int) -> Iterator[str]:
    statistics, totals = seen.statistics, seen.totals
    yield f"Model: {model}, {statistics.num_experts} experts, {statistics.top_k} used per token"
    yield f"Corpus: {corpus}, domains: {', '.join(statistics.domains)}"
    yield f"Work: {batches:,} batches in {shards} shards"
    yield f"Tokens counted: {totals['tokens']:,}"
    yield f"Special tokens, not counted: {totals['special']:,}"
    yield f"Padding, not counted: {totals['padding']:,}"
    yield f"Token types: {int((statistics.frequency[0] > 0).sum()):,} of {statistics.num_keys:,}"
    for context, share in kept_contexts(seen).items():
        yield f"Tokens with {context} before them whose n-gram is counted: {share:.1%}"


def _layer(seen: Observation, place: int, names: Mapping[int, str]) -> Iterator[str]:
    statistics = seen.statistics
    frequency = statistics.frequency[place]
    entropy, confidence = (statistics.mean[moment, place] for moment in range(2))
    tokens = frequency.sum()
    used = statistics.uses[place].sum(axis=(0, 1))
    yield f"Layer {statistics.layers[place]}"
    most = np.log(statistics.num_experts)
    yield f"  Mean entropy over tokens: {(entropy * frequency).sum() / tokens:.4f} nats, at most {most:.4f}"
    yield f"  Mean confidence over tokens: {(confidence * frequency).sum() / tokens:.4f}"
    yield f"  Busiest expert: {int(used.argmax())}, {used.max() / used.mean():.2f} times an even share"
    yield f"  Experts never used: {int((used == 0).sum())}"
    commonest = np.argsort(-frequency, kind="stable")[:COMMONEST]
    commonly = (
        f"{names[one]!r} {frequency[one]:,} x {entropy[one]:.3f}" for one in commonest if frequency[one]
    )
    yield f"  Commonest tokens, frequency x mean entropy: {', '.join(commonly)}"
