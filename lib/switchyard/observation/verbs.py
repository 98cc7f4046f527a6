"""Verbs of the command line that need tables only, and no model."""

from __future__ import annotations

import argparse
from pathlib import Path

from switchyard.artifacts.files import write_json, write_text
from switchyard.errors import InputError


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

    if arguments.output.exists() and not arguments.output.is_dir():
        raise InputError(f"{arguments.output}: is a file; give a folder to write into")
    verdict = validate(
        read_table(arguments.input),
        frequency_threshold=arguments.frequency_threshold,
        entropy_threshold=arguments.entropy_threshold,
        minimum_frequency=arguments.minimum_frequency,
        num_experts=arguments.num_experts,
        place=str(arguments.input),
    )
    text = report_text(verdict)
    write_json(arguments.output / "verdict.json", verdict.as_json())
    write_text(arguments.output / "validation_report.txt", text)
    print(text, end="")


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `table-ceiling` and `validate-hypothesis`; both set `run`."""
    _table_ceiling(_verb(verbs, "table-ceiling", measure_ceiling))
    _validate_hypothesis(_verb(verbs, "validate-hypothesis", validate_hypothesis))


def _verb(verbs: argparse._SubParsersAction, name: str, run: object) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=run.__doc__, description=run.__doc__)
    verb.set_defaults(run=run)
    return verb


def _positive(text: str) -> int:
    """A whole number from 1 upwards."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; give 1 or more")
    return number


def _table_ceiling(verb: argparse.ArgumentParser) -> None:
    columns = "layer, domain, token_id, expert, count"
    verb.add_argument("--counts", type=Path, required=True, help=f"a Parquet file with columns {columns}")
    verb.add_argument("--top-k", type=int, required=True, help="experts that the table lists per token id")
    verb.add_argument("--num-experts", type=_positive, help="default: the largest expert of the file + 1")
    verb.add_argument("--output", type=Path, required=True, help="JSON file to write")


def _validate_hypothesis(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--input", type=Path, required=True, help="routing_stats.parquet, or the same as .csv")
    verb.add_argument("--output", type=Path, required=True, help="folder to write into")
    verb.add_argument("--frequency-threshold", type=int, default=50, help="eligible from so often (50)")
    verb.add_argument("--entropy-threshold", type=float, default=0.5, help="eligible below, nats (0.5)")
    verb.add_argument(
        "--minimum-frequency", type=int, default=10, help="third correlation: tokens seen so often (10)"
    )
    verb.add_argument("--num-experts", type=_positive, help="to refuse entropies above its logarithm")
