"""Rule write_pages: tables of the study -> pages of the HTML report, and the main table for a paper."""

from pathlib import Path

import pandas as pd

from switchyard.artifacts.files import read_json, read_stamp, read_table
from switchyard.artifacts.stamps import derived
from switchyard.reporting import pages
from switchyard.reporting.paper import write_paper_tables
from switchyard.runtime.log import logged
from switchyard.warehouse.study_tables import Tables


def main(
    *,
    aggregate: Path,
    nulls: list[Path],
    speed: list[Path],
    dictionary: Path,
    models: list[Path],
    output: dict[str, Path],
    code: str,
) -> None:
    tables = Tables.read(aggregate)
    made = derived(read_stamp(aggregate / "bh_routing_results.parquet"), code=code)
    pages.write_results(output["results"], tables, stamp=made)
    pages.write_configs(output["configs"], tables, stamp=made)
    pages.write_equal_compute(output["equal_compute"], tables, stamp=made)
    pages.write_main_table(output["main_table"], tables, stamp=made)
    pages.write_speed_table(output["speed_table"], [read_json(path) for path in speed], stamp=made)
    summaries = {path.parent.name: read_table(path).to_pandas() for path in nulls}
    summary = pd.concat(summaries, names=["model"]).reset_index("model")
    pages.write_null_summary(output["null_summary"], summary, stamp=made)
    pages.write_models(output["models"], [read_json(path) for path in models], stamp=made)
    text = dictionary.read_text(encoding="utf-8")
    pages.write_document(output["data_dictionary"], text, title="Data dictionary", stamp=made)
    write_paper_tables(tables, output["main_table"].parent, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            aggregate=Path(snakemake.input[0]).parent,
            nulls=[Path(path) for path in snakemake.input.nulls],
            speed=[Path(path) for path in snakemake.input.speed],
            dictionary=Path(snakemake.input.dictionary),
            models=[Path(path) for path in snakemake.input.models],
            output={name: Path(path) for name, path in snakemake.output.items() if name != "paper"},
            code=snakemake.params.code,
        )
