"""Pocket training: what decides a run is in the recipe, and a run that was cut short loses nothing."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reference.tiny import WORDS, tiny_tokenizer
from switchyard.artifacts.files import read_json
from switchyard.errors import InputError
from switchyard.models.load import check_folder, load_model, load_tokenizer
from switchyard.models.pocket import (
    ARCHITECTURES,
    Recipe,
    balance_loss,
    batch,
    build_model,
    encode,
    mean_loss,
    save_pocket,
    save_step,
    step_folder,
    train,
)

SHAPES = {
    "olmoe": {"num_experts": 8, "num_experts_per_tok": 2},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 1},
}


def recipe(architecture: str = "olmoe", **changes: Any) -> Recipe:
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    settings = {"steps": 8, "batch_size": 2, "sequence_length": 16, "warmup_steps": 2, "checkpoint_every": 3}
    return Recipe(
        architecture=architecture, shape={**shape, **SHAPES[architecture]}, **{**settings, **changes}
    )


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    torch.set_num_threads(1)
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def streams(tokenizer: Any) -> dict[str, np.ndarray]:
    """A training and a validation stream of a few hundred tokens."""
    words = WORDS.split()
    rng = np.random.default_rng(0)
    pages = [" ".join(rng.choice(words, 40)) for _ in range(12)]
    return {"training": encode(tokenizer, pages[:10]), "validation": encode(tokenizer, pages[10:])}


class Killed(Exception):
    """Stands in for a SIGKILL."""


def run(tokenizer: Any, streams: dict, folder: Path, which: Recipe, *, kill_at: int | None = None) -> tuple:
    def report(step: int) -> None:
        if step == kill_at:
            raise Killed

    return train(which, tokenizer, **streams, checkpoints=folder, report=report)


def same_weights(left: Any, right: Any) -> bool:
    pairs = zip(left.state_dict().items(), right.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


# --- training


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kill_at", [2, 4, 7])
def test_a_killed_and_resumed_training_is_an_undisturbed_one(
    architecture: str, kill_at: int, tokenizer: Any, streams: dict, tmp_path: Path
) -> None:
    whole, log = run(tokenizer, streams, tmp_path / "whole", recipe(architecture))
    with pytest.raises(Killed):
        run(tokenizer, streams, tmp_path / "cut", recipe(architecture), kill_at=kill_at)
    resumed, resumed_log = run(tokenizer, streams, tmp_path / "cut", recipe(architecture))
    assert same_weights(whole, resumed)
    assert resumed_log == log
    assert [entry["step"] for entry in log] == [3, 6, 8]
    assert [entry["tokens"] for entry in log] == [96, 192, 256]


def test_a_resumed_training_does_only_what_is_left(tokenizer: Any, streams: dict, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tokenizer, streams, tmp_path / "cut", recipe(), kill_at=5)
    steps: list[int] = []
    train(recipe(), tokenizer, **streams, checkpoints=tmp_path / "cut", report=steps.append)
    assert steps == [4, 5, 6, 7, 8]


def test_a_checkpoint_of_another_recipe_is_not_resumed(tokenizer: Any, streams: dict, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tokenizer, streams, tmp_path / "cut", recipe(seed=1), kill_at=5)
    steps: list[int] = []
    train(recipe(), tokenizer, **streams, checkpoints=tmp_path / "cut", report=steps.append)
    assert steps == list(range(1, 9))


def test_a_checkpoint_of_another_corpus_is_not_resumed(tokenizer: Any, streams: dict, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tokenizer, streams, tmp_path / "cut", recipe(), kill_at=5)
    steps: list[int] = []
    other = {**streams, "training": streams["training"][::-1].copy()}
    train(recipe(), tokenizer, **other, checkpoints=tmp_path / "cut", report=steps.append)
    assert steps == list(range(1, 9))


def test_a_field_that_the_architecture_does_not_have_is_named(tokenizer: Any) -> None:
    misspelt = replace(recipe(), shape={**recipe().shape, "num_expert": 16})
    with pytest.raises(InputError, match="num_expert"):
        build_model(misspelt, tokenizer)


def test_the_seed_decides_the_weights(tokenizer: Any) -> None:
    assert same_weights(build_model(recipe(), tokenizer), build_model(recipe(), tokenizer))
    assert not same_weights(build_model(recipe(), tokenizer), build_model(recipe(seed=1), tokenizer))


def test_weights_on_the_way_are_those_of_the_moment_and_keeping_them_changes_nothing(
    tokenizer: Any, streams: dict, tmp_path: Path
) -> None:
    which = recipe()
    assert which.kept_steps == [1, 2, 4]

    def keep(step: int, model: Any) -> None:
        save_step(tmp_path / "kept", step, model)

    whole, _ = train(which, tokenizer, **streams, checkpoints=tmp_path / "a", keep=keep)
    plain, _ = run(tokenizer, streams, tmp_path / "b", which)
    assert same_weights(whole, plain)
    moment = load_model(step_folder(tmp_path / "kept", 4), dtype="bfloat16")
    early = train_until(tokenizer, streams, tmp_path / "d", which, 4)
    assert same_weights(moment, early.to(torch.bfloat16))
    assert not same_weights(moment, whole.to(torch.bfloat16))


def train_until(tokenizer: Any, streams: dict, folder: Path, which: Recipe, step: int) -> Any:
    """The model as it is when the training reports a step."""
    found: list[Any] = []

    def keep(at: int, model: Any) -> None:
        if at == step:
            found.append(copy.deepcopy(model))

    train(which, tokenizer, **streams, checkpoints=folder, keep=keep)
    return found[0]


def test_training_learns(tokenizer: Any, streams: dict, tmp_path: Path) -> None:
    which = recipe(steps=40, learning_rate=1e-2, checkpoint_every=20)
    before = mean_loss(build_model(which, tokenizer), streams["validation"], 16)
    _, log = run(tokenizer, streams, tmp_path / "checkpoints", which)
    assert log[-1]["validation_loss"] < before - 0.3
    assert abs(before - math.log(len(tokenizer))) < 0.3  # an untrained model knows nothing


def test_a_model_comes_back_from_its_folder(tokenizer: Any, streams: dict, tmp_path: Path) -> None:
    model, log = run(tokenizer, streams, tmp_path / "checkpoints", recipe(steps=2))
    save_pocket(tmp_path / "model", model, tokenizer, recipe(steps=2), log)
    check_folder(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert same_weights(again, model.float())  # bfloat16 both
    assert load_tokenizer(tmp_path / "model").encode(WORDS) == tokenizer.encode(WORDS)
    written = read_json(tmp_path / "model" / "training.json")
    assert written["log"] == log and Recipe(**written["recipe"]) == recipe(steps=2)


def test_an_unknown_architecture_is_named(tokenizer: Any) -> None:
    with pytest.raises(InputError, match="'gpt' is unknown; choose one of olmoe, mixtral"):
        build_model(Recipe(architecture="gpt", steps=1), tokenizer)


def test_the_embedding_is_shared_and_has_the_tokenizer_s_size(tokenizer: Any) -> None:
    model = build_model(recipe(), tokenizer)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert model.config.vocab_size == len(tokenizer)


# --- data


def test_a_pass_is_a_permutation_of_the_windows() -> None:
    which = recipe(batch_size=3, sequence_length=4)
    stream = np.arange(4 * 13 + 2, dtype=np.int32)  # 12 windows a pass, 4 batches
    for number in range(3):
        rows = torch.cat([batch(stream, 4 * number + place, which) for place in range(4)])
        starts = rows[:, 0].sort().values
        assert torch.equal(starts.diff(), torch.full((11,), 4))  # every window once, none overlaps
        assert 0 <= starts[0] < 4
        assert torch.equal(rows, rows[:, :1] + torch.arange(4))


def test_passes_differ_in_offset_and_order() -> None:
    which = recipe(batch_size=3, sequence_length=16)
    stream = np.arange(16 * 4, dtype=np.int32)
    passes = [batch(stream, number, which)[:, 0].tolist() for number in range(12)]
    assert len({min(starts) for starts in passes}) > 3
    assert len({tuple(np.argsort(starts)) for starts in passes}) > 3


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    stream = np.arange(1000, dtype=np.int32)
    assert torch.equal(batch(stream, 7, recipe()), batch(stream, 7, recipe(steps=99)))
    assert not torch.equal(batch(stream, 7, recipe()), batch(stream, 7, recipe(seed=1)))
    assert not torch.equal(batch(stream, 7, recipe()), batch(stream, 8, recipe()))
    assert batch(stream, 7, recipe()).dtype == torch.int64


def test_too_little_text_is_told() -> None:
    stream = np.arange(47, dtype=np.int32)
    with pytest.raises(InputError, match=r"47 training tokens are fewer than a batch needs \(48\)"):
        batch(stream, 0, recipe())
    batch(np.arange(48, dtype=np.int32), 0, recipe())


def test_documents_end_with_the_end_of_text(tokenizer: Any) -> None:
    stream = encode(tokenizer, ["the dog", "a cat"])
    assert stream.dtype == np.int32
    assert (stream == tokenizer.eos_token_id).sum() == 2 and stream[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(stream) == f"the dog{tokenizer.eos_token}a cat{tokenizer.eos_token}"


def test_mean_loss_is_the_loss_of_each_window_averaged(tokenizer: Any, streams: dict) -> None:
    model = build_model(recipe(), tokenizer).eval()
    stream = streams["validation"]
    windows = [torch.from_numpy(stream[i : i + 16].astype(np.int64)) for i in range(0, len(stream) - 15, 16)]
    with torch.no_grad():
        logits = [model(input_ids=window[None]).logits[0] for window in windows]
    losses = [torch.nn.functional.cross_entropy(x[:-1], w[1:]).item() for x, w in zip(logits, windows)]
    assert mean_loss(model, stream, 16) == pytest.approx(np.mean(losses), rel=1e-5)
    assert mean_loss(model, stream, 16, windows=2) == pytest.approx(np.mean(losses[:2]), rel=1e-5)


# --- the learning rate


def test_the_rate_warms_up_stays_and_decays_to_nearly_zero() -> None:
    which = recipe(steps=1000, warmup_steps=10, learning_rate=1.0)
    rates = [which.rate(step) for step in range(1000)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert set(rates[10:501]) == {1.0}
    assert rates[500:] == pytest.approx([2 * (1000 - step) / 1000 for step in range(500, 1000)])
    assert 0 < rates[-1] < 0.003
    assert which.tokens == 1000 * 2 * 16


# --- balance


def balance_by_hand(layers: list[np.ndarray], top_k: int) -> float:
    """Share of tokens that choose an expert times its mean probability, summed, times experts; mean over layers."""
    losses = []
    for logits in layers:
        tokens, experts = logits.shape
        loss = 0.0
        for expert in range(experts):
            chosen, probability = 0, 0.0
            for row in logits:
                weights = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
                chosen += expert in np.argsort(-row)[:top_k]
                probability += weights[expert]
            loss += experts * chosen / tokens * probability / tokens
        losses.append(loss)
    return float(np.mean(losses))


@pytest.mark.parametrize(("experts", "top_k"), [(2, 1), (5, 2), (8, 8), (1, 1)])
def test_the_balance_loss_equals_a_plain_loop(experts: int, top_k: int) -> None:
    rng = np.random.default_rng(experts)
    layers = [rng.normal(scale=3, size=(7, experts)) for _ in range(3)]
    found = balance_loss([torch.from_numpy(layer) for layer in layers], top_k).item()
    assert found == pytest.approx(balance_by_hand(layers, top_k), rel=1e-6)


def test_the_balance_loss_is_top_k_when_use_is_even_and_more_otherwise() -> None:
    even = torch.stack([torch.roll(torch.tensor([4.0, 4.0, 0, 0, 0, 0]), i) for i in range(6)])
    assert balance_loss([even], 2).item() == pytest.approx(2.0, abs=1e-6)
    for seed in range(20):
        torch.manual_seed(seed)
        uneven = even + torch.randn(6) * 2
        assert balance_loss([uneven], 2).item() > 2.0 - 1e-6
    collapsed = torch.tensor([[50.0, 50.0, 0, 0, 0, 0]]).repeat(6, 1)
    assert balance_loss([collapsed], 2).item() == pytest.approx(6.0, rel=1e-5)  # experts


def test_one_collapsed_layer_does_not_hide_behind_another() -> None:
    """Pooled over layers, two opposite collapses would look even."""
    left = torch.tensor([[50.0, 0.0]]).repeat(4, 1)
    right = left.flip(1)
    assert balance_loss([left, right], 1).item() == pytest.approx(2.0, rel=1e-5)


def test_permuting_experts_or_tokens_leaves_the_balance_loss() -> None:
    torch.manual_seed(0)
    logits = torch.randn(12, 6)
    own = balance_loss([logits], 2).item()
    assert balance_loss([logits[:, torch.randperm(6)]], 2).item() == pytest.approx(own, rel=1e-6)
    assert balance_loss([logits[torch.randperm(12)]], 2).item() == pytest.approx(own, rel=1e-6)
