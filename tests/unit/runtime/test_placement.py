"""Cards are shared by what they hold: never more than that, whoever asks, and a dead holder's room is free."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from reference.tiny import tiny_model
from switchyard.errors import InputError
from switchyard.models.load import load_model
from switchyard.planning import footprint
from switchyard.runtime import placement as gpus
from switchyard.runtime.log import logged
from switchyard.runtime.placement import GB, Card, release, take

LARGE, SMALL = Card("GPU-large", 80 * GB), Card("GPU-small", 24 * GB)

HOLDER = """
import json, sys
from switchyard.runtime.placement import Card, take
print(take(json.loads(sys.argv[1]), [Card(*each) for each in json.loads(sys.argv[2])]), flush=True)
sys.stdin.read()
"""

RACER = """
import os, sys
from pathlib import Path
from switchyard.runtime import placement as gpus
gpus.POLL_S = 0.001
ledger, own = Path(sys.argv[1]), int(sys.argv[2])
sizes = [gpus.Card("GPU-a", 10 * gpus.GB), gpus.Card("GPU-b", 7 * gpus.GB)]
for turn in range(12):
    gb = 1 + (own + 3 * turn) % 7
    index = gpus.take(gb, sizes)
    note = ledger / f"{sizes[index].uuid}.{gb}.{own}"
    note.touch()
    held = sum(int(each.name.split(".")[1]) for each in ledger.glob(f"{sizes[index].uuid}.*"))
    assert held * gpus.GB <= sizes[index].size_bytes, held
    note.unlink()
    gpus.release()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Leases of this test alone, also for the processes that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(gpus.tempfile, "tempdir", None)
    yield tmp_path / f"switchyard-cards-{os.getuid()}"
    release()


