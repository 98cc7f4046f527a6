"""Rule harvest_corpus: documentation strings of installed packages -> corpus table and card."""

import logging
from collections import Counter
from pathlib import Path

import pyarrow as pa

from switchyard.artifacts.files import write_json, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar
from switchyard.text.corpus import fingerprint, harvest, versions
from switchyard.text.manifest import moved


def main(*, packages: list[str], manifest: Path, corpus: Path, card: Path, code: str) -> None:
    with bar(len(packages), "harvest_corpus", unit="packages") as progress:
        documents = harvest(packages, progress=progress.update)
    stray = moved(documents, manifest)
    for document in stray:
        logging.warning(
            "left out: %s was training text in another wording when the models were trained", document.name
        )
    left_out = {d.name for d in stray}
    kept = [d for d in documents if d.name not in left_out]
    made = stamp(code=code, config={"packages": packages}, inputs={"manifest": manifest})
    columns = {
        "name": [d.name for d in kept],
        "split": [d.split for d in kept],
        "digest": [d.digest for d in kept],
    }
    write_table(corpus, pa.table({**columns, "text": [d.text for d in kept]}), made)
    write_json(
        card,
        {
            "documents": dict(sorted(Counter(columns["split"]).items())),
            "characters": sum(len(d.text) for d in kept),
            "left_out_because_reworded": sorted(left_out),
            "fingerprint": fingerprint(documents),
            "packages": versions(packages),
            "provenance": made,
        },
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            packages=snakemake.params.packages,
            manifest=Path(snakemake.input.manifest),
            corpus=Path(snakemake.output.corpus),
            card=Path(snakemake.output.card),
            code=snakemake.params.code,
        )
