"""The verb `profile` of the command line: where the time of a model of one's own goes under rules of one's choice."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchyard.arguments import add_verb, at_least, folder_to_write
from switchyard.errors import InputError
from switchyard.models.checkpoint import DTYPES, Checkpoint

if TYPE_CHECKING:
    from torch import nn

QUICK = {
    "lengths": (16, 32, 64),
    "batches": (1, 2),
    "cache_lengths": (16, 32, 64),
    "rounds": 6,
    "component_rounds": 6,
    "latency_samples": 40,
}
"""What `--quick` measures: less than a minute on a small model, enough to see the large parts."""

RANDOM_TOKENS = 20_000


def profile(arguments: argparse.Namespace) -> None:
    """Profile a model under routing rules: component times, scaling, roofline, latencies, a fitted model of it."""
    import torch

    from switchyard.artifacts.fingerprints import fingerprint
    from switchyard.artifacts.stamps import stamp
    from switchyard.models.load import folder_digest
    from switchyard.profiling.performance_model import PerformanceModel
    from switchyard.profiling.run import Settings, steps
    from switchyard.profiling.run import profile as measure
    from switchyard.profiling.written import write_profile
    from switchyard.reporting.calculator import write_calculator
    from switchyard.runtime.placement import hardware
    from switchyard.runtime.progress import bar

    folder = folder_to_write(arguments.output)
    torch.set_num_threads(arguments.threads)
    checkpoint = Checkpoint.of(arguments.model, dtype=arguments.dtype, max_length=None)
    parsed = [_parsed(text) for text in arguments.rule]
    model, token_ids = checkpoint.load(), _token_ids(arguments, checkpoint)
    rules = {text: _rule(*one, arguments, model, token_ids) for text, one in zip(arguments.rule, parsed)}
    asked = Settings(**QUICK) if arguments.quick else Settings()
    with bar(steps(model, asked), "profile", unit="steps") as progress:
        found = measure(model, rules, token_ids, asked, progress=progress.update)
    made = stamp(
        code=fingerprint(Path(__file__), "switchyard.reporting.profile_verb"),
        config={"rules": arguments.rule, "quick": arguments.quick, "threads": arguments.threads},
        inputs={"model": folder_digest(checkpoint.folder)},
        model={"name": checkpoint.name, "dtype": checkpoint.dtype},
    )
    head = {"model": checkpoint.name, "device": hardware(), "dtype": checkpoint.dtype}
    write_profile(folder, found, head=head, stamp=made)
    fitted = PerformanceModel.from_json(found.performance_model)
    write_calculator(
        folder / "calculator.html", fitted, title=f"Performance calculator: {checkpoint.name}", stamp=made
    )
    if arguments.trace:
        _trace(model, rules, token_ids, asked, folder / "trace")
    print(_words(found), folder, sep="\n")


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `profile`, which sets `run`."""
    add = add_verb(verbs, "profile", profile).add_argument
    add("--model", type=Path, required=True, help="a Hugging Face model folder")
    add(
        "--rule",
        action="append",
        required=True,
        help="NAME or NAME:SETTING=VALUE,...: topk:k=4, bh:alpha=0.3,max_k=8, var; again for more",
    )
    add("--quick", action="store_true", help="few points and rounds")
    add("--output", type=Path, required=True, help="folder to write into")
    add("--text", type=Path, help="a text file to feed (default: random tokens)")
    add("--nulls", type=Path, help="nulls.parquet for rules that test (default: fitted on what is fed)")
    add("--routing-stats", type=Path, help="what `observe` wrote, for the fast path of var")
    add("--dtype", choices=DTYPES, default="float32", help="precision of the weights (float32)")
    add("--threads", type=at_least(1, int), default=1, help="CPU threads (1)")
    add("--trace", action="store_true", help="write Chrome traces into trace/, which TensorBoard reads, too")


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of a rule."""
    from switchyard.routing.registry import entry

    name, _, rest = text.partition(":")
    supported = {"nulls", "routing_table"}
    if not {*entry(name).reads} <= supported or name in ("mixed_topk", "random_count"):
        raise InputError(
            f"--rule {text}: {name} needs files of a study; profile it there (`profile` in the config)"
        )
    settings = {}
    for part in filter(None, rest.split(",")):
        key, found, value = part.partition("=")
        if not found:
            raise InputError(f"--rule {text}: {part!r} is no setting; write SETTING=VALUE")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return name, settings


def _rule(
    name: str, settings: dict[str, Any], arguments: argparse.Namespace, model: nn.Module, ids: list[int]
) -> Any:
    import importlib

    from switchyard.routing.registry import entry
    from switchyard.study.experiment import build_rule

    home = entry(name).home
    if name == "var":
        return _var(settings, arguments, model)
    if "nulls" not in entry(name).reads or arguments.nulls:
        return build_rule(f"--rule {name}", home, settings, {"nulls": arguments.nulls})
    module, _, kind = home.partition(":")
    null = settings.pop("null_distribution", "pooled")
    print(f"{name}: its nulls are fitted on what is fed; --nulls gives those of a study")
    try:
        return getattr(importlib.import_module(module), kind)(**settings, null=_nulls(model, ids, null))
    except TypeError as error:
        raise InputError(f"--rule {name}: {error}; write its settings as {name}:SETTING=VALUE,...") from error


def _var(settings: dict[str, Any], arguments: argparse.Namespace, model: nn.Module) -> Any:
    from switchyard.models.blocks import describe
    from switchyard.var.config import VARConfig
    from switchyard.var.router import VARRouter
    from switchyard.var.table import table_for_model

    try:
        config = VARConfig(**settings)
    except TypeError as error:
        raise InputError(f"--rule var: {error}; settings are the fields of a VARConfig") from error
    if arguments.routing_stats is None:
        print("var: no routing statistics, so that no token takes the fast path; --routing-stats gives them")
        return VARRouter(config)
    return VARRouter(config, table_for_model(arguments.routing_stats, describe(model.config)))


def _nulls(model: nn.Module, ids: list[int], name: str) -> list[Any]:
    """The null of each layer, fitted on the logits of a window."""
    import torch

    from switchyard.routing.attachment import attach
    from switchyard.routing.fitting import fit_nulls

    seen: list[Any] = []

    def keep(layer: int, logits: Any, *_: Any) -> None:
        seen.append(logits.float().cpu().numpy())

    window = torch.tensor([ids[: model.config.get_text_config().max_position_embeddings]])
    with attach(model, None, observer=keep), torch.inference_mode():
        model(window.to(model.device))
    top_k = model.config.get_text_config().num_experts_per_tok
    return [fit_nulls(logits, top_k)[name] for logits in seen]


def _token_ids(arguments: argparse.Namespace, checkpoint: Checkpoint) -> list[int]:
    if arguments.text is None:
        import numpy as np

        vocabulary = checkpoint.structure["vocab_size"]
        return np.random.default_rng(0).integers(0, vocabulary, RANDOM_TOKENS).tolist()
    from switchyard.models.load import load_tokenizer

    if not arguments.text.is_file():
        raise InputError(f"{arguments.text}: no such file; give a text file, or leave --text out")
    text = arguments.text.read_text(encoding="utf-8")
    return load_tokenizer(checkpoint.folder)(text)["input_ids"]


def _trace(model: nn.Module, rules: dict[str, Any], ids: list[int], asked: Any, folder: Path) -> None:
    """A Chrome trace of three forwards of each rule in each phase."""
    from switchyard.profiling.operators import profiled, write_trace
    from switchyard.profiling.run import usual_points
    from switchyard.profiling.subjects import subjects
    from switchyard.profiling.workloads import Workload

    for point in usual_points(model, asked):
        with subjects(model, rules) as compared:
            for number, one in enumerate(compared):
                found = profiled(one, Workload(one.model, point, ids))
                write_trace(found, folder, f"{number}_{one.name.partition(':')[0]}_{point.phase}")


def _words(found: Any) -> str:
    """What the rules gain and how far the performance model is off."""
    from switchyard.profiling.latency import compared

    rows = [row for row in compared(found.latency) if row["verdict"]]
    lines = [
        f"{row['rule']}, {row['phase']}: {row['verdict']}, {row['ratio']:.2f} times the untouched model's latency"
        for row in rows
    ]
    held = [row for row in found.performance_model["errors"] if row["role"] == "held out"]
    return "\n".join(
        lines
        + [f"held-out error of the performance model, {row['phase']}: {row['mean']:.1%}" for row in held]
    )
