"""VAR where every token stays on the learned path, against the untouched model: what looking routes up costs.

A table of all token ids, in which no token of the text may take the fast path but one other may, and caches of the
default size, for which no route is sure enough. On a GPU every step of a look-up and of a write is made, whatever it
finds; on a CPU the steps after a look-up that found nothing are left out (`switchyard.var.cache.surely_none`). The same
model under its own top-k, attached, says what of it is the seam's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from bench.attached import Size, tokens, twin, workloads
from bench.paired import Line, ratios, seconds
from switchyard.models.blocks import describe
from switchyard.models.load import load_model
from switchyard.routing import TopK, attach
from switchyard.var import RoutingTable, VARConfig, VARRouter

RESOURCES = Path(__file__).parents[1] / "resources"
MODELS = ("pocket-mixtral", "pocket-olmoe")
BATCH, TIME = 2, 512
"""A prefill of 1,024 tokens."""
TARGET = "<= 1.10"


def lines(device: str) -> Iterator[Line]:
    """One thread on a CPU, as an experiment has."""
    torch.set_num_threads(1)
    for name in MODELS:
        model = load_model(RESOURCES / name).to(device)
        yield from all_learned(Size(name, model, tokens(model, BATCH, TIME)), device)


def all_learned(size: Size, device: str) -> Iterator[Line]:
    """Prefill and decode of the untouched model, of its own top-k attached, and of VAR."""
    names = ("untouched", "top-k", "VAR")
    models = {name: twin(size.model, "grouped_mm") for name in names}
    with ExitStack() as attached:
        attached.enter_context(attach(models["top-k"], TopK(size.model.config.num_experts_per_tok)))
        rule = attached.enter_context(attach(models["VAR"], never_sure(models["VAR"], size))).rule
        for workload, run in workloads(size).items():
            times = seconds({name: partial(run, model) for name, model in models.items()}, device=device)
            what = f"VAR, all learned ({size.name}), {workload}"
            prefill = TARGET if workload == "forward" else ""
            yield Line(what, "untouched, grouped_mm", ratios(times, "VAR", "untouched"), prefill)
            yield Line(what, "top-k attached", ratios(times, "VAR", "top-k"), "")
        shares = rule.performance_stats()["overall"]["routing_distribution"]
        if shares["learned"] < 100.0:
            raise SystemExit(f"bench var: not all tokens were learned, {shares}")


def never_sure(model: nn.Module, size: Size) -> VARRouter:
    """A router with a table for every layer and token id, in which a single id that the text lacks is sure."""
    structure = describe(model.config)
    layer, token = np.indices((structure["num_layers"], structure["vocab_size"])).reshape(2, -1)
    unseen = np.setdiff1d(token, size.ids.cpu().numpy())[0]
    experts = np.arange(structure["top_k"])
    columns = {
        "layer": layer,
        "token_id": token,
        "frequency": np.full(len(token), 1000),
        "mean_entropy": np.where(token == unseen, 0.0, 2.0),
        "experts": [experts] * len(token),
        "weights": [np.full(len(experts), 1 / len(experts))] * len(token),
    }
    return VARRouter(VARConfig(confidence_threshold=1.0), RoutingTable.of(pa.table(columns)))
