"""A checkpoint of the hub, laid out on disk as its cache has it: size, structure, a short generation."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from reference.tiny import tiny_model, tiny_tokenizer
from switchyard.__main__ import main
from switchyard.errors import InputError
from switchyard.models import fetch
from switchyard.models.blocks import describe
from switchyard.planning.footprint import parameters
from switchyard.planning.parts import weights_by_part

REVISION = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds one repository; no network is touched."""
    from huggingface_hub import constants

    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / REVISION
    tiny_model().save_pretrained(snapshot)
    tiny_tokenizer().save_pretrained(snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["switchyard", "fetch-model", *words])
    return main()


def test_fetched_described_and_tried(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    options = ["--revision", REVISION, "--quantize", "nf4", "--analyze-structure", "--test"]
    assert call(monkeypatch, "owner/name", *options) == 0
    said = capsys.readouterr().out
    size = sum(path.stat().st_size for path in hub.iterdir())
    assert f"{size / 1e9:.2f} GB, of which 0.00 GB are to be downloaded" in said
    assert "8 experts of which 2 are used" in said and fetch.PROMPT in said
    assert "loaded in bfloat16, experts nf4, rest nf4" in said


def test_the_same_tokens_as_generate_writes(hub: Path) -> None:
    model, tokenizer = tiny_model(), tiny_tokenizer()
    ids = tokenizer(fetch.PROMPT, return_tensors="pt")["input_ids"]
    expected = model.generate(ids, max_new_tokens=fetch.NEW_TOKENS, do_sample=False)
    assert fetch.try_out(hub, model) == tokenizer.decode(expected[0], skip_special_tokens=True)


def test_size_before_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def listed(repository: str, **options: object) -> list[SimpleNamespace]:
        asked.update(options)
        sizes = {"a.safetensors": (7, True), "b.safetensors": (5, False), "config.json": (1, False)}
        return [SimpleNamespace(file_size=size, will_download=wanted) for size, wanted in sizes.values()]

    monkeypatch.setattr("huggingface_hub.snapshot_download", listed)
    assert fetch.size_on_hub("owner/name", REVISION) == fetch.Size(3, 13, 7)
    assert asked["dry_run"] and asked["revision"] == REVISION and "*.safetensors" in asked["allow_patterns"]


def test_a_disk_that_is_too_small_is_refused_before_the_download(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=3 * 10**9))
    fetch.check_room(fetch.Size(1, 14 * 10**9, 2 * 10**9), hub)
    with pytest.raises(InputError, match=r"14\.0 GB are to be downloaded, 3\.0 GB are free"):
        fetch.check_room(fetch.Size(1, 14 * 10**9, 14 * 10**9), hub)


@pytest.mark.parametrize("revision", ["main", "0123456", REVISION.upper()])
def test_a_revision_that_may_move_is_refused(revision: str) -> None:
    with pytest.raises(InputError, match="40 hexadecimal digits"):
        fetch.size_on_hub("owner/name", revision)


def test_what_is_not_there_is_named(hub: Path) -> None:
    with pytest.raises(InputError, match="owner/other .* cannot be read from the hub"):
        fetch.fetch("owner/other", REVISION)


def test_parts_are_those_of_the_model() -> None:
    model = tiny_model()
    parts = weights_by_part(describe(model.config))
    counted = {
        "experts": "experts",
        "routers": "gate.weight",
        "embeddings and output head": ("embed", "lm_head"),
    }
    for part, marks in counted.items():
        marks = (marks,) if isinstance(marks, str) else marks
        named = {
            name: weight for name, weight in model.named_parameters() if any(mark in name for mark in marks)
        }
        assert parts[part] == sum(weight.numel() for weight in named.values())
    assert (
        sum(parts.values())
        == parameters(describe(model.config))
        == sum(w.numel() for w in model.parameters())
    )
