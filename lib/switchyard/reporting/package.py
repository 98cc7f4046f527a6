"""A study as one archive: what made it, its results, checksums, and a description that machines read.

The archive is an RO-Crate (https://www.researchobject.org/ro-crate/), a ZIP file with `ro-crate-metadata.json`.
Traces, prepared texts and models, and the database are left out: they are large, and the workflow makes them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from rocrate.rocrate import ROCrate

from switchyard.artifacts.files import atomic
from switchyard.artifacts.stamps import commit, hash_file
from switchyard.errors import InputError

SOURCES = (
    "README.md",
    "CITATION.cff",
    "LICENSE",
    "Makefile",
    "pyproject.toml",
    "config.yaml",
    "config.schema.yaml",
    "envs/lock.txt",
    "Snakefile",
    "studies/*.yaml",
    "rules/*.smk",
)
"""What a study is made from, beside the library at the recorded commit."""

LARGE = ("prepare/*", "evaluate/*/traces/*", "calibrate/*/*_logits.parquet", "*.duckdb")
"""Results that are left out."""

CHECKSUMS = "SHA256SUMS"


def package(results: Path, checkout: Path, output: Path) -> list[str]:
    """Write the archive; returns the names of the files in it, which `SHA256SUMS` lists too.

    Args:
        results: folder of a finished study, `results/<study>`.
        checkout: the project's folder.
        output: the ZIP file.

    Raises:
        InputError: the study has no report yet.
    """
    if not (results / "report.html").is_file():
        raise InputError(f"{results}/report.html: no such file; run the study first")
    files = dict(_files(results, checkout))
    crate = ROCrate()
    crate.name = f"Switchyard study {results.name}"
    crate.description = (
        f"Expert routing in mixture-of-experts language models; made by Switchyard at commit {commit()}."
    )
    crate.license = "LICENSE"
    sums = {name: hash_file(path) for name, path in files.items()}
    for name, path in files.items():
        crate.add_file(path, name, properties={"sha256": sums[name], "contentSize": str(path.stat().st_size)})
    listing = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    with atomic(output) as partial:
        text = partial.with_name(f"{partial.name}.sums")
        text.write_text(listing, encoding="utf-8")
        crate.add_file(text, CHECKSUMS, properties={"sha256": hashlib.sha256(listing.encode()).hexdigest()})
        try:
            crate.write_zip(partial)
        finally:
            text.unlink()
    return list(files)


def _files(results: Path, checkout: Path) -> Iterator[tuple[str, Path]]:
    """Name in the archive and place of each file."""
    for pattern in SOURCES:
        for path in sorted(checkout.glob(pattern)):
            yield path.relative_to(checkout).as_posix(), path
    for path in sorted(results.rglob("*")):
        place = path.relative_to(results)
        hidden = any(part.startswith(".") for part in place.parts)
        if path.is_file() and not hidden and not any(_below(place, pattern) for pattern in LARGE):
            yield f"results/{results.name}/{place.as_posix()}", path


def _below(place: Path, pattern: str) -> bool:
    """Whether a path, or a folder that it lies in, matches from the top."""
    depth = len(Path(pattern).parts)
    return Path(*place.parts[:depth]).match(pattern) and len(place.parts) >= depth
