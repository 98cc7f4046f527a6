"""A file that was damaged after it was written is found by `verify`, and a damaged trace by the job that reads it."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from reference.damage import flip_bit, truncate
from switchyard.artifacts.verify import verify
from workflow.checkout import RESULTS, copy_checkout, run_study
from workflow.kill import check_same_results

pytestmark = pytest.mark.slow

FLIPPED = (
    "prepare/corpus.parquet",
    "prepare/corpora/*.parquet",
    "prepare/datasets/heldout.parquet",
    "prepare/models/pocket-olmoe/model.safetensors",
    "observe/*/windows.parquet",
    "observe/*/routing_stats.parquet",
    "calibrate/*/calibration_logits.parquet",
    "calibrate/*/nulls.parquet",
    "calibrate/*/budgets/*.parquet",
    "evaluate/*/traces/*_repeat.parquet",
    "evaluate/*/scores/*_heldout.parquet",
    "profile/*/latency.parquet",
    "aggregate/bh_routing_results.parquet",
)
TRUNCATED = (
    "prepare/models/pocket-olmoe/config.json",
    "prepare/models/pocket-olmoe/structure.json",
    "observe/*/verdict.json",
    "evaluate/*/logs/*_internal_routing.json",
    "evaluate/*/speed.json",
    "profile/*/performance_model.json",
    "aggregate/bh_routing_results.json",
)
"""One file of every kind that is compared with a checksum, and of JSON."""


@pytest.fixture
def copied(smoke: Path, tmp_path: Path) -> Path:
    """The finished smoke study in a checkout of its own."""
    checkout = copy_checkout((tmp_path / "copied").resolve())
    for name in ("results", ".snakemake"):
        shutil.copytree(smoke / name, checkout / name, symlinks=True)
    return checkout


def test_verify_finds_damaged_files_of_every_kind(
    smoke: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = copied / RESULTS
    assert verify(Namespace(folder=smoke / RESULTS)) == 0
    victims = []
    for kinds, damage in ((FLIPPED, flip_bit), (TRUNCATED, truncate)):
        for kind in kinds:
            victims.append(sorted(results.glob(kind))[0])
            damage(victims[-1])
    capsys.readouterr()
    assert verify(Namespace(folder=results)) == 1
    *lines, count = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == sorted(map(str, victims))
    assert count.endswith(f"files checked, {len(victims)} damaged")


def test_a_damaged_trace_stops_the_study_until_it_is_deleted(smoke: Path, copied: Path) -> None:
    trace = sorted((copied / RESULTS).glob("evaluate/*/traces/*_heldout.parquet"))[0]
    flip_bit(trace)
    (copied / RESULTS / "study.duckdb").unlink()
    again = (str(RESULTS / "study.duckdb"), "--", "--rerun-triggers", "mtime")
    ran = run_study(copied, *again)
    line, shown = ran.stderr.splitlines()[-1], trace.relative_to(copied)
    assert ran.returncode == 1
    assert line.startswith(f"switchyard: error: {shown}: is damaged (could not verify page integrity")
    assert f"delete {shown}; the same command makes it again (rule build_warehouse" in line
    assert not (copied / RESULTS / "study.duckdb").exists()
    trace.unlink()
    ran = run_study(copied, *again)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert check_same_results(smoke / RESULTS, copied / RESULTS)
