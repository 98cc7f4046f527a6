"""The ragged experts equal the obvious double loop, whatever is dropped."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from reference.experts import weighted_experts
from reference.moe_models import ARCHITECTURES, random_model
from switchyard.routing import experts as implementation
from switchyard.routing.experts import own_implementation, ragged_experts

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Largest error, as a share of the largest value expected."""


def assert_close(result: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    scale = expected.abs().amax().item() if expected.numel() else 1.0
    torch.testing.assert_close(result.float(), expected.float(), rtol=0, atol=TOLERANCE[dtype] * scale)


def random_experts(architecture: str = "olmoe", dtype: torch.dtype = torch.float32) -> nn.Module:
    return random_model(architecture, dtype).base_model.layers[0].mlp.experts


def random_selection(experts: nn.Module, count: Tensor, slots: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, indices and weights of tokens with `count` experts each."""
    generator = torch.Generator().manual_seed(0)
    tokens, num_experts = len(count), experts.num_experts
    index = torch.rand(tokens, num_experts, generator=generator).argsort(dim=-1)[:, :slots]
    unused = torch.arange(slots) >= count[:, None]
    weights = torch.rand(tokens, slots, generator=generator).masked_fill(unused, 0.0)
    dtype = experts.down_proj.dtype
    hidden = torch.randn(tokens, experts.hidden_dim, generator=generator).to(dtype)
    return hidden, index.masked_fill(unused, num_experts), weights.to(dtype)


COUNTS = {
    "ragged": [0, 1, 4, 2, 0, 3, 4],
    "full": [4] * 5,
    "empty": [0, 0, 0],
    "one token": [2],
    "one token, none": [0],
    "last empty": [3, 1, 0],
    "no tokens": [],
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
@torch.no_grad()
def test_equals_the_double_loop(counts: list[int], architecture: str, dtype: torch.dtype) -> None:
    experts = random_experts(architecture, dtype)
    hidden, index, weights = random_selection(experts, torch.tensor(counts, dtype=torch.long), 4)
    result = ragged_experts(experts, hidden, index, weights)
    expected = weighted_experts(experts, hidden, index, weights)
    assert result.dtype == dtype and result.shape == hidden.shape
    assert_close(result, expected, dtype)
    assert (result[torch.tensor(counts, dtype=torch.long) == 0] == 0).all()


@torch.no_grad()
def test_equals_eager_which_knows_the_sentinel() -> None:
    experts = random_experts()
    arguments = random_selection(experts, torch.randint(0, 9, (50,)), 8)
    eager = own_implementation(experts, "eager")
    assert_close(ragged_experts(experts, *arguments), eager(experts, *arguments), torch.float32)


@torch.no_grad()
def test_float32_weights_over_half_precision_experts() -> None:
    """Mixtral's router answers in float32 whatever the model's dtype."""
    experts = random_experts("mixtral", torch.bfloat16)
    hidden, index, weights = random_selection(experts, torch.tensor([1, 2, 0]), 2)
    result = ragged_experts(experts, hidden, index, weights.float())
    assert result.dtype == torch.bfloat16
    assert_close(result, weighted_experts(experts, hidden, index, weights), torch.bfloat16)


@torch.no_grad()
def test_permuting_the_tokens_permutes_the_answer() -> None:
    experts = random_experts()
    hidden, index, weights = random_selection(experts, torch.randint(0, 5, (30,)), 4)
    order = torch.randperm(30)
    permuted = ragged_experts(experts, hidden[order], index[order], weights[order])
    torch.testing.assert_close(permuted, ragged_experts(experts, hidden, index, weights)[order])


@torch.no_grad()
def test_an_unused_slot_is_not_computed() -> None:
    experts, rows = random_experts(), []
    experts.act_fn.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    ragged_experts(experts, *random_selection(experts, torch.tensor([0, 1, 4, 2]), 8))
    assert rows == [7]


def test_gradients_are_those_of_the_double_loop() -> None:
    experts = random_experts()
    hidden, index, weights = random_selection(experts, torch.tensor([0, 1, 4, 2]), 4)
    gradients = []
    for function in (ragged_experts, weighted_experts):
        inputs = (hidden.clone().requires_grad_(), weights.clone().requires_grad_(), experts.down_proj)
        result = function(experts, inputs[0], index, inputs[1])
        gradients.append(torch.autograd.grad(result.square().sum(), inputs))
    used = (index < experts.num_experts).float()
    for ragged, loop in zip(*gradients):
        mask = used if ragged.shape == used.shape else 1.0
        torch.testing.assert_close(ragged * mask, loop * mask, rtol=1e-4, atol=1e-4)


class _NoWaits(TorchDispatchMode):
    """Refuses what makes the host of a card wait: shapes and numbers that depend on values."""

    def __torch_dispatch__(self, operator, types, arguments=(), named=None):
        assert operator.overloadpacket.__name__ not in (
            "nonzero",
            "_local_scalar_dense",
            "item",
            "masked_select",
        )
        return operator(*arguments, **(named or {}))


@torch.no_grad()
def test_decoding_on_a_card_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    experts = random_experts()
    arguments = random_selection(experts, torch.tensor([0, 1, 4, 2, 0, 3]), 4)
    expected = ragged_experts(experts, *arguments)
    with pytest.raises(AssertionError), _NoWaits():
        ragged_experts(experts, *arguments)
    monkeypatch.setattr(implementation, "_is_on_card", lambda hidden: True)
    with _NoWaits():
        found = ragged_experts(experts, *arguments)
    assert_close(found, expected, torch.float32)
    monkeypatch.setattr(implementation, "STATIC_PAIRS", 23)  # of 24 slots
    with pytest.raises(AssertionError), _NoWaits():
        ragged_experts(experts, *arguments)


@torch.no_grad()
def test_rows_that_32_bits_cannot_count_are_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    experts = random_experts()
    arguments = random_selection(experts, torch.tensor([0, 1, 4, 2, 0, 3, 4]), 4)
    expected = ragged_experts(experts, *arguments)
    sizes: list[int] = []
    whole = implementation.through_experts

    def counting(experts: nn.Module, rows: Tensor, expert: Tensor, *, one_by_one: bool) -> Tensor:
        sizes.append(len(rows))
        return whole(experts, rows, expert, one_by_one=one_by_one)

    monkeypatch.setattr(implementation, "through_experts", counting)
    monkeypatch.setattr(implementation, "MOST_ELEMENTS", 2 * 4 * 32)  # two tokens of four slots, 32 wide
    assert_close(ragged_experts(experts, *arguments), expected, torch.float32)
    assert max(sizes) <= 8 and sum(sizes) == 14
