"""The lock, the conda files and pyproject.toml say the same, and what is installed is what they say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ENVS = ROOT / "envs"


def load_make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("envs_make", ENVS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load_make()
LOCK = make.read_lock((ENVS / "lock.txt").read_text())


def test_every_line_of_the_lock_is_an_exact_public_version() -> None:
    lines = [line for line in (ENVS / "lock.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][a-z0-9.]*", line) for line in lines)
    assert len(lines) == len(LOCK)


def test_lock_satisfies_pyproject() -> None:
    for text in make.direct_requirements():
        requirement = Requirement(text)
        assert requirement.specifier.contains(LOCK[canonicalize_name(requirement.name)]), text


def test_lock_is_complete_and_holds_nothing_else() -> None:
    assert set(LOCK) == make.closure(make.direct_requirements())


def test_installed_versions_are_the_locked_ones() -> None:
    installed = {name: make.installed_version(name) for name in LOCK}
    assert installed == LOCK, "run `make install`, or envs/make.py to lock what is installed"


def test_conda_files_are_made_from_the_lock() -> None:
    expected = make.conda_texts(LOCK)
    assert {path.stem for path in ENVS.glob("*.yaml")} == set(expected)
    for capability, text in expected.items():
        assert (ENVS / f"{capability}.yaml").read_text() == text, "run .venv/bin/python envs/make.py"


def test_conda_files_are_yaml_with_versions_of_the_lock() -> None:
    for path in ENVS.glob("*.yaml"):
        pins = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
        assert pins and set(pins) <= {f"{name}=={version}" for name, version in LOCK.items()}


def test_every_conda_file_that_a_rule_names_exists() -> None:
    named = {
        name
        for path in (ROOT / "rules").glob("*.smk")
        for name in re.findall(r"envs/[\w.-]+", path.read_text())
    }
    assert named
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]


def test_no_file_of_the_environment_names_a_host() -> None:
    for path in (ROOT / "pyproject.toml", ROOT / "Makefile", *ENVS.glob("*.*")):
        assert "://" not in path.read_text(), path
