"""Rule prepare_dataset: a corpus, a file or the hub -> samples in the columns of their kind."""

from pathlib import Path
from typing import Any

from switchyard.artifacts.files import read_table, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.runtime.log import logged
from switchyard.text.pocket import prepare_pocket
from switchyard.text.sources import load_rows
from switchyard.text.tasks import prepare


def main(*, entry: dict[str, Any], source: Path | None, output: Path, code: str) -> None:
    if entry["source"] == "pocket":
        table = prepare_pocket(
            entry["kind"], read_table(source), samples=entry["samples"], split=entry["split"]
        )
    else:
        rows = load_rows({**entry, "path": source}) if source else load_rows(entry)
        table = prepare(rows, kind=entry["kind"], layout=entry["layout"], samples=entry["samples"])
    settings = {key: value for key, value in entry.items() if key != "path"}
    made = stamp(code=code, config=settings, inputs={"source": source} if source else {})
    write_table(output, table, {"kind": entry["kind"], "provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            entry=snakemake.params.entry,
            source=Path(snakemake.input[0]) if snakemake.input else None,
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
