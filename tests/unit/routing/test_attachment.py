"""A rule goes into a model, changes its routing and nothing else, and comes out without a trace."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from reference.moe_models import ARCHITECTURES, padded_batch, random_model
from switchyard.errors import InputError
from switchyard.models.blocks import find_moe_blocks
from switchyard.models.grouped import sum_with_fixed_shapes
from switchyard.routing import (
    BenjaminiHochberg,
    NullDistribution,
    Selection,
    TokenContext,
    TopK,
    attach,
    attachment,
)
from switchyard.routing.experts import RAGGED, ragged_experts
from switchyard.routing.rows import Rows

DTYPES = [torch.float32, torch.bfloat16]
IMPLEMENTATIONS = ["grouped_mm", "eager", "batched_mm"]


class Seen(NamedTuple):
    layer: int
    logits: Tensor
    selection: Selection
    context: TokenContext


@torch.no_grad()
def observe(
    model: nn.Module, rule: Any, *, labels: dict | None = None, **inputs: Tensor
) -> tuple[Tensor, list[Seen]]:
    """The model's logits and what an observer saw."""
    seen: list[Seen] = []
    with attach(model, rule, observer=lambda *what: seen.append(Seen(*what))) as attachment:
        if labels:
            attachment.label(**labels)
        return model(**inputs).logits, seen


