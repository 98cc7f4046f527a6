"""The wrapper in a user's script: the model itself, and VAR when it is on."""

from __future__ import annotations

import gc
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from reference.moe_models import ARCHITECTURES, padded_batch, random_model
from switchyard.artifacts.files import write_table
from switchyard.errors import InputError
from switchyard.var import VARConfig, VARMixtralWrapper

GREEDY = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
EAGER = {"confidence_threshold": 0.2, "context_window_size": 1}
"""Settings under which a random model's routes are cached."""


@pytest.fixture
def stats(tmp_path: Path) -> Path:
    """Every third token id, on expert 5 then 1, with little entropy in all layers."""
    ids = list(range(0, 96, 3))
    columns = {
        "token_id": ids,
        "frequency": [100] * len(ids),
        "mean_entropy": [0.2] * len(ids),
        "experts": [[5, 1]] * len(ids),
        "weights": [[0.75, 0.25]] * len(ids),
    }
    write_table(tmp_path / "routing_stats.parquet", pa.table(columns))
    return tmp_path / "routing_stats.parquet"


def distribution(wrapper: VARMixtralWrapper) -> dict[str, float]:
    return wrapper.get_performance_stats()["overall"]["routing_distribution"]


@torch.no_grad()
def test_two_lines_around_a_model(stats: Path) -> None:
    model, batch = random_model("mixtral"), padded_batch("left")
    plain, text = model(**batch).logits, model.generate(**batch, **GREEDY)
    model = VARMixtralWrapper(model, VARConfig.from_routing_stats(stats, **EAGER))
    assert not torch.equal(model(**batch).logits, plain)
    assert model.generate(**batch, **GREEDY).shape == text.shape
    assert min(distribution(model).values()) > 0
    model.disable_var()
    assert torch.equal(model(**batch).logits, plain)
    assert torch.equal(model.generate(**batch, **GREEDY), text)
    assert min(distribution(model).values()) > 0
    model.enable_var()
    assert model.get_performance_stats()["overall"]["total_calls"] == 0
    assert not torch.equal(model(**batch).logits, plain)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_without_table_and_cache_it_is_the_model(architecture: str) -> None:
    model, batch = random_model(architecture), padded_batch("left")
    plain, text = model(**batch).logits, model.generate(**batch, **GREEDY)
    wrapper = VARMixtralWrapper(model, VARConfig(cache_size=0))
    assert torch.equal(wrapper(**batch).logits, plain)
    assert torch.equal(wrapper.generate(**batch, **GREEDY), text)
    assert distribution(wrapper) == {"fast": 0.0, "cached": 0.0, "learned": 100.0}


@pytest.mark.parametrize(
    ("clock", "cached"),
    [
        (
            {"tokens_per_second": 1.0},
            100 / 3,
        ),  # 8 seconds a forward: the third one finds entries 8 seconds old
        ({"tokens_per_second": 1000.0}, 200 / 3),
        ({"clock": [1.0, 2.0, 3.0, 7.5, 8.0]}, 100 / 3),  # written at 1, read at 2 and, too late, at 7.5
        ({"clock": [1.0, 2.0, 3.0, 5.5, 6.0]}, 200 / 3),
    ],
)
@torch.no_grad()
def test_entries_expire_by_tokens_or_by_a_clock_of_ones_own(clock: dict[str, Any], cached: float) -> None:
    if "clock" in clock:
        seconds = iter(clock["clock"])
        clock = {"clock": lambda: next(seconds)}
    config = VARConfig(cache_ttl_seconds=5, confidence_threshold=0.0, context_window_size=0)
    wrapper = VARMixtralWrapper(random_model("mixtral"), config, **clock)
    for _ in range(3):
        wrapper(input_ids=torch.arange(8)[None])
    assert distribution(wrapper)["cached"] == pytest.approx(cached)


