"""Forwards of a model under rules with the parts of each as NVTX ranges, to be watched by Nsight Systems.

    nsys profile --trace=cuda,nvtx python -m bench.nvtx --model FOLDER --rule topk:k=4

Not run on a GPU yet. On a CPU it runs the forwards without ranges, which shows that the script is whole.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

import torch

from switchyard.models.load import load_model
from switchyard.profiling.clock import Ranges
from switchyard.profiling.instruments import instrument
from switchyard.profiling.points import decode, prefill
from switchyard.profiling.subjects import subjects
from switchyard.profiling.workloads import Workload, wait
from switchyard.routing import TopK


def main() -> None:
    """Ten forwards of each rule in each phase."""
    parser = argparse.ArgumentParser(prog="python -m bench.nvtx", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rule", action="append", default=[], help="topk:k=N")
    parser.add_argument("--forwards", type=int, default=10)
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(given.model, dtype="bfloat16" if device == "cuda" else "float32").to(device)
    rules = {text: TopK(int(text.removeprefix("topk:k="))) for text in given.rule}
    ids = torch.randint(model.config.vocab_size, (20_000,)).tolist()
    for point in (prefill(1, 256), decode(1, 128)):
        with subjects(model, rules) as compared:
            for one in compared:
                run = Workload(one.model, point, ids)
                ranges = torch.autograd.profiler.emit_nvtx() if device == "cuda" else nullcontext()
                with instrument(one.model, Ranges()), ranges:
                    for _ in range(given.forwards):
                        run()
                        run.reset()
                    wait(one.model)


if __name__ == "__main__":
    main()
