"""Memory of an observation at its checkpoints."""

from __future__ import annotations

import pytest

from switchyard.artifacts.files import read_json
from switchyard.observation.memory import LIMIT, counts_bytes, memory_profile
from switchyard.observation.run import observe_shard
from switchyard.observation.shards import Observation
from unit.observation.test_run import SETTINGS, TALLIES, model, windows_path

__all__ = ["model", "windows_path"]


def held(*host: float) -> list[dict]:
    return [{"tokens": place, "host_bytes": one} for place, one in enumerate(host)]


def test_growth_begins_with_the_second_sample():
    found = memory_profile(
        [{"shard": 0, "samples": held(1.0, 10.0, 10.5, 10.2)}, {"shard": 1, "samples": held(1.0, 10.0)}]
    )
    assert found["growth"] == pytest.approx(1.05) and found["within_limit"] and found["limit"] == LIMIT
    assert [one["growth"] for one in found["shards"]] == [pytest.approx(1.05), None]
    assert not memory_profile([{"shard": 0, "samples": held(1.0, 10.0, 11.2)}])["within_limit"]
    assert memory_profile([{"shard": 0, "samples": []}])["within_limit"] is None


def test_a_shard_samples_at_its_checkpoints(model, windows_path, tmp_path):
    out, memory = tmp_path / "0.safetensors", tmp_path / "0.memory.json"
    given = {**SETTINGS, "checkpoint_every": 60, "memory": memory, "stamp": {"code": "1"}}
    observe_shard(model, windows_path, 0, 1, out, **given)
    found = read_json(memory)
    seen, _ = Observation.load(out, TALLIES)
    tokens = [one["tokens"] for one in found["samples"]]
    assert tokens[0] == 0 and tokens[-1] == seen.totals["tokens"] and tokens == sorted(tokens)
    assert len(tokens) == len(set(tokens)) > 3 and found["provenance"] == {"code": "1"}
    assert {one["counts_bytes"] for one in found["samples"][-1:]} == {counts_bytes(seen)}
    assert all(one["host_bytes"] > 0 and one["device_bytes"] is None for one in found["samples"])
    before = out.read_bytes()
    observe_shard(model, windows_path, 0, 1, out, **given)  # finished: nothing runs, and the file says so
    assert read_json(memory)["samples"] == [] and out.read_bytes() == before
