"""Publish: figures, tables and words, made from the aggregate tables, and a page that looks into the traces.

Reads   aggregate/*.parquet, calibrate/*_null_*.parquet, observe/{model}/, evaluate/speed.json, evaluate/traces/ of a few configurations
Writes  publish/figures/{figure}.{svg,png,html}   the nine-panel figure, each panel alone, comparisons, nulls
        publish/routing/{model}/{figure}.{svg,png,html}   how the untouched models route token ids
        publish/report.md, report.html            findings and recommendations, from the templates in reports/
        publish/tables/                           the tables as pages, the inspector, the main table for a paper, and
                                                  findings.csv, every number that the report prints
"""

from switchyard.charts.names import FIGURES, ROUTING, STANDALONE

AGGREGATES = [*rules.write_tables.output, *rules.compare_at_equal_compute.output]


localrules:
    draw_figures,
    draw_nulls,
    write_pages,
    write_routing_pages,
    write_report,


rule draw_figures:
    """Draw the whole figures, and each panel of the nine-panel figure alone."""
    input:
        AGGREGATES,
    output:
        [figure(name) for name in STANDALONE],
        [figure(name, folder="panels", category="Panels") for name in FIGURES],
    log:
        f"{LOGS}/draw_figures.log",
    benchmark:
        f"{LOGS}/draw_figures.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=fingerprint("switchyard.charts.whole", "switchyard.charts.panels", "switchyard.charts.save"),
    script:
        "../workflow_scripts/draw_figures.py"


rule draw_nulls:
    """Draw the p-value histograms of every null on held-out text, and how often it rejects nothing there."""
    input:
        check=f"{STUDY}/calibrate/{MODEL}_null_check.parquet",
        summary=f"{STUDY}/calibrate/{MODEL}_null_summary.parquet",
    output:
        figure("null_histograms", category="Calibration"),
        figure("simes_check", category="Calibration"),
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
        equal_compute=page("equal_compute", "Tables"),
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


rule write_routing_pages:
    """Write what observing the untouched models found: the hypothesis, routing tables, analyses."""
    input:
        verdicts=expand(f"{OBSERVE}/verdict.json", model=OBSERVED),
        ceilings=expand(f"{OBSERVE}/ceiling.json", model=OBSERVED),
        contexts=expand(f"{OBSERVE}/context.parquet", model=OBSERVED),
        analyses=[
            *expand(
                f"{OBSERVE}/analyses/{{table}}.parquet", model=OBSERVED, table=[*ANALYSES, *SPECIALISATION]
            ),
            *expand(f"{OBSERVE}/analyses/saturation.parquet", model=SATURATED),
        ],
    output:
        hypothesis=page("hypothesis", "Routing statistics"),
        tables=page("routing_tables", "Routing statistics"),
        measures=page("routing_analyses", "Routing statistics"),
    log:
        f"{LOGS}/write_routing_pages.log",
    benchmark:
        f"{LOGS}/write_routing_pages.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=fingerprint("switchyard.reporting.routing"),
    script:
        "../workflow_scripts/write_routing_pages.py"


rule draw_routing:
    """Draw how an untouched model routes token ids, layer by layer."""
    input:
        statistics=f"{OBSERVE}/routing_stats.parquet",
        counts=f"{OBSERVE}/expert_counts.parquet",
        context=f"{OBSERVE}/context.parquet",
        verdict=f"{OBSERVE}/verdict.json",
        model=f"{STUDY}/prepare/models/{{model}}",
    output:
        [
            figure(name, folder="routing/{model}", category="Routing statistics", model="{model}")
            for name in ROUTING
        ],
    log:
        f"{LOGS}/draw_routing/{{model}}.log",
    benchmark:
        f"{LOGS}/draw_routing/{{model}}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=fingerprint("switchyard.charts.observed", "switchyard.charts.save"),
    script:
        "../workflow_scripts/draw_routing.py"


rule write_inspector:
    """Write the page that shows texts token by token, with the experts that each token got."""
    input:
        traces=expand(f"{STUDY}/evaluate/traces/{{c}}_{{d}}.parquet", d=DATASETS, c=INSPECTED),
        scores=expand(f"{STUDY}/evaluate/scores/{{c}}_{{d}}.parquet", d=DATASETS, c=INSPECTED),
        model=f"{STUDY}/prepare/models/{MODEL}",
        rules=files_of_rules(INSPECTED),
    output:
        page("inspector", "Samples"),
    log:
        f"{LOGS}/write_inspector.log",
    benchmark:
        f"{LOGS}/write_inspector.tsv"
    conda:
        "../envs/text.yaml"
    params:
        settings={name: CONFIGS[name].job for name in INSPECTED},
        files={name: rule_files(name, DATASETS) for name in INSPECTED},
        labels={name: CONFIGS[name].label for name in INSPECTED},
        samples=config["inspector"]["samples"],
        max_tokens=config["inspector"]["max_tokens"],
        code=fingerprint(
            "switchyard.reporting.inspector",
            "switchyard.study.experiment",
            "switchyard.models.load",
            *rule_modules(*INSPECTED),
        ),
    script:
        "../workflow_scripts/write_inspector.py"


rule write_report:
    """Write the findings in words, with the recommendations that follow from them."""
    input:
        AGGREGATES,
        summaries=SUMMARIES,
        speed=f"{STUDY}/evaluate/speed.json",
        templates=[
            f"{ROOT}/reports/report.md.j2",
            *sorted(map(str, (ROOT / "reports" / "report").glob("*.j2"))),
        ],
    output:
        markdown=f"{STUDY}/publish/report.md",
        findings=f"{STUDY}/publish/tables/findings.csv",
        findings_stamp=f"{STUDY}/publish/tables/findings.csv.provenance.json",
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
            "switchyard.reporting.findings",
            "switchyard.reporting.report",
            "switchyard.reporting.pages",
            "switchyard.warehouse.prints",
        ),
    script:
        "../workflow_scripts/write_report.py"


rule publish_all:
    input:
        rules.draw_figures.output,
        rules.draw_nulls.output,
        rules.write_pages.output,
        rules.write_routing_pages.output,
        expand(rules.draw_routing.output, model=OBSERVED),
        rules.write_inspector.output,
        rules.write_report.output,
