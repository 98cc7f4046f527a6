"""The verb `plan` of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def plan(arguments: argparse.Namespace) -> int:
    """Say what a study will cost before it runs: tokens, loads, hours, memory and disk, and what does not fit."""
    import json

    from switchyard.errors import InputError
    from switchyard.planning import dag, machine, throughput, workload
    from switchyard.planning.plan import make

    directory = arguments.directory.resolve() if arguments.directory else dag.ROOT
    if not directory.is_dir():
        raise InputError(f"plan: {directory} is no folder; make it, or name another --directory")
    study = arguments.study and arguments.study.resolve()
    work = workload.load(study, directory, arguments.extra)
    here = machine.here(
        directory,
        cores=arguments.cores,
        mem_gb=arguments.mem_gb,
        gpu_mem_gb=arguments.gpu_mem_gb,
        cards=arguments.cards,
        disk_gb=arguments.disk_gb,
        read_gb_per_second=arguments.read_gb_per_second,
    )
    jobs = dag.dry_run(
        directory=directory,
        study=study,
        cores=here.cores,
        extra=arguments.extra,
        everything=arguments.all,
    )
    speed = throughput.find(
        work,
        tokens_per_second=arguments.tokens_per_second,
        measure=arguments.measure,
        tflops=arguments.flops,
        utilisation=arguments.utilisation,
    )
    found = make(jobs, work, speed, here)
    print(json.dumps(found.as_json(), indent=2) if arguments.json else found.text().rstrip("\n"))
    return 0 if found.fits else 1


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `plan`, which sets `run`; the answer of `run` is the exit status."""
    from switchyard.planning.throughput import READ_GB_PER_SECOND, UTILISATION

    verb = verbs.add_parser("plan", help=plan.__doc__, description=plan.__doc__)
    verb.set_defaults(run=plan)
    verb.add_argument("--study", type=Path, help="a file of studies/, laid over config.yaml (default: none)")
    verb.add_argument("--directory", type=Path, help="where results go (default: the checkout)")
    verb.add_argument("--all", action="store_true", help="plan every job, not only what is missing or stale")
    verb.add_argument("--json", action="store_true", help="print JSON")
    speed = verb.add_mutually_exclusive_group()
    speed.add_argument(
        "--tokens-per-second", type=_positive, help="of the evaluated model with its own routing, one job"
    )
    speed.add_argument(
        "--measure", action="store_true", help="time the model now, for some seconds, on an idle machine"
    )
    speed.add_argument("--flops", type=_positive, metavar="TFLOPS", help="of the device, in TFLOP/s")
    verb.add_argument(
        "--utilisation",
        type=_share,
        default=UTILISATION,
        help="share of --flops that is reached (%(default)s)",
    )
    verb.add_argument("--cores", type=_whole, help="cores that run jobs (default: this machine's)")
    verb.add_argument("--mem-gb", type=_positive, help="host memory (default: this machine's)")
    verb.add_argument(
        "--gpu-mem-gb", type=_amount, help="memory of a card, 0 for none (default: this machine's)"
    )
    verb.add_argument("--cards", type=_whole, help="cards (default: this machine's, or 1 with --gpu-mem-gb)")
    verb.add_argument("--disk-gb", type=_amount, help="free disk (default: that of the folder's file system)")
    verb.add_argument(
        "--read-gb-per-second",
        type=_positive,
        default=READ_GB_PER_SECOND,
        help="speed at which weights are read (%(default)s)",
    )
    verb.add_argument("extra", nargs="*", help="after --: options that are handed to snakemake")


def _amount(text: str) -> float:
    """A number from 0 upwards."""
    return _number(text, float, lambda number: 0 <= number < float("inf"), "a number, 0 or more")


def _positive(text: str) -> float:
    """A number above 0."""
    return _number(text, float, lambda number: 0 < number < float("inf"), "a number above 0")


def _share(text: str) -> float:
    """A number above 0, at most 1."""
    return _number(text, float, lambda number: 0 < number <= 1, "a number above 0, at most 1")


def _whole(text: str) -> int:
    """A whole number from 1 upwards."""
    return _number(text, int, lambda number: number >= 1, "a whole number, 1 or more")


def _number(text: str, kind: Callable[[str], float], is_meant: Callable[[float], bool], wanted: str) -> float:
    """A number that argparse takes, or its refusal in words."""
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not is_meant(number):
        raise argparse.ArgumentTypeError(f"{text}; give {wanted}")
    return number
