"""Bad input of every kind ends in one clear line, and nothing half-written stays under results.

`KINDS` is the list: a name, what is broken and which step meets it, and the words that the line must hold. Steps run
as the pipeline runs them: the study's configuration as the Snakefile reads it, rules through their own scripts with
a stand-in for the `snakemake` object, and a few through the real commands.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig

from reference.tiny import tiny_model, tiny_tokenizer
from switchyard.artifacts.digests import write_digests
from switchyard.artifacts.files import write_json, write_table
from switchyard.models.blocks import describe
from switchyard.routing.nulls import NullDistribution, nulls_table
from switchyard.runtime.log import logged
from switchyard.study import config
from switchyard.study.configurations import configurations
from switchyard.study.experiment import Experiment, Run

ROOT = Path(__file__).parents[2]
PREFIX = "switchyard: error: "
REVISION = "0123456789abcdef0123456789abcdef01234567"

TOPK = Experiment(
    study="broken",
    model="own",
    config="2experts_topk_baseline",
    dataset="own",
    rule="topk",
    home="switchyard.routing.topk:TopK",
    settings={"k": 2, "weighting": "model"},
    model_entry={"dtype": "float32"},
    dataset_entry={"max_length": 16, "samples": 2},
    run=Run(batch_tokens=64, threads=1, keep_logits=True, spelled_out_samples=None),
)
BH = replace(
    TOPK,
    config="4experts_bh_a050",
    rule="bh",
    home="switchyard.routing.bh:BenjaminiHochberg",
    settings={
        "max_k": 4,
        "min_k": 1,
        "alpha": 0.5,
        "null_distribution": "pooled",
        "weighting": "model",
    },
)
HELLASWAG = {"activity_label": "Sport", "ctx_a": "A man runs.", "ctx_b": "he", "endings": ["falls.", "wins."]}


class Named(list):
    """Stands in for snakemake's lists of files, whose items may have names."""

    def __init__(self, *items: Any, **named: Any) -> None:
        super().__init__([*items, *named.values()])
        self.__dict__.update(named)
        self.named = named

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)

    def items(self) -> Any:
        return self.named.items()


class Ending(NamedTuple):
    """How a step ended: its exit code and what it wrote to stderr."""

    code: int
    text: str


