"""How fast a model runs: stated, measured in an earlier run, measured now, or taken from stated arithmetic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from switchyard.errors import InputError
from switchyard.planning.footprint import active_parameters, gpu_mem_gb
from switchyard.planning.workload import Workload

CORE_TFLOPS = 0.05
"""What a core did on the pocket OLMoE in float32 (16,400 tokens a second): taken where nothing else is known."""

UTILISATION = 0.1
"""Share of a device's stated FLOP/s that a mixture of experts reaches with small batches and traces; taken, not
measured."""

READ_GB_PER_SECOND = 1.0
"""Weights from a local disk to the model's place; taken for a plain solid-state disk."""

_MEASURED_TOKENS, _MEASURED_ROUNDS = 1024, 3


@dataclass(frozen=True)
class Throughput:
    """FLOP a second that the evaluated model reaches with its own routing, where that is from, and rates by rule."""

    flops: float
    basis: str
    rates: Mapping[str, float] = field(default_factory=dict)
    """Configuration -> tokens a second, where an earlier run has measured it."""

    def seconds(self, flop: float) -> float:
        """Of so much arithmetic."""
        return flop / self.flops


def flop_per_token(structure: Mapping[str, object], experts: float | None = None) -> float:
    """A forward multiplies and adds once with every active weight; attention over the context is left out."""
    return 2.0 * active_parameters(structure, experts)


def find(
    work: Workload,
    *,
    tokens_per_second: float | None = None,
    measure: bool = False,
    tflops: float | None = None,
    utilisation: float = UTILISATION,
) -> Throughput | None:
    """What is asked for: stated tokens, measured now, stated FLOP/s; else an earlier run's, else a core's.

    None where the model's structure is unknown.

    Raises:
        InputError: it is to be measured and the model is not there.
    """
    structure = work.structure(work.model)
    if structure is None:
        return None
    each = flop_per_token(structure)
    if tokens_per_second:
        return Throughput(tokens_per_second * each, f"{tokens_per_second:,.0f} tokens/s, as stated")
    own = f"{work.model} in its own top-{structure['top_k']}"
    if measure:
        rate = _now(work, structure)
        return Throughput(rate * each, f"{rate:,.0f} tokens/s of {own}, measured now")
    if tflops:
        found = f"{tflops:g} TFLOP/s as stated, of which {utilisation:.0%} are taken as reached"
        return Throughput(tflops * 1e12 * utilisation, found)
    if rates := _earlier(work, structure["top_k"]):
        found = f"{rates[None]:,.0f} tokens/s of {own}, from an earlier run's evaluate/speed.json"
        return Throughput(rates.pop(None) * each, found, rates)
    threads = work.config["evaluation"]["threads"]
    found = (
        f"{CORE_TFLOPS * threads:g} TFLOP/s, taken for {threads} CPU thread{'s' * (threads > 1)}: nothing was "
        "measured or stated; give --measure, --tokens-per-second or --flops"
    )
    return Throughput(CORE_TFLOPS * 1e12 * threads, found)


def _earlier(work: Workload, top_k: int) -> dict[str | None, float]:
    """Rates that an earlier run of the study measured, by configuration, and that of the trained top-k under None."""
    try:
        content = json.loads((work.folder / "evaluate" / "speed.json").read_text(encoding="utf-8"))
        rates = {row["config"]: float(row["tokens_per_second"]) for row in content["rows"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    trained = [
        rates[name]
        for name, one in work.configurations.items()
        if name in rates and one.rule == "topk" and one.settings["k"] == top_k
    ]
    return {**rates, None: trained[0]} if trained else {}


def _now(work: Workload, structure: Mapping[str, Any]) -> float:
    """Tokens a second of a prefill with the model's own routing, in a few seconds on this machine."""
    import torch

    from switchyard.evaluation.speed import measure
    from switchyard.models.load import load_model

    folders = [work.prepared(work.model)]
    if path := work.config["models"][work.model].get("path"):
        folders.append(work.directory / path)
    folder = next((one for one in folders if any(one.glob("*.safetensors"))), None)
    if folder is None:
        raise InputError(f"plan: model {work.model} is not there to be measured; state --tokens-per-second")
    torch.set_num_threads(work.config["evaluation"]["threads"])
    dtype = work.dtype(work.model)
    needed = gpu_mem_gb(structure, dtype, _MEASURED_TOKENS, slots=structure["top_k"])
    model = load_model(folder, dtype=dtype, gpu_mem_gb=needed)
    size = model.config.vocab_size
    ids = torch.randint(size, (_MEASURED_TOKENS,), generator=torch.Generator().manual_seed(0)).tolist()
    rows = measure(
        model,
        {"own": None},
        ids,
        rounds=_MEASURED_ROUNDS,
        warmup_rounds=1,
        prefill_tokens=_MEASURED_TOKENS,
        decode_tokens=1,
    )
    return rows[0]["tokens_per_second"]
