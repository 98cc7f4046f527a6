"""The verb `search` of the command line: thresholds for a model and a text of one's own, without a study."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchyard.arguments import add_verb, at_least, folder_to_write
from switchyard.artifacts.files import write_json
from switchyard.errors import InputError
from switchyard.models.checkpoint import Checkpoint, add_model_options

if TYPE_CHECKING:
    import pandas as pd

    from switchyard.search.setup import Ready, Search

METHODS = ("bayesian", "random", "grid")
SPACES = ("quantiles", "roadmap", "bh")
ADDED = ("fast_path_experts", "route_weights")


def search(arguments: argparse.Namespace) -> None:
    """Search the thresholds with the most speed under a limit on quality; the same command goes on after a kill."""
    _refuse(arguments)
    if arguments.validate:
        _validate(arguments)
    else:
        _search(arguments)


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `search`, which sets `run`."""
    verb = add_verb(verbs, "search", search)
    add, number = verb.add_argument, at_least(1, int)
    add_model_options(verb, batch_size=2)
    add("--dataset", type=Path, required=True, help="the text, of no document that the statistics saw")
    add(
        "--layout",
        choices=("plain", "wikitext"),
        default="plain",
        help="a row is a document, or a line (plain)",
    )
    add("--routing-stats", type=Path, help="what `observe` wrote; the spaces of VAR need it")
    add("--nulls", type=Path, help="nulls.parquet of the model; the space bh needs it")
    add("--method", choices=METHODS, default="bayesian", help="how points are chosen (bayesian)")
    add("--space", choices=SPACES, nargs="+", default=["quantiles"], help="what is searched (quantiles)")
    add("--add", choices=ADDED, nargs="+", default=[], help="parameters of VAR beside its six thresholds")
    add("--n-calls", type=number, default=50, help="points of each space (50)")
    add("--batch", type=number, default=5, help="points that are asked for at once (5)")
    add("--seed", type=at_least(0, int), default=0, help="of the search and of the draw of samples (0)")
    add("--max-quality-degradation", type=at_least(0), default=0.005, help="of perplexity, relative (0.005)")
    add("--speedup", choices=("cost", "measured"), default="cost", help="matrix products, or seconds (cost)")
    add("--rounds", type=number, default=3, help="times that a measured point is run (3)")
    add("--max-samples", type=number, default=64, help="windows, the same for all points (64)")
    add("--tokens-per-second", type=at_least(1), default=1000, help="of VAR's clock (1000)")
    add("--validate", type=Path, metavar="BEST_CONFIG", help="run this VARConfig once on --dataset instead")
    add("--output", type=Path, required=True, help="folder to write into")


def _refuse(arguments: argparse.Namespace) -> None:
    folder_to_write(arguments.output)
    for name in ("dataset", "routing_stats", "nulls", "validate"):
        path = getattr(arguments, name)
        if path and not path.is_file():
            raise InputError(f"{path}: no such file; correct --{name.replace('_', '-')}")
    of_var = arguments.validate or any(one != "bh" for one in arguments.space)
    if of_var and not arguments.routing_stats:
        raise InputError("search: VAR's thresholds need --routing-stats; give what `observe` wrote")
    if not arguments.validate and "bh" in arguments.space and not arguments.nulls:
        raise InputError("search: the space bh needs --nulls; give nulls.parquet of a study of the model")


def _search(arguments: argparse.Namespace) -> None:
    from switchyard.search.alone import Budget, described, journal, run, write_findings
    from switchyard.search.spaces import made_spaces

    budget = Budget(arguments.method, arguments.seed, arguments.n_calls, arguments.batch)
    checkpoint = Checkpoint.of(arguments.model, dtype=arguments.dtype, max_length=arguments.max_length)
    spaces = made_spaces(_entries(arguments), checkpoint.structure, _reads(arguments))
    made = _stamp(arguments, checkpoint)
    same = {name: made[name] for name in ("config", "inputs")}
    journal(arguments.output, described(budget, spaces=[one.name for one in spaces], **same))
    ready = _ready(arguments, checkpoint)
    rows = run(ready, spaces, budget, arguments.output, made)
    limit = arguments.max_quality_degradation
    stats = arguments.routing_stats
    write_findings(arguments.output, rows, spaces, limit=limit, routing_stats=stats, stamp=made)
    print(words(rows, ready.evaluator.objective.baseline), arguments.output, sep="\n")


