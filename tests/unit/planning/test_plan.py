"""The plan: sums by stage, what is unknown, what does not fit, and the verb that prints it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from switchyard import __main__ as command
from switchyard.planning import dag as dags
from switchyard.planning import throughput
from switchyard.planning.costs import RULES, STAGES
from switchyard.planning.dag import ROOT, Dag, Job
from switchyard.planning.estimate import PLAIN_MEM_MB, estimate, memory
from switchyard.planning.plan import make
from switchyard.planning.remedies import changed, shortages
from unit.planning.studies import ROOMY, dag, workload

CARD = replace(ROOMY, cards=1, gpu_mem_gb=24.0)


@pytest.fixture
def work(tmp_path):
    return workload(tmp_path)


@pytest.fixture
def olmoe(tmp_path):
    return workload(tmp_path, "olmoe.yaml")


def plan(work, machine=ROOMY, *more, **speed):
    speed = speed or {"tokens_per_second": 1000.0}
    return make(dag(work, *more), work, throughput.find(work, **speed), machine)


def test_the_total_is_the_sum_of_the_stages(work):
    *rows, total = plan(work).rows
    assert [row.stage for row in rows] == list(STAGES) and total.stage == "total"
    for column in ("jobs", "tokens", "loads_to", "work_hours", "disk_gb"):
        assert getattr(total, column) == pytest.approx(sum(getattr(row, column) for row in rows))
    for column in ("mem_gb", "gpu_mem_gb"):
        assert getattr(total, column) == max(getattr(row, column) for row in rows)
    assert max(row.wall_hours for row in rows) <= total.wall_hours <= sum(row.work_hours for row in rows)


def test_hours_are_the_jobs_own(work):
    found = [
        estimate(job, work, throughput.find(work, tokens_per_second=1000.0), ROOMY) for job in dag(work).jobs
    ]
    evaluated = [one for one in found if one.stage == "evaluate"]
    row = next(row for row in plan(work).rows if row.stage == "evaluate")
    assert row.work_hours == pytest.approx(sum(one.seconds for one in evaluated) / 3600)
    assert row.wall_hours >= row.work_hours / ROOMY.cores


def test_twice_the_speed_is_less_time_and_the_same_tokens(work):
    slow, fast = (plan(work, tokens_per_second=rate).rows[-1] for rate in (1000.0, 2000.0))
    assert fast.tokens == slow.tokens
    assert slow.work_hours / 2 < fast.work_hours < slow.work_hours


def test_loads_are_one_per_slot_at_best_and_one_per_job_at_worst(work):
    row = next(row for row in plan(work).rows if row.stage == "evaluate")
    experiments = len(work.configurations) * 3
    alone = 1 + len(work.config["models"])  # speed and assessments
    assert row.loads_to == experiments + alone
    assert row.loads_from == ROOMY.cores + alone
    one_card = replace(CARD, gpu_mem_gb=2.0)
    row = next(row for row in plan(work, one_card).rows if row.stage == "evaluate")
    assert row.loads_from == 1 + alone


def test_an_unknown_rule_is_told_and_never_free(work):
    found = plan(work, ROOMY, Job("brew_coffee", outputs=("cup",)))
    row = next(row for row in found.rows if row.stage == "?")
    assert (row.unknown_tokens, row.unknown_hours, row.unknown_disk) == (1, 1, 1)
    assert any(line.startswith("rule brew_coffee: 1 jobs") for line in found.unknown)
    lines = found.text().splitlines()
    assert next(line for line in lines if line.startswith("? ")).split()[2] == "?"
    assert next(line for line in lines if line.startswith("total")).count("+ ?") == 4


def test_a_model_without_a_structure_is_told(olmoe):
    olmoe.config["models"]["olmoe"].pop("structure")
    found = plan(olmoe, CARD, tflops=100.0)
    evaluated = next(row for row in found.rows if row.stage == "evaluate")
    assert evaluated.unknown_hours == evaluated.jobs and evaluated.tokens > 0
    assert evaluated.unknown_disk == len(olmoe.configurations) * 3
    assert any("models.olmoe" in line and "structure" in line for line in found.unknown)
    assert "?" in found.text()
    assert "state its structure" in plan(olmoe, replace(CARD, gpu_mem_gb=8.0)).shortages[0].remedy


def test_observing_without_a_bound_is_told(tmp_path):
    found = plan(workload(tmp_path, observation={"tokens": None}))
    row = next(row for row in found.rows if row.stage == "observe")
    assert row.unknown_tokens == 2 and row.unknown_hours > 0
    assert any("observation.tokens" in line for line in found.unknown)


def test_what_rules_declare_goes_before_the_models_structure(work):
    declared = Job("assess_model", {"model": work.model}, resources={"mem_mb": 7, "gpu_mem_gb": 9})
    assert memory(declared, RULES["assess_model"], work) == (7, 9)
    assert memory(Job("draw_nulls"), RULES["draw_nulls"], work) == (PLAIN_MEM_MB, 0)
    own = memory(Job("assess_model", {"model": work.model}), RULES["assess_model"], work)
    assert own[0] > 600 and own[1] >= 2


def test_seconds_of_an_earlier_run_are_believed(work):
    job = Job("draw_figures", outputs=("a",), benchmark="logs/draw.tsv")
    assert not estimate(job, work, None, ROOMY).measured
    (work.directory / "logs").mkdir()
    for content, seconds in (
        ("s\th:m:s\n12.5\t0:00:12\n", 12.5),
        ("s\n", None),
        ("s\nNA\n", None),
        ("", None),
    ):
        (work.directory / "logs" / "draw.tsv").write_text(content)
        found = estimate(job, work, None, ROOMY)
        assert found.measured == (seconds is not None)
        assert found.seconds == (seconds or 17)


# --- what does not fit


def mended(work, machine, found):
    """What is still short when every suggested value is set."""
    changes = {}
    for one in found:
        for field, value in one.changes.items():
            smaller = isinstance(value, int) and field in changes and not isinstance(value, bool)
            changes[field] = min(value, changes[field]) if smaller else value
    then = changed(work, changes)
    return shortages(dag(then).jobs, then, machine)


def test_everything_fits_on_a_large_machine(work, olmoe):
    assert plan(work).fits and plan(olmoe, replace(CARD, gpu_mem_gb=80.0)).fits
    assert "Everything that is known fits." in plan(work).text()


@pytest.mark.parametrize(
    ("machine", "fields"),
    [
        (CARD, {"evaluation.batch_tokens"}),
        (replace(ROOMY, mem_gb=24.0), {"evaluation.batch_tokens"}),
        (replace(ROOMY, free_gb=60.0), {"evaluation.keep_logits"}),
        (replace(ROOMY, free_gb=40.0), {"evaluation.keep_logits", "datasets.wikitext.samples"}),
    ],
)
def test_suggested_values_of_a_large_model_fit(olmoe, machine, fields):
    found = shortages(dag(olmoe).jobs, olmoe, machine)
    named = {field for one in found for field in one.changes}
    assert fields <= named
    for one in found:
        assert one.needed > one.limit
        for field, value in one.changes.items():
            assert field in one.line and (str(value).lower() in one.line)
    assert mended(olmoe, machine, found) == []


def test_a_suggestion_is_the_largest_power_of_two_that_fits(olmoe):
    (found,) = (one for one in shortages(dag(olmoe).jobs, olmoe, CARD) if one.place == "a card")
    (size,) = found.changes.values()
    twice = changed(olmoe, {"evaluation.batch_tokens": 2 * size})
    assert any(one.place == "a card" for one in shortages(dag(twice).jobs, twice, CARD))


def test_a_card_too_small_for_float32_wants_bfloat16(tmp_path):
    work = workload(tmp_path, "olmoe.yaml", models={"olmoe": {"dtype": "float32"}})
    found = shortages(dag(work).jobs, work, CARD)
    assert {"models.olmoe.dtype": "bfloat16"}.items() <= found[0].changes.items()
    assert mended(work, CARD, found) == []


def test_where_nothing_helps_it_is_said(olmoe):
    found = shortages(dag(olmoe).jobs, olmoe, replace(CARD, gpu_mem_gb=8.0))
    assert found and all(not one.changes for one in found)
    lines = "\n".join(one.line for one in found)
    assert "no value of the study mends it, even with evaluation.batch_tokens at 512: it takes 1" in lines


def test_counts_that_a_rule_declares_stay_when_batches_shrink(olmoe):
    """A shard holds 8 bytes a domain, layer, token id and expert beside the model."""
    from switchyard.planning import footprint

    known = olmoe.structure("olmoe")
    counts = int(1000 * footprint.observation_gb(known))
    size = olmoe.config["observation"]["batch_tokens"]
    resources = {
        "mem_mb": counts + footprint.mem_mb(known, "bfloat16", size, slots=8),
        "gpu_mem_gb": footprint.gpu_mem_gb(known, "bfloat16", size, slots=8),
    }
    job = Job("observe_shard", {"model": "olmoe", "shard": "0"}, resources=resources)
    machine = replace(ROOMY, mem_gb=20.0)
    (found,) = shortages([job], olmoe, machine)
    lowered = found.changes["observation.batch_tokens"]
    assert counts + footprint.mem_mb(known, "bfloat16", lowered, slots=8) <= 20_000
    machine = replace(ROOMY, mem_gb=18.0)
    (found,) = shortages([job], olmoe, machine)
    layers = found.changes["observation.layers"]
    assert 0 < len(layers) < 16 and layers == sorted(set(layers))
    counts = int(1000 * footprint.observation_gb(known, layers=len(layers)))
    lowered = found.changes["observation.batch_tokens"]
    assert counts + footprint.mem_mb(known, "bfloat16", lowered, slots=8) <= 18_000


@pytest.mark.parametrize("free_gb", [4.0, 2.0])
def test_suggested_values_save_the_disk(work, free_gb):
    machine = replace(ROOMY, free_gb=free_gb)
    found = shortages(dag(work).jobs, work, machine)
    assert "saves" in found[0].line
    assert mended(work, machine, found) == []


def test_sets_that_keep_logits_for_themselves_are_named(tmp_path):
    work = workload(tmp_path, "controls.yaml")
    (found,) = shortages(dag(work).jobs, work, replace(ROOMY, free_gb=3.0))
    assert {
        "evaluation.keep_logits",
        "rules.static.keep_logits",
        "rules.random.keep_logits",
    } <= found.changes.keys()


def test_disk_that_nothing_saves_is_said(work):
    (found,) = shortages(dag(work).jobs, work, replace(ROOMY, free_gb=0.01))
    assert "even so" in found.line and "are short" in found.line
    assert not any(field.endswith(".samples") for field in found.changes)  # fewer would not help


def test_a_model_of_the_hub_is_held_against_the_disk_of_its_cache(olmoe):
    jobs = [Job("fetch_model", {"model": "olmoe"})]
    assert not shortages(jobs, olmoe, replace(ROOMY, free_gb=14.0))
    assert not shortages(jobs, olmoe, replace(ROOMY, free_gb=1.0, cache_gb=14.0))
    (shared,) = shortages(jobs, olmoe, replace(ROOMY, free_gb=1.0))
    assert shared.place == "disk"
    (own,) = shortages(jobs, olmoe, replace(ROOMY, cache_gb=10.0))
    assert own.line == (
        "models of the hub: 13.8 GB of the disk of the hub's cache, 10.0 are there; free 3.84 GB, or name another "
        "folder with HF_HOME"
    )
    assert "on a disk of its own with 10 GB free" in plan(olmoe, replace(ROOMY, cache_gb=10.0)).text()


def test_a_model_in_the_hubs_cache_costs_nothing_more(olmoe, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    job, rule = Job("fetch_model", {"model": "olmoe"}), RULES["fetch_model"]
    assert rule.disk(olmoe, job) > 13e9 and rule.seconds(olmoe, job) > 100
    entry = olmoe.config["models"]["olmoe"]
    folder = tmp_path / "hub" / "models--allenai--OLMoE-1B-7B-0924" / "snapshots" / entry["revision"]
    folder.mkdir(parents=True)
    weights = {"first": "1.safetensors", "second": "2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    (folder / "1.safetensors").touch()
    assert rule.disk(olmoe, job) > 13e9  # a download that was cut short
    (folder / "2.safetensors").touch()
    assert rule.disk(olmoe, job) == 0 and rule.seconds(olmoe, job) < 10
    assert "in the hub's cache already" in plan(olmoe).text()


# --- the verb


def run(monkeypatch, work, *arguments, jobs=None):
    """Exit status of `plan` on a made-up dry run."""
    made = dag(work) if jobs is None else jobs
    monkeypatch.setattr(dags, "dry_run", lambda **_: made)
    words = ["plan", "--directory", str(work.directory), "--gpu-mem-gb", "0", "--mem-gb", "1000"]
    monkeypatch.setattr(sys, "argv", ["switchyard", *words, *map(str, arguments)])
    return command.main()


def test_the_verb_says_what_fits_by_its_status(work, monkeypatch, capsys):
    assert run(monkeypatch, work, "--mem-gb", 100, "--disk-gb", 100) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[2:10]
    assert [line.split()[0] for line in table] == ["stage", *STAGES, "total"]
    assert len({len(line) for line in table}) == 1  # aligned
    assert run(monkeypatch, work, "--mem-gb", 100, "--disk-gb", 1) == 1
    assert "Does not fit" in capsys.readouterr().out


def test_json_holds_the_same_numbers(work, monkeypatch, capsys):
    assert run(monkeypatch, work, "--json", "--tokens-per-second", 500, "--mem-gb", 100, "--disk-gb", 1) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["fits"] and told["machine"]["free_gb"] == 1.0
    jobs = {row["stage"]: row["jobs"] for row in told["stages"]}
    assert jobs["evaluate"] == len(work.configurations) * 3 + 3
    assert "500 tokens/s, as stated" in told["basis"][0]
    assert told["shortages"][0]["changes"]


def test_nothing_to_be_done_is_an_answer(work, monkeypatch, capsys):
    assert run(monkeypatch, work, jobs=Dag(())) == 0
    assert capsys.readouterr().out == "Study pocket: nothing to be done, all results are up to date.\n"
    assert run(monkeypatch, work, "--json", jobs=Dag(())) == 0
    assert json.loads(capsys.readouterr().out)["stages"][-1]["jobs"] == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--study", "no-such.yaml"],
        ["--directory", "no-such-folder"],
        ["--study", str(ROOT / "studies" / "public-sets.yaml")],
    ],
)
def test_bad_input_is_one_line(words, work, monkeypatch, capsys):
    assert run(monkeypatch, work, *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("switchyard: error: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cores", "0"], "0; give a whole number, 1 or more"),
        (["--cores", "x"], "x; give a whole number, 1 or more"),
        (["--flops", "0"], "0; give a number above 0"),
        (["--flops", "nan"], "nan; give a number above 0"),
        (["--mem-gb", "-1"], "-1; give a number above 0"),
        (["--disk-gb", "much"], "much; give a number, 0 or more"),
        (["--utilisation", "2"], "2; give a number above 0, at most 1"),
        (["--flops", "1", "--measure"], "not allowed with argument"),
    ],
)
def test_options_that_make_no_sense_are_refused(words, said, work, monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, work, *words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_cards_without_memory_are_refused(work, monkeypatch, capsys):
    assert run(monkeypatch, work, "--cards", 4) == 2  # with --gpu-mem-gb 0
    assert "--cards 4: --gpu-mem-gb 0 says that there is none" in capsys.readouterr().err
    assert run(monkeypatch, work, "--cards", 4, "--gpu-mem-gb", 80) == 0
    assert "4 x 80 GB of card" in capsys.readouterr().out
