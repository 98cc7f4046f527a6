"""How long the jobs of a run took, stage by stage, from Snakemake's benchmark files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

RULE = re.compile(r"^\s*rule (\w+):", re.MULTILINE)


def job_seconds(logs: Path, rules: Path, *, since: float) -> dict[str, float]:
    """Stage -> seconds of its jobs that ended after `since` (seconds of the epoch), the longest stage first.

    Args:
        logs: folder of the jobs' logs, in which a benchmark file is `{rule}.tsv` or `{rule}/{job}.tsv`.
        rules: folder of the rule files; a stage is called as its file.
    """
    stages = {rule: path.stem for path in rules.glob("*.smk") for rule in RULE.findall(path.read_text())}
    found: dict[str, float] = {}
    for path in logs.rglob("*.tsv"):
        stage = stages.get(path.relative_to(logs).parts[0].removesuffix(".tsv"))
        if stage and path.stat().st_mtime >= since:
            found[stage] = found.get(stage, 0.0) + _seconds(path)
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def in_words(seconds: Mapping[str, float], whole: float) -> str:
    """One line; `whole` are the seconds of the run."""
    parts = [f"{stage} {_minutes(spent)}" for stage, spent in seconds.items()]
    return f"the run took {_minutes(whole)}; its jobs, some at the same time: {', '.join(parts)}"


def _seconds(path: Path) -> float:
    """The first column, wall-clock time; 0 for a file that a killed job left unfinished."""
    lines = path.read_text().splitlines()
    return float(lines[1].split("\t")[0]) if len(lines) > 1 else 0.0


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
