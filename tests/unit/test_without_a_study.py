"""The verbs on a model and a text of one's own: what they write is what the model itself says."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from reference.tiny import tiny_model, tiny_tokenizer, write_documents
from switchyard import __main__ as command
from switchyard.charts import observed
from switchyard.text.corpora import side_of
from switchyard.var.config import VARConfig

LENGTH = 64
"""Tokens of a window; every document fits in one."""


class Own:
    """A folder with `model` and `text.jsonl`, in which verbs are run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        monkeypatch.chdir(folder)
        self.model, self.tokenizer = tiny_model(), tiny_tokenizer()
        self.model.save_pretrained("model")
        self.tokenizer.save_pretrained("model")
        self.texts = write_documents(folder / "text.jsonl")
        self.ids = [self.tokenizer.encode(text) for text in self.texts]
        capsys.readouterr()

    def run(self, line: str) -> tuple[int, str, str]:
        """Exit status, output and errors of `switchyard line`."""
        self._monkeypatch.setattr(sys, "argv", ["switchyard", *line.split()])
        status = command.main()
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def observe(self, options: str = "") -> str:
        line = f"observe --model model --text text.jsonl --max_length {LENGTH} --output routed {options}"
        status, out, err = self.run(line)
        assert status == 0, err
        return out

    def evaluate(self, options: str) -> str:
        line = f"evaluate-var --model model --dataset text.jsonl --max_length {LENGTH} {options}"
        status, out, err = self.run(line)
        assert status == 0, err
        return out

    def refusal(self, line: str) -> str:
        """The one line of a refusal, without its head."""
        status, _, err = self.run(line)
        (said,) = err.splitlines()
        assert status == 2 and said.startswith("switchyard: error: ")
        return said.removeprefix("switchyard: error: ")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Own:
    return Own(tmp_path, monkeypatch, capsys)


@torch.no_grad()
def test_observe_counts_what_the_model_does(own: Own) -> None:
    assert "model in float32 on " in own.observe()
    routed = own.folder / "routed"
    expected: Counter[tuple[int, int, int]] = Counter()
    for ids in own.ids:
        for layer, logits in enumerate(
            own.model(torch.tensor([ids]), output_router_logits=True).router_logits
        ):
            for token, experts in zip(ids, logits.topk(2).indices.tolist(), strict=True):
                expected.update((layer, token, expert) for expert in experts)
    found: Counter[tuple[int, int, int]] = Counter()
    for row in pq.read_table(routed / "expert_counts.parquet").to_pylist():
        found[row["layer"], row["token_id"], row["expert"]] += row["count"]
    assert found == expected
    frequency = Counter(token for ids in own.ids for token in ids)
    rows = pq.read_table(routed / "routing_stats.parquet").to_pylist()
    assert {(row["layer"], row["token_id"]): row["frequency"] for row in rows} == {
        (layer, token): seen for token, seen in frequency.items() for layer in (0, 1)
    }
    assert "text.jsonl, domains: part 1 of 4" in (routed / "analysis_summary.txt").read_text()
    assert (routed / "routing_stats.csv").is_file() and (routed / "context_counts.parquet").is_file()


def test_observe_takes_the_names_of_the_first_document(own: Own) -> None:
    line = (
        "observe --model model --dataset text.jsonl --num_samples 5 --batch_size 2 --layer 1 --max_length 16"
    )
    status, _, err = own.run(f"{line} --output out/stats.parquet --checkpoint_dir work")
    assert status == 0, err
    rows = pq.read_table("out/stats.parquet").to_pylist()
    assert {row["layer"] for row in rows} == {1}
    assert sum(row["frequency"] for row in rows) == sum(map(len, own.ids[:5]))
    assert Path("out/stats.csv").is_file() and Path("work/windows.parquet").is_file()
    assert own.run("validate-hypothesis --input out/stats.parquet --output out/report.txt")[0] == 0
    assert "VAR" in Path("out/report.txt").read_text() and Path("out/verdict.json").is_file()


