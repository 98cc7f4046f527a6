"""The table of costs: it holds every rule, and its amounts follow from the configuration."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from switchyard.artifacts.files import write_table
from switchyard.planning import throughput
from switchyard.planning.costs import RULES, STAGES
from switchyard.planning.dag import ROOT, Job
from switchyard.planning.estimate import estimate
from switchyard.planning.workload import REPEATED_SAMPLES, Tokens, load
from unit.planning.studies import ROOMY, dag, workload


def test_every_rule_of_the_workflow_has_its_costs():
    named = {
        name: file.stem
        for file in (ROOT / "rules").glob("*.smk")
        for name in re.findall(r"^(?:rule|checkpoint) (\w+):", file.read_text(), re.MULTILINE)
        if not name.endswith("_all")
    }
    assert {name: rule.stage for name, rule in RULES.items()} == named
    assert set(named.values()) == set(STAGES)


def test_every_field_that_bounds_a_batch_is_in_the_configuration(tmp_path):
    work = workload(tmp_path)
    for rule in RULES.values():
        assert (rule.batch is not None) <= (rule.forwards is not None)
        if rule.batch:
            section, field = rule.batch.split(".")
            assert work.config[section][field] > 0


def test_constants_that_are_said_twice_are_the_same():
    from switchyard.evaluation.experiment import REPEAT_SAMPLES
    from switchyard.models.pocket import KEPT_AT
    from switchyard.planning.amounts import KEPT_CHECKPOINTS

    assert REPEATED_SAMPLES == REPEAT_SAMPLES and len(KEPT_AT) == KEPT_CHECKPOINTS


@pytest.fixture
def work(tmp_path):
    return workload(tmp_path)


def forwards(work, rule, **wildcards):
    return RULES[rule].forwards(work, Job(rule, wildcards))


def test_tokens_of_unprepared_texts_are_bounds(work):
    assert work.tokens("heldout") == Tokens(100 * 192, 20 * 192, 192, exact=False)
    assert work.tokens("cloze") == Tokens(120 * 256, 20 * 256, 256, exact=False)
    assert work.tokens("choice") == Tokens(4 * 120 * 128, 4 * 20 * 128, 128, exact=False)
    fed = forwards(work, "evaluate_experiment", config="8experts_topk_baseline", dataset="heldout")
    assert [(part.tokens, part.experts) for part in fed.parts] == [(120 * 192, 8)]
    assert fed.shared and not fed.exact


def test_tokens_of_prepared_texts_are_counted(work):
    texts = ["a b c d", "the array is returned " * 200]
    rows = [{"text": text, "original_bytes": len(text), "original_words": 4} for text in texts]
    schema = pa.schema(
        [("text", pa.string()), ("original_bytes", pa.int64()), ("original_words", pa.int64())]
    )
    path = work.folder / "prepare" / "datasets" / "heldout.parquet"
    path.parent.mkdir(parents=True)
    write_table(path, pa.Table.from_pylist(rows, schema), {})
    work.prepared(work.model).parent.mkdir(parents=True)
    work.prepared(work.model).symlink_to(ROOT / "resources" / work.model)

    from switchyard.models.load import load_tokenizer

    tokenizer = load_tokenizer(work.prepared(work.model))
    counted = sum(len(tokenizer.encode(text)) for text in texts)  # each is predicted once, the prefix is fed
    told = work.tokens("heldout")
    reached_back = told.all - counted  # the last window of a text fills up with tokens that were scored
    assert told.exact and told.longest == 192 and 0 <= reached_back < 192
    assert told.repeated == told.all  # fewer windows than are repeated


def test_observed_tokens_are_counted_in_windows(work):
    assert work.observed_tokens("pocket-olmoe") == (120_000, False)
    path = work.folder / "observe" / "pocket-olmoe" / "windows.parquet"
    path.parent.mkdir(parents=True)
    write_table(path, pa.table({"token_ids": [[1, 2, 3], [4]]}), {})
    assert work.observed_tokens("pocket-olmoe") == (4, True)
    assert forwards(work, "observe_shard", model="pocket-olmoe").parts[0].tokens == 2  # of two shards


@pytest.mark.parametrize(
    ("name", "most", "mean"),
    [
        ("64experts_topk_baseline", 64, 64),
        ("3experts_topk_baseline", 3, 3),
        ("64experts_bh_a030", 64, 8),
        ("8experts_bh_budget_k5", 8, 5),
        ("8experts_top_p_p020", 8, 8),
        ("mixed_topk_as_8experts_bh_budget_k5", 8, 5),
        ("mixed_topk_as_32experts_bh_a030", 32, 8),
    ],
)
def test_experts_of_a_configuration(work, name, most, mean):
    assert (work.most_experts(name), work.mean_experts(name)) == (most, mean)


def test_more_of_anything_never_costs_less(tmp_path):
    def total(what, **changes):
        work = workload(tmp_path, **changes)
        speed = throughput.find(work, tokens_per_second=1000.0)
        return sum(getattr(estimate(job, work, speed, ROOMY), what) for job in dag(work).jobs)

    plain = {what: total(what) for what in ("seconds", "disk_bytes", "tokens")}
    larger = [
        {"datasets": {"heldout": {"samples": 1000}}},
        {"observation": {"tokens": 10**6}},
        {"calibration": {"tokens": 10**6}},
        {"models": {"pocket-olmoe": {"retrain": True}}, "observation": {"models": ["pocket-mixtral"]}},
    ]
    for changes in larger[:3]:
        assert total("seconds", **changes) > plain["seconds"]
        assert total("tokens", **changes) > plain["tokens"]
        assert total("disk_bytes", **changes) >= plain["disk_bytes"]
    small = {"evaluation": {"keep_logits": False, "spelled_out_samples": 20}}
    assert total("disk_bytes", **small) < 0.5 * plain["disk_bytes"]
    assert total("tokens", **small) == plain["tokens"]


def test_a_training_is_counted(work):
    fed = forwards(work, "train_pocket_model", model="pocket-olmoe")
    assert fed.parts[0].tokens == 11_000 * 4 * 256 and fed.parts[0].weight == 3


def test_words_for_snakemake_change_the_configuration(tmp_path):
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    work = load(None, tmp_path, ["--quiet", "--config", "study=other", "data_folder=there", "--keep-going"])
    assert (work.config["study"], work.config["data_folder"]) == ("other", "there")
    assert work.folder == tmp_path / "results" / "other"
    assert load(None, tmp_path, ["--config=study=third"]).config["study"] == "third"
