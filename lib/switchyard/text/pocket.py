"""Three evaluation sets from the test documents of the pocket corpus, named for what they are.

`perplexity` holds the beginnings of documents. `cloze` asks for the last word of a passage, a content word that
stood in the passage before. `choice` asks which of four endings follows a context; the three wrong ones come from
other documents and are matched to the true one in length and in unconditional likelihood, so that context decides.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator

import pyarrow as pa

from switchyard.errors import InputError

PAGE_CHARACTERS = 600
"""A page is the beginning of a document, cut after a word: a hundred windows are to come from many documents, not from
a few long ones, whose luck would be the result."""

CONTENT_WORD_SHARE = 0.25
"""A content word stands in fewer than this share of the training documents."""

CLOZE_WORDS = (30, 70)
"""Least and most words of a passage before its last word."""

CONTEXT_WORDS = 24
ENDING_WORDS = 10

OPTIONS = 4

LONGEST_TO_SHORTEST = 1.1
"""Questions whose longest option is longer than this many times the shortest are left out."""

LENGTH_GROUP = 48
"""Endings are compared with endings of nearly their own length: groups of this many in order of length."""

_WORD = re.compile(r"[A-Za-z]{4,}")
_UNIT = re.compile(r"\w+|[^\w\s]")


def prepare_pocket(kind: str, documents: pa.Table, *, samples: int | None, split: str = "test") -> pa.Table:
    """All samples of a kind from a corpus table (columns name, split, digest, text); evaluations take the first.

    For `perplexity` a row is the beginning of a document, and `samples`, which counts windows there, does not apply.

    Raises:
        InputError: the split gives fewer than `samples` samples.
    """
    sides: dict[str, list[str]] = {}
    for side, text in zip(documents["split"].to_pylist(), documents["text"].to_pylist()):
        sides.setdefault(side, []).append(text)
    builder = {"perplexity": _pages, "cloze": _cloze, "choice": _choice}[kind]
    found = list(builder(sides.get(split, []), sides.get("train", [])))
    if not found or kind != "perplexity" and len(found) < (samples or 1):
        raise InputError(
            f"datasets: the pocket corpus gives {len(found)} {kind} samples in its {split} split, {samples} are "
            "asked for; lower `samples` or add packages to the corpus"
        )
    return pa.Table.from_pylist([{"sample_id": i, **row} for i, row in enumerate(found)])


def common_words(texts: list[str]) -> set[str]:
    """Lower-case words that stand in at least `CONTENT_WORD_SHARE` of the texts."""
    counts = Counter(word for text in texts for word in {w.lower() for w in _WORD.findall(text)})
    return {word for word, count in counts.items() if count >= CONTENT_WORD_SHARE * len(texts)}


def _pages(test: list[str], train: list[str]) -> Iterator[dict]:
    for page, whole in enumerate(test):
        text = beginning(whole)
        yield {
            "text": text,
            "page": page,
            "original_bytes": len(text.encode()),
            "original_words": len(re.split(r"\s+", text)),
        }


def beginning(text: str) -> str:
    """At most `PAGE_CHARACTERS` of a text, cut after a word."""
    if len(text) <= PAGE_CHARACTERS:
        return text
    return re.match(rf"(?s).{{1,{PAGE_CHARACTERS}}}(?=\s)|.{{{PAGE_CHARACTERS}}}", text)[0].rstrip()


def _cloze(test: list[str], train: list[str]) -> Iterator[dict]:
    dull = common_words(train)
    least, most = CLOZE_WORDS
    for text in test:
        places = list(re.finditer(r"\S+", text))[least:most]
        for place in reversed(places):
            word = _WORD.match(place.group())
            if not word or text[place.start() - 1] != " " or word.group().lower() in dull:
                continue
            end = place.start() + word.end()
            context = text[: place.start() - 1]
            whole = re.match(r"\W|$", text[end:])
            if whole and re.search(rf"\b{word.group()}\b", context):
                yield {"context": context, "target": word.group()}
                break


def _choice(test: list[str], train: list[str]) -> Iterator[dict]:
    by_ending: dict[str, tuple[str, str]] = {}  # two documents may share an ending: options must differ
    for pair in filter(None, map(_context_and_ending, test)):
        by_ending.setdefault(pair[1], pair)
    pairs = list(by_ending.values())
    blocks = _matched([ending for _, ending in pairs], _unigram_cost(train))
    seen: Counter[int] = Counter()
    excess = 0
    for own, (context, ending) in enumerate(pairs):
        if not blocks[own]:
            continue
        # Neither likelihood nor length is to be a clue: the block is taken that keeps the true ending's ranks even.
        block, likelihood_rank, length_rank = min(
            blocks[own], key=lambda candidate: seen[candidate[1]] + abs(excess + candidate[2])
        )
        seen[likelihood_rank] += 1
        excess += length_rank
        options = [pairs[i][1] for i in block if i != own]
        label = own // OPTIONS % OPTIONS
        options.insert(label, ending)
        yield {
            "context": context,
            "options": options,
            "characters": [len(o) for o in options],
            "label": label,
        }


Block = tuple[list[int], int, int]
"""Four endings, and of the true one: its rank in likelihood, and how many are shorter less how many are longer."""


def _matched(endings: list[str], cost: Callable[[str], float]) -> list[list[Block]]:
    """For each ending, the blocks of four of about its length and likelihood that it could stand in.

    Blocks are runs in order of likelihood per character among endings of nearly the same length. Taking the nearest
    neighbours of an ending instead would make it the odd one out.
    """
    by_length = sorted(range(len(endings)), key=lambda i: (len(endings[i]), i))
    found: list[list[Block]] = [[] for _ in endings]
    for start in range(0, len(by_length), LENGTH_GROUP):
        group = by_length[start : start + LENGTH_GROUP]
        ranked = sorted(group, key=lambda i: (cost(endings[i]) / len(endings[i]), i))
        for first in range(len(ranked) - OPTIONS + 1):
            block = ranked[first : first + OPTIONS]
            lengths = [len(endings[i]) for i in block]
            if max(lengths) <= LONGEST_TO_SHORTEST * min(lengths):
                for place, own in enumerate(block):
                    shorter = sum(length < lengths[place] for length in lengths)
                    longer = sum(length > lengths[place] for length in lengths)
                    found[own].append((block, place, shorter - longer))
    return found


def _context_and_ending(text: str) -> tuple[str, str] | None:
    """The last words of a document's first half, and the words that follow them after a plain space."""
    places = list(re.finditer(r"\S+", text))
    for split in range(max(CONTEXT_WORDS, len(places) // 2), len(places) - ENDING_WORDS):
        start, last = places[split].start(), places[split + ENDING_WORDS - 1].end()
        if text[start - 1] == " " and text[start - 2] != " ":
            return text[places[split - CONTEXT_WORDS].start() : start - 1], text[start:last]
    return None


def _unigram_cost(texts: list[str]) -> Callable[[str], float]:
    """Negative log-likelihood in nats of a text under add-one unigram frequencies of words and signs."""
    counts = Counter(unit.lower() for text in texts for unit in _UNIT.findall(text))
    total = sum(counts.values()) + len(counts) + 1
    return lambda text: -sum(math.log((counts[unit.lower()] + 1) / total) for unit in _UNIT.findall(text))
