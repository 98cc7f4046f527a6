"""The launcher's command line, and the command of snakemake that follows from it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from switchyard.errors import InputError
from switchyard.study import config

DRY_RUN = {"-n", "--dry-run", "--dryrun"}
PARTIAL = {"-U", "--until", "-O", "--omit-from", "--allowed-rules", "--batch"}
"""Options of snakemake with which it does not make the whole study."""
PROFILES = {"--profile", "--workflow-profile"}
CONFIG = {"--config", "-C", "--configfile", "--configfiles", *PROFILES}


def parse(root: Path, arguments: Sequence[str]) -> argparse.Namespace:
    """Options from the command line; `root` is the checkout, `extra` what follows `--`."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(
        description="Run a study with snakemake, after a killed run too, and write its HTML report.",
        epilog="Options after -- are passed to snakemake.",
    )
    add = parser.add_argument
    add("--study", type=Path, help="a file of studies/, laid over config.yaml (default: none)")
    add("--cores", help="how many cores to use (default: all, or what a profile after -- says)")
    add("--directory", type=Path, default=root, help="where results go (default: the checkout)")
    add("--report-only", action="store_true", help="write the report again, run nothing")
    add("targets", nargs="*", help="rules or files to make (default: the whole study)")
    options = parser.parse_args(arguments[:cut])
    folder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    folder.add_argument("-d", "--directory", type=Path)  # snakemake's own: the report goes there, too
    known, extra = folder.parse_known_args(arguments[cut + 1 :])
    options.directory = known.directory or options.directory
    options.root, options.extra = root, _absolute(extra)
    options.study = options.study and options.study.resolve()
    options.directory = options.directory.resolve()
    words = {word.split("=")[0] for word in extra}
    options.is_dry, options.is_partial = bool(DRY_RUN & words), bool(PARTIAL & words)
    return options


def _absolute(extra: Sequence[str]) -> list[str]:
    """The words with whole paths of profiles and study files: snakemake runs in the folder of the results."""
    named = config_options(extra)

    def whole(word: str) -> str:
        option, equals, path = word.rpartition("=") if word.startswith("-") else ("", "", word)
        is_path = word in named and path and Path(path).exists()
        return f"{option}{equals}{Path(path).resolve()}" if is_path else word

    return [whole(word) for word in extra]


def results_of(options: argparse.Namespace) -> Path:
    """The study's folder; raises `InputError` for a configuration that cannot be read or names no folder."""
    merged = config.read(options.root / "config.yaml")
    if options.study:
        merged = config.merge(merged, config.read(options.study))
    named = [word.removeprefix("study=") for word in options.extra if word.startswith("study=")]
    name = [merged.get("study"), *named][-1]
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]*", name):
        where = options.study or options.root / "config.yaml"
        raise InputError(f"{where}: study: {name!r} cannot name a folder; use letters, digits, - and _")
    return options.directory / "results" / name


def snakemake(options: argparse.Namespace, *more: str) -> list[str]:
    """The command without targets; a study file inside the folder is named from there, as reports show it."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(options.root / "Snakefile")]
    has_profile = any(word.split("=")[0] in PROFILES for word in options.extra)
    if options.cores or not (has_profile or "SNAKEMAKE_PROFILE" in os.environ):
        command += ["--cores", options.cores or "all"]
    if options.study:
        command += ["--configfile", os.path.relpath(options.study, options.directory)]
    # --logger takes all the words up to the next option, so it does not come last: a target may follow.
    return [*command, "--logger", "switchyard", "--rerun-incomplete", *more]


def config_options(extra: Sequence[str]) -> list[str]:
    """Those of snakemake's options that decide which study it is."""
    kept: list[str] = []
    keeping = False
    for word in extra:
        keeping = word.split("=")[0] in CONFIG if word.startswith("-") else keeping
        kept += [word] * keeping
    return kept
