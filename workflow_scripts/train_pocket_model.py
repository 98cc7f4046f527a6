"""Rule train_pocket_model: corpus -> a pocket model trained from scratch."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from switchyard.artifacts.files import atomic, read_json, read_table, write_json
from switchyard.artifacts.stamps import stamp
from switchyard.models.blocks import describe
from switchyard.models.load import write_quantise
from switchyard.models.pocket import Recipe, encode, save_pocket, save_step, step_folder, train
from switchyard.runtime.log import logged
from switchyard.runtime.placement import device
from switchyard.runtime.progress import bar
from switchyard.text.tokenizer import train_tokenizer


def main(
    *,
    name: str,
    recipe: Recipe,
    quantise: dict[str, str] | None,
    vocabulary_size: int,
    corpus: Path,
    output: Path,
    kept: Path,
    checkpoints: Path,
    code: str,
) -> None:
    rows = read_table(corpus, columns=["split", "text"]).to_pylist()
    texts = {
        split: [row["text"] for row in rows if row["split"] == split] for split in ("train", "validation")
    }
    tokenizer = train_tokenizer(texts["train"], vocabulary_size=vocabulary_size)
    staged = checkpoints.with_name(f"{checkpoints.name}-kept")  # the outputs of a killed job are removed
    if not lacks_nothing(recipe, checkpoints, staged):
        remove(checkpoints)
    with bar(recipe.steps, f"train_pocket_model {name}") as progress:
        model, log = train(
            recipe,
            tokenizer,
            training=encode(tokenizer, texts["train"]),
            validation=encode(tokenizer, texts["validation"]),
            checkpoints=checkpoints,
            device=device(None),
            report=progress.update,
            keep=partial(save_step, staged),
        )
    made = stamp(code=code, config={"vocabulary_size": vocabulary_size}, inputs={"corpus": corpus})
    with atomic(output) as folder:
        save_pocket(folder, model, tokenizer, recipe, log)
        structure = describe(model.config) | write_quantise(folder, quantise)
        write_json(folder / "structure.json", {**structure, "provenance": made})
    with atomic(kept) as folder:
        for step in recipe.kept_steps:
            shutil.copytree(step_folder(staged, step), step_folder(folder, step))
    for folder in (checkpoints, staged):
        remove(folder)


def lacks_nothing(recipe: Recipe, checkpoints: Path, staged: Path) -> bool:
    """Whether the weights that were to be kept before the checkpoint are there."""
    progress = checkpoints / "progress.json"
    done = read_json(progress)["step"] if progress.exists() else 0
    return all(step_folder(staged, step).is_dir() for step in recipe.kept_steps if step <= done)


def remove(folder: Path) -> None:
    """Remove a folder, if it is there, so that a kill leaves nothing half under its name."""
    gone = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    if folder.exists():
        folder.rename(gone)
        shutil.rmtree(gone)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        settings: dict[str, Any] = snakemake.params.recipe
        main(
            name=snakemake.wildcards.model,
            recipe=Recipe(**settings),
            quantise=snakemake.params.quantise,
            vocabulary_size=snakemake.params.vocabulary_size,
            corpus=Path(snakemake.input.corpus),
            output=Path(snakemake.output.model),
            kept=Path(snakemake.output.kept),
            checkpoints=Path(snakemake.params.checkpoints),
            code=snakemake.params.code,
        )
