"""Verbs of the command line about routing as it is: observe a model, and judge what was observed."""

from __future__ import annotations

import argparse
from pathlib import Path

from switchyard.arguments import add_verb, at_least, folder_to_write
from switchyard.artifacts.files import write_json, write_text
from switchyard.models.checkpoint import Checkpoint, add_model_options
from switchyard.text.verbs import add_text_options


def observe(arguments: argparse.Namespace) -> None:
    """Run a model over a text and count how it routes every token id, layer by layer. The same command resumes."""
    from switchyard.observation.alone import Observed, Places, observe_text

    names = (
        "layout",
        "column",
        "domain",
        "num_samples",
        "tokens",
        "layers",
        "context_window",
        "checkpoint_tokens",
    )
    observe_text(
        Checkpoint.of(arguments.model, dtype=arguments.dtype, max_length=arguments.max_length),
        Observed(
            tuple(arguments.text),
            batch_size=arguments.batch_size,
            **{name: getattr(arguments, name) for name in names},
        ),
        Places.of(arguments.output, arguments.checkpoint_dir),
    )


def measure_ceiling(arguments: argparse.Namespace) -> None:
    """Measure what share of the used experts a routing table would hit, from counts of token ids and experts."""
    from switchyard.observation.ceiling import COLUMNS, table_ceiling
    from switchyard.observation.input_tables import read_table

    found = table_ceiling(
        read_table(arguments.counts, COLUMNS),
        top_k=arguments.top_k,
        num_experts=arguments.num_experts,
        place=str(arguments.counts),
    )
    write_json(arguments.output, found)
    print(f"{found['num_experts']} experts ({found['num_experts_from']}), chance {found['chance']:.3f}")
    for layer in found["layers"]:
        shares = {name: layer["token"][name] for name in ("in_sample", "leave_one_domain_out")}
        listed = ", ".join(
            f"{name.replace('_', '-')} {'undefined' if value is None else f'{value:.3f}'}"
            for name, value in shares.items()
        )
        reasons = "".join(f" ({reason})" for reason in layer["undefined"].values())
        print(f"layer {layer['layer']}: {listed}{reasons}")


def validate_hypothesis(arguments: argparse.Namespace) -> None:
    """Test VAR's hypothesis on routing statistics and write verdict.json and validation_report.txt."""
    from switchyard.observation.hypothesis import validate
    from switchyard.observation.input_tables import read_table
    from switchyard.observation.validation_report import report_text

    output = arguments.output
    if output.suffix == ".txt":
        folder, report = output.parent, output
    else:
        folder, report = folder_to_write(output), output / "validation_report.txt"
    verdict = validate(
        read_table(arguments.input),
        frequency_threshold=arguments.frequency_threshold,
        entropy_threshold=arguments.entropy_threshold,
        minimum_frequency=arguments.minimum_frequency,
        num_experts=arguments.num_experts,
        place=str(arguments.input),
    )
    text = report_text(verdict)
    write_json(folder / "verdict.json", verdict.as_json())
    write_text(report, text)
    print(text, end="")


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `observe`, `table-ceiling` and `validate-hypothesis`; all set `run`."""
    _observe(add_verb(verbs, "observe", observe))
    _table_ceiling(add_verb(verbs, "table-ceiling", measure_ceiling))
    _validate_hypothesis(add_verb(verbs, "validate-hypothesis", validate_hypothesis))


def _observe(verb: argparse.ArgumentParser) -> None:
    add_model_options(verb, batch_size=8)
    add, number = verb.add_argument, at_least(1, int)
    domain = "a column with domains to count apart (default: four parts by hash)"
    add_text_options(verb, "--text", "--dataset", domain=domain)
    add("--tokens", type=number, help="most tokens (default: all)")
    add("--layers", type=int, nargs="+", help="MoE blocks, counted from 0 (default: all)")
    add("--context-window", type=at_least(0, int), default=2, help="most previous tokens of an n-gram (2)")
    add("--checkpoint-tokens", type=number, default=1_000_000, help="tokens between checkpoints (1,000,000)")
    add("--checkpoint-dir", type=Path, help="unfinished work (default: checkpoints/ beside the tables)")
    add("--output", type=Path, required=True, help="a folder, or the .parquet file of the statistics in one")


def _table_ceiling(verb: argparse.ArgumentParser) -> None:
    columns = "layer, domain, token_id, expert, count"
    verb.add_argument("--counts", type=Path, required=True, help=f"a Parquet file with columns {columns}")
    verb.add_argument("--top-k", type=int, required=True, help="experts that the table lists per token id")
    verb.add_argument(
        "--num-experts", type=at_least(1, int), help="default: the largest expert of the file + 1"
    )
    verb.add_argument("--output", type=Path, required=True, help="JSON file to write")


def _validate_hypothesis(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--input", type=Path, required=True, help="routing_stats.parquet, or the same as .csv")
    verb.add_argument(
        "--output", type=Path, required=True, help="folder to write into, or the .txt file of the report"
    )
    verb.add_argument("--frequency-threshold", type=int, default=50, help="eligible from so often (50)")
    verb.add_argument("--entropy-threshold", type=float, default=0.5, help="eligible below, nats (0.5)")
    verb.add_argument(
        "--minimum-frequency", type=int, default=10, help="third correlation: tokens seen so often (10)"
    )
    verb.add_argument("--num-experts", type=at_least(1, int), help="to refuse entropies above its logarithm")
