"""Publish: figures, tables and words, made from the aggregate tables, and a page that looks into the traces.

Reads   aggregate/*.parquet, calibrate/{model}/null_*.parquet, observe/{model}/, evaluate/{model}/speed.json,
        var/{model}/{comparison.json,sweep.parquet}, search/{model}/, profile/{model}/, a few traces
Writes  publish/figures/{model}/{figure}.{svg,png,html}   the nine-panel figure, comparisons, nulls
        publish/panels/{model}/{figure}.{svg,png,html}    each panel of the nine-panel figure alone
        publish/routing/{model}/{figure}.{svg,png,html}   how the untouched models route token ids
        publish/var/{model}/{figure}.{svg,png,html}       VAR against the untouched model, and where it begins to act
        publish/search/{model}/{figure}.{svg,png,html}    what searching VAR's thresholds found
        publish/profile/{model}/{figure}.{svg,png,html}   where the time goes, and where a rule would pay
        publish/report.md, report.html            findings and recommendations, from the templates in reports/
        publish/tables/                           the tables as pages, the inspectors, the main table for a paper, and
                                                  findings.csv, every number that the report prints
        paper/tables/, figures/, numbers.tex      tables, figures and numbers of the paper, as LaTeX and PDF
        paper/paper.pdf, supplementary.pdf        where latexmk is installed; else a line says that they are missing
"""

import shutil

from switchyard.charts.names import (
    ABLATION,
    FIGURES,
    PROFILE as PROFILE_FIGURES,
    ROUTING,
    SEARCH as SEARCH_FIGURES,
    STANDALONE,
    VAR as VAR_FIGURES,
)

AGGREGATES = [*rules.write_tables.output, *rules.compare_at_equal_compute.output]


localrules:
    draw_figures,
    draw_nulls,
    write_pages,
    write_routing_pages,
    draw_var,
    write_var_page,
    draw_search,
    draw_ablation,
    write_search_page,
    draw_profile,
    write_profile_page,
    write_report,
    write_paper,
    draw_paper,
    compile_paper,


rule draw_figures:
    """Draw the whole figures of a model, and each panel of the nine-panel figure alone."""
    input:
        AGGREGATES,
    output:
        [figure(name) for name in STANDALONE],
        [figure(name, folder="panels", category="Panels") for name in FIGURES],
    log:
        f"{LOGS}/draw_figures/{{model}}.log",
    benchmark:
        f"{LOGS}/draw_figures/{{model}}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("draw_figures"),
    script:
        "../workflow_scripts/draw_figures.py"


rule draw_nulls:
    """Draw the p-value histograms of every null on held-out text, and how often it rejects nothing there."""
    input:
        check=f"{OUT}/calibrate/{{model}}/null_check.parquet",
        summary=f"{OUT}/calibrate/{{model}}/null_summary.parquet",
    output:
        figure("null_histograms", category="Calibration"),
        figure("simes_check", category="Calibration"),
    log:
        f"{LOGS}/draw_nulls/{{model}}.log",
    benchmark:
        f"{LOGS}/draw_nulls/{{model}}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("draw_nulls"),
    script:
        "../workflow_scripts/draw_nulls.py"


rule write_pages:
    """Write the tables of the study as pages, and the main table for a paper."""
    input:
        AGGREGATES,
        nulls=expand(f"{OUT}/calibrate/{{model}}/null_summary.parquet", model=STUDY.models),
        speed=expand(f"{EVALUATE}/speed.json", model=STUDY.models),
        dictionary=f"{OUT}/data-dictionary.md",
        models=expand(f"{EVALUATE}/assessment.json", model=config["models"]),
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
            f"{OUT}/publish/tables/main_table.{{ending}}",
            ending=["tex", "md", "csv", "csv.provenance.json"],
        ),
    log:
        f"{LOGS}/write_pages.log",
    benchmark:
        f"{LOGS}/write_pages.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("write_pages"),
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
        code=lambda _: STUDY.code("write_routing_pages"),
    script:
        "../workflow_scripts/write_routing_pages.py"


rule draw_routing:
    """Draw how an untouched model routes token ids, layer by layer."""
    input:
        statistics=f"{OBSERVE}/routing_stats.parquet",
        counts=f"{OBSERVE}/expert_counts.parquet",
        context=f"{OBSERVE}/context.parquet",
        verdict=f"{OBSERVE}/verdict.json",
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        [figure(name, folder="routing", category="Routing statistics") for name in ROUTING],
    log:
        f"{LOGS}/draw_routing/{{model}}.log",
    benchmark:
        f"{LOGS}/draw_routing/{{model}}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("draw_routing"),
    script:
        "../workflow_scripts/draw_routing.py"


