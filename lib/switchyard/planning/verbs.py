"""Verbs of the command line about what a study or a model needs: `plan` and `fetch-model`."""

from __future__ import annotations

import argparse
from pathlib import Path

from switchyard.arguments import add_verb, at_least
from switchyard.models.checkpoint import DTYPES
from switchyard.models.quantised_sizes import KINDS


def plan(arguments: argparse.Namespace) -> int:
    """Say what a study will cost before it runs: tokens, loads, hours, memory and disk, and what does not fit."""
    import json
    from dataclasses import asdict

    from switchyard.errors import InputError
    from switchyard.planning import jobs, machine, workload
    from switchyard.planning.plan import make
    from switchyard.study.agreement import check_families

    directory = arguments.directory.resolve() if arguments.directory else jobs.ROOT
    if not directory.is_dir():
        raise InputError(f"plan: {directory} is no folder; give one that exists")
    study = arguments.study and arguments.study.resolve()
    sizes = {name: getattr(arguments, name) for name in ("cores", "mem_gb", "gpu_mem_gb", "cards", "disk_gb")}
    here = machine.here(directory, **sizes)
    dry_run = jobs.dry_run(
        directory=directory, study=study, cores=here.cores, extra=arguments.extra, everything=arguments.all
    )
    work = workload.load(study, directory, arguments.extra)
    check_families(work.config, directory)
    found = make(dry_run, work, here, arguments.tokens_per_second)
    fits = not found.shortages
    print(json.dumps({**asdict(found), "fits": fits}, indent=2) if arguments.json else found.text())
    return 0 if fits else 1


def fetch_model(arguments: argparse.Namespace) -> None:
    """Fetch a checkpoint of the hub at a pinned commit, say what it holds and needs, and try it."""
    from switchyard.models.fetch import fetch, try_out
    from switchyard.models.load import load_config, load_model
    from switchyard.models.quantised_sizes import Quantise
    from switchyard.models.routers import check_family
    from switchyard.planning.parts import described

    folder = fetch(arguments.id, arguments.revision)
    print(folder)
    quantise = Quantise(experts=arguments.quantize or "none", rest=arguments.quantize or "none")
    if arguments.analyze_structure:
        print("\n".join(described(check_family(load_config(folder)))))
    if arguments.test:
        model = load_model(folder, dtype=arguments.dtype, quantise=quantise)
        size = sum(weight.nbytes for weight in model.state_dict().values())
        print(f"loaded in {arguments.dtype}, {quantise}: {size / 1e9:.2f} GB of weights on {model.device}")
        print(try_out(folder, model))


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `plan` and `fetch-model`, which set `run`; the answer of `run` is the exit status."""
    add = add_verb(verbs, "plan", plan).add_argument
    add("--study", type=Path, help="a file of studies/, laid over config.yaml (default: none)")
    add("--directory", type=Path, help="where results go (default: the checkout)")
    add("--all", action="store_true", help="plan every job, not only what is missing or stale")
    add("--json", action="store_true", help="print JSON")
    add(
        "--tokens-per-second",
        type=at_least(0.001),
        help="of one job with the model's own routing (default: hours from benchmark files of earlier runs)",
    )
    add("--cores", type=at_least(1, int), help="cores that run jobs (default: this machine's)")
    add("--mem-gb", type=at_least(0.001), help="host memory (default: this machine's)")
    add("--gpu-mem-gb", type=at_least(0), help="memory of a card, 0 for none (default: this machine's)")
    add("--cards", type=at_least(1, int), help="cards (default: this machine's, or 1 with --gpu-mem-gb)")
    add("--disk-gb", type=at_least(0), help="free disk (default: that of the folder's file system)")
    add("extra", nargs="*", help="after --: options that are handed to snakemake")
    add = add_verb(verbs, "fetch-model", fetch_model).add_argument
    add("id", help="owner/name on the hub")
    add("--revision", required=True, help="the commit, 40 hexadecimal digits")
    add("--quantize", choices=list(KINDS), help="pack the matrices of all layers for --test")
    add("--analyze-structure", action="store_true", help="print layers, experts, weights by part and memory")
    add("--test", action="store_true", help="load it and write a few tokens")
    add(
        "--dtype",
        choices=DTYPES,
        default="bfloat16",
        help="precision of weights that are not packed (bfloat16)",
    )
