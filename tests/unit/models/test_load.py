"""Model folders: a whole one loads, and every broken one is refused in one line before a weight is read."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig

from reference.damage import flip_bit
from reference.tiny import tiny_model, tiny_tokenizer
from switchyard.artifacts.digests import write_digests
from switchyard.errors import InputError
from switchyard.models import load

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in one file."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sharded(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same checkpoint in several files with their index."""
    folder = tmp_path_factory.mktemp("sharded")
    tiny_model().save_pretrained(folder, max_shard_size="40KB")
    for path in whole.glob("tokenizer*"):
        shutil.copy(path, folder)
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def refused(function: Callable, *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_config(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))


# --- whole ones


def test_a_folder_loads_as_it_was_saved(whole: Path) -> None:
    load.check_folder(whole)
    model = load.load_model(whole)
    own = tiny_model().state_dict()
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    assert not model.training and model.dtype == torch.float32


def test_shards_load_as_the_whole(sharded: Path) -> None:
    load.check_folder(sharded)
    own = tiny_model().state_dict()
    assert all(torch.equal(value, own[name]) for name, value in load.load_model(sharded).state_dict().items())


def test_weights_that_go_straight_to_their_device_are_the_same(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    own = AutoModelForCausalLM.from_pretrained

    def from_pretrained(folder: Path, *, device_map: object, **options: object) -> object:
        asked.append(str(device_map))
        return own(folder, device_map=device_map, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    plain = load.load_model(whole)

    class Named(str):
        """A name of the CPU that is not taken for it."""

        def __eq__(self, other: object) -> bool:
            return False

        __hash__ = str.__hash__

    monkeypatch.setattr(load, "devices", lambda gb: {Named("cpu"): 0})
    straight = load.load_model(whole)
    assert asked == ["None", "{'': 'cpu'}"]
    for ours, theirs in (
        (straight.state_dict(), plain.state_dict()),
        (dict(straight.named_buffers()), dict(plain.named_buffers())),
    ):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert not any(
        hasattr(module, "_hf_hook") for module in straight.modules()
    )  # nothing beside attach patches


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_model_loads_in_the_precision_asked_for(whole: Path, dtype: str) -> None:
    assert load.load_model(whole, dtype=dtype).dtype == getattr(torch, dtype)


# --- broken weights


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_a_truncated_weight_file_is_named(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    message = refused(load.check_folder, folder)
    assert str(path) in message and "truncated or damaged" in message and "fetch" in message


def test_a_truncated_shard_is_named(sharded: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sharded, tmp_path / "model"))
    path = sorted(folder.glob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[:-1])
    assert str(path) in refused(load.check_folder, folder)


def test_a_missing_shard_is_named(sharded: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sharded, tmp_path / "model"))
    path = sorted(folder.glob("*.safetensors"))[0]
    path.unlink()
    assert f"{path} is missing" in refused(load.check_folder, folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"weight_map": 3}'])
def test_a_damaged_index_is_named(folder: Path, content: str) -> None:
    (folder / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json is damaged" in refused(load.check_folder, folder)


def test_a_flipped_bit_in_the_weights_is_refused_at_load(folder: Path) -> None:
    before = load.folder_digest(folder)
    write_digests(folder)
    assert load.folder_digest(folder) == before
    load.load_model(folder)
    flip_bit(folder / "model.safetensors")
    assert f"{folder}/model.safetensors: is damaged" in refused(load.load_model, folder)


def test_pickles_are_not_loaded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = refused(load.check_folder, folder)
    assert "no .safetensors" in message and "pickles" in message
    with pytest.raises(OSError):
        load.load_model(folder)


def test_a_missing_weight_is_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "no weights for model.norm.weight" in refused(load.load_model, folder)


def test_a_weight_of_another_shape_is_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(5)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "wrong shape for model.norm.weight" in refused(load.load_model, folder)


# --- broken configurations and tokenizers


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["holds no config.json"]),
        ("{", ["config.json cannot be read", "not a valid JSON"]),
        ("{}", ["config.json cannot be read", "model_type"]),
        ('{"model_type": "no-such-architecture"}', ["no-such-architecture", "transformers knows"]),
        ('{"model_type": "x", "auto_map": {"AutoConfig": "code.Config"}}', ["cannot be read"]),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(
    tmp_path: Path, content: str | None, words: list[str]
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    message = refused(load.load_config, tmp_path)
    assert all(word in message for word in [str(tmp_path), *words]), message


def test_code_in_a_model_folder_is_never_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was run"
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\nfrom transformers import OlmoeConfig as Config\n"
    (folder / "code.py").write_text(code)
    change_config(folder, model_type="own", auto_map={"AutoConfig": "code.Config"})
    refused(load.load_config, folder)
    assert not mark.exists()


def test_a_missing_tokenizer_is_not_made_up(folder: Path) -> None:
    """transformers would make an empty OLMoE tokenizer without a word."""
    for path in folder.glob("tokenizer*"):
        path.unlink()
    for function in (load.load_tokenizer, load.check_folder):
        message = refused(function, folder)
        assert str(folder) in message and "add tokenizer.json" in message


@pytest.mark.parametrize("content", ["", "{", "{}"])
def test_a_damaged_tokenizer_is_named(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    assert "no tokenizer that can be read" in refused(load.check_folder, folder)


# --- copies and the hub


def test_a_copy_holds_files_where_the_source_has_links(whole: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path in whole.iterdir():
        (source / path.name).symlink_to(path)
    load.copy_folder(source, tmp_path / "copy")
    assert not any(path.is_symlink() for path in (tmp_path / "copy").iterdir())
    assert sorted(p.name for p in whole.iterdir()) == sorted(p.name for p in (tmp_path / "copy").iterdir())


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path} holds no config.json" in refused(load.copy_folder, tmp_path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.fixture
def hub_cache(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with one repository, as a download leaves it: blobs, and links to them in a snapshot."""
    from huggingface_hub import constants

    repository = tmp_path / "hub" / "models--owner--name"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, path in enumerate(sorted(whole.iterdir())):
        shutil.copy(path, repository / "blobs" / f"{number:040x}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:040x}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_cached_revision_is_linked_without_network(hub_cache: Path, whole: Path, tmp_path: Path) -> None:
    place = load.link_hub_snapshot("owner/name", REVISION, tmp_path / "model")
    assert place == hub_cache / "models--owner--name" / "snapshots" / REVISION
    found = sorted((tmp_path / "model").iterdir())
    assert [path.name for path in found] == sorted(path.name for path in whole.iterdir())
    assert all(path.is_symlink() and path.resolve().parent.name == "blobs" for path in found)
    load.check_folder(tmp_path / "model")
    assert load.load_model(tmp_path / "model").config.num_experts == 8


@pytest.mark.parametrize(
    ("repository", "revision"),
    [("owner/name", "f" * 40), ("owner/other", REVISION), ("owner/na me", REVISION)],
)
def test_what_the_hub_does_not_give_is_named(
    hub_cache: Path, tmp_path: Path, repository: str, revision: str
) -> None:
    message = refused(load.link_hub_snapshot, repository, revision, tmp_path / "model")
    assert repository in message and revision[:12] in message and "check name, revision" in message
    assert not (tmp_path / "model").exists()


def test_a_model_that_cannot_be_rerouted_is_refused_before_its_weights_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Path(__file__).parents[3] / "workflow_scripts" / "fetch_model.py"
    spec = importlib.util.spec_from_file_location("fetch_model", script)
    fetch_model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fetch_model)
    LlamaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2).save_pretrained(
        tmp_path / "config"
    )
    asked = []

    def hub_folder(repository: str, revision: str, files: list[str]) -> Path:
        asked.append(files)
        return tmp_path / "config"

    monkeypatch.setattr(fetch_model, "hub_folder", hub_folder)
    entry = {"source": "hub", "repository": "owner/dense", "revision": REVISION, "structure": None}
    with pytest.raises(InputError, match="has no experts"):
        fetch_model.main(entry=entry, output=tmp_path / "model", code="abc")
    assert asked == [["config.json"]] and not (tmp_path / "model").exists()
