"""The verb `evaluate-var` of the command line: VAR on a model and a text of one's own, without a study."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchyard.arguments import add_verb, at_least, file_to_write
from switchyard.artifacts.files import read_json, write_json
from switchyard.errors import InputError
from switchyard.models.checkpoint import Checkpoint, add_model_options

if TYPE_CHECKING:
    import pyarrow as pa

    from switchyard.var.router import VARRouter

MODES = ("baseline", "var")

COMPARED = (
    "mode",
    "name",
    "model_name",
    "dataset_name",
    "seed",
    "evaluation",
    "throughput",
    "memory",
    "samples",
)
"""What a result must hold to be compared."""


def evaluate_var(arguments: argparse.Namespace) -> None:
    """Evaluate a model with or without VAR on a text or a task, or compare two such results."""
    _refuse(arguments)
    if arguments.compare:
        _compare(*arguments.compare, arguments.output)
    else:
        _evaluate(arguments)


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `evaluate-var`, which sets `run`."""
    verb = add_verb(verbs, "evaluate-var", evaluate_var)
    add, number = verb.add_argument, at_least(1, int)
    add("--mode", choices=MODES, help="the untouched model, or the model under VAR")
    add("--compare", type=Path, nargs=2, metavar=("BASELINE", "VAR"), help="two results, instead of --mode")
    add_model_options(verb, required=False, batch_size=1)
    add("--dataset", type=Path, help="the text or task: .parquet, .jsonl, .json or .csv, plain or compressed")
    layouts = "plain, wikitext, lambada, hellaswag, arc"
    add("--layout", default="plain", help=f"what its columns mean, see docs/own-data.md: {layouts} (plain)")
    add("--kind", help="with plain: perplexity, cloze or choice (perplexity)")
    add("--max-samples", type=number, default=1000, help="windows or items, drawn by the seed (1000)")
    add("--seed", type=at_least(0, int), default=0, help="of the draw (0)")
    add("--routing-stats", type=Path, help="what `observe` wrote, for the fast path")
    add("--counts", type=Path, help="expert_counts.parquet, for statistics that name one expert only")
    add("--var-config", type=Path, help="a VARConfig as JSON (default: the balanced preset)")
    add("--output", type=Path, help="JSON file to write; with --compare it may be left out")


