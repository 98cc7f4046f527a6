"""An experiment writes the same bytes whichever process runs it, and whatever that process has run before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from reference.tiny import WORDS, tiny_model, tiny_tokenizer
from switchyard.artifacts.digests import DIGESTS, write_digests
from switchyard.artifacts.files import write_json, write_table
from switchyard.errors import InputError
from switchyard.evaluation import job
from switchyard.evaluation.assessment_job import assessment
from switchyard.evaluation.router_logits_job import router_logits
from switchyard.models.blocks import describe
from switchyard.models.kept import KEPT, load_kept
from switchyard.runtime import workers
from switchyard.study.experiment import Experiment, Run

LIBRARY = Path(__file__).parents[3] / "lib"

CALL = """
import json, sys
from switchyard.runtime.workers import call
call("switchyard.evaluation.job:evaluate", json.loads(sys.argv[1]), log=sys.argv[2], home="tiny")
"""

RULES = {
    "2experts_topk_baseline": ("switchyard.routing.topk:TopK", {"k": 2}),
    "8experts_top_p_p060": ("switchyard.routing.top_p:TopP", {"p": 0.6, "max_k": 8}),
    "mixed_topk_k1.5": ("switchyard.routing.mixed_topk:MixedTopK", {"k": 1.5}),
}


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    KEPT.clear()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with a tiny model and two texts."""
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    write_json(tmp_path / "model" / "structure.json", describe(tiny_model().config))
    write_digests(tmp_path / "model")
    texts = {"text": [WORDS, WORDS[40:]], "original_bytes": [len(WORDS), len(WORDS) - 40]}
    table = pa.table({"sample_id": [0, 1], "page": [0, 1], "original_words": [9, 8], **texts})
    write_table(tmp_path / "texts.parquet", table)
    return tmp_path


def experiment(study: Path, place: str, config: str) -> dict[str, Any]:
    """Arguments of an evaluation, whose results go to the folder `place` of the study."""
    folder = study / place / config / "evaluate" / "own"
    names = {"trace": "traces/e", "scores": "scores/e", "log": "logs/e"}
    names |= {"trace_repeat": "traces/e_repeat", "scores_repeat": "scores/e_repeat"}
    home, settings = RULES[config]
    described = Experiment(
        study="tiny",
        model="own",
        config=config,
        dataset="own",
        rule=home.partition(".routing.")[2].partition(":")[0],
        home=home,
        settings={"weighting": "model", **settings},
        model_entry={"source": "folder", "path": "model", "dtype": "float32"},
        dataset_entry={"kind": "perplexity", "max_length": 48, "samples": 2},
        run=Run(batch_tokens=64, threads=1, keep_logits=True, spelled_out_samples=None),
    )
    return {
        "experiment": described.as_json(),
        "model": str(study / "model"),
        "dataset": str(study / "texts.parquet"),
        "reads": {},
        "files": {name: str(folder / file) for name, file in names.items()},
        "gpu_mem_gb": 0,
        "code": "abc",
    }


def written(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_workers_write_the_bytes_of_each_experiment_alone_in_any_order_and_side_by_side(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(workers.VARIABLE, "")
    monkeypatch.setenv("PYTHONPATH", str(LIBRARY))
    workers.start()

    def started(place: str, config: str) -> subprocess.Popen[bytes]:
        log = str(study / f"{place} {config}.log")
        return subprocess.Popen(
            [sys.executable, "-c", CALL, json.dumps(experiment(study, place, config)), log]
        )

    first = [started("first", config) for config in list(RULES)[:2]]
    assert [each.wait(timeout=120) for each in first] == [0, 0]
    for place, order in (("forth", [*RULES]), ("back", [*RULES][::-1])):
        assert [started(place, config).wait(timeout=120) for config in order] == [0, 0, 0]
    logs = [path for path in study.glob("*.log") if "loading " in path.read_text()]
    assert len(logs) == 2  # two processes, that had three jobs side by side at most
    for config in RULES:
        KEPT.clear()
        job.evaluate(**experiment(study, "alone", config))
    alone = written(study / "alone")
    assert len(alone) == 5 * len(RULES)
    assert written(study / "forth") == written(study / "back") == alone
    assert written(study / "first").items() <= alone.items()


def test_rules_leave_the_kept_model_as_it_was(study: Path) -> None:
    for config in RULES:
        job.evaluate(**experiment(study, "here", config))
        ((_, kept),) = KEPT.items()
    assert list(KEPT.values()) == [kept]
    own = tiny_model()
    state = kept.model.state_dict()
    assert state.keys() == own.state_dict().keys()
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in state.items())
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        assert torch.equal(kept.model(ids).logits, own(ids).logits)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in kept.model.modules())


def untouched(study: Path, place: str, between: Callable[[], None]) -> None:
    """Router logits and an assessment of the model in the folder `place` of the study."""
    (study / place).mkdir()
    own = {"name": "own", "model": str(study / "model"), "dtype": "float32", "batch_tokens": 64, "threads": 1}
    own |= {"gpu_mem_gb": 0, "code": "abc"}
    text = str(study / "texts.parquet")
    between()
    router_logits(text=text, output=str(study / place / "logits.parquet"), tokens=60, max_length=48, **own)
    between()
    sizes = {"datasets": {"own": text}, "max_length": {"own": 48}, "samples": 2}
    assessment(**sizes, output=str(study / place / "assessment.json"), **own)


def test_what_is_measured_of_the_untouched_model_does_not_depend_on_earlier_jobs(study: Path) -> None:
    untouched(study, "alone", KEPT.clear)
    for config in RULES:
        job.evaluate(**experiment(study, "here", config))
    kept = [*KEPT.values()]
    untouched(study, "after", lambda: None)
    assert [*KEPT.values()] == kept
    assert written(study / "after") == written(study / "alone") and len(written(study / "alone")) == 2


def test_a_model_is_kept_where_less_of_a_card_is_asked_for(study: Path) -> None:
    first, less, more = (load_kept(study / "model", "float32", size) for size in (2, 1, 3))
    assert first is less and first is not more and [*KEPT.values()] == [more]


def test_a_model_that_was_written_again_is_loaded_again_in_the_place_of_the_last(study: Path) -> None:
    loaded = []
    for _ in range(2):
        for config in [*RULES][:2]:
            job.evaluate(**experiment(study, "here", config))
            loaded += KEPT.values()
        os.utime(study / "model" / "structure.json")
    one, again, two, last = loaded
    assert one is again and two is last and one is not two
    assert len(KEPT) == 1


def test_a_copy_that_was_found_whole_is_loaded_once(study: Path) -> None:
    before = (study / "model" / DIGESTS).stat().st_mtime_ns
    os.utime(study / "model" / "model.safetensors", ns=(before + 10**9, before + 10**9))
    loaded = []
    for config in [*RULES][:2]:
        job.evaluate(**experiment(study, "here", config))
        loaded += KEPT.values()
    assert (study / "model" / DIGESTS).stat().st_mtime_ns > before
    assert loaded[0] is loaded[1]


def test_a_folder_that_is_not_packed_as_the_study_says_is_refused(tmp_path: Path) -> None:
    packed = {"quantise": {"experts": "nf4", "rest": "none", "experts_on": "card"}}
    job.check_packing({"top_k": 2, **packed}, {"path": "a", **packed}, tmp_path)
    job.check_packing({"top_k": 2}, {"path": "a"}, tmp_path)
    for structure, entry in (({}, packed), (packed, {})):
        with pytest.raises(InputError, match="remove the folder"):
            job.check_packing(structure, entry, tmp_path)
