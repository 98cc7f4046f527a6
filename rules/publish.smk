"""Publish: figures, tables and words, each made from the aggregate tables alone.

Reads   aggregate/*.parquet, calibrate/*_null_*.parquet, evaluate/speed.json
Writes  publish/figures/{figure}.{svg,png,html}   the nine-panel figure, each panel alone, paired differences, nulls
        publish/report.md, report.html            findings and recommendations, every number from a table
        publish/tables/                           the tables as pages, and the main table for a paper
"""

from switchyard.charts.names import FIGURES

AGGREGATES = rules.write_tables.output


rule draw_figures:
    """Draw the nine-panel figure, each panel alone, and the paired differences."""
    input:
        AGGREGATES,
    output:
        figure("nine_panel"),
        figure("paired_differences"),
        [figure(name, folder="panels", category="Panels") for name in FIGURES],
    log:
        f"{LOGS}/draw_figures.log",
    benchmark:
        f"{LOGS}/draw_figures.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=fingerprint(
            "switchyard.charts.figure", "switchyard.charts.differences", "switchyard.charts.save"
        ),
    script:
        "../workflow_scripts/draw_figures.py"


rule draw_nulls:
    """Draw the p-value histograms of every null on held-out text."""
    input:
        check=f"{STUDY}/calibrate/{MODEL}_null_check.parquet",
    output:
        figure("null_histograms", category="Calibration"),
    log:
        f"{LOGS}/draw_nulls.log",
    benchmark:
        f"{LOGS}/draw_nulls.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=fingerprint("switchyard.charts.nulls", "switchyard.charts.save"),
    script:
        "../workflow_scripts/draw_nulls.py"


rule write_pages:
    """Write the tables of the study as pages, and the main table for a paper."""
    input:
        AGGREGATES,
        nulls=f"{STUDY}/calibrate/{MODEL}_null_summary.parquet",
        speed=f"{STUDY}/evaluate/speed.json",
        dictionary=f"{STUDY}/data-dictionary.md",
        models=expand(f"{STUDY}/evaluate/models/{{model}}.json", model=config["models"]),
    output:
        results=page("results", "Tables"),
        configs=page("configs", "Tables"),
        main_table=page("main_table", "Tables"),
        speed_table=page("speed_table", "Tables"),
        null_summary=page("null_summary", "Calibration"),
        models=page("models", "Calibration"),
        data_dictionary=page("data_dictionary", "Provenance"),
        paper=expand(
            f"{STUDY}/publish/tables/main_table.{{ending}}",
            ending=["tex", "md", "csv", "csv.provenance.json"],
        ),
    log:
        f"{LOGS}/write_pages.log",
    benchmark:
        f"{LOGS}/write_pages.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=fingerprint("switchyard.reporting.pages", "switchyard.reporting.paper"),
    script:
        "../workflow_scripts/write_pages.py"


rule write_report:
    """Write the findings in words, with the recommendations that follow from them."""
    input:
        AGGREGATES,
        summaries=SUMMARIES,
        speed=f"{STUDY}/evaluate/speed.json",
    output:
        markdown=f"{STUDY}/publish/report.md",
        page=report(
            f"{STUDY}/publish/report.html",
            caption="../reports/captions/report.rst",
            category="Findings",
            labels={"document": "findings and recommendations"},
        ),
    log:
        f"{LOGS}/write_report.log",
    benchmark:
        f"{LOGS}/write_report.tsv"
    conda:
        "../envs/report.yaml"
    params:
        study=config["study"],
        model=MODEL,
        code=fingerprint(
            "switchyard.reporting.markdown", "switchyard.reporting.pages", "switchyard.warehouse.prints"
        ),
    script:
        "../workflow_scripts/write_report.py"


rule publish_all:
    input:
        rules.draw_figures.output,
        rules.draw_nulls.output,
        rules.write_pages.output,
        rules.write_report.output,
