"""Command line: `python -m switchyard <verb> --help`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

from switchyard.arguments import add_verb
from switchyard.artifacts.digests import DIGESTS
from switchyard.artifacts.files import atomic, read_json, write_text
from switchyard.artifacts.verify import register as register_verify
from switchyard.charts.verbs import register as register_charts
from switchyard.errors import ERROR_LINE, InputError
from switchyard.evaluation.code_verbs import register as register_code
from switchyard.evaluation.verbs import register as register_evaluation
from switchyard.observation.verbs import register as register_observation
from switchyard.planning.verbs import register as register_systems
from switchyard.reporting.verbs import register as register_reporting
from switchyard.search.verbs import register as register_search
from switchyard.text.verbs import register as register_text
from switchyard.var.verbs import register as register_var


def describe(arguments: argparse.Namespace) -> None:
    """Print the structure of a model folder as JSON; a model that cannot be rerouted is refused."""
    import json

    from switchyard.models.load import load_config
    from switchyard.models.quantised_sizes import Quantise
    from switchyard.models.routers import check_family

    structure, packed = check_family(load_config(arguments.model)), Quantise.of_folder(arguments.model)
    print(json.dumps(structure | ({"quantise": packed.as_json()} if packed else {}), indent=2))


def ship_models(arguments: argparse.Namespace) -> None:
    """Copy trained pocket models of a study into the resources, with their cards and the manifest of their corpus."""
    import pyarrow.parquet as pq

    from switchyard.models.card import model_card
    from switchyard.text.corpus import Document
    from switchyard.text.manifest import write_manifest

    arguments.to.mkdir(parents=True, exist_ok=True)
    documents = pq.read_table(
        arguments.study / "prepare" / "corpus.parquet", columns=["name", "text"]
    ).to_pylist()
    write_manifest(arguments.to / "pocket-corpus.tsv", [Document(**document) for document in documents])

    corpus = read_json(arguments.study / "prepare" / "corpus.json")
    for assessment in sorted((arguments.study / "evaluate").glob("*/assessment.json")):
        name = assessment.parent.name
        folder = arguments.study / "prepare" / "models" / name
        if not (folder / "training.json").is_file():
            raise InputError(f"{folder}: was not trained by this study; set `retrain: true` for {name}")
        card = model_card(
            name,
            training=read_json(folder / "training.json"),
            structure=read_json(folder / "structure.json"),
            assessment=read_json(assessment),
            corpus=corpus,
        )
        with atomic(arguments.to / name) as partial:
            shutil.copytree(
                folder,
                partial,
                ignore=shutil.ignore_patterns("structure.json", DIGESTS, ".snakemake_timestamp"),
            )
            write_text(partial / "README.md", card)


def parser() -> argparse.ArgumentParser:
    """All verbs with their options."""
    top = argparse.ArgumentParser(prog="switchyard", description=__doc__)
    verbs = top.add_subparsers(required=True, metavar="verb")
    verb = add_verb(verbs, "describe", describe)
    verb.add_argument("model", type=Path, help="a Hugging Face model folder")
    verb = add_verb(verbs, "ship-models", ship_models)
    verb.add_argument("--from", dest="study", type=Path, required=True, help="results folder of the study")
    verb.add_argument("--to", type=Path, default=Path("resources"), help="folder that models are shipped in")
    register_text(verbs)
    register_observation(verbs)
    register_evaluation(verbs)
    register_code(verbs)
    register_var(verbs)
    register_search(verbs)
    register_charts(verbs)
    register_systems(verbs)
    register_reporting(verbs)
    register_verify(verbs)
    return top


def dashed(words: list[str]) -> list[str]:
    """The words of a command line with `--max_samples` as `--max-samples`; what follows a bare `--` as it is."""
    end = words.index("--") if "--" in words else len(words)
    options = [re.sub("^--[^=]+", lambda option: option[0].replace("_", "-"), word) for word in words[:end]]
    return [*options, *words[end:]]


def main() -> int:
    """Run a verb, whose answer is the exit status; an `InputError` is one line on stderr and exit status 2."""
    arguments = parser().parse_args(dashed(sys.argv[1:]))
    try:
        code = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        print(f"{ERROR_LINE}{error}", file=sys.stderr)
        return 2
    except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        print(
            f"{ERROR_LINE}{error.filename2 or error.filename}: {error.strerror}; give another place",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