@torch.no_grad()
def test_statistics_have_the_documents_schema(stats: Path, tmp_path: Path, capsys: Any) -> None:
    wrapper = VARMixtralWrapper(
        random_model("mixtral"), VARConfig.from_routing_stats(stats), patch_layers=[0, 2]
    )
    batch = padded_batch("right")
    wrapper(**batch)
    found = wrapper.get_performance_stats()
    assert set(found) == {"overall", "per_layer"}
    assert set(found["per_layer"]) == {"0", "2"}
    for one in (found["overall"], *found["per_layer"].values()):
        assert set(one) == {"routing_distribution", "cache_hit_rate", "total_calls"}
        assert set(one["routing_distribution"]) == {"fast", "cached", "learned"}
        assert sum(one["routing_distribution"].values()) == pytest.approx(100.0)
    assert found["overall"]["total_calls"] == 2 * int(batch["attention_mask"].sum())
    wrapper.save_performance_stats(tmp_path / "var.json")
    assert json.loads((tmp_path / "var.json").read_text()) == found
    wrapper.print_performance_summary()
    shown = capsys.readouterr().out
    assert f"fast    : {found['overall']['routing_distribution']['fast']:.1f}%" in shown
    assert "38 in 2 layers" in shown


@torch.no_grad()
def test_changed_settings_take_effect_with_the_next_call(stats: Path) -> None:
    wrapper = VARMixtralWrapper(random_model("mixtral"), VARConfig.from_routing_stats(stats, cache_size=0))
    batch = padded_batch("right")
    wrapper(**batch)
    assert distribution(wrapper)["fast"] > 0
    wrapper.config.entropy_threshold = 0.1
    before = distribution(wrapper)["fast"]
    wrapper(**batch)
    assert distribution(wrapper)["fast"] == pytest.approx(before / 2)
    wrapper.config.context_window_size = 2  # keys of another width: everything begins anew
    wrapper(**batch)
    assert distribution(wrapper)["fast"] == 0.0
    wrapper.config = VARConfig.from_routing_stats(stats)
    wrapper(**batch)
    full = wrapper(**batch).logits
    wrapper.config.fast_path_experts = 1  # a model with empty slots runs other experts: attached anew
    assert not torch.equal(wrapper(**batch).logits, full)
    assert wrapper(**batch).logits.isfinite().all()
    assert distribution(wrapper)["fast"] == pytest.approx(before)
    wrapper.config.enable_var = False
    plain = wrapper(**batch).logits
    assert torch.equal(plain, wrapper.model(**batch).logits)
    assert torch.equal(plain, random_model("mixtral")(**batch).logits)


@torch.no_grad()
def test_caches_outlive_a_call() -> None:
    wrapper = VARMixtralWrapper(random_model("mixtral"), VARConfig(**{**EAGER, "context_window_size": 4}))
    batch = padded_batch("left")
    wrapper.generate(**batch, **GREEDY)
    once = distribution(wrapper)["cached"]
    wrapper.generate(**batch, **GREEDY)
    assert distribution(wrapper)["cached"] > once + 25


@pytest.mark.parametrize(
    ("options", "mode"),
    [({"num_beams": 2}, "beam search"), ({"prompt_lookup_num_tokens": 2}, "assisted generation")],
)
@torch.no_grad()
def test_no_cached_path_where_rows_are_no_sequences(options: dict, mode: str, caplog: Any) -> None:
    model = random_model("mixtral")
    batch = {name: values[:1] for name, values in padded_batch("left").items()}
    text = model.generate(**batch, **GREEDY, **options)
    wrapper = VARMixtralWrapper(model, VARConfig(**EAGER))
    with caplog.at_level(logging.WARNING, logger="switchyard.var.wrapper"):
        for _ in range(2):
            assert torch.equal(wrapper.generate(**batch, **GREEDY, **options), text)
    assert [record.message for record in caplog.records] == [f"VAR: the cached path is off in {mode}"]
    assert distribution(wrapper)["learned"] == 100.0
    wrapper.generate(**batch, **GREEDY)
    wrapper.generate(**batch, **GREEDY)
    assert distribution(wrapper)["cached"] > 0


@torch.no_grad()
def test_what_it_does_not_have_is_the_models() -> None:
    model = random_model("mixtral")
    wrapper = VARMixtralWrapper(model, VARConfig(enable_var=False))
    assert wrapper.device == model.device
    assert wrapper.generation_config is model.generation_config
    assert wrapper.eval() is wrapper
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapper.nothing
    with pytest.raises(InputError, match="never enabled"):
        wrapper.get_performance_stats()
    batch = padded_batch("right")
    plain = model(**batch).logits
    wrapper.config.enable_var = True
    wrapper(**batch)
    assert wrapper.get_performance_stats()["overall"]["total_calls"] == 57
    del wrapper
    gc.collect()
    assert torch.equal(model(**batch).logits, plain)
    assert not model.model._forward_hooks


