"""A file that was damaged after it was written is noticed by the job that reads it, whatever its format."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from switchyard.artifacts import seals
from unit.artifacts.test_seals import damage
from workflow.checkout import RESULTS, ROOT, copy_checkout, run_study
from workflow.kill import check_same_results

pytestmark = pytest.mark.slow

KINDS = (
    "prepare/corpus.parquet",
    "prepare/corpora/*.parquet",
    "prepare/datasets/heldout.parquet",
    "prepare/models/pocket-olmoe/model.safetensors",
    "prepare/models/pocket-olmoe/config.json",
    "prepare/models/pocket-olmoe/tokenizer.json",
    "prepare/models/pocket-olmoe/structure.json",
    "observe/*/windows.parquet",
    "observe/*/shards/0.safetensors",
    "observe/*/routing_stats.parquet",
    "observe/*/verdict.json",
    "calibrate/*_calibration_logits.parquet",
    "calibrate/*_nulls.parquet",
    "calibrate/*_budgets/*.parquet",
    "evaluate/traces/*_repeat.parquet",
    "evaluate/scores/*_heldout.parquet",
    "evaluate/logs/*_internal_routing.json",
    "evaluate/speed.json",
    "evaluate/models/*.json",
    "study.duckdb",
    "aggregate/bh_routing_results.parquet",
    "aggregate/bh_routing_results.csv",
    "aggregate/bh_routing_results.json",
)
"""One or more files of every kind that a job writes and another one, or a reader, takes for granted."""


@pytest.fixture
def copied(smoke: Path, tmp_path: Path) -> Path:
    """The finished smoke study in a checkout of its own, seals and times of change as they were."""
    checkout = copy_checkout((tmp_path / "copied").resolve())
    for name in ("results", ".snakemake"):
        shutil.copytree(smoke / name, checkout / name, symlinks=True)
    try:
        os.getxattr(checkout / RESULTS / "study.duckdb", seals.ATTRIBUTE)
    except (OSError, AttributeError) as error:
        pytest.skip(f"the file system keeps no seals: {error}")
    return checkout


def test_one_flipped_bit_in_a_file_of_every_kind_is_noticed(
    smoke: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = copied / RESULTS
    assert seals.main(smoke / RESULTS) == 0
    victims = [sorted(results.glob(kind))[0] for kind in KINDS]
    for victim in victims:
        damage(victim)
    capsys.readouterr()
    assert seals.main(results) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in told] == sorted(map(str, victims))


def test_every_script_of_a_rule_looks_at_what_it_reads_first() -> None:
    loaders = set()
    for script in sorted((ROOT / "workflow_scripts").glob("*.py")):
        if script.stem in (
            "run_study",
            "evaluate_experiment",
        ):  # no job, and one that digests all that it reads
            continue
        text = script.read_text()
        (more,) = re.findall(r"with logged\(snakemake\.log\[0\], reads=snakemake\.input(.*)\):", text)
        assert (more == ", loads_weights=True") == ("load_model(" in text), script
        loaders |= {script.stem} if more else set()
    assert len(loaders) == 5


def test_a_damaged_trace_stops_the_study_until_it_is_removed(smoke: Path, copied: Path) -> None:
    trace = sorted((copied / RESULTS).glob("evaluate/traces/*_heldout.parquet"))[0]
    damage(trace)
    (copied / RESULTS / "study.duckdb").unlink()
    again = (str(RESULTS / "study.duckdb"), "--", "--rerun-triggers", "mtime")
    ran = run_study(copied, *again)
    shown = trace.relative_to(copied)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith(
        f"switchyard: error: {shown}: is damaged or was changed, its content is not what its job wrote; "
        f"remove {shown}, then the same command makes it again (rule build_warehouse"
    )
    assert not (copied / RESULTS / "study.duckdb").exists()
    trace.unlink()
    ran = run_study(copied, *again)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert check_same_results(smoke / RESULTS, copied / RESULTS)