def adaptive(model: nn.Module, alpha: float = 0.5, max_k: int = 6, min_k: int = 0) -> BenjaminiHochberg:
    """BH under the nulls of the model's own logits on a padded batch: 0 to 6 experts per token."""
    seen = observe(model, None, **padded_batch("right"))[1]
    nulls = []
    for block in seen:
        ordered = block.logits.double().flatten().unique()
        nulls.append(NullDistribution(ordered.tolist(), torch.linspace(0, 1, len(ordered)).tolist()))
    return BenjaminiHochberg(alpha, max_k, min_k, null=nulls)


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything that attach could have touched."""
    hooks = {
        name: (len(module._forward_hooks), len(module._forward_pre_hooks), sorted(vars(module)))
        for name, module in model.named_modules()
    }
    return {
        "config": model.config.to_dict(),
        "own": model.config._experts_implementation_internal,
        "hooks": hooks,
    }


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_trained_top_k_is_the_untouched_model(
    architecture: str, dtype: torch.dtype, side: str, implementation: str
) -> None:
    model = random_model(architecture, dtype)
    model.set_experts_implementation(implementation)
    plain, own = observe(model, None, **padded_batch(side))
    attached, seen = observe(model, TopK(model.config.num_experts_per_tok), **padded_batch(side))
    assert torch.equal(attached, plain)
    for block, mine in zip(own, seen, strict=True):
        assert torch.equal(block.logits, mine.logits)
        assert torch.equal(block.selection.experts, mine.selection.experts)
        assert torch.equal(block.selection.weights, mine.selection.weights)
        assert torch.equal(block.selection.count, mine.selection.count)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_the_ragged_path_of_a_full_selection_agrees_too(architecture: str) -> None:
    model = random_model(architecture)
    with attach(model, TopK(model.config.num_experts_per_tok), own_when_full=False):
        ragged = model(**padded_batch("right")).logits
    torch.testing.assert_close(ragged, model(**padded_batch("right")).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_without_a_rule_the_ragged_experts_leave_the_routing_alone(architecture: str) -> None:
    model, inputs = random_model(architecture), padded_batch("right")
    top_k, before = model.config.num_experts_per_tok, snapshot(model)
    with attach(model, TopK(top_k), own_when_full=False):
        expected = model(**inputs).logits
    with attach(model, None, own_when_full=False):
        assert torch.equal(model(**inputs).logits, expected)
    assert snapshot(model) == before


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_k_equals_a_model_configured_so(architecture: str, dtype: torch.dtype) -> None:
    other = random_model(architecture, dtype, num_experts_per_tok=3)
    attached, _ = observe(random_model(architecture, dtype), TopK(3), **padded_batch("left"))
    with torch.no_grad():
        assert torch.equal(attached, other(**padded_batch("left")).logits)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_an_adaptive_rule_equals_eager_experts_with_the_same_selection(
    architecture: str, dtype: torch.dtype
) -> None:
    """Eager knows the index num_experts, so a model with hooks alone, on eager, is the reference."""
    model = random_model(architecture, dtype)
    rule = adaptive(model)
    logits, seen = observe(model, rule, **padded_batch("right"))
    counts = torch.cat([block.selection.count for block in seen])
    assert {0, 6} <= set(counts.tolist())
    model.set_experts_implementation("eager")
    hooks = [
        block.router.register_forward_hook(
            lambda gate, args, output, mine=mine: (output[0], mine.selection.weights, mine.selection.experts)
        )
        for block, mine in zip(find_moe_blocks(model), seen, strict=True)
    ]
    expected = model(**padded_batch("right")).logits
    assert all(hook.remove() is None for hook in hooks)
    tolerance = 1e-4 if dtype == torch.float32 else 0.05 * expected.abs().max().item()
    torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_generates_as_the_untouched_model(architecture: str) -> None:
    model, batch = random_model(architecture), padded_batch("left")
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    plain = model.generate(**batch, **options)
    with attach(model, TopK(model.config.num_experts_per_tok)):
        assert torch.equal(model.generate(**batch, **options), plain)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_decoding_with_a_cache_equals_prefill(architecture: str) -> None:
    model = random_model(architecture)
    ids = padded_batch("right")["input_ids"][:1]
    seen: list[Seen] = []
    with attach(model, adaptive(model), observer=lambda *what: seen.append(Seen(*what))):
        whole = model(input_ids=ids).logits
        cache = model(input_ids=ids[:, :4], use_cache=True).past_key_values
        steps = [model(input_ids=ids[:, t : t + 1], past_key_values=cache).logits for t in range(4, 11)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole[:, 4:], rtol=1e-4, atol=1e-4)
    first_layer = [what.context for what in seen if what.layer == 0]
    assert [context.position.tolist() for context in first_layer[2:]] == [[t] for t in range(4, 11)]


@torch.no_grad()
def test_a_single_token_without_an_expert() -> None:
    model = random_model("olmoe")
    rule = BenjaminiHochberg(0.01, 4, 0, null=[NullDistribution([1e6, 2e6], [0.0, 1.0])] * 3)
    logits, seen = observe(model, rule, input_ids=torch.tensor([[5]]))
    assert logits.isfinite().all()
    assert [what.selection.count.tolist() for what in seen] == [[0]] * 3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_comes_out_bit_for_bit(architecture: str) -> None:
    model = random_model(architecture)
    before, logits = snapshot(model), model(**padded_batch("right")).logits
    observe(model, adaptive(model), **padded_batch("right"))
    assert snapshot(model) == before
    assert torch.equal(model(**padded_batch("right")).logits, logits)


@pytest.mark.parametrize("original", [*IMPLEMENTATIONS, None])
def test_comes_out_after_an_exception(original: str | None) -> None:
    model = random_model("olmoe")
    model.config._experts_implementation_internal = original
    before = snapshot(model)
    with pytest.raises(ZeroDivisionError), attach(model, TopK(2)):
        raise ZeroDivisionError
    assert snapshot(model) == before
    with attach(model, TopK(2)):
        pass


@pytest.mark.parametrize("side", ["right", "left"])
def test_context_names_every_row(side: str) -> None:
    batch = padded_batch(side)
    labels = {"sample": [7, 7, 9], "sequence": [0, 1, 0]}
    context = observe(random_model("olmoe"), TopK(2), labels=labels, **batch)[1][0].context
    real = batch["attention_mask"].bool().flatten()
    assert torch.equal(context.is_token, real)
    assert torch.equal(context.token_id, batch["input_ids"].flatten())
    assert context.sample[real].tolist() == [7] * 18 + [9]
    assert context.sequence[real].tolist() == [0] * 11 + [1] * 7 + [0]
    assert context.position[real].tolist() == [*range(11), *range(7), 0]
    assert (context.position[~real] == -1).all()


def test_labels_hold_for_one_forward_and_fit_the_batch() -> None:
    model, batch = random_model("olmoe"), padded_batch("right")
    seen: list[Seen] = []
    with attach(model, None, observer=lambda *what: seen.append(Seen(*what))) as attachment:
        attachment.label(sample=[5, 6, 7], sequence=[1, 1, 1])
        model(**batch)
        model(**batch)
        attachment.label(sample=[5], sequence=[0])
        with pytest.raises(InputError, match="1 rows were named but the batch has 3"):
            model(**batch)
        with pytest.raises(InputError, match="one of each per row"):
            attachment.label(sample=[5], sequence=[])
    assert seen[0].context.sample.unique().tolist() == [5, 6, 7]
    assert seen[3].context.sample.unique().tolist() == [0, 1, 2]


def test_without_a_mask_every_token_is_real() -> None:
    context = observe(random_model("olmoe"), None, input_ids=torch.tensor([[0, 5, 0]]))[1][0].context
    assert context.is_token.all()
    assert context.position.tolist() == [0, 1, 2]


def test_embeddings_have_no_token_ids() -> None:
    context = observe(random_model("olmoe"), None, inputs_embeds=torch.randn(2, 3, 32))[1][0].context
    assert context.token_id.tolist() == [-1] * 6


@torch.no_grad()
def test_the_base_model_alone_is_labelled_too() -> None:
    model, batch = random_model("olmoe"), padded_batch("right")
    seen: list[Seen] = []
    with attach(model, TopK(2), observer=lambda *what: seen.append(Seen(*what))) as attachment:
        attachment.label(sample=[3, 4, 5], sequence=[0, 0, 0])
        model.base_model(**batch)
    assert seen[0].context.sample.unique().tolist() == [3, 4, 5]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fills_in_what_the_model_knows(architecture: str) -> None:
    model = random_model(architecture)
    with attach(model, TopK(2)) as attachment:
        assert attachment.rule.trained_top_k == model.config.num_experts_per_tok
        assert attachment.rule.normalise is (architecture == "mixtral")
    with attach(model, TopK(2, trained_top_k=1, normalise=True)) as attachment:
        assert attachment.rule == TopK(2, trained_top_k=1, normalise=True)


class EverySecond:
    """A rule that is no dataclass and asks for the position: experts only on even ones."""

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        count = (context.position % 2 == 0).long()
        experts = torch.where(count.bool(), layer, logits.shape[-1])[:, None]
        return Selection(experts, count[:, None].float(), count)


def test_any_object_that_selects_is_a_rule_and_gets_its_context() -> None:
    _, seen = observe(random_model("olmoe"), EverySecond(), input_ids=torch.tensor([[4, 5, 6]]))
    assert [what.selection.experts.tolist() for what in seen] == [[[n], [16], [n]] for n in range(3)]


@torch.no_grad()
def test_refuses_nan_in_a_token_but_not_in_padding() -> None:
    """The second router is poisoned in what it says of the last token."""
    model = random_model("olmoe")
    router = find_moe_blocks(model)[1].router

    def poisoned(hidden: Tensor, answer: Any = router.forward) -> tuple:
        logits, *others = answer(hidden)
        return logits.index_fill(0, torch.tensor([2]), torch.nan), *others

    router.forward = poisoned
    ids = torch.tensor([[4, 5, 0]])
    with attach(model, None):
        model(input_ids=ids, attention_mask=torch.tensor([[1, 1, 0]]))
        with pytest.raises(InputError, match="layer 1 are NaN"):
            model(input_ids=ids)


def test_refuses_experts_that_cannot_drop() -> None:
    model = random_model("olmoe")
    del model.base_model.layers[1].mlp.experts.config
    before = model.config._experts_implementation
    with (
        pytest.raises(InputError, match=r"model\.layers\.1\.mlp: its experts bypass"),
        attach(model, TopK(2), own_when_full=False),
    ):
        pass
    assert model.config._experts_implementation == before


def test_keeps_no_hold_on_the_cache() -> None:
    model = random_model("olmoe")
    with torch.no_grad(), attach(model, TopK(2)):
        cache = model(input_ids=torch.tensor([[4, 5]]), use_cache=True).past_key_values
        model(input_ids=torch.tensor([[6]]), past_key_values=cache)
        held = weakref.ref(cache)
        del cache
        gc.collect()
        assert held() is None


@torch.no_grad()
def test_critical_logits_are_made_once_and_not_at_every_attach(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = random_model("olmoe"), padded_batch("right")
    rule, made = adaptive(model), []
    own = NullDistribution.critical_logits
    monkeypatch.setattr(
        NullDistribution, "critical_logits", lambda *args, **more: made.append(1) or own(*args, **more)
    )
    for _ in range(3):
        with attach(model, rule):
            model(**batch)
    assert len(made) == 3  # one per layer


@pytest.mark.parametrize(
    ("architecture", "changes"), [("olmoe", {}), ("mixtral", {}), ("mixtral", {"sliding_window": 4})]
)
@torch.no_grad()
def test_rows_of_a_static_cache_are_those_of_the_default_one(
    architecture: str, changes: dict[str, int]
) -> None:
    model, batch = random_model(architecture, **changes), padded_batch("left")
    contexts: dict[str | None, list[TokenContext]] = {}
    for cache in (None, "static"):
        seen = contexts[cache] = []
        with attach(model, TopK(2), observer=lambda *what, seen=seen: seen.append(what[3])):
            model.generate(**batch, max_new_tokens=4, do_sample=False, cache_implementation=cache)
    assert len(contexts[None]) == len(contexts["static"]) == 3 * 4
    for one, other in zip(contexts[None], contexts["static"], strict=True):
        assert torch.equal(one.token_id, other.token_id) and torch.equal(one.is_token, other.is_token)
        assert torch.equal(one.position, other.position)


@torch.no_grad()
def test_experts_of_eight_bits_are_refused_at_attach() -> None:
    model = random_model("olmoe")
    experts = find_moe_blocks(model)[0].experts
    experts.down_proj = nn.Parameter(experts.down_proj.to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(InputError, match="quantised to 8 bits"), attach(model, TopK(2)):
        pass


@dataclasses.dataclass
class Looking:
    """Top-k that notes what it was shown, and when it began and ended."""

    context_window: int = 3
    events: list[Any] = dataclasses.field(default_factory=list)

    def start(self) -> None:
        self.events.append("start")

    def after_forward(self) -> None:
        self.events.append("after")

    def select(self, logits: Tensor, layer: int, context: TokenContext) -> Selection:
        if layer == 0:
            self.events.append(context)
        return TopK(2, normalise=False, trained_top_k=4).select(logits, layer, context)


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_a_rule_sees_the_ids_before_each_token_over_decode_steps(side: str) -> None:
    model, rule, batch = random_model("olmoe"), Looking(), padded_batch(side)
    seen: dict[int, list[int]] = {row: [] for row in range(3)}
    with attach(model, rule):
        cache = model(**batch, use_cache=True).past_key_values
        mask = batch["attention_mask"]
        for step in range(5):
            mask = torch.cat([mask, torch.ones(3, 1, dtype=torch.long)], dim=1)
            ids = torch.tensor([[10 + step], [20 + step], [30 + step]])
            model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
    contexts = [one for one in rule.events if isinstance(one, TokenContext)]
    assert rule.events[0] == "start" and rule.events.count("after") == len(contexts) == 6
    for context in contexts:
        for row, token, is_token, previous in zip(
            context.sample.tolist(),
            context.token_id.tolist(),
            context.is_token.tolist(),
            context.previous.tolist(),
            strict=True,
        ):
            if is_token:
                assert previous == ([-1] * 3 + seen[row])[-3:]
                seen[row].append(token)
    assert [len(one) for one in seen.values()] == [16, 12, 6]
    with attach(model, Looking()):
        model(**batch)  # the next prefill begins anew


@torch.no_grad()
def test_each_cache_goes_on_after_its_own_ids() -> None:
    """Two conversations by turns, and a cache that the rule never saw: nothing is known of what it holds."""
    model, seen = random_model("olmoe"), []

    class Looking(TopK):
        context_window = 2
        needs_context = True

        def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
            if layer == 0:
                seen.append(context.previous[-1].tolist())
            return super().select(logits, layer)

    strange = model(input_ids=torch.tensor([[4, 5, 6]]), use_cache=True).past_key_values
    with attach(model, Looking(2)):
        one = model(input_ids=torch.tensor([[1, 2, 3]]), use_cache=True).past_key_values
        other = model(input_ids=torch.tensor([[4, 5, 6]]), use_cache=True).past_key_values
        for cache in (one, other, strange, one):
            model(input_ids=torch.tensor([[7]]), past_key_values=cache, use_cache=True)
    assert seen[2:] == [[2, 3], [5, 6], [-1, -1], [3, 7]]


def test_the_context_follows_the_device_of_a_layer() -> None:
    rows = Rows()
    rows.take((), padded_batch("left"))
    here, there = rows.context(torch.device("cpu")), rows.context(torch.device("meta"))
    assert {column.device.type for column in here[:5]} == {"cpu"}
    assert {column.device.type for column in there[:5]} == {"meta"}
    assert rows.context(torch.device("cpu")) is here


@torch.no_grad()
def test_a_model_that_was_compiled_before_is_rerouted_too() -> None:
    model, batch = random_model("olmoe"), padded_batch("right")
    compiled = torch.compile(model, backend="eager")
    plain = compiled(**batch).logits
    with attach(model, TopK(1)):
        routed = compiled(**batch).logits
        expected = model(**batch).logits
    assert torch.equal(routed, expected) and not torch.equal(routed, plain)
    assert torch.equal(compiled(**batch).logits, plain)
    layers = []
    with attach(compiled, None, observer=lambda layer, *others: layers.append(layer)):
        compiled(**batch)
    assert layers == [0, 1, 2]


@torch.no_grad()
@pytest.mark.parametrize(("kind", "adapts"), [("olmoe", True), ("mixtral", False)])
def test_an_attached_model_is_captured_whole(kind: str, adapts: bool) -> None:
    """`fullgraph=True` fails at a graph break, and so at every look at a value on the way."""
    model, batch = random_model(kind), {**padded_batch("left"), "use_cache": False}
    torch.compiler.reset()
    with attach(model, adaptive(model) if adapts else TopK(2), own_when_full=False):
        expected = model(**batch).logits
        captured = torch.compile(model, fullgraph=True, backend="aot_eager")(**batch).logits
    assert torch.allclose(captured, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_compiling_before_the_first_forward_is_refused_where_a_rule_has_something_to_make() -> None:
    model, batch = random_model("olmoe"), {**padded_batch("left"), "use_cache": False}
    torch.compiler.reset()
    with (
        attach(model, adaptive(model)),
        pytest.raises(Exception, match="run the attached model once before it is compiled"),
    ):
        torch.compile(model, fullgraph=True, backend="eager")(**batch)


@torch.no_grad()
def test_compiled_experts_drop_empty_slots_as_the_ragged_ones_do() -> None:
    model = random_model("mixtral")
    experts = find_moe_blocks(model)[0].experts
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(9, experts.hidden_dim, generator=generator)
    index = torch.randint(0, experts.num_experts + 1, (9, 3), generator=generator)
    index[4] = experts.num_experts
    weights = torch.rand(9, 3, generator=generator) * (index < experts.num_experts)
    ragged = ragged_experts(experts, hidden, index, weights)
    assert torch.allclose(sum_with_fixed_shapes(experts, hidden, index, weights), ragged, atol=1e-6)
    assert ragged[4].abs().sum() == 0


@torch.no_grad()
def test_nan_of_any_forward_is_told_at_the_end_where_a_look_makes_the_device_wait(monkeypatch: Any) -> None:
    """A GPU looks after the first forward and at the end; here a spy counts the looks of a device that waits."""
    model, batch = random_model("olmoe"), padded_batch("right")
    looks = []
    monkeypatch.setattr(attachment, "_waits", lambda device: True)
    look = attachment.Attachment.check
    monkeypatch.setattr(attachment.Attachment, "check", lambda self: (looks.append(1), look(self)))
    router = find_moe_blocks(model)[2].router
    sound = router.weight.data.clone()
    with pytest.raises(InputError, match="layer 2 are NaN"), attach(model, None):
        model(**batch)
        router.weight.data.fill_(torch.nan)
        model(**batch)
        router.weight.data.copy_(sound)
        model(**batch)
        assert len(looks) == 1
    assert len(looks) == 2


class Partly(TopK):
    """Top-k that looks at every other row only; the others get the first experts."""

    needs_context = True
    seen: list[Tensor] = []

    def rows_needed(self, layer: int, context: TokenContext) -> Tensor:
        return context.token_id % 2 == 0

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        self.seen.append(logits)
        chosen = super().select(logits, layer)
        needed = (context.token_id % 2 == 0).unsqueeze(-1)
        first = torch.arange(self.k).expand_as(chosen.experts)
        return chosen._replace(
            experts=torch.where(needed, chosen.experts, first),
            weights=torch.where(needed, chosen.weights, torch.full_like(chosen.weights, 0.5)),
        )


@torch.no_grad()
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_gate_runs_for_the_rows_that_a_rule_needs(kind: str) -> None:
    """All rows in the first forward, whose routers are checked, and under an observer."""
    model, batch = random_model(kind), padded_batch("left")
    counts: list[int] = []
    router = find_moe_blocks(model)[1].router
    linear = type(router).forward
    router.forward = lambda hidden: (
        counts.append(hidden.numel() // hidden.shape[-1]),
        linear(router, hidden),
    )[1]
    rows, needed = batch["input_ids"].numel(), int((batch["input_ids"] % 2 == 0).sum())
    with attach(model, Partly(2)):
        whole = model(**batch).logits
        Partly.seen.clear()
        assert torch.equal(model(**batch).logits, whole)
    assert counts == [rows, needed] and 0 < needed < rows
    unneeded = batch["input_ids"].flatten() % 2 == 1
    assert (Partly.seen[1][unneeded] == 0).all() and (Partly.seen[1] != 0).any()
    with attach(model, Partly(2), observer=lambda *what: None):
        assert torch.equal(model(**batch).logits, whole)
    assert counts[2:] == [rows]
    assert "forward" in vars(router)  # what stood there before


def test_the_models_own_experts_run_where_no_slot_can_be_empty() -> None:
    """So that `generate` on a GPU decodes by `batched_mm` with and without the rule."""
    model = random_model("olmoe")
    before = model.config._experts_implementation
    with attach(model, TopK(2)):
        assert model.config._experts_implementation == before
    with attach(model, TopK(2), own_when_full=False):
        assert model.config._experts_implementation == RAGGED


def test_refuses() -> None:
    model = random_model("olmoe")
    with attach(model, TopK(2)):
        for again in (model, model.base_model):
            with pytest.raises(InputError, match="has a rule already"), attach(again, TopK(2)):
                pass
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    with pytest.raises(InputError, match="'llama'"), attach(LlamaForCausalLM(config), TopK(2)):
        pass
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    with pytest.raises(InputError, match="do not say which tokens are padding"):
        observe(model, TopK(2), input_ids=torch.tensor([[4, 5, 6]]), attention_mask=mask)
