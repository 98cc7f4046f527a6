"""A killed shard of an observation goes on from its checkpoint, and is the shard of an undisturbed run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reference.tiny import WORDS, tiny_model, tiny_tokenizer, write_documents
from switchyard.observation.windows import write_windows

OBSERVE = """
import sys, time
from pathlib import Path
import torch
from switchyard.models.load import load_model
from switchyard.observation.counted import counters
from switchyard.observation.run import observe_shard
torch.set_num_threads(1)
folder, out, wait = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
tokens = []
def progress(done):
    tokens.append(done)
    time.sleep(wait)
observe_shard(
    load_model(folder / "model"), folder / "windows.parquet", 0, 1, out, model_digest="tiny", context_window=2,
    buckets=64, checkpoint_every=30, counters=counters([4]), progress=progress,
)
print(tokens[0])
"""


def observe(folder: Path, out: Path, *, wait: float) -> subprocess.Popen:
    command = [sys.executable, "-c", OBSERVE, str(folder), str(out), str(wait)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_shard_is_an_undisturbed_one(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    documents = [("all", WORDS)] * 8
    write_windows(tmp_path / "windows.parquet", documents, tiny_tokenizer(), max_length=16, batch_tokens=32)
    whole = observe(tmp_path, tmp_path / "whole" / "0.safetensors", wait=0)
    assert whole.communicate(timeout=120)[0] == "0\n" and whole.returncode == 0

    out = tmp_path / "cut" / "0.safetensors"
    killed = observe(tmp_path, out, wait=0.5)
    deadline = time.monotonic() + 120
    while not list(out.parent.glob("0.checkpoint-*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(timeout=60) == -signal.SIGKILL and not out.exists()

    resumed = observe(tmp_path, out, wait=0)
    told = resumed.communicate(timeout=120)[0]
    assert resumed.returncode == 0 and int(told) >= 30  # tokens that it did not run again
    assert out.read_bytes() == (tmp_path / "whole" / "0.safetensors").read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["0.safetensors"]


@pytest.mark.slow
def test_the_verb_killed_goes_on_and_writes_the_same(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    write_documents(tmp_path / "text.jsonl", number=400)
    tables = (
        "routing_stats.parquet",
        "expert_counts.parquet",
        "context_counts.parquet",
        "analysis_summary.txt",
    )

    def start(output: str) -> subprocess.Popen:
        options = "--model model --text text.jsonl --max-length 16 --batch_size 1 --checkpoint_tokens 100"
        command = [sys.executable, "-m", "switchyard", "observe", *options.split(), "--output", output]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    assert start("whole").wait(timeout=300) == 0
    killed, work = start("cut"), tmp_path / "cut" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(work.glob("0.checkpoint-*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(timeout=60) == -signal.SIGKILL and not (work / "0.safetensors").exists()

    resumed = start("cut")
    told = resumed.communicate(timeout=300)[0]
    assert resumed.returncode == 0 and "goes on after" in told
    for name in tables:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
