"""The verb `prepare-corpus` of the command line: documents of one's own on three sides that share none."""

from __future__ import annotations

import argparse
from pathlib import Path

from switchyard.arguments import add_verb, at_least, folder_to_write
from switchyard.errors import InputError

SIDES = ("offline", "tuning", "final")


def prepare_corpus(arguments: argparse.Namespace) -> None:
    """Write documents, each once, with the side that the hash of their text puts them on: offline, tuning or final."""
    import pyarrow.compute as pc

    from switchyard.artifacts.files import read_table, write_table
    from switchyard.artifacts.fingerprints import fingerprint
    from switchyard.artifacts.stamps import stamp
    from switchyard.text.corpora import read_texts, write_corpus

    folder = folder_to_write(arguments.output)
    entry = {"source": "file", "layout": arguments.layout, "text": arguments.column}
    entry |= {"domain": arguments.domain, "num_samples": arguments.num_samples}
    files = list(arguments.dataset)
    inputs = {f"file_{number}": path for number, path in enumerate(files)}
    code = fingerprint(Path(__file__), "switchyard.text.verbs")
    made = {"provenance": stamp(code=code, config=entry, inputs=inputs)}
    counts = write_corpus(folder / "corpus.parquet", read_texts(entry, files=files), made)
    print(", ".join(f"{side}: {counts[side]:,} documents" for side in SIDES))
    if arguments.create_splits:
        if empty := [side for side in SIDES if not counts[side]]:
            raise InputError(
                f"{folder}: the {empty[0]} split has none of the {counts.total()} documents; give more documents"
            )
        corpus = read_table(folder / "corpus.parquet")
        for side in SIDES:
            write_table(folder / f"{side}.parquet", corpus.filter(pc.equal(corpus["side"], side)), made)


def add_text_options(verb: argparse.ArgumentParser, *names: str, domain: str) -> None:
    """Options that say which documents are read: the files under `names`, layout, columns, how many.

    Args:
        domain: what the column of domains is for, as help.
    """
    add = verb.add_argument
    files = ".parquet, .jsonl, .json or .csv, plain or compressed"
    add(*names, type=Path, nargs="+", required=True, help=f"the documents: {files}")
    help_of_layout = "a row is a document, or a line (plain)"
    add("--layout", choices=("plain", "wikitext"), default="plain", help=help_of_layout)
    add("--column", default="text", help="the column with the text (text)")
    add("--domain", help=domain)
    add("--num-samples", type=at_least(1, int), help="most documents (default: all)")


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `prepare-corpus`, which sets `run`."""
    verb = add_verb(verbs, "prepare-corpus", prepare_corpus)
    add = verb.add_argument
    add_text_options(verb, "--dataset", "--text", domain="a column with domains")
    add("--create-splits", action="store_true", help="also a file per side: offline, tuning, final")
    add("--output", type=Path, required=True, help="folder to write into")
