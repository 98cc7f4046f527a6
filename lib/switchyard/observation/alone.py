"""An observation without a study: any model folder and text file, by the steps of the stage `observe`, in one shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from switchyard.arguments import file_to_write, folder_to_write
from switchyard.artifacts.files import read_stamp
from switchyard.artifacts.fingerprints import fingerprint
from switchyard.artifacts.stamps import sha256_file, sha256_json, stamp
from switchyard.errors import InputError
from switchyard.models.checkpoint import Checkpoint
from switchyard.models.files import TOKENIZER_FILES
from switchyard.models.load import folder_digest, load_tokenizer
from switchyard.observation.published import publish
from switchyard.observation.run import observe_shard
from switchyard.observation.shards import merge_shards
from switchyard.observation.windows import Windows, write_windows
from switchyard.runtime.progress import bar
from switchyard.text.corpora import documents_of, read_texts, write_corpus

BUCKETS = 2**17
"""N-grams that are counted per number of previous tokens."""


@dataclass(frozen=True)
class Observed:
    """What is read and counted."""

    files: tuple[Path, ...]
    layout: str
    column: str
    domain: str | None
    num_samples: int | None
    """Most documents; None for all."""
    tokens: int | None
    """Most tokens; None for all."""
    batch_size: int
    """Windows of the largest length in a batch."""
    layers: list[int] | None
    context_window: int
    checkpoint_tokens: int

    @property
    def names(self) -> str:
        """The files, for the summary."""
        return ", ".join(path.name for path in self.files)


@dataclass(frozen=True)
class Places:
    """Where an observation writes."""

    statistics: Path
    work: Path
    """Folder of windows, counts and checkpoints, which the same command goes on from."""

    @classmethod
    def of(cls, output: Path, work: Path | None) -> Self:
        """`output` is a folder, or the Parquet file of the statistics in one.

        Raises:
            InputError: a file has the name of a folder, or the other way round.
        """
        if output.suffix == ".parquet":
            statistics = file_to_write(output)
        else:
            statistics = folder_to_write(output) / "routing_stats.parquet"
        return cls(statistics, folder_to_write(work or statistics.parent / "checkpoints"))

    def files(self) -> dict[str, Path]:
        """Paths by the names that `publish` has for them."""
        folder = self.statistics.parent
        return {
            "statistics": self.statistics,
            "csv": self.statistics.with_suffix(".csv"),
            "counts": folder / "expert_counts.parquet",
            "contexts": folder / "context_counts.parquet",
            "summary": folder / "analysis_summary.txt",
        }


def observe_text(checkpoint: Checkpoint, asked: Observed, places: Places) -> None:
    """Observe a text and write its tables; prints what it does.

    Raises:
        InputError: what cannot be read, a layer that the model lacks, or what `observe_shard` refuses.
    """
    blocks = checkpoint.structure["num_layers"]
    if wrong := sorted(set(asked.layers or ()) - set(range(blocks))):
        raise InputError(
            f"--layers: {wrong[0]} does not exist, the model has {blocks} MoE blocks; count from 0"
        )
    code = fingerprint(Path(__file__), "switchyard.observation.alone")
    windows, shard = places.work / "windows.parquet", places.work / "0.safetensors"
    _cut(checkpoint, asked, windows, code)
    digest = folder_digest(checkpoint.folder)
    settings = {
        "layers": asked.layers,
        "context_window": asked.context_window,
        "buckets": BUCKETS,
        "checkpoint_every": asked.checkpoint_tokens,
    }
    model, whole = checkpoint.load(), Windows(windows)
    with bar(whole.tokens, f"observe {checkpoint.name}", unit="tokens") as progress:
        observe_shard(
            model,
            windows,
            0,
            1,
            shard,
            model_digest=digest,
            stamp={"code": code},
            progress=_Told(progress.update),
            **settings,
        )
    made = stamp(
        code=code,
        config={**settings, "dtype": checkpoint.dtype},
        inputs={"windows": windows, "model": digest},
        model={"name": checkpoint.name},
    )
    publish(
        merge_shards([shard]),
        load_tokenizer(checkpoint.folder),
        places.files(),
        made,
        model=checkpoint.name,
        corpus=asked.names,
        shards=1,
        batches=whole.batches,
    )
    print(f"{places.statistics} and, beside it, .csv, counts and analysis_summary.txt")


class _Told:
    """Progress that says where a run goes on: the first tokens reported are those of an earlier one, or none."""

    def __init__(self, update: Callable[[int], object]) -> None:
        self._update, self._is_first = update, True

    def __call__(self, tokens: int) -> None:
        if self._is_first and tokens:
            print(f"goes on after {tokens:,} tokens", flush=True)
        self._is_first = False
        self._update(tokens)


def _cut(checkpoint: Checkpoint, asked: Observed, windows: Path, code: str) -> None:
    """Write the windows, unless they lie there already, cut from the same text in the same way."""
    entry = {
        "source": "file",
        "layout": asked.layout,
        "text": asked.column,
        "domain": asked.domain,
        "num_samples": asked.num_samples,
    }
    cut = {
        "tokens": asked.tokens,
        "max_length": checkpoint.max_length,
        "batch_tokens": checkpoint.max_length * asked.batch_size,
    }
    for path in asked.files:
        if not path.is_file():
            raise InputError(f"{path}: no such file; give a file with text")
    wanted = stamp(code=code, config={**entry, **cut}, inputs=_inputs(checkpoint.folder, asked.files))
    if windows.is_file() and read_stamp(windows).get("provenance") == wanted:
        return
    corpus = windows.with_name("corpus.parquet")
    with bar(asked.num_samples, "read", unit="documents") as progress:
        write_corpus(corpus, read_texts(entry, files=asked.files, progress=progress.update))
    documents = documents_of(corpus, None)
    write_windows(windows, documents, load_tokenizer(checkpoint.folder), **cut, stamp={"provenance": wanted})
    corpus.unlink()


def _inputs(model: Path, files: tuple[Path, ...]) -> dict[str, Any]:
    """Digests of the texts and of the tokenizer."""
    own = [model / name for name in (*TOKENIZER_FILES, "tokenizer_config.json") if (model / name).is_file()]
    return {
        "text": sha256_json([sha256_file(path) for path in files]),
        "tokenizer": sha256_json([sha256_file(path) for path in own]),
    }
