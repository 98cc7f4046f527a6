"""Rule write_report: aggregate tables -> findings and recommendations, as Markdown and as a page."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_stamp, write_text
from switchyard.artifacts.stamps import attach_to, derived
from switchyard.reporting.findings import findings_table, write_findings
from switchyard.reporting.markdown import report
from switchyard.reporting.pages import write_document
from switchyard.runtime.log import logged
from switchyard.warehouse.prints import refuse_differing_prints
from switchyard.warehouse.study_tables import Tables


def main(
    *,
    aggregate: Path,
    logs: Path,
    speed: list[Path],
    study: str,
    markdown: Path,
    page: Path,
    findings: Path,
    code: str,
) -> None:
    refuse_differing_prints(aggregate, logs)
    made = derived(read_stamp(aggregate / "bh_routing_results.parquet"), code=code)
    machine = read_json(speed[0])["device"]
    tables = Tables.read(aggregate)
    model = tables.models[0]
    tables = tables.of(model)
    text = report(tables, study=study, model=model, machine=machine, stamp=made)
    write_findings(findings, findings_table(tables))
    attach_to(findings, made)
    write_text(markdown, text)
    write_document(page, text, title=f"Expert routing: {study}", stamp=made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            aggregate=Path(snakemake.input[0]).parent,
            logs=Path(snakemake.input.summaries[0]).parents[2],
            speed=[Path(path) for path in snakemake.input.speed],
            study=snakemake.params.study,
            markdown=Path(snakemake.output.markdown),
            page=Path(snakemake.output.page),
            findings=Path(snakemake.output.findings),
            code=snakemake.params.code,
        )