rule draw_var:
    """Draw VAR against the untouched model, and where it begins to act."""
    input:
        comparison=f"{VAR}/comparison.json",
        sweep=f"{VAR}/sweep.parquet",
    output:
        [figure(name, folder="var", category="VAR") for name in VAR_FIGURES],
    log:
        f"{LOGS}/draw_var/{{model}}.log",
    benchmark:
        f"{LOGS}/draw_var/{{model}}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("draw_var"),
    script:
        "../workflow_scripts/draw_var.py"


rule write_var_page:
    """Write what VAR costs and saves on each model, with the criteria that were set beforehand."""
    input:
        comparisons=expand(f"{VAR}/comparison.json", model=STUDY.var_models),
        sweeps=expand(f"{VAR}/sweep.parquet", model=STUDY.var_models),
        ceilings=expand(f"{OBSERVE}/ceiling.json", model=STUDY.var_models),
        contexts=expand(f"{OBSERVE}/context.parquet", model=STUDY.var_models),
    output:
        page("var", "VAR"),
    log:
        f"{LOGS}/write_var_page.log",
    benchmark:
        f"{LOGS}/write_var_page.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("write_var_page"),
    script:
        "../workflow_scripts/write_var_page.py"


rule draw_search:
    """Draw the search trajectory of each method, all points with their Pareto front, and the effect of each dimension."""
    input:
        trajectories=[f"{SEARCH}/{method}/trajectory.parquet" for method in PLAN.methods],
        summary=f"{SEARCH}/summary.json",
        sensitivity=f"{SEARCH}/sensitivity.parquet",
    output:
        [figure(name, folder="search", category="Search") for name in SEARCH_FIGURES],
        [
            f"{OUT}/publish/search/{{model}}/{name}.{ending}"
            for name in SEARCH_FIGURES
            for ending in ("pdf", "pdf.provenance.json")
        ],
    log:
        f"{LOGS}/draw_search/{{model}}.log",
    benchmark:
        f"{LOGS}/draw_search/{{model}}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        methods=PLAN.methods,
        code=lambda _: STUDY.code("draw_search"),
    script:
        "../workflow_scripts/draw_search.py"


rule draw_ablation:
    """Draw the ablation of VAR and BH."""
    input:
        f"{SEARCH}/ablation.parquet",
    output:
        figure(ABLATION, folder="search", category="Search"),
    log:
        f"{LOGS}/draw_ablation/{{model}}.log",
    benchmark:
        f"{LOGS}/draw_ablation/{{model}}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("draw_ablation"),
    script:
        "../workflow_scripts/draw_ablation.py"


rule write_search_page:
    """Write the shares of useful points, the best points, and whether they hold on the final text."""
    input:
        summaries=expand(f"{SEARCH}/summary.json", model=PLAN.models),
        sensitivities=expand(f"{SEARCH}/sensitivity.parquet", model=PLAN.models),
    output:
        page("search", "Search"),
    log:
        f"{LOGS}/write_search_page.log",
    benchmark:
        f"{LOGS}/write_search_page.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("write_search_page"),
    script:
        "../workflow_scripts/write_search_page.py"


rule draw_profile:
    """Draw where the time of a model goes, what limits it, and where a rule is faster."""
    input:
        **{table: f"{PROFILE}/{table}.csv" for table in ("components", "scaling", "roofline")},
        latency=f"{PROFILE}/latency.parquet",
        performance_model=f"{PROFILE}/performance_model.json",
    output:
        [figure(name, folder="profile", category="Profile") for name in PROFILE_FIGURES],
    log:
        f"{LOGS}/draw_profile/{{model}}.log",
    benchmark:
        f"{LOGS}/draw_profile/{{model}}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("draw_profile"),
    script:
        "../workflow_scripts/draw_profile.py"


rule write_profile_page:
    """Write where the time of each model goes, what the rules add, and how far the performance model is off."""
    input:
        models=expand(f"{PROFILE}/performance_model.json", model=STUDY.profiled),
        others=expand(
            f"{PROFILE}/{{file}}",
            model=STUDY.profiled,
            file=["components.csv", "roofline.csv", "latency.parquet", "overhead.json"],
        ),
    output:
        page("profile", "Profile"),
    log:
        f"{LOGS}/write_profile_page.log",
    benchmark:
        f"{LOGS}/write_profile_page.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("write_profile_page"),
    script:
        "../workflow_scripts/write_profile_page.py"


