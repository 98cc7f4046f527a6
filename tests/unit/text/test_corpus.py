"""The pocket corpus on a made-up distribution: what is a document, where it belongs, and what is a copy."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from switchyard.errors import InputError
from switchyard.text.corpus import (
    MIN_CHARACTERS,
    SPLIT_SHARES,
    Document,
    drop_near_duplicates,
    fingerprint,
    harvest,
    hash_line,
    versions,
)

WORDS = [
    "array",
    "axis",
    "shape",
    "value",
    "order",
    "index",
    "matrix",
    "solver",
    "sample",
    "return",
    "the",
    "of",
    "a",
    "to",
    "with",
    "which",
    "given",
    "along",
    "every",
]


def prose(seed: int, lines: int = 12) -> str:
    """Lines of words that no other seed gives."""
    rng = random.Random(seed)
    return "\n".join(" ".join([*rng.choices(WORDS, k=8), f"number{seed}."]) for _ in range(lines))


def docstring(seed: int, indent: str = "    ") -> str:
    return f'{indent}"""' + prose(seed).replace("\n", f"\n{indent}") + f'\n{indent}"""\n'


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution `made-up` 1.2+cpu, found on the path as pip would have left it."""
    sources = {
        "made_up/__init__.py": docstring(0, ""),
        "made_up/core.py": (
            f"class Solver:\n{docstring(1)}\n    def fit(self):\n{docstring(2, ' ' * 8)}\n"
            f"async def later():\n{docstring(3)}\ndef short():\n    '''Too short.'''\n"
            "raise RuntimeError('nothing is imported')\n"
        ),
        "made_up/attached.py": f"add_newdoc('core', 'ufunc', ('name', {prose(4)!r}))\nprint({prose(5)!r})\n",
        "made_up/later.py": f"def f[T:\n{docstring(6)}\n",
        "made_up/tests/test_core.py": docstring(7, ""),
        "made_up/copy.py": docstring(1, ""),
        "made_up/data.txt": prose(8),
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    information = tmp_path / "made_up-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.2+cpu\n")
    (information / "RECORD").write_text("".join(f"{name},,\n" for name in sources))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_harvest_takes_every_documentation_string_and_nothing_else(installed: Path) -> None:
    found = {document.text: document.name for document in harvest(["made-up"])}
    assert set(found) == {prose(seed) for seed in (0, 1, 2, 3, 4)}
    assert found[prose(2)] == "made_up/core.py:Solver.fit"
    assert found[prose(3)] == "made_up/core.py:later"
    assert found[prose(4)].startswith("made_up/attached.py:@1.")


def test_the_harvest_is_ordered_by_digest_and_repeats(installed: Path) -> None:
    done: list[int] = []
    documents = harvest(["made-up"], progress=done.append)
    assert [d.digest for d in documents] == sorted(d.digest for d in documents)
    assert done == [1]
    assert harvest(["made-up", "made-up"]) == documents


def test_documents_are_long_enough_and_dedented(installed: Path) -> None:
    for document in harvest(["made-up"]):
        assert len(document.text) >= MIN_CHARACTERS
        assert document.text == document.text.strip() and "\n    " not in document.text


def test_versions_drop_local_labels(installed: Path) -> None:
    assert versions(["made-up"]) == {"made-up": "1.2"}


def test_a_missing_package_is_named() -> None:
    with pytest.raises(InputError, match="'no-such-package' is not installed"):
        harvest(["no-such-package"])


def test_packages_without_documentation_are_named(installed: Path) -> None:
    (installed / "made_up-1.2.dist-info" / "RECORD").write_text("made_up/data.txt,,\n")
    with pytest.raises(InputError, match="no documentation strings found in made-up"):
        harvest(["made-up"])


# --- splits


def split_by_hand(text: str) -> str:
    """The split of a text: its hash as a number in 0..1 against the cumulated shares."""
    point, upto = int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12, 0.0
    for name, share in (("test", 0.1), ("validation", 0.04), ("calibration", 0.04)):
        upto += share
        if point < upto - 1e-12:
            return name
    return "train"


def test_a_split_follows_from_the_text_alone() -> None:
    for seed in range(300):
        text = prose(seed, 1)
        assert Document("a", text).split == Document("elsewhere", text).split == split_by_hand(text)


def test_splits_have_their_shares() -> None:
    splits = [Document("", str(number)).split for number in range(20_000)]
    for name, share in {**SPLIT_SHARES, "train": 0.82}.items():
        deviation = (share * (1 - share) / len(splits)) ** 0.5
        assert abs(splits.count(name) / len(splits) - share) < 4 * deviation, name


def test_splits_do_not_move_between_versions_of_this_code() -> None:
    """The shipped models were trained on one side: another hash or another order would mix the sides."""
    found = [Document("", text).split for text in ("a", "b", "c", "d", "e", "f", "2", "15", "27")]
    assert found == [split_by_hand(text) for text in ("a", "b", "c", "d", "e", "f", "2", "15", "27")]
    assert hash_line("array") == int.from_bytes(hashlib.blake2b(b"array", digest_size=8).digest(), "big")


def test_no_text_is_on_two_sides(installed: Path) -> None:
    documents = harvest(["made-up"])
    assert len({d.digest for d in documents}) == len(documents)


# --- near duplicates


def kept_by_hand(texts: list[str]) -> list[str]:
    """The filter as it is told: mostly new among lines of 30 characters, against all that was kept."""
    kept: list[str] = []
    for text in texts:
        lines = [line.strip() for line in text.splitlines() if len(line.strip()) >= 30]
        old = {line.strip() for other in kept for line in other.splitlines()}
        if lines and sum(line in old for line in lines) / len(lines) < 0.8:
            kept.append(text)
    return kept


@pytest.mark.parametrize(("changed", "stays"), [(0, False), (1, False), (2, False), (3, True), (10, True)])
def test_a_copy_is_left_out_and_a_cousin_stays(changed: int, stays: bool) -> None:
    first, second = prose(1, 10).splitlines(), prose(2, 10).splitlines()
    cousin = "\n".join(second[:changed] + first[changed:])
    documents = [Document("a", "\n".join(first)), Document("b", cousin)]
    assert (documents[1] in drop_near_duplicates(documents)) is stays


def test_a_copy_with_another_indentation_is_a_copy() -> None:
    text = prose(1)
    assert (
        len(drop_near_duplicates([Document("a", text), Document("b", text.replace("\n", "\n        "))])) == 1
    )


def test_a_document_of_short_lines_says_nothing() -> None:
    assert drop_near_duplicates([Document("a", "x : int\n" * 100)]) == []


def test_near_duplicates_equal_the_obvious_filter() -> None:
    rng = random.Random(0)
    pool = [line for seed in range(20) for line in prose(seed, 3).splitlines()] + ["short", "-----"]
    texts = ["\n".join(rng.choices(pool, k=rng.randint(1, 8))) for _ in range(300)]
    found = drop_near_duplicates(Document(str(i), text) for i, text in enumerate(texts))
    assert [d.text for d in found] == kept_by_hand(texts)
    assert 0 < len(found) < len(texts)


def test_the_fingerprint_is_of_the_set_of_texts() -> None:
    documents = [Document("a", prose(1)), Document("b", prose(2))]
    assert fingerprint(documents) == fingerprint(documents[::-1])
    assert fingerprint(documents) == fingerprint([Document("renamed", d.text) for d in documents])
    assert fingerprint(documents) != fingerprint(documents[:1])
    assert fingerprint(documents) != fingerprint([Document("a", prose(1)), Document("b", prose(3))])