def test_a_finished_observation_is_not_run_again(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    own.observe()
    before = Path("routed/routing_stats.parquet").read_bytes()
    Path("routed/routing_stats.parquet").unlink()
    with monkeypatch.context() as patched:
        patched.setattr("switchyard.observation.run.Recorder.run", None)
        own.observe()
    assert Path("routed/routing_stats.parquet").read_bytes() == before
    with pytest.raises(TypeError), monkeypatch.context() as patched:
        patched.setattr("switchyard.observation.run.Recorder.run", None)
        own.observe("--tokens 100")  # another text: all is run again


def test_figures_are_drawn_from_what_lies_there(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    own.observe()
    names = ("fastpath_coverage", "context_gain")
    monkeypatch.setattr(observed, "OBSERVED", {name: observed.OBSERVED[name] for name in names})
    status, out, err = own.run("draw-routing --input routed --output_dir figures")
    assert status == 0, err
    assert "2 figures" in out and "left out" not in out
    assert {path.name for path in Path("figures").glob("*.svg")} == {f"{name}.svg" for name in names}
    Path("alone").mkdir()
    Path("routed/routing_stats.csv").rename("alone/routing_stats.csv")
    monkeypatch.setattr(observed, "OBSERVED", {"context_gain": observed.OBSERVED["context_gain"]})
    status, out, err = own.run("draw-routing --input alone/routing_stats.csv --output more")
    assert status == 0, err
    assert "context_gain is left out" in out and "0 figures" in out


@torch.no_grad()
def test_a_baseline_is_the_untouched_model(own: Own) -> None:
    out = own.evaluate("--mode baseline --output out/baseline.json")
    found = json.loads(Path("out/baseline.json").read_text())
    loss, targets, start = 0.0, 0, own.tokenizer.eos_token_id
    for ids in own.ids:
        likelihoods = own.model(torch.tensor([[start, *ids[:-1]]])).logits[0].log_softmax(-1)
        loss -= sum(likelihoods[place, token].item() for place, token in enumerate(ids))
        targets += len(ids)
    assert found["evaluation"]["loss"] == pytest.approx(loss / targets, rel=1e-5)
    assert found["evaluation"]["total_tokens"] == targets
    names = ("mode", "model_name", "dataset_name", "seed", "var_stats", "var_config")
    assert [found[name] for name in names] == ["baseline", "model", "text", 0, None, None]
    assert f"Perplexity: {math.exp(loss / targets):.2f}" in out and "on " in out


def test_var_is_evaluated_and_compared(own: Own) -> None:
    own.observe()
    Path("config.json").write_text(json.dumps({"frequency_threshold": 1, "entropy_threshold": 3.0}))
    options = "--max_samples 6 --batch_size 4 --seed 3"
    own.evaluate(f"--mode baseline {options} --output baseline.json")
    own.evaluate(
        f"--mode var {options} --routing_stats routed/routing_stats.parquet --var_config config.json --output var.json"
    )
    found = json.loads(Path("var.json").read_text())
    assert (found["mode"], found["name"], found["seed"], len(found["samples"])) == ("var", "config", 3, 6)
    # The prefix token of a text is the one that the table has not seen.
    distribution = found["var_stats"]["overall"]["routing_distribution"]
    assert distribution["fast"] == pytest.approx(100 * (1 - 6 / found["evaluation"]["total_tokens"]))
    status, out, _ = own.run("evaluate-var --compare baseline.json var.json --output out/comparison.json")
    assert status == 0
    for part in (
        "Comparison: Baseline vs VAR (config, text)",
        "Throughput:",
        "Success Criteria:",
        "not measured",
    ):
        assert part in out
    (one,) = json.loads(Path("out/comparison.json").read_text())["comparisons"]
    assert one["quality"]["samples"] == 6 and one["speed"] is None


@pytest.mark.parametrize(
    ("where", "value", "part"),
    [
        (["seed"], 4, "has seed 4"),
        (["dataset_name"], "other", "has dataset_name 'other'"),
        (["provenance", "model", "dtype"], "bfloat16", "has dtype 'bfloat16'"),
        (["provenance", "inputs", "dataset"], "f00d", "has dataset with digest 'f00d'"),
        (["provenance", "inputs", "model"], "f00d", "has model with digest 'f00d'"),
    ],
)
def test_results_of_other_texts_or_weights_are_not_compared(
    own: Own, where: list[str], value: Any, part: str
) -> None:
    for mode in ("baseline", "var"):
        own.evaluate(f"--mode {mode} --max_samples 2 --output {mode}.json")
    found = json.loads(Path("var.json").read_text())
    *path, last = where
    reduce(dict.__getitem__, path, found)[last] = value
    Path("var.json").write_text(json.dumps(found))
    said = own.refusal("evaluate-var --compare baseline.json var.json")
    assert said.startswith(f"var.json: {part}, baseline.json has") and said.endswith("evaluate both alike")


def test_a_task_and_statistics_that_name_one_expert(own: Own) -> None:
    own.observe()
    pq.write_table(
        pq.read_table("routed/routing_stats.parquet").drop_columns(["experts", "weights"]), "stats.parquet"
    )
    Path("config.json").write_text(
        '{"route_weights": "live", "frequency_threshold": 1, "entropy_threshold": 3.0}'
    )
    options = "--layout lambada --max_samples 5"
    own.evaluate(f"--mode baseline {options} --output baseline.json")
    tables = "--routing_stats stats.parquet --counts routed/expert_counts.parquet --var_config config.json"
    assert "Accuracy: " in own.evaluate(f"--mode var {options} {tables} --output var.json")
    assert "Accuracy:" in own.run("evaluate-var --compare baseline.json var.json")[1]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("evaluate-var --output a.json", ["nothing to do", "--mode baseline"]),
        ("evaluate-var --mode var --model model --output a.json", ["needs --dataset"]),
        ("evaluate-var --mode baseline --model model --dataset text.jsonl", ["needs --output"]),
        (
            "evaluate-var --mode baseline --model model --dataset text.jsonl --routing-stats s.parquet --output a.json",
            ["leave --routing-stats out", "--mode var"],
        ),
        (
            "evaluate-var --mode var --model model --dataset text.jsonl --counts c.parquet --output a.json",
            ["--counts completes --routing-stats"],
        ),
        ("evaluate-var --mode baseline --model model --dataset text.jsonl --output model", ["is a folder"]),
        ("evaluate-var --compare a.json b.json --model model", ["leave --model out"]),
        ("evaluate-var --compare a.json b.json", ["a.json: no such file"]),
        (
            "evaluate-var --compare model/config.json b.json",
            ["holds no 'mode'", "evaluate-var --mode baseline"],
        ),
        (
            "evaluate-var --mode baseline --model model --dataset wikitext --output a.json",
            ["wikitext: no such file", "--layout"],
        ),
        (
            "evaluate-var --mode baseline --model model --dataset text.jsonl --layout word --output a.json",
            ["'word' is unknown", "wikitext"],
        ),
        (
            "evaluate-var --mode baseline --model model --dataset text.jsonl --kind choice --output a.json",
            ["'options'"],
        ),
        ("observe --model nothing --text text.jsonl --output o", ["nothing", "no config.json"]),
        ("observe --model model --text none.jsonl --output o", ["none.jsonl: no such file"]),
        (
            "observe --model model --text text.jsonl --layers 2 --output o",
            ["2 does not exist, the model has 2"],
        ),
        (
            "observe --model model --text text.jsonl --max-length 129 --output o",
            ["--max-length", "at most 128"],
        ),
        ("observe --model model --text text.jsonl --output text.jsonl", ["text.jsonl: is a file"]),
        ("draw-routing --input model --output f", ["routing_stats.parquet: no such file"]),
    ],
)
def test_what_does_not_go_together_is_one_line(own: Own, line: str, named: list[str]) -> None:
    said = own.refusal(line)
    for part in named:
        assert part in said


