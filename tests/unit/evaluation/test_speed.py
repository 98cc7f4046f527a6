"""Speed is measured fairly; how fast anything is stays untested."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from reference.tiny import tiny_model
from switchyard.errors import InputError
from switchyard.evaluation import speed
from switchyard.evaluation.speed import measure, per_round, timings
from switchyard.models.blocks import find_moe_blocks
from switchyard.models.quantise import pack_model
from switchyard.models.quantised_sizes import Quantise
from switchyard.models.used_experts import PACKED
from switchyard.routing.topk import TopK

SIZES = {"rounds": 3, "warmup_rounds": 1, "prefill_tokens": 40, "decode_tokens": 4}
SIZES |= {"sequence_length": 16, "prompt_tokens": 5}
TEXT = list(range(2, 60))


def test_each_configuration_has_a_row_of_counted_rounds(model: Any) -> None:
    done: list[int] = []
    rows = measure(model, {"a": TopK(2), "b": TopK(4), "own": None}, TEXT, progress=done.append, **SIZES)
    assert [row["config"] for row in rows] == ["a", "b", "own"]
    for row in rows:
        assert (row["rounds"], row["prefill_tokens"], row["decoded_tokens"]) == (3, 32, 12)
        assert row["tokens_per_second"] > 0
        assert 0 < row["latency_p50_ms"] <= row["latency_p95_ms"] <= row["latency_p99_ms"]
        assert row["latency_ms_per_token"] == row["latency_p50_ms"]
    assert sum(done) == 3 * 4


def test_configurations_take_turns_and_each_round_starts_with_another(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    @contextmanager
    def attach(model: Any, rule: str, *, own_when_full: bool) -> Any:
        assert not own_when_full  # one code path for all rules
        order.append(rule)
        yield

    monkeypatch.setattr(speed, "attach", attach)
    measure(model, {"a": "a", "b": "b", "c": "c"}, TEXT, **SIZES)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"


def test_numbers_are_those_of_the_clock(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_time_prefill", lambda model, batch: 0.5)
    latencies = iter([[1.0, 2.0, 3.0, 90.0], [1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0], [2.0] * 4])
    monkeypatch.setattr(speed, "_time_decode", lambda model, prompt, tokens: next(latencies))
    (row,) = measure(model, {"a": None}, TEXT, **SIZES)
    assert row["tokens_per_second"] == 64
    assert row["latency_ms_per_token"] == 2
    assert row["latency_p99_ms"] == pytest.approx(3.89)


def test_the_untouched_model_has_rows_of_its_own(model: Any) -> None:
    before, done = model.get_experts_implementation(), []
    rows = measure(model, {"a": TopK(2)}, TEXT, untouched=speed.NATIVE, progress=done.append, **SIZES)
    assert [(row["config"], row["experts"]) for row in rows] == [
        ("a", "switchyard_ragged"),
        (None, "grouped_mm"),
        (None, "batched_mm"),
    ]
    for row in rows:
        assert (row["rounds"], row["decoded_tokens"]) == (3, 12)
        assert row["tokens_per_second"] > 0 and row["latency_ms_per_token"] > 0
    assert model.get_experts_implementation() == before and sum(done) == 3 * 4


def test_a_packed_model_is_timed_with_its_own_experts() -> None:
    packed = pack_model(tiny_model(), Quantise("int8"))
    own = speed.implementations(packed)
    rows = measure(packed, {"a": TopK(2)}, TEXT, untouched=own, **SIZES)
    assert [row["experts"] for row in rows] == ["switchyard_ragged", PACKED]
    assert all(row["latency_ms_per_token"] > 0 for row in rows)


def test_the_untouched_model_runs_what_its_row_says_and_nothing_of_ours(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    for name in ("switchyard_ragged", *speed.NATIVE):
        plain = ALL_EXPERTS_FUNCTIONS[name]
        spy = lambda *given, name=name, plain=plain: ran.append(name) or plain(*given)  # noqa: E731
        monkeypatch.setitem(ALL_EXPERTS_FUNCTIONS._global_mapping, name, spy)
    sizes = SIZES | {"rounds": 1, "warmup_rounds": 0}
    layers = model.config.num_hidden_layers
    measure(model, {"a": TopK(2)}, TEXT, untouched=["grouped_mm"], **sizes)
    assert (
        ran == ["switchyard_ragged"] * layers * 6 + ["grouped_mm"] * layers * 6
    )  # prefill, prompt, 4 tokens
    ran.clear()
    measure(model, {"a": TopK(2)}, TEXT, untouched=["batched_mm"], **sizes)
    assert (
        ran[6 * layers :] == ["batched_mm"] * layers + ["grouped_mm"] * layers + ["batched_mm"] * layers * 4
    )


def test_a_prefill_that_would_copy_too_much_does_not_run(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    experts = find_moe_blocks(model)[0].experts
    one = experts.gate_up_proj[0].nbytes + experts.down_proj[0].nbytes
    assert speed.copied_bytes(model, 10) == 10 * model.config.num_experts_per_tok * one
    monkeypatch.setattr(speed, "COPIED_BYTES", speed.copied_bytes(model, 32) - 1)
    _, grouped, batched = measure(model, {"a": TopK(2)}, TEXT, untouched=speed.NATIVE, **SIZES)
    assert grouped["tokens_per_second"] > 0
    assert batched["tokens_per_second"] is None and batched["latency_ms_per_token"] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rounds": 0}, "nothing to measure"),
        ({"prefill_tokens": 0}, "nothing to measure"),
        ({"prefill_tokens": 500}, "58 tokens of validation text, 500 are needed"),
        ({"decode_tokens": 100}, "58 tokens of validation text, 105 are needed"),
    ],
)
def test_what_cannot_be_measured_is_refused(model: Any, change: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        measure(model, {"a": None}, TEXT, **(SIZES | change))


def test_without_configurations_there_is_nothing_to_measure(model: Any) -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        measure(model, {}, TEXT, **SIZES)


def test_with_a_lead_no_text_is_read_twice() -> None:
    model, read = tiny_model(), []
    model.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"].flatten().tolist()), with_kwargs=True
    )
    ids = list(range(100, 200))
    sizes = {"prefill_tokens": 24, "decode_tokens": 4, "sequence_length": 12, "prompt_tokens": 8}
    found = timings(
        model, {"own": None}, ids, rounds=1, warmup_rounds=0, lead=True, own_when_full=True, **sizes
    )
    lead, prefill, prompt, *steps = read
    assert prefill == ids[:24] and lead == ids[24:48]
    assert [*prompt, *(token for step in steps for token in step)] == ids[48:60]
    columns = per_round(next(iter(found.values())))
    assert {name: len(column) for name, column in columns.items()} == dict.fromkeys(
        ["prefill_seconds", "decode_p50_ms", "decode_p95_ms", "decode_p99_ms"], 1
    )