class Bench:
    """A folder to break things in, and the steps that meet them."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.whole_model = folder, model
        self.results = folder / "results" / "broken"

    # --- steps

    def study(self, overlay: dict[str, Any] | str) -> Ending:
        """Read the default study with `overlay` over it, as the Snakefile does."""
        path = self._study_file(overlay)

        def read() -> None:
            merged = config.merge(config.read(ROOT / "config.yaml"), config.read(path))
            configurations(config.resolve(merged, config.read(ROOT / "config.schema.yaml"), self.folder))

        return self._ending(lambda: _in_job(self.folder / "study.log", read))

    def snakemake(self, overlay: dict[str, Any] | str) -> Ending:
        """The same through snakemake itself."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "-n", "--cores", "1"]
        return self._command(*command, "--configfile", self._study_file(overlay))

    def launcher(self, overlay: dict[str, Any] | str | None) -> Ending:
        """The same through the command behind `make study`; None: the study file is not there."""
        path = self.folder / "gone.yaml" if overlay is None else self._study_file(overlay)
        command = [sys.executable, ROOT / "workflow_scripts" / "run_study.py", "--study", path]
        return self._command(*command, "--directory", self.folder, "--cores", "1", "--", "-n")

    def prepare(self, entry: dict[str, Any], name: str, content: bytes | list[dict[str, Any]]) -> Ending:
        """Rule prepare_dataset on a file of the user's."""
        path = self.folder / name
        path.write_bytes(content) if isinstance(content, bytes) else _write_rows(path, content)
        entry = {
            "source": "file",
            "samples": 5,
            "path": name,
            "invalid_rows": "refuse",
            "max_invalid_share": 0,
            **entry,
        }
        places = {name: self._result(f"prepare/{name}/own.parquet") for name in ("datasets", "skipped")}
        outputs = Named(samples=places["datasets"], skipped=places["skipped"])
        return self._script("prepare_dataset", [path], outputs, entry=entry)

    def harvest(self, packages: list[str]) -> Ending:
        """Rule harvest_corpus."""
        outputs = Named(
            corpus=self._result("prepare/corpus.parquet"), card=self._result("prepare/corpus.json")
        )
        manifest = Named(manifest=ROOT / "resources" / "pocket-corpus.tsv")
        return self._script("harvest_corpus", manifest, outputs, packages=packages)

    def fetch(self, broken: Callable[[Path], object]) -> Ending:
        """Rule fetch_model on a folder of the user's."""
        source = Path(shutil.copytree(self.whole_model, self.folder / "model"))
        broken(source)
        entry = {
            "source": "folder",
            "path": str(source),
            "repository": None,
            "revision": None,
            "structure": None,
        }
        return self._script("fetch_model", [], ["prepare/models/own"], entry=entry)

    def fetch_from_hub(self) -> Ending:
        """Rule fetch_model without network or cache."""
        entry = {
            "source": "hub",
            "path": None,
            "repository": "owner/name",
            "revision": REVISION,
            "structure": None,
        }
        return self._script("fetch_model", [], ["prepare/models/own"], entry=entry)

    def evaluate(
        self,
        experiment: Experiment,
        broken: Callable[[Path], object] = lambda _: None,
        **settings: Any,
    ) -> Ending:
        """Rule evaluate_experiment; `settings` of the rule instead of those of the experiment."""
        inputs = self._prepared(broken)
        parts = {"trace": "traces/e", "scores": "scores/e", "log": "logs/e"}
        parts |= {"trace_repeat": "traces/e_repeat", "scores_repeat": "scores/e_repeat"}
        outputs = Named(**{name: self._result(f"evaluate/own/{part}") for name, part in parts.items()})
        reads = {"nulls": self.folder / "nulls.parquet"} if experiment.rule == "bh" else {}
        experiment = replace(experiment, settings={**experiment.settings, **settings})
        return self._script(
            "evaluate_experiment", inputs, outputs, experiment=experiment.as_json(), reads=reads
        )

    def collect(self, tokens: int) -> Ending:
        """Rule collect_router_logits."""
        inputs = self._prepared(lambda _: None)
        sizes = {"tokens": tokens, "max_length": 16, "batch_tokens": 64, "threads": 1, "dtype": "float32"}
        return self._script("collect_router_logits", inputs, ["calibrate/logits.parquet"], **sizes)

    # --- what they are made of

    def _prepared(self, broken: Callable[[Path], object]) -> Named:
        """A model folder and a text, as the prepare stage leaves them, outside the results."""
        model = Path(shutil.copytree(self.whole_model, self.folder / "model"))
        write_json(model / "structure.json", describe(tiny_model().config))
        broken(model)
        write_digests(model)
        texts = ["the dog writes and the cat reads", "a house that begins ends"]
        text = self.folder / "text.parquet"
        rows = {
            "sample_id": [0, 1],
            "text": texts,
            "page": [0, 1],
            "original_bytes": [9, 9],
            "original_words": [5, 5],
        }
        write_table(text, pa.table(rows))
        null = NullDistribution(np.array([-3.0, 3.0]), np.array([0.0, 1.0]))
        write_table(self.folder / "nulls.parquet", nulls_table([{"pooled": null}] * 2))
        return Named(model=model, dataset=text, text=text)

    def _study_file(self, overlay: dict[str, Any] | str) -> Path:
        path = self.folder / "study.yaml"
        text = overlay if isinstance(overlay, str) else yaml.safe_dump({"study": "broken", **overlay})
        path.write_text(text)
        return path

    def _result(self, name: str) -> str:
        path = self.results / name
        path.parent.mkdir(parents=True, exist_ok=True)  # as snakemake does
        return str(path)

    def _script(self, rule: str, inputs: list, outputs: list[str] | Named, **params: Any) -> Ending:
        """The rule's own script in this process."""
        outputs = outputs if isinstance(outputs, Named) else Named(*map(self._result, outputs))
        snakemake = SimpleNamespace(
            input=inputs if isinstance(inputs, Named) else Named(*inputs),
            output=outputs,
            params=SimpleNamespace(**params, code="abc"),
            resources=SimpleNamespace(gpu_mem_gb=1),
            wildcards=SimpleNamespace(dataset="own", model="own", text="own"),
            log=[str(self.folder / "job-logs" / f"{rule}.log")],
        )
        script = str(ROOT / "workflow_scripts" / f"{rule}.py")
        ending = self._ending(lambda: runpy.run_path(script, {"snakemake": snakemake}, "__main__"))
        assert Path(snakemake.log[0]).read_text().splitlines()[-1] == _error_lines(ending.text)[-1]
        return ending

    def _ending(self, step: Callable[[], object]) -> Ending:
        with redirect_stderr(io.StringIO()) as stream, pytest.raises(SystemExit) as caught:
            step()
        return Ending(caught.value.code, stream.getvalue())

    def _command(self, *words: str | Path) -> Ending:
        # The marker keeps the launcher from looking for orphans: it would do so among the workers of a real run.
        environment = {**os.environ, "SWITCHYARD_CHECKOUT": str(self.folder), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*map(str, words)], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120
        )
        return Ending(done.returncode, done.stdout + done.stderr)