@torch.no_grad()
def test_a_table_that_is_named_later_is_read(stats: Path) -> None:
    wrapper = VARMixtralWrapper(random_model("mixtral"), VARConfig(cache_size=0))
    batch = padded_batch("right")
    wrapper(**batch)
    assert distribution(wrapper)["fast"] == 0.0
    wrapper.config.routing_stats_path = str(stats)
    found = wrapper(**batch).logits
    assert distribution(wrapper)["fast"] > 0
    expected = VARMixtralWrapper(random_model("mixtral"), VARConfig.from_routing_stats(stats, cache_size=0))
    assert torch.equal(found, expected(**batch).logits)
    wrapper.config.routing_stats_path = None
    assert torch.equal(wrapper(**batch).logits, random_model("mixtral")(**batch).logits)


@torch.no_grad()
def test_one_config_serves_several_wrappers(stats: Path) -> None:
    config, batch = VARConfig.from_routing_stats(stats), padded_batch("right")
    first = VARMixtralWrapper(random_model("mixtral"), config)
    first.disable_var()
    assert config.enable_var and not first.config.enable_var
    second = VARMixtralWrapper(first.model, config, patch_layers=[0])
    second(**batch)
    assert second.get_performance_stats()["overall"]["total_calls"] == 19
    config.entropy_threshold = 0.1  # still the config of the second
    second(**batch)
    assert distribution(second)["fast"] < distribution(second)["learned"]
    second.config = VARConfig(enable_var=False)
    assert torch.equal(second(**batch).logits, random_model("mixtral")(**batch).logits)


@torch.no_grad()
def test_statistics_of_one_expert_need_counts(stats: Path, tmp_path: Path) -> None:
    table = pq.read_table(stats)
    write_table(tmp_path / "plain.parquet", table.drop_columns(["experts", "weights"]))
    rows = [(token, expert, 9 - expert) for token in table["token_id"].to_pylist() for expert in (5, 1)]
    token, expert, count = map(list, zip(*rows, strict=True))
    columns = {"layer": [0] * len(rows), "domain": ["all"] * len(rows)}
    write_table(
        tmp_path / "counts.parquet",
        pa.table({**columns, "token_id": token, "expert": expert, "count": count}),
    )
    config = VARConfig.from_routing_stats(tmp_path / "plain.parquet", route_weights="live", cache_size=0)
    with pytest.raises(InputError, match="`counts` in Python"):
        VARMixtralWrapper(random_model("mixtral"), config)
    wrapper = VARMixtralWrapper(random_model("mixtral"), config, counts=tmp_path / "counts.parquet")
    batch = padded_batch("right")
    found = wrapper(**batch).logits
    whole = VARConfig.from_routing_stats(stats, route_weights="live", cache_size=0)
    assert torch.equal(found, VARMixtralWrapper(random_model("mixtral"), whole)(**batch).logits)


def test_refusals(stats: Path) -> None:
    model = random_model("mixtral")
    with pytest.raises(InputError, match="layer 3 does not exist, the model has 3"):
        VARMixtralWrapper(model, VARConfig(), patch_layers=[0, 3])
    with pytest.raises(InputError, match="lists 2 experts for a token, the model uses 4"):
        VARMixtralWrapper(random_model("olmoe"), VARConfig.from_routing_stats(stats))
    with pytest.raises(InputError, match="has token id 93, the model's vocabulary has 48"):
        VARMixtralWrapper(random_model("mixtral", vocab_size=48), VARConfig.from_routing_stats(stats))
    with pytest.raises(InputError, match="no block with a router"):
        VARMixtralWrapper(torch.nn.Linear(2, 2), VARConfig())
    wrapper = VARMixtralWrapper(model, VARConfig())
    assert not wrapper.training
    with pytest.raises(InputError, match="is wrapped already"):
        VARMixtralWrapper(wrapper, VARConfig())
    with pytest.raises(InputError, match="has a rule already.*disable_var"):
        VARMixtralWrapper(model, VARConfig())
    wrapper.disable_var()
