"""The router decides what the definition says, token by token; off, empty or unpatched it is the model."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from reference.families import DEEPSEEK, LATENT, model_of
from reference.moe_models import ARCHITECTURES, padded_batch, random_model
from reference.var import CACHED, FAST, LEARNED, Decision, Known, NaiveVAR, Route, Token, previous_ids
from switchyard.errors import InputError
from switchyard.routing import Selection, TokenContext, TopK, attach
from switchyard.var import cache
from switchyard.var.config import VARConfig
from switchyard.var.router import VARRouter
from switchyard.var.table import RoutingTable

LAYERS, EXPERTS, TOP_K, IDS = 2, 4, 2, 5


class Stream(NamedTuple):
    """What a random stream is made of."""

    seed: int
    forwards: int
    batch: int
    time: int
    window: int
    padding: bool
    has_table: bool
    shared_rows: bool


STREAMS = st.builds(
    Stream,
    seed=st.integers(0, 10**6),
    forwards=st.integers(1, 6),
    batch=st.integers(1, 3),
    time=st.integers(1, 6),
    window=st.integers(0, 2),
    padding=st.booleans(),
    has_table=st.booleans(),
    shared_rows=st.booleans(),
)
SETTINGS = st.fixed_dictionaries(
    {
        "frequency_threshold": st.integers(0, 4),
        "entropy_threshold": st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        "confidence_threshold": st.sampled_from([0.0, 0.3, 0.6, 1.0]),
        "cache_size": st.sampled_from([0, 1, 2, 3, 8]),
        "cache_ttl_seconds": st.sampled_from([0.5, 2.0, 100.0]),
        "route_weights": st.sampled_from(["table", "live"]),
        "fast_path_experts": st.sampled_from([None, 1, 2]),
    }
)


def random_table(
    rng: np.random.Generator, *, shared: bool
) -> tuple[RoutingTable, dict[tuple[int, int], Known]]:
    """A table that knows some of the ids, and the same as the reference's dict."""
    rows = []
    for layer in range(1 if shared else LAYERS):
        for token in rng.permutation(IDS)[:3].tolist():
            experts = rng.permutation(EXPERTS)[:TOP_K].tolist()
            entropy, weights = rng.choice([0.1, 0.5, 1.5]), rng.random(TOP_K).astype(np.float32).tolist()
            rows.append((layer, token, int(rng.integers(0, 5)), float(entropy), experts, weights))
    names = ("layer", "token_id", "frequency", "mean_entropy", "experts", "weights")
    table = pa.table(
        {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    )
    known = {
        (own, token): Known(frequency, entropy, Route(experts, weights))
        for layer, token, frequency, entropy, experts, weights in rows
        for own in (range(LAYERS) if shared else [layer])
    }
    return RoutingTable.of(table.drop_columns(["layer"]) if shared else table), known


def random_forward(rng: np.random.Generator, stream: Stream) -> tuple[TokenContext, list[Token], Tensor]:
    """A context of random ids and predecessors, the same as tokens, and logits [layers, rows, experts]."""
    rows = stream.batch * stream.time
    ids = rng.integers(-1, IDS, rows)
    previous = rng.integers(-1, 1, (rows, stream.window))
    real = rng.random(rows) < (0.7 if stream.padding else 1.1)
    columns = [torch.from_numpy(ids), *[torch.zeros(rows, dtype=torch.int64)] * 3, torch.from_numpy(real)]
    context = TokenContext(*columns, previous=torch.from_numpy(previous) if stream.window else None)
    tokens = [Token(int(a), tuple(b.tolist()), bool(c)) for a, b, c in zip(ids, previous, real, strict=True)]
    logits = torch.from_numpy(rng.normal(0, 2, (LAYERS, rows, EXPERTS)).astype(np.float32))
    return context, tokens, logits


def routes(selection: Selection) -> list[Route]:
    """The rows of a selection without unused slots, which hold num_experts and 0."""
    found = []
    for experts, weights, count in zip(*(part.tolist() for part in selection[:3]), strict=True):
        assert experts[count:] == [EXPERTS] * (len(experts) - count)
        assert weights[count:] == [0.0] * (len(experts) - count)
        found.append(Route(experts[:count], weights[:count]))
    return found


def check(selection: Selection, expected: list[Decision]) -> None:
    assert selection.path.dtype == torch.int8
    assert selection.path.tolist() == [decision.path for decision in expected]
    for mine, decision in zip(routes(selection), expected, strict=True):
        assert mine.experts == decision.route.experts
        assert mine.weights == pytest.approx(decision.route.weights, rel=1e-6, abs=1e-9)


def run(
    stream: Stream,
    settings: dict[str, Any],
    changed: dict[str, Any] | None = None,
    *,
    normalise: bool = True,
    patch_layers: list[int] | None = None,
) -> NaiveVAR:
    """Compare router and reference on a stream, forward by forward; thresholds change after the first half."""
    rng = np.random.default_rng(stream.seed)
    table, known = random_table(rng, shared=stream.shared_rows) if stream.has_table else (None, {})
    config = VARConfig(**settings, context_window_size=stream.window)
    fixed = {"normalise": normalise, "tokens_per_second": 4.0}
    router = VARRouter(config, table, patch_layers=patch_layers, trained_top_k=TOP_K, **fixed)
    naive = NaiveVAR(config, known, **fixed, patch_layers=None if patch_layers is None else set(patch_layers))
    plain = TopK(TOP_K, trained_top_k=TOP_K, normalise=normalise)
    router.start()
    for number in range(stream.forwards):
        if changed and 2 * number >= stream.forwards:
            for name, value in changed.items():
                if name != "fast_path_experts":  # takes effect where the rule is attached
                    setattr(config, name, value)
        context, tokens, logits = random_forward(rng, stream)
        learned = [routes(plain.select(one, layer)) for layer, one in enumerate(logits)]
        expected = naive.forward(tokens, logits.softmax(-1).tolist(), learned)
        for layer, one in enumerate(logits):
            needed = router.rows_needed(layer, context)
            check(router.select(one, layer, context), expected[layer])
            if needed is not None:
                assert needed.tolist() == [decision.path == LEARNED for decision in expected[layer]]
                blank = one.masked_fill(~needed[:, None], 0.0)
                check(router.select(blank, layer, context), expected[layer])
        router.after_forward()
    check_statistics(router, naive)
    return naive


def check_statistics(router: VARRouter, naive: NaiveVAR) -> None:
    layers = router.performance_stats()["per_layer"]
    assert layers.keys() == {str(layer) for layer in naive.paths}
    for layer, paths in naive.paths.items():
        mine, total = layers[str(layer)], sum(paths)
        assert mine["total_calls"] == total
        shares = {"learned": LEARNED, "fast": FAST, "cached": CACHED}
        for name, path in shares.items():
            assert mine["routing_distribution"][name] == (100 * paths[path] / total if total else 0.0)
        lookups = naive.lookups[layer]
        assert mine["cache_hit_rate"] == (100 * paths[CACHED] / lookups if lookups else 0.0)


@given(STREAMS, SETTINGS, st.booleans())
def test_every_decision_is_that_of_the_definition(stream: Stream, settings: dict, normalise: bool) -> None:
    run(stream, settings, normalise=normalise)


@given(STREAMS, SETTINGS, SETTINGS)
def test_changed_settings_take_effect_with_the_next_forward(stream: Stream, first: dict, then: dict) -> None:
    run(stream, first, then)


@given(STREAMS, SETTINGS, st.sampled_from([[], [0], [1], [0, 1]]))
def test_layers_that_are_not_patched_are_learned_and_not_counted(
    stream: Stream, settings: dict, layers: list[int]
) -> None:
    run(stream, settings, patch_layers=layers)


LONG = Stream(3, 40, 3, 6, 1, padding=True, has_table=True, shared_rows=False)
LOOSE = {
    "frequency_threshold": 2,
    "entropy_threshold": 2.0,
    "confidence_threshold": 0.6,
    "cache_ttl_seconds": 20.0,
}


@pytest.mark.parametrize("size", [2, 5, 50])
def test_a_long_stream_takes_all_paths(size: int) -> None:
    naive = run(LONG, {**LOOSE, "cache_size": size})
    for paths in naive.paths.values():
        assert min(paths) > 10


class OneToken:
    """A router with one layer that is shown one token at a time, always equally sure of the same experts."""

    def __init__(self, **settings: Any) -> None:
        self.now = 0.0
        self.config = VARConfig(context_window_size=0, confidence_threshold=0.5, **settings)
        self.router = VARRouter(self.config, trained_top_k=TOP_K, normalise=True, clock=lambda: self.now)
        self.router.start()

    def __call__(self, *ids: int) -> list[int]:
        """The paths of a forward over `ids`."""
        zeros = torch.zeros(len(ids), dtype=torch.int64)
        context = TokenContext(torch.tensor(ids), zeros, zeros, zeros, torch.ones(len(ids), dtype=torch.bool))
        logits = torch.tensor([[9.0, 1.0, 0.0, 0.0]]).expand(len(ids), -1)
        path = self.router.select(logits, 0, context).path.tolist()
        self.router.after_forward()
        return path


def test_a_cache_is_read_as_it_stood_before_the_forward() -> None:
    show = OneToken()
    assert show(1, 1) == [LEARNED, LEARNED]
    assert show(1, 2) == [CACHED, LEARNED]


def test_age_counts_from_the_write_by_the_clock() -> None:
    show = OneToken(cache_ttl_seconds=10)
    show(1)
    show.now = 10.0
    assert show(1) == [CACHED]
    show.now = 11.0
    assert show(1) == [LEARNED]
    show.now = 21.0
    assert show(1) == [CACHED]


def test_the_least_recently_hit_or_written_goes() -> None:
    show = OneToken(cache_size=2)
    show(1, 2)
    assert show(1) == [CACHED]
    show(3)
    assert show(2) == [LEARNED]  # and pushes out 1, hit before 3 was written
    assert show(3, 1) == [CACHED, LEARNED]


def test_a_hash_that_two_keys_share_never_gives_a_wrong_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_hash", lambda ids: torch.zeros_like(ids[:, 0]))
    show = OneToken()
    show(1)
    assert show(2) == [LEARNED]
    assert show(3, 4) == [LEARNED, LEARNED]


def test_start_forgets() -> None:
    show = OneToken()
    show(1)
    show.router.start()
    assert show.router.performance_stats()["overall"]["total_calls"] == 0
    assert show(1) == [LEARNED]


def test_the_cached_path_can_be_switched_off_for_a_while() -> None:
    show = OneToken()
    show(1)
    with show.router.cache_off():
        assert show(1, 2) == [LEARNED, LEARNED]
    assert show(1, 2) == [CACHED, LEARNED]


def test_selecting_changes_nothing() -> None:
    show = OneToken()
    zeros = torch.zeros(1, dtype=torch.int64)
    for _ in range(2):
        context = TokenContext(zeros, zeros, zeros, zeros, torch.ones(1, dtype=torch.bool))
        assert show.router.select(torch.tensor([[9.0, 0.0, 0.0, 0.0]]), 0, context).path.tolist() == [LEARNED]
    assert show(0) == [LEARNED]


# In a model -------------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    layer: int
    logits: Tensor
    selection: Selection
    context: TokenContext


def small_table(model: nn.Module, *, entropy: float = 0.1) -> RoutingTable:
    """Rows for every third token id, shared by the layers."""
    structure = model.config
    ids = list(range(0, structure.vocab_size, 3))
    top_k = structure.num_experts_per_tok
    columns = {
        "token_id": ids,
        "frequency": [100] * len(ids),
        "mean_entropy": [entropy] * len(ids),
        "experts": [[(token + slot) % 8 for slot in range(top_k)] for token in ids],
        "weights": [[1.0 / top_k] * top_k] * len(ids),
    }
    return RoutingTable.of(pa.table(columns))


def known_of(table: RoutingTable, layers: int) -> dict[tuple[int, int], Known]:
    rows = table.on(torch.device("cpu"))
    return {
        (layer, token): Known(
            int(rows.frequency[0, token]),
            float(rows.mean_entropy[0, token]),
            Route(rows.experts[0, token].tolist(), rows.weights[0, token].tolist()),
        )
        for layer in range(layers)
        for token in rows.frequency[0].nonzero().squeeze(1).tolist()
    }


def expected_of(
    naive: NaiveVAR, model: nn.Module, seen: list[Seen], histories: list[list[int]]
) -> list[list[Decision]]:
    """What the reference decides for one forward; histories are of each row of the batch and grow."""
    top_k = model.config.num_experts_per_tok
    context = seen[0].context
    tokens = []
    for token_id, sample, real in zip(
        context.token_id.tolist(), context.sample.tolist(), context.is_token.tolist()
    ):
        history = histories[sample]
        tokens.append(Token(token_id, previous_ids(history, naive.config.context_window_size), real))
        if real:
            history.append(token_id)
    plain = TopK(top_k, trained_top_k=top_k, normalise=naive.normalise)
    learned = []
    for one in seen:
        chosen = plain.select(one.logits, one.layer)
        learned.append(
            [Route(a, b) for a, b in zip(chosen.experts.tolist(), chosen.weights.tolist(), strict=True)]
        )
    return naive.forward(tokens, [one.logits.softmax(-1).tolist() for one in seen], learned)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_decisions_in_a_model_over_batches_and_decoding(architecture: str, side: str) -> None:
    model = random_model(architecture)
    config = VARConfig(confidence_threshold=0.4, context_window_size=2, cache_size=12, frequency_threshold=10)
    table, normalise = small_table(model), architecture == "mixtral"
    naive = NaiveVAR(config, known_of(table, 3), normalise, 1000.0)
    seen: list[Seen] = []
    paths = set()
    with attach(
        model, VARRouter(config, table), observer=lambda *what: seen.append(Seen(*what))
    ) as attachment:
        for _ in range(2):
            histories: list[list[int]] = [[], [], []]
            batch = padded_batch(side)
            forwards = [batch]
            if side == "left":  # decode the same tokens again, so that contexts repeat
                step = batch["input_ids"][:, -1:]
                mask = batch["attention_mask"]
                forwards += [
                    {"input_ids": step, "attention_mask": torch.cat([mask, torch.ones(3, more)], 1).long()}
                    for more in range(1, 5)
                ]
            past = None
            for inputs in forwards:
                seen.clear()
                past = model(**inputs, past_key_values=past, use_cache=True).past_key_values
                for one, expected in zip(seen, expected_of(naive, model, seen, histories), strict=True):
                    assert one.selection.path.tolist() == [decision.path for decision in expected]
                    assert one.selection.experts.tolist() == [decision.route.experts for decision in expected]
                    weights = [decision.route.weights for decision in expected]
                    torch.testing.assert_close(one.selection.weights, torch.tensor(weights))
                    paths |= set(one.selection.path.tolist())
        check_statistics(attachment.rule, naive)
    assert paths == {LEARNED, FAST, CACHED}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_all_learned_is_the_untouched_model_bit_for_bit(architecture: str, dtype: torch.dtype) -> None:
    model = random_model(architecture, dtype)
    never = VARRouter(VARConfig(entropy_threshold=0.05, confidence_threshold=1.0), small_table(model))
    for rule in (
        VARRouter(VARConfig(cache_size=0)),
        never,
        VARRouter(VARConfig(enable_var=False), small_table(model)),
    ):
        for side in ("left", "right"):
            batch = padded_batch(side)
            plain = model(**batch).logits
            with attach(model, rule):
                assert torch.equal(model(**batch).logits, plain)
        options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
        plain = model.generate(**padded_batch("left"), **options)
        with attach(model, rule):
            assert torch.equal(model.generate(**padded_batch("left"), **options), plain)


@torch.no_grad()
def test_looked_up_routes_are_really_run() -> None:
    """With all tokens on the fast path, the model is one whose routers answer with the table's row."""
    model = random_model("mixtral")
    ids = torch.arange(3, 90, 3)[None]
    table = small_table(model)
    with attach(model, VARRouter(VARConfig(fast_path_experts=1), table)) as attachment:
        routed = model(input_ids=ids).logits
        assert attachment.rule.performance_stats()["overall"]["routing_distribution"]["fast"] == 100.0

    class Fixed:
        def select(self, logits: Tensor, layer: int, context: TokenContext) -> Selection:
            experts = table.on(logits.device).experts[0, context.token_id, :1].long()
            return Selection(
                experts, torch.ones(len(experts), 1), torch.ones(len(experts), dtype=torch.int64)
            )

    with attach(model, Fixed()):
        torch.testing.assert_close(routed, model(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_what_is_kept_serves_forwards_with_and_without_gradients() -> None:
    model = random_model("mixtral")
    batch = padded_batch("right")
    config = VARConfig(confidence_threshold=0.2, frequency_threshold=10)
    with attach(model, VARRouter(config, small_table(model))) as attachment:
        with torch.inference_mode():
            model(**batch)
        model(**batch).logits.sum().backward()
        with torch.no_grad():
            model(**batch)
        with torch.inference_mode():
            model(**batch)
        shares = attachment.rule.performance_stats()["overall"]["routing_distribution"]
    assert min(shares.values()) > 0


@pytest.mark.parametrize("route_weights", ["table", "live"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
@torch.no_grad()
def test_unobserved_it_routes_as_observed(kind: str, route_weights: str) -> None:
    """Unobserved, the gate may run for the learned rows alone."""
    model = random_model(kind)
    batch = padded_batch("left")
    settings = {"confidence_threshold": 0.2, "frequency_threshold": 10, "route_weights": route_weights}
    answers = []
    for observer in (None, lambda *what: None):
        with attach(
            model, VARRouter(VARConfig(**settings), small_table(model)), observer=observer
        ) as attachment:
            answers.append(torch.stack([model(**batch).logits for _ in range(3)]))
            shares = attachment.rule.performance_stats()["overall"]["routing_distribution"]
            assert min(shares.values()) > 0
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(answers[0][:, real], answers[1][:, real], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_without_a_table_the_models_own_experts_run() -> None:
    """No slot is ever empty then, so that `attach` leaves the experts alone."""
    model = random_model("mixtral")
    own = model.config._experts_implementation
    with attach(model, VARRouter(VARConfig())):
        assert model.config._experts_implementation == own
    with attach(model, VARRouter(VARConfig(fast_path_experts=1), small_table(model))):
        assert model.config._experts_implementation != own


@torch.no_grad()
def test_rows_without_token_ids_are_learned() -> None:
    """Embeddings say nothing of their tokens, so that no key is theirs."""
    model = random_model("mixtral")
    generator = torch.Generator().manual_seed(0)
    with attach(model, VARRouter(VARConfig(confidence_threshold=0.0), small_table(model))) as attachment:
        for _ in range(2):
            model(inputs_embeds=torch.randn(1, 6, model.config.hidden_size, generator=generator))
    shares = attachment.rule.performance_stats()["overall"]["routing_distribution"]
    assert shares == {"fast": 0.0, "cached": 0.0, "learned": 100.0}


# Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["deepseek_v2", "deepseek_v3"])
def test_a_family_with_own_weights_is_refused(kind: str) -> None:
    model = model_of(kind, {**DEEPSEEK, **LATENT})
    with pytest.raises(InputError, match=f"var: sets weights .* '{kind}'"), attach(model, VARRouter()):
        pass


def test_what_does_not_go_with_the_model_is_refused() -> None:
    model = random_model("mixtral")
    table = small_table(random_model("olmoe"))
    with (
        pytest.raises(InputError, match="lists 4 experts for a token, the model uses 2"),
        attach(model, VARRouter(VARConfig(), table)),
    ):
        pass
    with (
        pytest.raises(InputError, match="fast_path_experts is 3, the model uses 2; lower it"),
        attach(model, VARRouter(VARConfig(fast_path_experts=3))),
    ):
        pass
    rows = {
        "token_id": [1],
        "frequency": [1],
        "mean_entropy": [0.1],
        "experts": [[0, 9]],
        "weights": [[0.5, 0.5]],
    }
    beyond = VARRouter(VARConfig(), RoutingTable.of(pa.table(rows)))
    with attach(model, beyond), torch.no_grad(), pytest.raises(InputError, match="expert 9, layer 0 has 8"):
        model(**padded_batch("left"))
    without = RoutingTable.of(
        pa.table({**rows, "experts": [[0, 1]], "weights": pa.nulls(1, pa.list_(pa.float64()))})
    )
    with (
        pytest.raises(InputError, match="set route_weights to live"),
        attach(model, VARRouter(VARConfig(), without)),
    ):
        pass
    with attach(model, VARRouter(VARConfig(route_weights="live"), without)), torch.no_grad():
        model(**padded_batch("left"))


def test_settings_are_refused() -> None:
    for wrong, message in (
        ({"tokens_per_second": 0.0}, "tokens_per_second is 0.0"),
        ({"patch_layers": [-1]}, "patch_layers names -1"),
        ({"weighting": "none"}, "weighting 'none' is unknown"),
    ):
        with pytest.raises(InputError, match=message):
            VARRouter(**wrong)
    with pytest.raises(InputError, match="pass trained_top_k"):
        _ = VARRouter().limits
    untracked = VARRouter(VARConfig(track_performance=False))
    with pytest.raises(InputError, match="track_performance is off"):
        untracked.performance_stats()


def test_limits() -> None:
    table = small_table(random_model("olmoe"))
    assert VARRouter(VARConfig(), table).limits == (4, 4)
    assert VARRouter(VARConfig(fast_path_experts=1), table).limits == (1, 4)
    assert VARRouter(VARConfig(fast_path_experts=1), trained_top_k=2).limits == (2, 2)


def test_it_is_made_from_a_configuration_of_a_study(tmp_path: Any) -> None:
    from switchyard.artifacts.files import write_table
    from switchyard.routing import RULES, config_label, config_name
    from switchyard.study.experiment import build_rule

    rows = {
        "token_id": [1],
        "frequency": [1],
        "mean_entropy": [0.1],
        "experts": [[0, 1]],
        "weights": [[0.5, 0.5]],
    }
    write_table(tmp_path / "table.parquet", pa.table(rows))
    files = {"routing_table": tmp_path / "table.parquet"}
    assert RULES["var"].reads == tuple(files)
    settings = {"preset": "aggressive", "weighting": "model", "cache_size": 7, "tokens_per_second": 10.0}
    assert (config_name("var", settings), config_label("var", settings)) == (
        "var_aggressive",
        "VAR aggressive",
    )
    rule = build_rule("var_aggressive", RULES["var"].home, settings, files)
    assert (rule.config.entropy_threshold, rule.config.cache_size, rule.tokens_per_second) == (0.7, 7, 10.0)
    VARConfig(entropy_threshold=1.5).to_json(tmp_path / "own.json")
    own = {"preset": "custom", "config_file": str(tmp_path / "own.json")}
    assert build_rule("var_custom", RULES["var"].home, own, files).config.entropy_threshold == 1.5
    with pytest.raises(InputError, match="preset 'bold' is unknown; use conservative, balanced, aggressive"):
        build_rule("var_bold", RULES["var"].home, {"preset": "bold"}, files)
    assert dataclasses.is_dataclass(rule)