def _refuse(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    given = [name for name in ("mode", "model", "dataset") if getattr(arguments, name)]
    own = [name for name in ("routing_stats", "counts", "var_config") if getattr(arguments, name)]
    if arguments.compare:
        if given + own:
            raise InputError(
                f"evaluate-var: --compare reads results only; leave {_option((given + own)[0])} out"
            )
    elif not arguments.mode:
        raise InputError(
            "evaluate-var: nothing to do; give --mode baseline, --mode var or --compare BASELINE VAR"
        )
    else:
        for name in ("model", "dataset", "output"):
            if not getattr(arguments, name):
                raise InputError(f"evaluate-var: --mode {arguments.mode} needs {_option(name)}; give it")
        if arguments.mode == "baseline" and own:
            raise InputError(
                f"evaluate-var: the baseline is the untouched model; leave {_option(own[0])} out, or give --mode var"
            )
        if arguments.counts and not arguments.routing_stats:
            raise InputError("evaluate-var: --counts completes --routing-stats; give that, too")
    if arguments.output:
        file_to_write(arguments.output)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _evaluate(arguments: argparse.Namespace) -> None:
    from switchyard.artifacts.fingerprints import fingerprint
    from switchyard.artifacts.stamps import stamp
    from switchyard.evaluation.sequences import build_samples
    from switchyard.models.load import folder_digest, load_tokenizer
    from switchyard.runtime.progress import bar
    from switchyard.text.kinds import kind_of
    from switchyard.var.evaluation import draw_samples, evaluate, identified

    checkpoint = Checkpoint.of(arguments.model, dtype=arguments.dtype, max_length=arguments.max_length)
    dataset, tokenizer = _dataset(arguments), load_tokenizer(checkpoint.folder)
    rule = _rule(arguments, checkpoint) if arguments.mode == "var" else None
    asked = {
        "max_length": checkpoint.max_length,
        "samples": arguments.max_samples,
        "seed": arguments.seed,
        "batch_tokens": checkpoint.max_length * arguments.batch_size,
    }
    name = arguments.mode if rule is None or arguments.var_config is None else arguments.var_config.stem
    drawn = draw_samples(
        build_samples(dataset, tokenizer, max_length=checkpoint.max_length),
        arguments.max_samples,
        arguments.seed,
    )
    model = checkpoint.load()
    with bar(sum(len(one.sequences) for one in drawn), f"evaluate-var {name}", unit="sequences") as progress:
        given = (model, tokenizer, rule, kind_of(dataset), drawn)
        found = evaluate(*given, batch_tokens=asked["batch_tokens"], progress=progress.update)
    inputs = {"model": folder_digest(checkpoint.folder), "dataset": arguments.dataset}
    tables = {"table": rule and rule.config.routing_stats_path, "counts": arguments.counts}
    made = stamp(
        code=fingerprint(Path(__file__), "switchyard.var.verbs"),
        config={
            **asked,
            "layout": arguments.layout,
            "kind": arguments.kind,
            "dtype": checkpoint.dtype,
            "settings": rule and rule.config.as_json(),
        },
        inputs=inputs | {key: Path(path) for key, path in tables.items() if path},
        model={"name": checkpoint.name, "dtype": checkpoint.dtype},
    )
    dataset_name = arguments.dataset.name.split(".")[0]
    write_json(
        arguments.output,
        identified(found, name, checkpoint.name, dataset_name, arguments.seed, rule, made),
    )
    print(_words(found), arguments.output, sep="\n")


def _dataset(arguments: argparse.Namespace) -> pa.Table:
    from switchyard.text.sources import read_file
    from switchyard.text.tasks import LAYOUTS, SKIP, prepare

    if not arguments.dataset.is_file():
        raise InputError(
            f"{arguments.dataset}: no such file; give a file, and say with --layout what it holds"
        )
    kinds = [kind for kind, layouts in LAYOUTS.items() if arguments.layout in layouts]
    if not kinds:
        known = dict.fromkeys(name for layouts in LAYOUTS.values() for name in layouts)
        raise InputError(f"--layout {arguments.layout!r} is unknown; use {', '.join(known)}")
    kind = arguments.kind or kinds[0]
    try:
        return prepare(read_file(arguments.dataset), kind=kind, layout=arguments.layout)
    except InputError as error:
        raise InputError(str(error).removesuffix(SKIP)) from error


def _rule(arguments: argparse.Namespace, checkpoint: Checkpoint) -> VARRouter:
    """VAR with the table of its statistics, always with its paths counted."""
    from switchyard.var.config import VARConfig
    from switchyard.var.router import VARRouter
    from switchyard.var.table import table_for_model

    config = VARConfig.from_json(arguments.var_config) if arguments.var_config else VARConfig()
    if not config.enable_var:
        raise InputError(
            f"{arguments.var_config}: enable_var is false; set it to true, or evaluate with --mode baseline"
        )
    config.track_performance = True
    config.routing_stats_path = arguments.routing_stats or config.routing_stats_path
    if config.routing_stats_path is None:
        print("no routing statistics, so that no token takes the fast path; --routing-stats gives them")
        return VARRouter(config)
    return VARRouter(
        config, table_for_model(config.routing_stats_path, checkpoint.structure, counts=arguments.counts)
    )


def _words(found: dict[str, Any]) -> str:
    """The main numbers of a result."""
    quality, speed = found["evaluation"], found["throughput"]
    rows = [
        f"Perplexity: {quality['perplexity']:.2f} (loss {quality['loss']:.4f}, {quality['total_tokens']:,} tokens)"
    ]
    if quality["bits_per_byte"] is not None:
        rows.append(f"Bits per byte: {quality['bits_per_byte']:.4f}")
    if quality["accuracy"] is not None:
        rows.append(f"Accuracy: {quality['accuracy']:.1%} of {len(found['samples']):,}")
    rows.append(f"Throughput: {speed['tokens_per_second']:.1f} tokens/sec ({speed['elapsed_seconds']:.1f} s)")
    if found["var_stats"]:
        overall = found["var_stats"]["overall"]
        shares = ", ".join(f"{path} {share:.1f}%" for path, share in overall["routing_distribution"].items())
        rows.append(f"VAR routing: {shares}; cache hit rate {overall['cache_hit_rate']:.1f}%")
    return "\n".join(rows)


def _compare(baseline: Path, var: Path, output: Path | None) -> None:
    from switchyard.artifacts.fingerprints import fingerprint
    from switchyard.artifacts.stamps import stamp
    from switchyard.var.comparison import summary
    from switchyard.var.results import BASELINE, compare

    before, after = (_result(path, mode) for path, mode in zip((baseline, var), MODES, strict=True))
    for key, one, other in _common(before, after):
        if one != other:
            raise InputError(f"{var}: has {key} {other!r}, {baseline} has {one!r}; evaluate both alike")
    dataset = before["dataset_name"]
    (found,) = compare({(BASELINE, dataset): [before], ("var", dataset): [after]}, None)
    found |= {"name": after["name"]}
    print(summary(found))
    print("\nSpeed-up is judged where a study measures both side by side; these two ran one after the other.")
    if output:
        made = stamp(
            code=fingerprint(Path(__file__), "switchyard.var.verbs"),
            config={},
            inputs={"baseline": baseline, "var": var},
            model={"name": before["model_name"]},
        )
        write_json(output, {"model": before["model_name"], "comparisons": [found], "provenance": made})


def _common(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What two results must have in common, of each."""
    for key in ("model_name", "dataset_name", "seed"):
        yield key, before[key], after[key]
    made = before["provenance"], after["provenance"]
    yield "dtype", *(one["model"].get("dtype") for one in made)
    for name in ("model", "dataset"):
        yield f"{name} with digest", *(one["inputs"].get(name) for one in made)


def _result(path: Path, mode: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a result of evaluate-var --mode {mode}")
    found = read_json(path)
    if not isinstance(found, dict) or (missing := [key for key in COMPARED if key not in found]):
        lacks = f"holds no {missing[0]!r}" if isinstance(found, dict) else "is no JSON object"
        raise InputError(f"{path}: {lacks}; give a result of evaluate-var --mode {mode}")
    if found["mode"] != mode:
        raise InputError(f"{path}: is of mode {found['mode']}; give --compare BASELINE VAR, in this order")
    return found