rule write_inspector:
    """Write the page that shows texts token by token, with the experts that each token got."""
    input:
        traces=lambda w: STUDY.files(
            "evaluate/{model}/traces/{config}_{dataset}.parquet", STUDY.inspected_experiments(w.model)
        ),
        scores=lambda w: STUDY.files(
            "evaluate/{model}/scores/{config}_{dataset}.parquet", STUDY.inspected_experiments(w.model)
        ),
        model=f"{OUT}/prepare/models/{{model}}",
        rules=lambda w: STUDY.files_of_rules(w.model, STUDY.inspected(w.model)),
    output:
        report(
            f"{OUT}/publish/tables/{{model}}/inspector.html",
            caption="../reports/captions/inspector.rst",
            category="Samples",
            labels={"model": "{model}", "table": "inspector"},
        ),
    log:
        f"{LOGS}/write_inspector/{{model}}.log",
    benchmark:
        f"{LOGS}/write_inspector/{{model}}.tsv"
    conda:
        "../envs/text.yaml"
    params:
        configurations=lambda w: {
            name: {
                "label": STUDY.configurations[w.model, name].label,
                "rule": STUDY.configurations[w.model, name].job,
                "files": STUDY.rule_files(w.model, name, STUDY.datasets),
            }
            for name in STUDY.inspected(w.model)
        },
        samples=config["inspector"]["samples"],
        max_tokens=config["inspector"]["max_tokens"],
        code=lambda w: STUDY.code("write_inspector", [(w.model, name) for name in STUDY.inspected(w.model)]),
    script:
        "../workflow_scripts/write_inspector.py"


