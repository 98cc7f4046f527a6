"""Fingerprints follow the code and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchyard.artifacts import fingerprints
from switchyard.errors import InputError

ROOT = Path(__file__).parents[3]
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


def job(modules: tuple[str, ...], root: Path) -> Path:
    """A rule's script that imports `modules`."""
    script = root / f"{'_'.join(modules).replace('.', '_')[:200]}.py"
    script.write_text("".join(f"import {module}\n" for module in modules))
    return script


def fingerprint(*modules: str, root: Path) -> str:
    return fingerprints.fingerprint(job(modules, root), root=root)


def reachable(*modules: str, root: Path) -> list[str]:
    return fingerprints.reachable(job(modules, root), root=root)


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
        reached = reachable(f"switchyard.{module}", root=root)
        return [name.removeprefix("switchyard.") for name in reached]

    assert names("rules.first") == ["errors", "rules.first", "shared"]
    assert names("rules.second") == ["errors", "rules.second", "shared"]
    assert names("rules.registry") == ["rules.registry"]
    assert names("late") == ["errors", "late", "rules.second", "shared"]
    assert names("typed") == ["typed"]


def test_changed_rule_changes_its_own_fingerprint_only(root: Path) -> None:
    first, second = (fingerprint(f"switchyard.rules.{name}", root=root) for name in ("first", "second"))
    write(root, "rules/first", MODULES["rules/first"].replace("x *", "x **"))
    assert fingerprint("switchyard.rules.first", root=root) != first
    assert fingerprint("switchyard.rules.second", root=root) == second


def test_change_far_down_changes_all_that_reach_it(root: Path) -> None:
    before = fingerprint("switchyard.late", root=root)
    write(root, "errors", MODULES["errors"].replace("ValueError", "Exception"))
    assert fingerprint("switchyard.late", root=root) != before


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
    before = fingerprint("switchyard.rules.first", root=root)
    write(root, "rules/first", code)
    assert fingerprint("switchyard.rules.first", root=root) == before


def test_package_init_does_not_count(root: Path) -> None:
    before = fingerprint("switchyard.late", root=root)
    write(root, "rules/__init__", "_EXPORTS = {}\n")
    assert fingerprint("switchyard.late", root=root) == before


def test_data_files_count_but_for_comments_and_layout(root: Path) -> None:
    before = fingerprint("switchyard.queries", root=root)
    sql = root / "switchyard/sql/sum.sql"
    sql.write_text("/* all\nof it */ SELECT 'a -- b' AS a,\n  1\nFROM   t")
    assert fingerprint("switchyard.queries", root=root) == before
    sql.write_text("SELECT 'a -- c' AS a, 1 FROM t")
    assert fingerprint("switchyard.queries", root=root) != before


def test_order_and_repetition_of_the_modules_do_not_matter(root: Path) -> None:
    names = ("switchyard.rules.first", "switchyard.queries")
    assert fingerprint(*names, root=root) == fingerprint(*names[::-1], names[0], root=root)


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
        fingerprint("switchyard.broken", root=root)


def test_wording_does_not_count_and_computing_does(root: Path) -> None:
    def of(code: str) -> str:
        write(root, "worded", f"import logging\nlog = logging.getLogger()\n\n{code}")
        return fingerprint("switchyard.worded", root=root)

    first = of(
        'def f(x):\n    log.info("one %s", x)\n    if x:\n        raise ValueError(f"no {x}")\n    return x\n'
    )
    assert first == of(
        'def f(x):\n    log.info("two")\n    if x:\n        raise ValueError("not", x)\n    return x\n'
    )
    assert first != of(
        'def f(x):\n    log.info("one %s", x)\n    if x:\n        raise KeyError(f"no {x}")\n    return x\n'
    )
    assert of("def f(x):\n    return log.info(x)\n") != of("def f(x):\n    return log.info(x + 1)\n")
    assert of("def f(x):\n    math.log(x)\n") != of("def f(x):\n    math.log(2 * x)\n")


def test_what_is_printed_is_not_followed_and_placement_is(root: Path) -> None:
    for name in ("log", "progress", "placement"):
        write(root, f"runtime/{name}", "from switchyard import shared\n")
    write(root, "job", "".join(f"import switchyard.runtime.{name}\n" for name in ("log", "progress")))
    assert reachable("switchyard.job", root=root) == ["switchyard.job"]
    write(root, "job", "import switchyard.runtime.placement, switchyard.runtime.log\n")
    assert "switchyard.runtime.placement" in reachable("switchyard.job", root=root)
    assert "switchyard.shared" in reachable("switchyard.job", root=root)


def test_a_function_that_a_worker_is_asked_for_is_followed() -> None:
    asked = set()
    for script in (ROOT / "workflow_scripts").glob("*.py"):
        text = script.read_text()
        modules = {*re.findall(r'"(switchyard\.[\w.]+):\w+"', text)}
        assert bool(modules) == ("call_for(" in text), script
        assert modules <= {*fingerprints.reachable(script)}, script
        asked |= {script.stem} if modules else set()
    assert asked == {*fingerprints.NAMED_BY_STRING}


def test_every_script_can_be_followed() -> None:
    for script in (ROOT / "workflow_scripts").glob("*.py"):
        assert re.fullmatch("[0-9a-f]{64}", fingerprints.fingerprint(script)), script


def test_every_data_file_of_the_library_is_declared_by_a_module() -> None:
    declared = set()
    for path in LIBRARY.rglob("*.py"):
        match = re.search(r"^DATA_FILES[^=]*= (\(.*?\))", path.read_text(), re.MULTILINE | re.DOTALL)
        patterns = re.findall(r"[\"']([^\"']+)[\"']", match[1]) if match else []
        declared |= {file for pattern in patterns for file in path.parent.glob(pattern)}
    data = {path for path in LIBRARY.rglob("*") if path.suffix in (".sql", ".css", ".json", ".js")}
    assert sorted(data - declared) == []