def test_underscores_are_dashes_up_to_what_is_handed_on() -> None:
    words = ["plan", "--mem_gb", "3", "--gpu_mem_gb=1_0", "a_b", "--", "--set_resources"]
    assert command.dashed(words) == [
        "plan",
        "--mem-gb",
        "3",
        "--gpu-mem-gb=1_0",
        "a_b",
        "--",
        "--set_resources",
    ]


SEARCH = (
    "search --model model --dataset text.jsonl --max_length 32 --max_samples 6 --routing-stats "
    "routed/routing_stats.parquet --add fast_path_experts route_weights --n-calls 12 --batch 4"
)


def test_a_killed_search_goes_on_to_the_same_trajectory(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed once its first batch is written; the same command finishes what another did at once."""
    own.observe()
    library = str(Path(command.__file__).parents[1])
    line = [sys.executable, "-m", "switchyard", *SEARCH.split(), "--output", "killed"]
    job = subprocess.Popen(line, env={**os.environ, "PYTHONPATH": library}, stdout=subprocess.DEVNULL)
    while not Path("killed/points/0.parquet").is_file():
        assert job.poll() is None
        time.sleep(0.05)
    job.kill()
    job.wait()
    left = sorted(path.name for path in Path("killed/points").glob("[0-9]*.parquet"))
    assert left != ["0.parquet", "1.parquet", "2.parquet"]
    for folder in ("killed", "whole"):
        status, out, err = own.run(f"{SEARCH} --output {folder}")
        assert status == 0, err
        assert "Space quantiles: 12 points" in out
    for name in ("trajectory.csv", "pareto.csv", "trajectory.parquet"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()
    config = VARConfig.from_json("whole/best_config.json")
    assert config.max_quality_degradation == 0.005
    assert config.routing_stats_path in (None, "routed/routing_stats.parquet")
    said = own.refusal(f"{SEARCH} --seed 1 --output whole")
    assert "another seed" in said

    write_documents(own.folder / "final.jsonl", seed=5)
    again = SEARCH.replace("text.jsonl", "final.jsonl")
    status, out, err = own.run(f"{again} --validate whole/best_config.json --output whole")
    assert status == 0, err
    found = json.loads(Path("whole/validation.json").read_text())
    assert found["within_limit"] in out and found["samples"] == 6
    assert found["config"]["entropy_threshold"] == config.entropy_threshold


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--routing-stats none.parquet", ["none.parquet: no such file"]),
        ("", ["--routing-stats"]),
        ("--space bh", ["--nulls"]),
        ("--routing-stats text.jsonl --n-calls 12 --batch 5", ["no multiple of --batch 5"]),
        ("--routing-stats text.jsonl --output model/config.json", ["is a file"]),
    ],
)
def test_a_search_without_what_it_needs_is_refused(own: Own, options: str, named: list[str]) -> None:
    said = own.refusal(f"search --model model --dataset text.jsonl --output searched {options}")
    for part in named:
        assert part in said


def test_sides_of_a_corpus_share_no_document(own: Own) -> None:
    texts = write_documents(own.folder / "many.jsonl", number=150, seed=3)
    line = "prepare-corpus --dataset many.jsonl text.jsonl --num-samples 140 --create-splits --output sides"
    status, out, err = own.run(line)
    assert status == 0, err
    sides = {
        side: pq.read_table(f"sides/{side}.parquet").to_pylist() for side in ("offline", "tuning", "final")
    }
    found = {side: {row["text"] for row in rows} for side, rows in sides.items()}
    assert set().union(*found.values()) == set(texts[:140])
    assert sum(map(len, found.values())) == len(set(texts[:140])) and all(found.values())
    for side, rows in sides.items():
        assert f"{side}: {len(rows)} documents" in out
        assert all(side_of(row["digest"]) == side for row in rows)
    few = "prepare-corpus --dataset text.jsonl --num-samples 2 --create-splits --output few"
    assert "split has none of the" in own.refusal(few)