def start(program: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(Path(gpus.__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class Holder:
    """Another process with a lease."""

    def __init__(self, gb: int | None, *seen: Card) -> None:
        self.process = start(HOLDER, json.dumps(gb), json.dumps(seen))
        self.index = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Holder]:
    """Holders that are killed, one after the other, each time that this process waits."""
    holders: list[Holder] = []
    monkeypatch.setattr(gpus.time, "sleep", lambda _: holders.pop(0).kill())
    return holders


def test_the_card_with_most_room_is_taken() -> None:
    assert take(14, [SMALL, LARGE]) == 1
    release()
    holder = Holder(60, SMALL, LARGE)
    assert holder.index == 1
    assert take(14, [SMALL, LARGE]) == 0  # 24 GB of room against 20
    release()
    assert take(10, [SMALL]) == 0
    holder.kill()


def test_cards_are_known_by_uuid_whatever_their_number() -> None:
    holder = Holder(70, LARGE)
    assert take(20, [LARGE, SMALL]) == 1
    release()
    assert take(9, [SMALL, LARGE]) == 0
    holder.kill()


def test_a_killed_holder_frees_its_room(
    waits: list[Holder], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    waits += [Holder(20, SMALL)]
    with caplog.at_level(logging.INFO):
        assert take(20, [SMALL]) == 0
    assert not waits
    assert caplog.messages == ["waiting for 20 GB on a card"]
    assert len(list(folder.glob("*.lease"))) == 1  # the dead one's is removed


def test_a_whole_card_is_one_that_nobody_holds(waits: list[Holder]) -> None:
    waits += [Holder(1, SMALL), Holder(None, LARGE)]
    assert take(None, [SMALL, LARGE]) == 0
    assert len(waits) == 1
    waits.pop().kill()


def test_a_process_keeps_a_lease_that_is_large_enough(waits: list[Holder], folder: Path) -> None:
    assert take(20, [SMALL, LARGE]) == take(15, [SMALL, LARGE]) == 1
    assert len(list(folder.glob("*.lease"))) == 1
    assert take(None, [SMALL, LARGE]) == 1  # its own lease is not in its way
    assert take(80, [SMALL, LARGE]) == take(0, [SMALL, LARGE]) == 1
    assert not waits


def test_what_fits_no_card_is_refused_in_one_line() -> None:
    with pytest.raises(InputError) as caught:
        take(81, [SMALL, LARGE])
    assert str(caught.value) == (
        "model: needs 81 GB, the largest card has 80; lower batch_tokens or choose dtype bfloat16; "
        "--set-resources RULE:gpu_mem_gb=N says otherwise"
    )


def test_a_model_that_no_card_holds_gets_the_fewest_whole_ones() -> None:
    cards = [SMALL, LARGE, Card("GPU-third", 80 * GB)]
    assert gpus.take_several(100, cards) == [1, 2]
    assert gpus.take_several(100, cards) == [1, 2]  # the lease stays
    assert gpus.take_several(170, cards) == [1, 2, 0]
    with pytest.raises(InputError, match="needs 185 GB, the 3 cards have 184 together"):
        gpus.take_several(185, cards)
    assert take(10, cards) in (1, 2)  # a lease of several cards is given up for one of one
    assert len(gpus._held) == 1


def test_several_cards_are_leased_when_all_are_free(waits: list[Holder]) -> None:
    waits += [Holder(2, LARGE)]
    assert gpus.take_several(150, [LARGE, Card("GPU-third", 80 * GB)]) == [0, 1]
    assert not waits
    assert Holder(None, SMALL, LARGE).index == 0  # the large one is held


def test_eight_processes_never_hold_more_than_two_cards_have(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    racers = [start(RACER, ledger, own) for own in range(8)]
    for racer in racers:
        racer.communicate()
    assert [racer.returncode for racer in racers] == [0] * 8


def test_without_a_card_everything_is_on_the_processor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpus.device(14) == gpus.device(None) == "cpu"
    assert not folder.exists()


@pytest.mark.parametrize(
    ("asked", "cards", "words"),
    [
        (None, ["0000:01:00.0"], "the driver lists 1"),
        ("0", ["0000:01:00.0", "0000:02:00.0"], "the driver lists 2"),
        ("0", [], None),  # a cluster that only pretends
        ("-1", ["0000:01:00.0"], None),
        ("", ["0000:01:00.0"], None),
        (None, [], None),
    ],
)
def test_a_card_that_torch_cannot_use_is_no_reason_to_take_the_processor_in_silence(
    asked: str | None, cards: list[str], words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for card in cards:
        (tmp_path / card).mkdir()
    monkeypatch.setattr(gpus, "DRIVER", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    if words is None:
        assert gpus.device(1) == "cpu"
        return
    with pytest.raises(InputError, match=words) as caught:
        gpus.device(1)
    assert "set CUDA_VISIBLE_DEVICES to -1" in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A machine with two cards; the numbers of those that were made the current one."""
    current: list[int] = []
    sizes = [SimpleNamespace(uuid=card.uuid, total_memory=card.size_bytes) for card in (SMALL, LARGE)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(sizes))
    monkeypatch.setattr(torch.cuda, "get_device_properties", sizes.__getitem__)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "made up")
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *_: None)
    for name in gpus.ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    yield current
    os.environ.pop(gpus.ALLOCATOR[0], None)


def test_work_goes_to_the_card_that_was_taken(made_up: list[int]) -> None:
    assert gpus.visible() == [SMALL, LARGE]
    assert gpus.device(14) == "cuda:1"
    assert made_up == [1]


@pytest.mark.parametrize(
    ("gb", "index", "share"), [(14, 1, 13 / 80), (1, 1, 0.5 / 80), (None, 1, 1.0), (80, 1, 1.0), (0, 1, 1.0)]
)
def test_a_lease_is_a_limit_of_what_torch_allocates_on_that_card(
    gb: int | None, index: int, share: float, made_up: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *asked: limits.append(asked))
    gpus.device(gb)
    assert limits == [(pytest.approx(share), index)]
    assert footprint.CONTEXT_GB * GB == gpus.CONTEXT_BYTES  # what the estimate adds for the driver


def test_a_lease_that_was_kept_keeps_its_limit(made_up: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: limits.append(share))
    for gb in (20, 5, 0):
        gpus.device(gb)
    assert limits == [pytest.approx(19 / 80)] * 3


@pytest.mark.parametrize("own", [None, *gpus.ALLOCATOR])
def test_the_allocator_may_grow_its_segments_unless_the_user_says_otherwise(
    own: str | None, made_up: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if own is not None:
        monkeypatch.setenv(own, "max_split_size_mb:512")
    gpus.device(1)
    found = {name: os.environ[name] for name in gpus.ALLOCATOR if name in os.environ}
    assert found == (
        {own: "max_split_size_mb:512"} if own else {gpus.ALLOCATOR[0]: "expandable_segments:True"}
    )


def test_slices_of_a_card_are_cards_of_their_own(
    made_up: list[int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = SimpleNamespace(uuid="GPU-parent", total_memory=20 * GB)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", [parent].__getitem__)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-parent/1/0")
    other = Holder(15, *gpus.visible())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-parent/2/0, 0")
    monkeypatch.setattr(gpus.time, "sleep", lambda _: pytest.fail("waits for another slice"))
    assert gpus.device(15) == "cuda:0"
    names = sorted(path.name.split(".")[0] for path in folder.glob("*.lease"))
    assert names == ["MIG-GPU-parent_1_0", "MIG-GPU-parent_2_0"]
    other.kill()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-parent")
    assert gpus.visible() == [Card("GPU-parent", 20 * GB)]


@pytest.mark.parametrize("gb", [9, 0])
def test_a_model_is_loaded_on_a_card_with_room_for_it(
    gb: int,
    tmp_path: Path,
    folder: Path,
    made_up: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tmp_path / "model"
    tiny_model().save_pretrained(model)
    sent: list[object] = []
    plain = AutoModelForCausalLM.from_pretrained

    def from_pretrained(folder: Path, *, device_map: object, **options: object) -> object:
        sent.append(device_map)
        return plain(folder, device_map={"": "cpu"}, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: sent.append(device) or self)
    load_model(model, dtype="bfloat16", gpu_mem_gb=gb)
    assert (sent, made_up) == ([{"": "cuda:1"}, "cuda:1"], [1])  # what is there already does not move
    (lease,) = folder.glob("*.lease")
    assert lease.name.startswith(f"GPU-large.{gb * GB}.")


def test_a_model_that_no_card_holds_is_divided_among_several(
    tmp_path: Path, made_up: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    tiny_model().save_pretrained(model)
    sent: dict[str, object] = {}
    plain = AutoModelForCausalLM.from_pretrained

    def from_pretrained(folder: Path, **options: object) -> object:
        sent.update(device_map=options.pop("device_map"), max_memory=options.pop("max_memory"))
        return plain(folder, device_map={"": "cpu"}, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    assert load_model(model, gpu_mem_gb=95).device.type == "cpu"  # left where from_pretrained put it
    assert sent == {"device_map": "balanced", "max_memory": {1: 79 * GB, 0: 23 * GB}}


def test_a_full_card_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), logged(tmp_path / "job.log"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    (line,) = (tmp_path / "job.log").read_text().splitlines()
    assert line.startswith("switchyard: error: ")
    assert "batch_tokens" in line and "gpu_mem_gb" in line


def test_clocks_are_those_of_nvidia_smi(made_up: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    line = "GPU-1, 1980 MHz, 1980 MHz, 2619 MHz, 41, 120.10 W, 700.00 W\n"
    monkeypatch.setattr(gpus.subprocess, "run", lambda command, **_: SimpleNamespace(stdout=line))
    (found,) = gpus.clocks()
    assert found["clocks.sm"] == "1980 MHz" and found["power.limit"] == "700.00 W"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpus.clocks() is None