rule write_report:
    """Write the findings in words, with the recommendations that follow from them."""
    input:
        AGGREGATES,
        summaries=SUMMARIES,
        speed=expand(f"{EVALUATE}/speed.json", model=STUDY.models),
        skipped=expand(f"{OUT}/prepare/skipped/{{dataset}}.parquet", dataset=STUDY.datasets),
        var=expand(f"{VAR}/comparison.json", model=STUDY.var_models),
        templates=STUDY.shipped("reports/*.md.j2", "reports/report/*.j2"),
    output:
        front=f"{OUT}/publish/answer.html",
        front_stamp=f"{OUT}/publish/answer.html.provenance.json",
        front_figure=f"{OUT}/publish/answer.svg",
        markdown=f"{OUT}/publish/report.md",
        findings=f"{OUT}/publish/tables/findings.csv",
        findings_stamp=f"{OUT}/publish/tables/findings.csv.provenance.json",
        page=report(
            f"{OUT}/publish/report.html",
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
        model=STUDY.models[0],
        code=lambda _: STUDY.code("write_report"),
    script:
        "../workflow_scripts/write_report.py"


PAPER = f"{OUT}/paper"
HAS_LATEX = shutil.which("latexmk") is not None
PAPER_MODEL = (STUDY.var_models or STUDY.models)[0]  # whose routing the figures show
PAPER_TABLES = [
    "routing_by_frequency",
    "downstream",
    "performance",
    "metrics_cost",
    "metrics_routing",
    "verdicts",
    "league",
]
PAPER_TABLES += ["ablation"] if PLAN.ablated else []
PAPER_TABLES += ["sensitivity"] if PLAN.models else []
# What only some studies run; the paper leaves out the figures that are not made.
PAPER_EXTRAS = {
    "latency_cdf": [f"{OUT}/profile/{PAPER_MODEL}/latency.parquet"] if PAPER_MODEL in STUDY.profiled else [],
    "ablation": [f"{OUT}/search/{PAPER_MODEL}/ablation.parquet"] if PAPER_MODEL in PLAN.ablated else [],
    "search_sensitivity": [f"{OUT}/search/{model}/sensitivity.parquet" for model in PLAN.models[:1]],
}
PAPER_FIGURES = ["var_paths", "frontier", "frequency_vs_entropy", "var_comparison"]
PAPER_FIGURES += [name for name, files in PAPER_EXTRAS.items() if files]


if not HAS_LATEX:

    # Not an error: everything but the two PDF files is made.
    onsuccess:
        print(
            f"{PAPER}/paper.pdf is not made: latexmk is missing; install it (apt install latexmk "
            "texlive-latex-recommended texlive-fonts-recommended lmodern) and run the same command again",
            file=sys.stderr,
        )


rule write_paper:
    """Write the paper's tables as LaTeX and CSV, and its numbers and claims as macros."""
    input:
        findings=[rules.write_report.output.findings],
        answer=[rules.write_report.output.front],
        tables=[f"{OUT}/aggregate/{name}.parquet" for name in ("bh_routing_configs", "configurations")],
        stats=expand(f"{OBSERVE}/routing_stats.parquet", model=STUDY.var_models),
        comparisons=expand(f"{VAR}/comparison.json", model=STUDY.var_models),
        speeds=expand(f"{VAR}/speed.json", model=STUDY.var_models),
        ablations=expand(f"{SEARCH}/ablation.parquet", model=PLAN.ablated),
        sensitivities=expand(f"{SEARCH}/sensitivity.parquet", model=PLAN.models),
    output:
        tables=expand(f"{PAPER}/tables/{{name}}.{{ending}}", name=PAPER_TABLES, ending=["tex", "csv"]),
        stamps=expand(f"{PAPER}/tables/{{name}}.csv.provenance.json", name=PAPER_TABLES),
        numbers=f"{PAPER}/numbers.tex",
        cells=expand(f"{PAPER}/numbers.{{ending}}", ending=["csv", "csv.provenance.json"]),
    log:
        f"{LOGS}/write_paper.log",
    benchmark:
        f"{LOGS}/write_paper.tsv"
    conda:
        "../envs/report.yaml"
    params:
        study=config["study"],
        models=STUDY.var_models,
        thresholds={
            name: config["observation"][name] for name in ("frequency_threshold", "entropy_threshold")
        },
        code=lambda _: STUDY.code("write_paper"),
    script:
        "../workflow_scripts/write_paper.py"


rule draw_paper:
    """Draw the paper's figures as vector PDF."""
    input:
        AGGREGATES,
        **PAPER_EXTRAS,
        statistics=f"{OUT}/observe/{PAPER_MODEL}/routing_stats.parquet",
        verdict=f"{OUT}/observe/{PAPER_MODEL}/verdict.json",
        model=f"{OUT}/prepare/models/{PAPER_MODEL}",
        comparison=f"{OUT}/var/{PAPER_MODEL}/comparison.json",
    output:
        expand(
            f"{PAPER}/figures/{{name}}.{{ending}}", name=PAPER_FIGURES, ending=["pdf", "pdf.provenance.json"]
        ),
    log:
        f"{LOGS}/draw_paper.log",
    benchmark:
        f"{LOGS}/draw_paper.tsv"
    conda:
        "../envs/report.yaml"
    params:
        model=STUDY.models[0],
        code=lambda _: STUDY.code("draw_paper"),
    script:
        "../workflow_scripts/draw_paper.py"


rule compile_paper:
    """Compile the paper and its supplementary material; needs latexmk."""
    input:
        rules.write_paper.output,
        rules.draw_paper.output,
        sources=STUDY.shipped("paper/*.tex"),
    output:
        paper=f"{PAPER}/paper.pdf",
        supplementary=f"{PAPER}/supplementary.pdf",
        stamps=expand(f"{PAPER}/{{name}}.pdf.provenance.json", name=["paper", "supplementary"]),
    log:
        f"{LOGS}/compile_paper.log",
    benchmark:
        f"{LOGS}/compile_paper.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("compile_paper"),
    script:
        "../workflow_scripts/compile_paper.py"


rule publish_all:
    input:
        expand(rules.draw_figures.output, model=STUDY.models),
        expand(rules.draw_nulls.output, model=STUDY.models),
        rules.write_pages.output,
        rules.write_routing_pages.output,
        expand(rules.draw_routing.output, model=OBSERVED),
        expand(rules.draw_var.output, model=STUDY.var_models),
        rules.write_var_page.output,
        expand(rules.draw_search.output, model=PLAN.models),
        expand(rules.draw_ablation.output, model=PLAN.ablated),
        rules.write_search_page.output if PLAN.models else [],
        expand(rules.draw_profile.output, model=STUDY.profiled),
        rules.write_profile_page.output if STUDY.profiled else [],
        rules.write_paper.output,
        rules.draw_paper.output,
        rules.compile_paper.output if HAS_LATEX else [],
        expand(rules.write_inspector.output, model=STUDY.models),
        rules.write_report.output,
