"""Rule write_report: aggregate tables -> findings and recommendations, as Markdown and as a page."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_stamp, write_text
from switchyard.artifacts.stamps import derived
from switchyard.charts.frontier import frontier
from switchyard.charts.save import save_svg
from switchyard.reporting.findings import derive, findings, write_findings
from switchyard.reporting.pages import write_document, write_fragment
from switchyard.reporting.report import left_out, render
from switchyard.reporting.var import presets
from switchyard.runtime.log import logged
from switchyard.warehouse.prints import refuse_differing_prints
from switchyard.warehouse.study_tables import Tables


def main(
    *,
    aggregate: Path,
    logs: Path,
    speed: list[Path],
    skipped: list[Path],
    var: list[Path],
    templates: dict[str, Path],
    study: str,
    model: str,
    front: Path,
    markdown: Path,
    page: Path,
    table: Path,
    code: str,
) -> None:
    refuse_differing_prints(aggregate, logs)
    made = derived(read_stamp(aggregate / "bh_routing_results.parquet"), code=code)
    speeds = {one["model"]: one for one in map(read_json, speed)}
    with derive(aggregate) as connection:
        write_findings(table, connection, made)
        found = findings(connection)
    text = render(
        found,
        templates["report.md.j2"],
        study=study,
        speeds=speeds,
        skipped=left_out(skipped),
        looked_up={one["model"]: presets(one["comparisons"]) for one in map(read_json, var)},
        stamp=made,
    )
    answer = render(found, templates["front.md.j2"], study=study, speeds=speeds)
    write_fragment(front, answer, stamp=made)
    save_svg(frontier(Tables.read(aggregate).of(model)).page, front.with_suffix(".svg"), made)
    write_text(markdown, text)
    write_document(page, text, title=f"Expert routing: {study}", stamp=made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            aggregate=Path(snakemake.input[0]).parent,
            logs=Path(snakemake.input.summaries[0]).parents[2],
            speed=[Path(path) for path in snakemake.input.speed],
            skipped=[Path(path) for path in snakemake.input.skipped],
            var=[Path(path) for path in snakemake.input.var],
            templates={Path(path).name: Path(path) for path in snakemake.input.templates},
            study=snakemake.params.study,
            model=snakemake.params.model,
            front=Path(snakemake.output.front),
            markdown=Path(snakemake.output.markdown),
            page=Path(snakemake.output.page),
            table=Path(snakemake.output.findings),
            code=snakemake.params.code,
        )