def _in_job(log: Path, step: Callable[[], None]) -> None:
    with logged(log):
        step()


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _error_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(PREFIX)]


# --- ways to break a model folder


def cut(name: str, share: float) -> Callable[[Path], None]:
    """Keep the first `share` of a file."""

    def broken(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return broken


def remove(pattern: str) -> Callable[[Path], None]:
    """Delete the files that match."""

    def broken(folder: Path) -> None:
        for path in folder.glob(pattern):
            path.unlink()

    return broken


def lose_a_shard(folder: Path) -> None:
    """Say that there is a second weight file."""
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def make_dense(folder: Path) -> None:
    """A model without experts."""
    LlamaConfig(hidden_size=32, num_attention_heads=2).save_pretrained(folder)


def poison(folder: Path) -> None:
    """One weight of the second router is not a number."""
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.gate.weight"][0, 0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def parquet_bytes(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


# --- the table


class Kind(NamedTuple):
    """One kind of bad input: what is broken where, and what the line must say."""

    name: str
    step: Callable[[Bench], Ending]
    words: list[str]


HUB_MODEL = {"source": "hub", "repository": "owner/name"}
OWN_FILE = {"kind": "cloze", "source": "file", "path": "own.jsonl", "layout": "lambada"}
CHOICE = {"kind": "choice", "layout": "hellaswag"}
CLOZE = {"kind": "cloze", "layout": "lambada"}
PLAIN = {"kind": "perplexity", "layout": "plain"}

KINDS = [
    # the configuration
    Kind("misspelt key at the top", lambda b: b.study({"datsets": {}}), ["'datsets'", "mean 'datasets'"]),
    Kind(
        "misspelt key in a recipe",
        lambda b: b.study({"models": {"pocket-olmoe": {"training": {"sed": 1}}}}),
        ["models.pocket-olmoe.training", "'sed'", "mean 'seed'"],
    ),
    Kind(
        "misspelt key in a dataset",
        lambda b: b.study({"datasets": {"cloze": {"max_lenght": 9}}}),
        ["datasets.cloze", "'max_lenght'", "mean 'max_length'"],
    ),
    Kind(
        "misspelt key in a set of rules, through snakemake",
        lambda b: b.snakemake({"routing": {"bh": {"alhpa": 0.3}}}),
        ["routing.bh", "'alhpa'", "mean 'alpha'"],
    ),
    Kind(
        "misspelt key in the evaluation, through the launcher",
        lambda b: b.launcher({"evaluation": {"thread": 1}}),
        ["evaluation", "'thread'", "mean 'threads'"],
    ),
    Kind(
        "repeated key, through the launcher",
        lambda b: b.launcher("study: broken\nspeed: {rounds: 3}\nspeed: {rounds: 4}\n"),
        ["study.yaml", "'speed'", "line 3", "line 2", "keep one"],
    ),
    Kind(
        "no study file, through the launcher", lambda b: b.launcher(None), ["gone.yaml", "no such study file"]
    ),
    Kind(
        "repeated key in a set",
        lambda b: b.study("routing: {bh: {alpha: 0.3, alpha: 0.4}}"),
        ["'alpha'", "line 1"],
    ),
    Kind(
        "a file that is not YAML",
        lambda b: b.study("study: [broken\n"),
        ["study.yaml", "not YAML", "correct"],
    ),
    Kind("an empty study file", lambda b: b.study("# nothing yet\n"), ["study.yaml", "a map of settings"]),
    Kind(
        "alpha of 30",
        lambda b: b.study({"routing": {"bh": {"alpha": [30]}}}),
        ["routing.bh.alpha", "30", "0.99"],
    ),
    Kind(
        "alpha of 0.305",
        lambda b: b.study({"routing": {"bh": {"alpha": 0.305}}}),
        ["routing.bh", "0.305", "multiple of 0.01"],
    ),
    Kind(
        "a float that YAML 1.1 takes for a string",
        lambda b: b.study("models: {pocket-olmoe: {training: {learning_rate: 3e-4}}}"),
        ["learning_rate", "'3e-4'", "write 0.0003"],
    ),
    Kind(
        "no sets of configurations",
        lambda b: b.study({"routing": dict.fromkeys(config.read(ROOT / "config.yaml")["routing"])}),
        ["routing", "non-empty"],
    ),
    Kind(
        "no set that is enabled",
        lambda b: b.study(
            {"routing": {name: {"enabled": False} for name in config.read(ROOT / "config.yaml")["routing"]}}
        ),
        ["routing", "no enabled set runs on pocket-olmoe", "enable one"],
    ),
    Kind(
        "matched with a set that is none",
        lambda b: b.study({"routing": {"mixed": {"match": ["hb"]}}}),
        ["routing.mixed.match", "'hb'", "name some of"],
    ),
    Kind(
        "min_k above max_k",
        lambda b: b.study({"routing": {"bh": {"min_k": 10}}}),
        ["routing.bh", "min_k 10", "max_k 8", "lower"],
    ),
    Kind(
        "two sets of one name",
        lambda b: b.study(
            {"routing": {"more": {"rule": "bh", "max_k": 8, "alpha": 0.3, "models": ["pocket-olmoe"]}}}
        ),
        ["routing", "'8experts_bh_a030'", "own values"],
    ),
    Kind(
        "hub model without revision",
        lambda b: b.study({"models": {"big": HUB_MODEL}}),
        ["models.big", "'revision' is missing"],
    ),
    Kind(
        "model that is none of the study's",
        lambda b: b.study({"evaluation": {"models": ["olmo"]}}),
        ["evaluation.models", "'olmo'", "pocket-olmoe"],
    ),
    Kind(
        "set for a model that is not evaluated",
        lambda b: b.study({"routing": {"bh": {"models": ["olmo"]}}}),
        ["routing.bh.models", "'olmo'", "pocket-olmoe"],
    ),
    Kind(
        "the key of the sets in earlier versions, through snakemake",
        lambda b: b.snakemake({"rules": {"bh": {"alpha": 0.3}}}),
        ["rules", "now called routing", "rename it"],
    ),
    Kind(
        "the key of the model in earlier versions",
        lambda b: b.study({"evaluation": {"model": "pocket-olmoe"}}),
        ["evaluation.model", "now called evaluation.models", "rename it"],
    ),
    Kind(
        "data file that is not there",
        lambda b: b.study({"datasets": {"own": OWN_FILE}, "data_folder": "my-data"}),
        ["datasets.own.path", "my-data/own.jsonl", "set data_folder or path"],
    ),
    Kind(
        "corpus package that is not installed",
        lambda b: b.study({"corpus": {"packages": ["numpy", "numpyy"]}}),
        ["corpus.packages", "'numpyy'", "install"],
    ),
    # data
    Kind(
        "missing column",
        lambda b: b.prepare(CHOICE, "own.parquet", [{"ctx_a": "A man runs.", "label": 0}]),
        ["own.parquet", "no column 'activity_label'", "it has ctx_a, label"],
    ),
    Kind(
        "label out of range",
        lambda b: b.prepare(CHOICE, "own.jsonl", [{**HELLASWAG, "label": 1}, {**HELLASWAG, "label": 2}]),
        ["own.jsonl, line 2", "'label'", "2"],
    ),
    Kind("empty file", lambda b: b.prepare(CLOZE, "own.jsonl", b""), ["own.jsonl", "empty", "fetch"]),
    Kind(
        "truncated Parquet",
        lambda b: b.prepare(CLOZE, "own.parquet", parquet_bytes([{"text": "the dog"}] * 50)[:-9]),
        ["own.parquet", "not a whole Parquet file", "fetch"],
    ),
    Kind(
        "broken JSON line",
        lambda b: b.prepare(CLOZE, "own.jsonl", b'{"text": "a b"}\n{"text": "a\n'),
        ["own.jsonl, line 2", "not JSON", "correct"],
    ),
    Kind(
        "unknown extension",
        lambda b: b.prepare(CLOZE, "own.txt", b"text\na b\n"),
        ["own.txt", "must end in", ".parquet, .jsonl"],
    ),
    Kind(
        "empty text",
        lambda b: b.prepare(PLAIN, "own.jsonl", [{"text": "the dog"}, {"text": " "}]),
        ["own.jsonl, line 2", "'text'", "empty"],
    ),
    Kind(
        "no last word", lambda b: b.prepare(CLOZE, "own.jsonl", [{"text": "dog"}]), ["line 1", "no last word"]
    ),
    Kind(
        "corpus package gone when it is harvested",
        lambda b: b.harvest(["no-such-package"]),
        ["'no-such-package'", "not installed", "drop it"],
    ),
    Kind(
        "calibration text too short",
        lambda b: b.collect(10_000),
        ["calibration", "of 10000", "lower calibration.tokens"],
    ),
    # models
    Kind(
        "truncated checkpoint",
        lambda b: b.fetch(cut("model.safetensors", 0.7)),
        ["model.safetensors", "truncated", "fetch"],
    ),
    Kind("missing shard", lambda b: b.fetch(lose_a_shard), ["model-00002.safetensors", "missing", "fetch"]),
    Kind("no safetensors", lambda b: b.fetch(remove("*.safetensors")), ["no .safetensors", "convert"]),
    Kind("no tokenizer", lambda b: b.fetch(remove("tokenizer*")), ["no tokenizer", "add tokenizer.json"]),
    Kind(
        "truncated tokenizer",
        lambda b: b.fetch(cut("tokenizer.json", 0.5)),
        ["no tokenizer that can be read"],
    ),
    Kind("no configuration", lambda b: b.fetch(remove("config.json")), ["no config.json", "model folder"]),
    Kind(
        "truncated configuration",
        lambda b: b.fetch(cut("config.json", 0.5)),
        ["config.json", "cannot be read"],
    ),
    Kind("model that is no mixture", lambda b: b.fetch(make_dense), ["'llama'", "no experts", "choose"]),
    Kind("hub out of reach", lambda b: b.fetch_from_hub(), ["owner/name", REVISION[:12], "check name"]),
    # experiments; the folders without weights show that no model is loaded first
    Kind(
        "more experts than there are",
        lambda b: b.evaluate(TOPK, remove("*.safetensors"), k=9),
        ["9 experts", "own has 8", "lower"],
    ),
    Kind(
        "a null that was left out",
        lambda b: b.evaluate(BH, remove("*.safetensors"), null_distribution="trimmed_8"),
        ["'trimmed_8'", "use one of pooled"],
    ),
    Kind("not-a-number weights, top-k", lambda b: b.evaluate(TOPK, poison), ["layer 1", "NaN", "weights"]),
    Kind("not-a-number weights, BH", lambda b: b.evaluate(BH, poison), ["layer 1", "NaN", "weights"]),
]


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with nothing wrong."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def bench(tmp_path: Path, whole_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A fresh bench, the hub out of reach; the process gets its own log handlers back."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Bench(tmp_path, whole_model)
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_bad_input_ends_in_one_line_and_leaves_nothing(kind: Kind, bench: Bench) -> None:
    code, text = kind.step(bench)
    lines = _error_lines(text)
    assert code != 0
    assert len(lines) == 1, text
    assert "Traceback" not in text
    missing = [word for word in kind.words if word not in lines[0]]
    assert not missing, lines[0]
    assert ".part" not in lines[0]  # a place that is gone by now
    assert [path for path in bench.folder.glob("results/**/*") if not path.is_dir()] == []
    assert [path for path in bench.folder.rglob("*") if ".part" in path.name] == []


def test_the_list_is_long_and_names_are_distinct() -> None:
    assert len(KINDS) >= 22
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_a_line_names_a_remedy() -> None:
    """Every list of words holds something to do or to choose from, beside what is wrong and where."""
    assert all(len(kind.words) >= 2 or re.search("can be read", kind.words[0]) for kind in KINDS)


@pytest.mark.parametrize("experiment", [TOPK, BH], ids=["topk", "bh"])
def test_the_same_steps_succeed_on_good_input(experiment: Experiment, bench: Bench) -> None:
    """What the table breaks is whole before: the steps fail for the reason that they name."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        bench.evaluate(experiment)
    assert len([path for path in bench.folder.glob("results/**/*") if path.is_file()]) == 5


def test_fetching_and_preparing_succeed_on_good_input(bench: Bench) -> None:
    for step in (
        lambda: bench.fetch(lambda _: None),
        lambda: bench.prepare(CHOICE, "own.parquet", [{**HELLASWAG, "label": 1}]),
        lambda: bench.study({}),
    ):
        with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
            step()
