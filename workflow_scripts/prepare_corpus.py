"""Rule prepare_corpus: documents of a corpus -> the same with their domain and side."""

from pathlib import Path
from typing import Any

from switchyard.artifacts.stamps import stamp
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar
from switchyard.text.corpora import read_texts, write_corpus


def main(*, name: str, entry: dict[str, Any], files: list[Path], output: Path, code: str) -> None:
    inputs = {f"file_{number}": path for number, path in enumerate(files)}
    with bar(entry["num_samples"], f"prepare_corpus {name}", unit="documents") as progress:
        texts = read_texts(entry, files=files, progress=progress.update)
        write_corpus(output, texts, {"provenance": stamp(code=code, config=entry, inputs=inputs)})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.corpus,
            entry=snakemake.params.entry,
            files=[Path(path) for path in snakemake.input],
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
