"""Aggregate: scores, traces and speed become one database, from which every number is taken.

Reads   evaluate/{model}/traces/, evaluate/{model}/scores/, evaluate/{model}/speed.json
Writes  study.duckdb                            documented tables and views; the 16 metrics in SQL
        evaluate/{model}/logs/{config}_{dataset}.json   the summary of each experiment
        aggregate/*.parquet, .csv, .json        results, configurations, layers, usage, comparisons
        aggregate/quantised_{routing,losses}.parquet, publish/quantised/   where models are quantised: what that changes
"""

QUANTISED = STUDY.quantised()

PRINTED = expand(
    f"{OUT}/aggregate/{{table}}.{{ending}}",
    table=["bh_routing_results", "bh_routing_configs"],
    ending=["parquet", "csv", "json", "csv.provenance.json", "json.provenance.json"],
)
STORED = expand(
    f"{OUT}/aggregate/{{table}}.parquet",
    table=["configurations", "routing_by_layer", "expert_usage", "count_distribution", "paired_differences"],
)
COMPARED = expand(
    f"{OUT}/aggregate/equal_compute.{{ending}}",
    ending=["parquet", "csv", "json", "csv.provenance.json", "json.provenance.json"],
)
SUMMARIES = STUDY.files("evaluate/{model}/logs/{config}_{dataset}.json")


localrules:
    write_summaries,
    write_tables,
    compare_at_equal_compute,


rule aggregate_all:
    input:
        f"{OUT}/study.duckdb",
        f"{OUT}/data-dictionary.md",
        SUMMARIES,
        PRINTED,
        STORED,
        COMPARED,
        expand(
            f"{OUT}/aggregate/quantised_{{table}}.parquet", table=["routing", "losses"] if QUANTISED else []
        ),


rule build_warehouse:
    """Compute the 16 metrics of every experiment in SQL, and refuse results that cannot be true."""
    input:
        scores=STUDY.files("evaluate/{model}/scores/{config}_{dataset}.parquet"),
        traces=STUDY.files("evaluate/{model}/traces/{config}_{dataset}.parquet"),
        scores_repeat=STUDY.files("evaluate/{model}/scores/{config}_{dataset}_repeat.parquet"),
        traces_repeat=STUDY.files("evaluate/{model}/traces/{config}_{dataset}_repeat.parquet"),
        speed=expand(f"{OUT}/evaluate/{{model}}/speed.json", model=STUDY.models),
        models=expand(f"{OUT}/prepare/models/{{model}}", model=STUDY.models),
    output:
        database=f"{OUT}/study.duckdb",
        dictionary=f"{OUT}/data-dictionary.md",
    log:
        f"{LOGS}/build_warehouse.log",
    benchmark:
        f"{LOGS}/build_warehouse.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        configurations=[one.described for one in STUDY.configurations.values()],
        kinds={name: STUDY.texts[name]["kind"] for name in STUDY.datasets},
        code=lambda _: STUDY.code("build_warehouse"),
    script:
        "../workflow_scripts/build_warehouse.py"


rule write_summaries:
    """Write the summary of every experiment: its head, the 16 metrics, everything else measured."""
    input:
        rules.build_warehouse.output.database,
    output:
        SUMMARIES,
    log:
        f"{LOGS}/write_summaries.log",
    benchmark:
        f"{LOGS}/write_summaries.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        code=lambda _: STUDY.code("write_summaries"),
    script:
        "../workflow_scripts/write_summaries.py"


rule write_tables:
    """Write the results tables, the same digits in Parquet, CSV and JSON."""
    input:
        rules.build_warehouse.output.database,
    output:
        PRINTED,
        STORED,
    log:
        f"{LOGS}/write_tables.log",
    benchmark:
        f"{LOGS}/write_tables.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        code=lambda _: STUDY.code("write_tables"),
    script:
        "../workflow_scripts/write_tables.py"


rule compare_at_equal_compute:
    """Compare every adaptive configuration with static top-k at its own mean number of experts, sample by sample."""
    input:
        rules.build_warehouse.output.database,
    output:
        COMPARED,
    log:
        f"{LOGS}/compare_at_equal_compute.log",
    benchmark:
        f"{LOGS}/compare_at_equal_compute.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        code=lambda _: STUDY.code("compare_at_equal_compute"),
    script:
        "../workflow_scripts/compare_at_equal_compute.py"


if QUANTISED:

    rule compare_quantised:
        """Compare each quantised model with the same weights as they are: experts of a token, router logits, loss."""
        input:
            STUDY.files("evaluate/{model}/traces/{config}_{dataset}.parquet", sum(QUANTISED, ())),
            STUDY.files("evaluate/{model}/scores/{config}_{dataset}.parquet", sum(QUANTISED, ())),
        output:
            routing=f"{OUT}/aggregate/quantised_routing.parquet",
            losses=f"{OUT}/aggregate/quantised_losses.parquet",
            drawing=report(
                f"{OUT}/publish/quantised/quantised_routing.svg",
                caption="../reports/captions/quantised_routing.rst",
                category="Quantised models",
                labels={"figure": "quantised_routing", "format": "SVG"},
            ),
            page=f"{OUT}/publish/quantised/quantised_routing.html",
            image=f"{OUT}/publish/quantised/quantised_routing.png",
        log:
            f"{LOGS}/compare_quantised.log",
        benchmark:
            f"{LOGS}/compare_quantised.tsv"
        conda:
            "../envs/report.yaml"
        params:
            pairs=[
                {
                    "model": own.model,
                    "base": base.model,
                    "dataset": own.dataset,
                    "trace": STUDY.files("evaluate/{model}/traces/{config}_{dataset}.parquet", [own])[0],
                    "base_trace": STUDY.files("evaluate/{model}/traces/{config}_{dataset}.parquet", [base])[
                        0
                    ],
                    "scores": STUDY.files("evaluate/{model}/scores/{config}_{dataset}.parquet", [own])[0],
                    "base_scores": STUDY.files("evaluate/{model}/scores/{config}_{dataset}.parquet", [base])[
                        0
                    ],
                }
                for own, base in QUANTISED
            ],
            quantise={own.model: config["models"][own.model]["quantise"] for own, _ in QUANTISED},
            keeps_logits=all(STUDY.experiment(*key).run.keep_logits for pair in QUANTISED for key in pair),
            code=lambda _: STUDY.code("compare_quantised"),
        script:
            "../workflow_scripts/compare_quantised.py"
