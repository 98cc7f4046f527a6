"""Ten SIGKILLs at random moments of the smoke study, each followed by the same command; then the results compared.

    PYTHONPATH=lib:tests .venv/bin/python -m workflow.kill_ten_times [SEED]

Takes some minutes. A study that completes before its next kill loses its evaluations and goes on being killed.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from pathlib import Path

from workflow.checkout import RESULTS, copy_checkout, run_study
from workflow.test_kill_and_resume import assert_same_results, kill_once

KILLS = 10


def main(seed: int) -> None:
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, killed = (copy_checkout(Path(folder) / name) for name in ("undisturbed", "killed"))
        assert run_study(undisturbed).returncode == 0
        kills = 0
        while kills < KILLS:
            delay_s = moments.uniform(2, 20)
            if kill_once(killed, delay_s):
                kills += 1
                done = sum(path.is_file() for path in (killed / RESULTS).rglob("*"))
                print(f"kill {kills} after {delay_s:.1f} s, {done} files stand", flush=True)
            else:
                shutil.rmtree(killed / RESULTS / "evaluate")
        ran = run_study(killed)
        assert ran.returncode == 0, ran.stderr[-4000:]
        assert_same_results(undisturbed, killed)
    print(f"{KILLS} kills, completed, and equal to an undisturbed run but for speed")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
