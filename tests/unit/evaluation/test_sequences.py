"""What is fed and what is scored."""

from __future__ import annotations

import logging
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.likelihood import rolling_windows
from switchyard.errors import InputError
from switchyard.evaluation.sequences import (
    all_sequences,
    apportion,
    build_samples,
    cut_windows,
    encode,
    encode_pair,
    padding_token,
    prefix_token,
)


class WithBeginning:
    """A tokenizer of single letters that adds a beginning of text, as Mixtral's does."""

    bos_token_id = 1
    eos_token_id = 2
    pad_token_id = None

    def encode(self, text: str, add_special_tokens: bool = True, verbose: bool = True) -> list[int]:
        letters = [1 if letter == "<" else ord(letter) for letter in text]
        return [1, *letters] if add_special_tokens else letters

    def decode(self, tokens: list[int]) -> str:
        return "".join("<" if token == 1 else chr(token) for token in tokens)


def table(**columns: list) -> pa.Table:
    return pa.table({"sample_id": list(range(len(next(iter(columns.values()))))), **columns})


def test_windows_of_the_documentation_of_the_harness() -> None:
    windows = list(cut_windows(list(range(10)), prefix=99, max_length=4))
    assert windows == [
        ([99, 0, 1, 2], [0, 1, 2, 3]),
        ([3, 4, 5, 6], [4, 5, 6, 7]),
        ([5, 6, 7, 8], [8, 9]),
    ]


@given(st.integers(0, 60), st.integers(1, 20))
def test_windows_equal_the_plain_version_and_score_every_token_once(length: int, max_length: int) -> None:
    tokens = list(range(length))
    windows = list(cut_windows(tokens, prefix=-1, max_length=max_length))
    assert windows == rolling_windows(tokens, -1, max_length)
    assert [token for _, targets in windows for token in targets] == tokens
    assert all(len(targets) <= len(inputs) <= max_length for inputs, targets in windows)


@given(st.integers(0, 10_000), st.lists(st.integers(1, 512), min_size=1, max_size=20))
def test_apportioned_parts_sum_to_the_whole_and_stay_near_their_share(total: int, shares: list[int]) -> None:
    parts = apportion(total, shares)
    assert sum(parts) == total
    assert all(
        abs(part - total * share / sum(shares)) <= 1 for part, share in zip(parts, shares, strict=True)
    )


def test_a_pair_is_cut_where_the_context_ends(tokenizer: Any) -> None:
    context, continuation = encode_pair(tokenizer, "the dog", " ends")
    assert tokenizer.decode(context) == "the dog"
    assert tokenizer.decode(continuation) == " ends"


def test_blanks_after_the_context_go_with_the_continuation(tokenizer: Any) -> None:
    assert encode_pair(tokenizer, "the dog ", "ends") == encode_pair(tokenizer, "the dog", " ends")
    assert encode_pair(tokenizer, "the dog\n", " ends")[0] == encode(tokenizer, "the dog")


def test_without_a_context_the_prefix_token_stands_before(tokenizer: Any) -> None:
    context, continuation = encode_pair(tokenizer, "", "the dog")
    assert context == [tokenizer.eos_token_id]
    assert tokenizer.decode(continuation) == "the dog"


def test_special_tokens_are_the_tokenizers_own_affair() -> None:
    letters = WithBeginning()
    assert encode(letters, "ab") == [1, 97, 98]
    assert encode(letters, "<ab") == [1, 97, 98]
    assert encode_pair(letters, "a", " b") == ([1, 97], [32, 98])
    assert encode_pair(letters, "", "<b") == ([1], [98])
    assert (prefix_token(letters), padding_token(letters)) == (1, 1)


def test_a_tokenizer_without_ends_is_refused() -> None:
    class Bare:
        bos_token_id = eos_token_id = pad_token_id = None

    with pytest.raises(InputError, match="neither a bos nor an eos"):
        prefix_token(Bare())


def test_cloze_feeds_everything_but_the_last_token() -> None:
    sample = build_samples(table(context=["abc"], target=["de"]), WithBeginning(), max_length=9)[0]
    (sequence,) = sample.sequences
    assert sequence.input_ids == [1, *map(ord, "abc d")]
    assert sequence.target_ids == list(map(ord, " de"))
    assert sample.preview == "abc de"


def test_a_long_context_loses_its_beginning() -> None:
    sample = build_samples(table(context=["abcdef"], target=["g"]), WithBeginning(), max_length=3)[0]
    assert sample.sequences[0].input_ids == list(map(ord, "ef "))
    assert sample.sequences[0].target_ids == list(map(ord, " g"))


def test_choice_has_a_sequence_for_every_option() -> None:
    rows = table(context=["ab"], options=[["c", "dd", "e"]], characters=[[1, 2, 1]], label=[2])
    sample = build_samples(rows, WithBeginning(), max_length=9)[0]
    assert [(s.sample, s.sequence) for s in sample.sequences] == [(0, 0), (0, 1), (0, 2)]
    assert [s.target_ids for s in sample.sequences] == [[32, 99], [32, 100, 100], [32, 101]]
    assert (sample.characters, sample.label) == ([1, 2, 1], 2)


def test_text_is_cut_into_windows_that_share_their_page() -> None:
    rows = table(text=["abcdefg", "xy"], page=[0, 1], original_bytes=[70, 5], original_words=[7, 2])
    samples = build_samples(rows, WithBeginning(), max_length=4)
    assert [s.sample_id for s in samples] == [0, 1, 2]
    assert [len(s.target_ids) for s in all_sequences(samples)] == [4, 4, 3]
    assert [s.bytes for s in samples] == [35, 35, 5]
    assert [s.words for s in samples] == [4, 3, 2]


def test_samples_limit_windows_and_too_few_are_told(caplog: pytest.LogCaptureFixture) -> None:
    rows = table(text=["abcdefg"], page=[0], original_bytes=[7], original_words=[1])
    assert len(build_samples(rows, WithBeginning(), max_length=2, samples=3)) == 3
    with caplog.at_level(logging.WARNING):
        assert len(build_samples(rows, WithBeginning(), max_length=4, samples=9)) == 2
    assert "2 samples, 9 were asked for" in caplog.text


@pytest.mark.parametrize(
    ("context", "target", "max_length", "words"),
    [
        ("abc", "defgh", 4, ["sample 0 ('abc')", "6 tokens", "raise max_length"]),
        ("abc", "d", 0, ["max_length 0"]),
    ],
)
def test_what_does_not_fit_is_named(context: str, target: str, max_length: int, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        build_samples(table(context=[context], target=[target]), WithBeginning(), max_length=max_length)
    assert all(word in str(caught.value) for word in words)


def test_a_table_that_is_not_prepared_is_refused() -> None:
    with pytest.raises(InputError, match="columns sample_id, question is no prepared dataset"):
        build_samples(table(question=["?"]), WithBeginning(), max_length=4)
