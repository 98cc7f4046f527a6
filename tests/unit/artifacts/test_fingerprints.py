"""Fingerprints follow the code and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchyard.artifacts import fingerprints
from switchyard.errors import InputError

LIBRARY = Path(fingerprints.__file__).parents[1]

MODULES = {
    "__init__": "",
    "errors": "class InputError(ValueError): pass\n",
    "shared": "from switchyard.errors import InputError\n\nFACTOR = 2\n",
    "rules/__init__": '_EXPORTS = {"first": "switchyard.rules.first"}\n\ndef __getattr__(name): ...\n',
    "rules/first": "from switchyard import shared\n\ndef rule(x):\n    return x * shared.FACTOR\n",
    "rules/second": "from ..shared import FACTOR\n\ndef rule(x):\n    return x + FACTOR\n",
    "rules/registry": 'RULES = {"first": "switchyard.rules.first:rule"}\n',
    "late": "def run():\n    from switchyard.rules import second\n    return second\n",
    "typed": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from switchyard.rules.first import rule\n",
    "queries": 'DATA_FILES = ("sql/*.sql",)\n\ndef query():\n    return ""\n',
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, code in MODULES.items():
        write(tmp_path, name, code)
    (tmp_path / "switchyard/sql").mkdir()
    (tmp_path / "switchyard/sql/sum.sql").write_text("SELECT 'a -- b' AS a, 1 -- one\nFROM t\n")
    return tmp_path


def write(root: Path, name: str, code: str) -> None:
    path = root / "switchyard" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)


def test_reaches_what_is_imported_and_no_more(root: Path) -> None:
    def names(module: str) -> list[str]:
        reached = fingerprints.reachable(f"switchyard.{module}", root=root)
        return [name.removeprefix("switchyard.") for name in reached]

    assert names("rules.first") == ["errors", "rules.first", "shared"]
    assert names("rules.second") == ["errors", "rules.second", "shared"]
    assert names("rules.registry") == ["rules.registry"]
    assert names("late") == ["errors", "late", "rules.second", "shared"]
    assert names("typed") == ["typed"]


def test_changed_rule_changes_its_own_fingerprint_only(root: Path) -> None:
    first, second = (
        fingerprints.fingerprint(f"switchyard.rules.{name}", root=root) for name in ("first", "second")
    )
    write(root, "rules/first", MODULES["rules/first"].replace("x *", "x **"))
    assert fingerprints.fingerprint("switchyard.rules.first", root=root) != first
    assert fingerprints.fingerprint("switchyard.rules.second", root=root) == second


def test_change_far_down_changes_all_that_reach_it(root: Path) -> None:
    before = fingerprints.fingerprint("switchyard.late", root=root)
    write(root, "errors", MODULES["errors"].replace("ValueError", "Exception"))
    assert fingerprints.fingerprint("switchyard.late", root=root) != before


@pytest.mark.parametrize(
    "code",
    [
        "# a comment\nfrom switchyard import shared\n\n\ndef rule(x):\n    return x * shared.FACTOR  # twice\n",
        '"""A."""\nfrom switchyard import shared\n\ndef rule(x):\n    """B."""\n    return x * shared.FACTOR\n',
        "from switchyard import (\n    shared,\n)\n\ndef rule(x):\n    return (x\n            * shared.FACTOR)\n",
    ],
    ids=["comments", "docstrings", "layout"],
)
def test_comments_docstrings_and_layout_do_not_count(root: Path, code: str) -> None:
    before = fingerprints.fingerprint("switchyard.rules.first", root=root)
    write(root, "rules/first", code)
    assert fingerprints.fingerprint("switchyard.rules.first", root=root) == before


def test_package_init_does_not_count(root: Path) -> None:
    before = fingerprints.fingerprint("switchyard.late", root=root)
    write(root, "rules/__init__", "_EXPORTS = {}\n")
    assert fingerprints.fingerprint("switchyard.late", root=root) == before


def test_data_files_count_but_for_comments_and_layout(root: Path) -> None:
    before = fingerprints.fingerprint("switchyard.queries", root=root)
    sql = root / "switchyard/sql/sum.sql"
    sql.write_text("/* all\nof it */ SELECT 'a -- b' AS a,\n  1\nFROM   t")
    assert fingerprints.fingerprint("switchyard.queries", root=root) == before
    sql.write_text("SELECT 'a -- c' AS a, 1 FROM t")
    assert fingerprints.fingerprint("switchyard.queries", root=root) != before


def test_order_and_repetition_of_the_modules_do_not_matter(root: Path) -> None:
    names = ("switchyard.rules.first", "switchyard.queries")
    assert fingerprints.fingerprint(*names, root=root) == fingerprints.fingerprint(
        *names[::-1], names[0], root=root
    )


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import switchyard.rules\n", "switchyard.rules is a package"),
        ("from switchyard.rules import rule\n", "no module switchyard.rules.rule"),
        ("import switchyard.gone\n", "no module switchyard.gone"),
        ('DATA_FILES = ("gone.sql",)\n', "'gone.sql', which does not lie beside it"),
    ],
)
def test_what_cannot_be_followed_is_an_error(root: Path, code: str, complaint: str) -> None:
    write(root, "broken", code)
    with pytest.raises(InputError, match=re.escape(complaint)):
        fingerprints.fingerprint("switchyard.broken", root=root)


def test_whole_library_can_be_followed() -> None:
    modules = [
        ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts)
        for path in LIBRARY.rglob("*.py")
        if path.stem not in ("__init__", "__main__")
    ]
    assert set(fingerprints.reachable(*modules)) == set(modules)
    assert re.fullmatch("[0-9a-f]{64}", fingerprints.fingerprint(*modules))


def test_every_data_file_of_the_library_is_declared_by_a_module() -> None:
    declared = set()
    for path in LIBRARY.rglob("*.py"):
        match = re.search(r"^DATA_FILES[^=]*= (\(.*?\))", path.read_text(), re.MULTILINE | re.DOTALL)
        patterns = re.findall(r"[\"']([^\"']+)[\"']", match[1]) if match else []
        declared |= {file for pattern in patterns for file in path.parent.glob(pattern)}
    data = {path for path in LIBRARY.rglob("*") if path.suffix in (".sql", ".css", ".json", ".js")}
    assert sorted(data - declared) == []
