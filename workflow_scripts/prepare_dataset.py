"""Rule prepare_dataset: a corpus, a file or the hub -> samples in the columns of their kind, and the rows left out."""

from pathlib import Path
from typing import Any

from switchyard.artifacts.files import read_table, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.runtime.log import logged
from switchyard.text.pocket import prepare_pocket
from switchyard.text.sources import load_rows
from switchyard.text.tasks import Skipped, check_skipped, prepare, skipped_table


def main(*, entry: dict[str, Any], source: Path | None, output: Path, skipped: Path, code: str) -> None:
    left_out: list[Skipped] = []
    if entry["source"] == "pocket":
        table = prepare_pocket(
            entry["kind"], read_table(source), samples=entry["samples"], split=entry["split"]
        )
    else:
        rows = load_rows({**entry, "path": source}) if source else load_rows(entry)
        table = prepare(
            rows,
            kind=entry["kind"],
            layout=entry["layout"],
            samples=entry["samples"],
            skipped=left_out if entry["invalid_rows"] == "skip" else None,
        )
        check_skipped(left_out, table.num_rows, entry["max_invalid_share"])
    settings = {key: value for key, value in entry.items() if key != "path"}
    made = stamp(code=code, config=settings, inputs={"source": source} if source else {})
    write_table(skipped, skipped_table(left_out), {"samples": table.num_rows, "provenance": made})
    write_table(output, table, {"kind": entry["kind"], "provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            entry=snakemake.params.entry,
            source=Path(snakemake.input[0]) if snakemake.input else None,
            output=Path(snakemake.output.samples),
            skipped=Path(snakemake.output.skipped),
            code=snakemake.params.code,
        )
