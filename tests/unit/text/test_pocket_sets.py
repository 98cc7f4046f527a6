"""The three pocket sets: what a sample promises, and that nothing but the context gives the answer away."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from switchyard.errors import InputError
from switchyard.text import pocket
from switchyard.text.kinds import SCHEMAS
from switchyard.text.pocket import PAGE_CHARACTERS, beginning, common_words, prepare_pocket

COMMON = ["the", "which", "values", "array", "returns", "given", "axis"]


def vocabulary(size: int) -> list[str]:
    """Words of four to nine letters, as many as asked for."""
    rng = random.Random(7)
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(4, 9))) for _ in range(size)]


def document(rng: random.Random, words: list[str]) -> str:
    """A hundred words about five of them, on lines of ten."""
    topic = rng.sample(words, 5)
    chosen = [
        rng.choice(topic) if rng.random() < 0.3 else rng.choice(COMMON + words[:40]) for _ in range(100)
    ]
    return "\n".join(" ".join(chosen[i : i + 10]) + rng.choice(["", ".", ","]) for i in range(0, 100, 10))


@pytest.fixture(scope="module")
def corpus() -> pa.Table:
    """400 test documents, 200 for training, and a few of the others."""
    rng, words = random.Random(0), vocabulary(600)
    splits = ["test"] * 400 + ["train"] * 200 + ["validation"] * 5
    rows = [
        {"name": f"{i}", "split": s, "digest": f"{i}", "text": document(rng, words)}
        for i, s in enumerate(splits)
    ]
    return pa.Table.from_pylist(rows)


def texts(corpus: pa.Table, split: str) -> list[str]:
    return [row["text"] for row in corpus.to_pylist() if row["split"] == split]


def samples(kind: str, corpus: pa.Table, number: int | None = None) -> list[dict[str, Any]]:
    return prepare_pocket(kind, corpus, samples=number).to_pylist()


@pytest.mark.parametrize("kind", ["perplexity", "cloze", "choice"])
def test_prepared_columns_are_those_of_the_kind(kind: str, corpus: pa.Table) -> None:
    table = prepare_pocket(kind, corpus, samples=7)
    assert table.schema.remove_metadata().equals(SCHEMAS[kind])
    assert table["sample_id"].to_pylist() == list(range(len(table)))


@pytest.mark.parametrize("kind", ["cloze", "choice"])
def test_the_number_asked_for_does_not_change_the_samples(kind: str, corpus: pa.Table) -> None:
    assert samples(kind, corpus, 20) == samples(kind, corpus, 60)


def test_perplexity_rows_are_the_beginnings_of_the_documents_of_the_split(corpus: pa.Table) -> None:
    rows = samples("perplexity", corpus, 3)
    wholes = texts(corpus, "test")
    assert len(rows) == len(wholes)
    for row, whole in zip(rows, wholes):
        assert whole.startswith(row["text"]) and len(row["text"]) <= PAGE_CHARACTERS
        assert row["text"] == whole or whole[len(row["text"])].isspace()


@pytest.mark.parametrize(
    ("text", "page"),
    [("a b", "a b"), ("a" * 700, "a" * 600), ("b " * 400, "b " * 299 + "b"), ("a" * 599 + "  b", "a" * 599)],
)
def test_a_beginning_ends_with_a_word(text: str, page: str) -> None:
    assert beginning(text) == page


def test_perplexity_rows_know_their_size(corpus: pa.Table) -> None:
    rows = samples("perplexity", corpus, 3)
    for page, row in enumerate(rows):
        assert row["page"] == page
        assert row["original_bytes"] == len(row["text"].encode())
        assert row["original_words"] == len(row["text"].split())
    other = prepare_pocket("perplexity", corpus, samples=1, split="validation")
    assert other["text"].to_pylist() == [beginning(text) for text in texts(corpus, "validation")]


@pytest.mark.parametrize(("kind", "number"), [("cloze", 401), ("choice", 401), ("choice", 10**6)])
def test_too_few_samples_are_told(kind: str, number: int, corpus: pa.Table) -> None:
    with pytest.raises(InputError, match=f"{kind} samples in its test split, {number} are asked for"):
        prepare_pocket(kind, corpus, samples=number)


@pytest.mark.parametrize("kind", ["perplexity", "cloze", "choice"])
def test_an_empty_split_is_told(kind: str, corpus: pa.Table) -> None:
    with pytest.raises(InputError, match=f"gives 0 {kind} samples in its nowhere split"):
        prepare_pocket(kind, corpus, samples=None, split="nowhere")


# --- cloze


def test_a_cloze_target_stands_in_its_context_as_a_whole_word(corpus: pa.Table) -> None:
    dull = common_words(texts(corpus, "train"))
    rows = samples("cloze", corpus)
    assert len(rows) > 200
    for row in rows:
        assert row["target"] in re.findall(r"\w+", row["context"])
        assert re.fullmatch(r"[A-Za-z]{4,}", row["target"]) and row["target"].lower() not in dull
        assert not row["context"].endswith((" ", "\n"))


def test_a_cloze_passage_is_the_beginning_of_its_document(corpus: pa.Table) -> None:
    whole = texts(corpus, "test")
    least, most = pocket.CLOZE_WORDS
    for row in samples("cloze", corpus):
        passage = f"{row['context']} {row['target']}"
        source = [text for text in whole if text.startswith(passage)]
        assert source and not source[0][len(passage) : len(passage) + 1].isalnum()
        assert least <= len(row["context"].split()) < most


@pytest.mark.parametrize("tail", ["vault_size more", "vaults more", "vault2 more"])
def test_a_part_of_a_word_is_no_cloze_target(tail: str) -> None:
    """`vault` stands in the passage, but the last word only begins with it."""
    filler = " ".join(f"x{i}" for i in range(31))
    rows = [
        {"split": "test", "text": f"pole vault {filler} {tail}"},
        {"split": "train", "text": "other words"},
    ]
    with pytest.raises(InputError, match="gives 0 cloze"):
        prepare_pocket("cloze", pa.Table.from_pylist(rows), samples=None)


def test_a_word_that_only_stood_inside_another_is_no_cloze_target() -> None:
    filler = " ".join(f"x{i}" for i in range(31))
    rows = [
        {"split": "test", "text": f"pole vaulting {filler} vault"},
        {"split": "train", "text": "other words"},
    ]
    with pytest.raises(InputError, match="gives 0 cloze"):
        prepare_pocket("cloze", pa.Table.from_pylist(rows), samples=None)


def test_common_words_are_counted_by_document_not_by_use() -> None:
    assert common_words(["alpha alpha alpha", "Beta gamma", "beta", "beta"]) == {"alpha", "beta", "gamma"}
    assert common_words(["alpha alpha alpha", "Beta", "beta", "beta", "beta"]) == {"beta"}


# --- choice


def test_a_choice_follows_its_context_in_one_document_and_the_others_do_not(corpus: pa.Table) -> None:
    whole = "\0".join(texts(corpus, "test"))
    for row in samples("choice", corpus):
        homes = [whole.count(f"{row['context']} {option}") for option in row["options"]]
        assert homes == [int(i == row["label"]) for i in range(4)]
        assert len(set(row["options"])) == 4
        assert row["characters"] == [len(option) for option in row["options"]]
        assert len(row["context"].split()) == pocket.CONTEXT_WORDS
        assert len(row["options"][row["label"]].split()) == pocket.ENDING_WORDS


def test_the_true_ending_is_everywhere_equally_often(corpus: pa.Table) -> None:
    labels = Counter(row["label"] for row in samples("choice", corpus))
    assert max(labels.values()) - min(labels.values()) <= 4


def ranks_by_cost(corpus: pa.Table) -> list[int]:
    """For each sample, how many of its options are likelier than the true one without any context."""
    counts = Counter(
        unit for text in texts(corpus, "train") for unit in re.findall(r"\w+|[^\w\s]", text.lower())
    )
    total = sum(counts.values()) + len(counts) + 1

    def cost(option: str) -> float:
        units = re.findall(r"\w+|[^\w\s]", option.lower())
        return -sum(math.log((counts[unit] + 1) / total) for unit in units) / len(option)

    return [
        sum(cost(option) < cost(row["options"][row["label"]]) for option in row["options"])
        for row in samples("choice", corpus)
    ]


def test_the_true_ending_s_rank_by_likelihood_alone_is_uniform(corpus: pa.Table) -> None:
    ranks = Counter(ranks_by_cost(corpus))
    number = sum(ranks.values())
    for rank in range(4):
        assert abs(ranks[rank] / number - 0.25) < 3 * math.sqrt(0.25 * 0.75 / number), ranks


def test_a_model_without_context_is_right_one_time_in_four(corpus: pa.Table) -> None:
    ranks = ranks_by_cost(corpus)
    deviation = math.sqrt(0.25 * 0.75 / len(ranks))
    assert abs(ranks.count(0) / len(ranks) - 0.25) < 3 * deviation  # the likeliest
    assert abs(ranks.count(3) / len(ranks) - 0.25) < 3 * deviation  # the least likely


def test_length_is_no_clue_either(corpus: pa.Table) -> None:
    longest = []
    for row in samples("choice", corpus):
        most = max(row["characters"])
        longest.append((row["characters"][row["label"]] == most) / row["characters"].count(most))
        assert most <= pocket.LONGEST_TO_SHORTEST * min(row["characters"])
    assert abs(sum(longest) / len(longest) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / len(longest))


def test_documents_with_one_ending_give_one_sample(corpus: pa.Table) -> None:
    """Else an option would stand there twice, once true and once false."""
    rows = [
        {"split": r["split"], "text": r["text"]}
        for r in corpus.to_pylist()
        if r["split"] in ("test", "train")
    ]
    copies = [{**r, "text": f"prefix {i} {r['text'].split(maxsplit=2)[2]}"} for i, r in enumerate(rows[:60])]
    twice = samples("choice", pa.Table.from_pylist([*copies, *rows]))
    assert len(twice) == len(samples("choice", corpus))
    assert all(len(set(row["options"])) == 4 for row in twice)
