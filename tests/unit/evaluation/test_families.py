"""A study of routers that are not softmax, then top-k, against what the routers themselves said, token by token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from reference.experiments import EXPERIMENTS, places
from reference.families import DEEPSEEK, FULL, LATENT, K, model_of
from reference.router_probabilities import Answer, Listener, entropy, probabilities, shares
from reference.routing_statistics import LoopStatistics, Routed
from reference.tiny import WORDS, tiny_model
from switchyard.artifacts.files import read_json
from switchyard.errors import InputError
from switchyard.evaluation.router_logits import collect_router_logits
from switchyard.evaluation.run import Files, write_experiment
from switchyard.models.blocks import describe
from switchyard.models.routers import routers_of, selection_scores
from switchyard.models.scores import KEY, Scores
from switchyard.observation.run import observe_shard
from switchyard.observation.shards import merge_shards
from switchyard.observation.windows import Windows, write_windows
from switchyard.reporting.inspector import collect
from switchyard.routing import BenjaminiHochberg, TopK, TopP, attach
from switchyard.routing.budgets import solve_alpha
from switchyard.routing.fitting import fit_nulls, kernel_cdf
from switchyard.routing.logit_table import read_logits, write_logits
from switchyard.routing.null_check import summary
from switchyard.traces.reader import Trace
from switchyard.traces.writer import TraceWriter
from switchyard.warehouse.logits import measured

E = 16
FAMILIES: dict[str, tuple[str, dict[str, Any], str, float]] = {
    "DeepSeek-V3": ("deepseek_v3", {**DEEPSEEK, **LATENT}, "sigmoid", 2.5),
    "DeepSeek-V2": (
        "deepseek_v2",
        {**DEEPSEEK, **LATENT, "topk_method": "group_limited_greedy"},
        "softmax",
        2.5,
    ),
    "MiniMax-M2": ("minimax_m2", {"num_local_experts": E, "head_dim": 8}, "sigmoid", 1.0),
    "LFM2-MoE without bias": (
        "lfm2_moe",
        {
            "num_experts": E,
            "num_dense_layers": 1,
            "routed_scaling_factor": 1.5,
            "use_expert_bias": False,
            **FULL,
        },
        "sigmoid",
        1.5,
    ),
    "ERNIE-4.5": (
        "ernie4_5_moe",
        {"moe_num_experts": E, "moe_k": K, "moe_layer_start_index": 1, "moe_num_shared_experts": 1},
        "softmax",
        1.0,
    ),
}
"""Type, settings, score and scale."""
GROUPED = ("DeepSeek-V3", "DeepSeek-V2")


class Study(NamedTuple):
    """One experiment under BH, and what the routers said."""

    family: str
    model: Any
    rule: BenjaminiHochberg
    files: Files
    logits: Any
    said: dict[tuple[int, int, int, int], Answer]
    """By sample, sequence, layer and position."""


@pytest.fixture(scope="module", params=FAMILIES)
def study(
    request: pytest.FixtureRequest,
    tokenizer: Any,
    tables: dict[str, pa.Table],
    tmp_path_factory: pytest.TempPathFactory,
) -> Study:
    folder, (kind, own, *_) = tmp_path_factory.mktemp("study"), FAMILIES[request.param]
    model = model_of(kind, {**own, "vocab_size": len(tokenizer)})
    listener, said = Listener(model), {}
    settings = {"tokens": 40, "max_length": 16, "batch_tokens": 64}
    write_logits(
        folder / "logits.parquet",
        collect_router_logits(model, tokenizer, tables["perplexity"], **settings),
        {},
        selection_scores(model),
    )
    nulls = [
        fit_nulls(one, K, Scores.of_file(folder / "logits.parquet"))["unselected"]
        for one in read_logits(folder / "logits.parquet")
    ]

    class Spy(TraceWriter):
        def observe(self, layer: int, logits: Any, selection: Any, context: Any) -> None:
            super().observe(layer, logits, selection, context)
            if "repeat" in self.path.name:
                return
            places = zip(
                context.sample.tolist(), context.sequence.tolist(), context.position.tolist(), strict=True
            )
            for row, (sample, sequence, position) in enumerate(places):
                if context.is_token[row]:
                    said[sample, sequence, layer, position] = listener.answers[layer][row]

    experiment, rule = EXPERIMENTS["bh"], BenjaminiHochberg(0.5, 4, null=nulls)
    files = places(folder)
    head = experiment.head(rule, describe(model.config)) | {"provenance": {"code": "abc"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("switchyard.evaluation.run.TraceWriter", Spy)
        whole = replace(experiment, run=replace(experiment.run, keep_logits=True))
        write_experiment(model, tokenizer, whole, rule, tables["choice"], files, head=head)
    return Study(request.param, model, rule, files, folder / "logits.parquet", said)


def answers(study: Study) -> tuple[list[dict[str, Any]], list[Answer]]:
    """The rows of the trace, and what was said of each."""
    rows = pq.read_table(study.files.trace).to_pylist()
    assert len(rows) == len(study.said)
    keys = ("sample_id", "sequence", "layer", "position")
    return rows, [study.said[tuple(row[key] for key in keys)] for row in rows]


def test_entropies_and_overlaps_are_those_of_the_models_own_probabilities(study: Study) -> None:
    rows, said = answers(study)
    found = measured(study.files.trace, K).read_all().to_pydict()
    score = FAMILIES[study.family][2]
    expected = [entropy(shares(score, one.logits)) for one in said]
    np.testing.assert_allclose(found["nats"], expected, rtol=1e-5)
    assert found["shared"] == [
        len(one.experts & set(row["experts"])) for row, one in zip(rows, said, strict=True)
    ]
    scores = np.array([row["router_logits"] for row in rows])
    largest = np.argsort(-scores, axis=1)[:, :K].tolist()
    beyond = [set(row) != one.experts for row, one in zip(largest, said, strict=True)]
    assert any(beyond) == (study.family in GROUPED)  # the groups matter here, and so does what the scores are
    naive = [entropy(shares("softmax", row)) for row in scores.tolist()]
    assert np.allclose(naive, expected, rtol=1e-3) == (study.family == "DeepSeek-V2")


def test_p_values_are_of_the_score_and_one_outside_the_best_groups(study: Study, tokenizer: Any) -> None:
    """In the trace's reader, the internal log and the inspector alike."""
    trace = Trace(study.files.trace)
    left_out = 0
    for rows, p in trace.p_values(study.rule.null):
        seen = trace.scores.eligible(rows.router_logits)
        assert (p[seen == -np.inf] == 1).all()
        left_out += int((seen == -np.inf).sum())
        plain = np.stack(
            [
                1 - study.rule.null[layer].cdf_at(row)
                for layer, row in zip(rows.layer, rows.router_logits, strict=True)
            ]
        )
        assert (p[seen > -np.inf] == plain[seen > -np.inf]).all()
        rejected = (np.sort(p, axis=1) <= 0.5 * np.arange(1, E + 1) / E) * np.arange(1, E + 1)
        assert rejected.max(axis=1).tolist() == rows.rejections.tolist()
    assert (left_out == len(study.said) * E // 2) if study.family in GROUPED else left_out == 0
    entry = read_json(study.files.log)["samples"][0]["layers"][0]
    one = next(
        one for one in trace.p_values(study.rule.null) if not (one[0].sample_id[0] or one[0].sequence[0])
    )
    np.testing.assert_array_equal(np.float32(entry["p_values_sample"]), np.float32(one[1][:5]))
    page = collect(study.files.trace, [0], tokenizer, p_values=study.rule.p_values, max_tokens=99)
    layer, length = page[0]["layers"][0], page[0]["length"]
    p, rows = one[1][:length].copy(), one[0].rows(0, length)
    for token in range(length):
        p[token, rows.experts[rows.offsets[token] : rows.offsets[token + 1]]] = np.inf
    assert layer["next_p"] == pytest.approx(p.min(axis=1).tolist(), rel=0.01)


def test_calibration_counts_what_the_rule_would_reject(study: Study) -> None:
    """The check of the nulls and the budget see the experts that a token may use, as the rule does."""
    scores = Scores.of_file(study.logits)
    rejections = []
    for layer, values in enumerate(read_logits(study.logits)):
        selection = study.rule.select(torch.from_numpy(scores.eligible(values.copy())), layer)
        rejections.append(selection.rejections.double().mean().item())
    table = summary(read_logits(study.logits), {"own": list(study.rule.null)}, [0.5], top_k=K, scores=scores)
    assert table["mean_rejections"].to_pylist() == pytest.approx(rejections)
    seen = [one.copy() for one in read_logits(study.logits, as_rules_see=True)]
    budget = solve_alpha(seen, study.rule.null, target_k=3.0, min_k=1, max_k=8)
    spent = BenjaminiHochberg(budget.alpha, 8, null=study.rule.null)
    counts = [spent.select(torch.from_numpy(one), layer).count for layer, one in enumerate(seen)]
    assert torch.cat(counts).double().mean().item() == pytest.approx(budget.mean_experts)


def test_unselected_logits_are_without_the_routers_own_choice(study: Study) -> None:
    scores, router = Scores.of_file(study.logits), routers_of(study.model)[0]
    values = next(read_logits(study.logits))
    own = router.eligible(torch.from_numpy(values.copy())).topk(K, dim=-1).indices.numpy()
    rest = [np.delete(row, chosen) for row, chosen in zip(values, own, strict=True)]
    found = fit_nulls(values, K, scores)["unselected"]
    np.testing.assert_allclose(
        found.cdf, np.interp(found.logit, *kernel_cdf(np.array(rest, np.float64))), atol=1e-12
    )


def test_files_say_what_their_scores_are(study: Study) -> None:
    """The NumPy twin agrees with the router, before and after it was written."""
    routers = routers_of(study.model)
    for path in (study.files.trace, study.files.trace_repeat, study.logits):
        assert KEY in pq.read_schema(path).metadata
        scores = Scores.of_file(path)
        for layer, router in enumerate(routers):
            logits = torch.randn(50, E, generator=torch.Generator().manual_seed(layer)) * 3
            theirs = router.scores(logits)
            own = torch.from_numpy(scores.log_probabilities(theirs.numpy(), layer)).softmax(-1)
            parts = router.probabilities(logits).double()
            parts /= parts.sum(-1, keepdim=True)
            torch.testing.assert_close(own.double(), parts, rtol=1e-5, atol=3e-7)
            torch.testing.assert_close(
                router.log_probabilities(theirs).double().softmax(-1), parts, rtol=1e-5, atol=3e-7
            )
            assert torch.equal(torch.from_numpy(scores.eligible(theirs.numpy())), router.eligible(theirs))


def test_top_p_is_refused(study: Study) -> None:
    refused = pytest.raises(InputError, match="top_p: takes the softmax of what it sees")
    with refused as caught, attach(study.model, TopP(4, p=0.5)):
        pass
    assert "\n" not in str(caught.value)
    with attach(study.model, TopK(2)):
        pass


def test_a_scale_alone_leaves_logits_alone() -> None:
    """As plain families' files, those say nothing."""
    greedy = model_of("deepseek_v2", {**DEEPSEEK, **LATENT, "topk_method": "greedy"})
    for model in (greedy, tiny_model()):
        assert selection_scores(model).metadata() == {}
        with attach(model, TopP(4, p=0.5)):
            pass


@torch.inference_mode()
def test_an_observation_counts_the_models_own_probabilities(
    study: Study, tokenizer: Any, tmp_path: Any
) -> None:
    _, _, score, scale = FAMILIES[study.family]
    structure = describe(study.model.config)
    random = np.random.default_rng(0)
    documents = [
        ("all", " ".join(random.choice(WORDS.split()[:12], random.integers(2, 30)))) for _ in range(12)
    ]
    write_windows(tmp_path / "windows", documents, tokenizer, max_length=16, batch_tokens=48)
    observe_shard(study.model, tmp_path / "windows", 0, 1, tmp_path / "0", model_digest="x", context_window=0)
    whole = merge_shards([tmp_path / "0"])

    windows, listener = Windows(tmp_path / "windows"), Listener(study.model)
    loop = LoopStatistics(K, normalise=structure["normalise"], scale=scale)
    for batch in windows.read(range(windows.batches)):
        for ids in np.split(batch.token_id, np.cumsum(batch.lengths)[:-1]):
            study.model.base_model(input_ids=torch.from_numpy(ids)[None], use_cache=False)
            for layer, of_layer in listener.answers.items():
                for key, said in zip(ids.tolist(), of_layer, strict=True):
                    if key > 1:
                        loop.add(layer, key, routed(score, said))
    rows = whole.statistics.table(lambda key: f"<{key}>").to_pylist()
    for row, expected in zip(rows, loop.rows(), strict=True):
        assert row.pop("token_str") == expected.pop("token_str")
        assert row.pop("experts") == expected.pop("experts")
        assert row.pop("weights") == pytest.approx(expected.pop("weights"), rel=1e-4, abs=1e-6)
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert whole.statistics.counts().to_pylist() == loop.counts(["all"])


def routed(score: str, said: Answer) -> Routed:
    parts = shares(score, said.logits)
    return Routed(
        entropy(parts),
        max(parts),
        parts.index(max(parts)),
        sorted(said.experts),
        probabilities(score, said.logits),
    )