def _validate(arguments: argparse.Namespace) -> None:
    from switchyard.search.validation import validate
    from switchyard.var.config import VARConfig

    config = VARConfig.from_json(arguments.validate)
    checkpoint = Checkpoint.of(arguments.model, dtype=arguments.dtype, max_length=arguments.max_length)
    arguments.max_quality_degradation = config.max_quality_degradation
    found = validate(_ready(arguments, checkpoint), config.as_json())
    made = _stamp(arguments, checkpoint, best_config=arguments.validate)
    content = {"config": config.as_json(), **found.as_json(), "provenance": made}
    write_json(arguments.output / "validation.json", content)
    low, high = found.degradation_interval
    interval = "" if low is None else f" [{low:+.2%}, {high:+.2%}]"
    print(f"Perplexity: {found.perplexity:.2f}, untouched {found.perplexity_untouched:.2f}")
    print(
        f"Degradation: {found.degradation:+.2%}{interval}, limit {config.max_quality_degradation:.2%}: ",
        end="",
    )
    print(found.within_limit)
    print(f"Speed-up: {found.speed:.4f} ({arguments.speedup})")


def words(rows: pd.DataFrame, baseline: float) -> str:
    """What was found, for a console."""
    from switchyard.search.findings import best, shares

    said = [f"Perplexity of the untouched model: {baseline:.2f}"]
    for space, own in rows.groupby("space", sort=False):
        share, row = shares(own), best(own)
        flat = "" if share["flat"] is None else f", flat {share['flat']:.0%}"
        said.append(
            f"Space {space}: {share['points']} points, infeasible {share['infeasible']:.0%}{flat}, "
            f"failed {share['failed']:.0%}"
        )
        said.append(
            "  no feasible point"
            if row is None
            else f"  best: speed-up {row['speed']:.4f}, degradation {row['degradation']:+.2%}"
        )
    return "\n".join(said)


def _entries(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    return {name: {} if name == "bh" else {"add": arguments.add} for name in arguments.space}


def _reads(arguments: argparse.Namespace) -> dict[str, str]:
    found = {"routing_stats": arguments.routing_stats, "nulls": arguments.nulls}
    return {name: str(path) for name, path in found.items() if path}


def _settings(arguments: argparse.Namespace, max_length: int) -> Search:
    from switchyard.search.setup import Search

    return Search(
        spaces=_entries(arguments),
        max_quality_degradation=arguments.max_quality_degradation,
        speedup=arguments.speedup,
        rounds=arguments.rounds,
        sample_seed=arguments.seed,
        batch_tokens=max_length * arguments.batch_size,
        tokens_per_second=arguments.tokens_per_second,
    )


def _ready(arguments: argparse.Namespace, checkpoint: Checkpoint) -> Ready:
    from switchyard.models.load import load_tokenizer
    from switchyard.routing.registry import entry
    from switchyard.search.setup import Ready, make_subject
    from switchyard.text.sources import read_file
    from switchyard.text.tasks import prepare

    asked = _settings(arguments, checkpoint.max_length)
    text = prepare(read_file(arguments.dataset), kind="perplexity", layout=arguments.layout)
    sizes = {"samples": arguments.max_samples, "max_length": checkpoint.max_length}
    given = (checkpoint.load(), load_tokenizer(checkpoint.folder), checkpoint.structure, text)
    return Ready(asked, make_subject(asked, *given, **sizes), _reads(arguments), entry("bh").home)


def _stamp(arguments: argparse.Namespace, checkpoint: Checkpoint, **files: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from switchyard.artifacts.fingerprints import fingerprint
    from switchyard.artifacts.stamps import stamp
    from switchyard.models.load import folder_digest

    config = asdict(_settings(arguments, checkpoint.max_length))
    sizes = {name: getattr(arguments, name) for name in ("layout", "max_samples")}
    return stamp(
        code=fingerprint(Path(__file__), "switchyard.search.verbs"),
        config={**config, **sizes, "max_length": checkpoint.max_length, "dtype": checkpoint.dtype},
        inputs={
            "model": folder_digest(checkpoint.folder),
            "dataset": arguments.dataset,
            **{name: Path(path) for name, path in _reads(arguments).items()},
            **files,
        },
        model={"name": checkpoint.name, "dtype": checkpoint.dtype},
    )
