"""The card of a shipped model: how it was made, how good it is, and what it is not for."""

from __future__ import annotations

import math
from typing import Any

INTENDED_USE = (
    "A small mixture of experts in the real {architecture} architecture, for trying routing rules on a laptop. "
    "It has learned documentation prose and nothing else: its absolute scores say nothing about large models, "
    "and differences between routing rules on it are hypotheses about large models, not results."
)


def model_card(
    name: str,
    *,
    training: dict[str, Any],
    structure: dict[str, Any],
    assessment: dict[str, Any],
    corpus: dict[str, Any],
) -> str:
    """A Markdown model card.

    Args:
        training: training.json of the model folder (recipe and log).
        structure: its structure.json.
        assessment: evaluate/{name}/assessment.json.
        corpus: prepare/corpus.json.
    """
    recipe = training["recipe"]
    tokens = recipe["steps"] * recipe["batch_size"] * recipe["sequence_length"]
    sections = [
        f"# {name}\n\n{INTENDED_USE.format(architecture=recipe['architecture'])}",
        _shape(structure),
        "## Training\n\n"
        "Command: `make study STUDY=studies/retrain.yaml`, rule `train_pocket_model`; "
        f"{recipe['steps']} steps of {recipe['batch_size']} x {recipe['sequence_length']} tokens ({tokens:,} tokens), "
        f"AdamW, peak rate {recipe['learning_rate']}, seed {recipe['seed']}; "
        "float32 arithmetic, saved in bfloat16.\n\n" + _log(training["log"]),
        _corpus(corpus),
        _scores(assessment),
        _balance(assessment),
    ]
    return "\n\n".join(sections) + "\n"


def _shape(structure: dict[str, Any]) -> str:
    keys = (
        "num_layers",
        "hidden_size",
        "num_experts",
        "top_k",
        "intermediate_size",
        "normalise",
        "vocab_size",
    )
    return "## Structure\n\n" + _table(("field", "value"), [(key, structure[key]) for key in keys])


def _log(log: list[dict[str, float]]) -> str:
    rows = [
        (
            f"{e['tokens']:,}",
            f"{e['training_loss']:.3f}",
            f"{e['validation_loss']:.3f}",
            f"{math.exp(e['validation_loss']):.1f}",
        )
        for e in log
    ]
    return _table(("tokens", "training loss", "validation loss", "validation perplexity"), rows)


def _corpus(corpus: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in corpus["packages"].items())
    documents = ", ".join(f"{count:,} {split}" for split, count in corpus["documents"].items())
    text = f"Documentation strings of {packages}: documents {documents}."
    return f"## Corpus\n\n{text}\n\nFingerprint `{corpus['fingerprint']}`."


def _scores(assessment: dict[str, Any]) -> str:
    rows = []
    for name, found in assessment["datasets"].items():
        if "perplexity" in found:
            rows.append((name, found["samples"], f"perplexity {found['perplexity']:.2f}", "", ""))
            continue
        above = (
            (found["accuracy"] - found["chance"]) / found["standard_error"]
            if found["standard_error"]
            else math.inf
        )
        accuracy = f"accuracy {found['accuracy']:.3f} ± {found['standard_error']:.3f}"
        rows.append((name, found["samples"], accuracy, f"{found['chance']:.3f}", f"{above:.1f}"))
    header = ("dataset", "samples", "score on the test split", "chance", "standard errors above chance")
    return "## Scores\n\n" + _table(header, rows)


def _balance(assessment: dict[str, Any]) -> str:
    rows = [(e["layer"], e["experts_used"], f"{e['busiest_over_even']:.2f}") for e in assessment["layers"]]
    return "## Use of experts on the test split\n\n" + _table(
        ("layer", "experts used", "busiest over even share"), rows
    )


def _table(header: tuple, rows: list[tuple]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
