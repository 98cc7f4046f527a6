"""Aggregate: scores, traces and speed become one database, from which every number is taken.

Reads   evaluate/traces/, evaluate/scores/, evaluate/speed.json
Writes  study.duckdb                            documented tables and views; the 16 metrics in SQL
        evaluate/logs/{config}_{dataset}.json   the summary of each experiment
        aggregate/*.parquet, .csv, .json        results, configurations, layers, usage, comparisons
"""

PRINTED = expand(
    f"{STUDY}/aggregate/{{table}}.{{ending}}",
    table=["bh_routing_results", "bh_routing_configs"],
    ending=["parquet", "csv", "json", "csv.provenance.json", "json.provenance.json"],
)
STORED = expand(
    f"{STUDY}/aggregate/{{table}}.parquet",
    table=["configurations", "routing_by_layer", "expert_usage", "count_distribution", "paired_differences"],
)
COMPARED = expand(
    f"{STUDY}/aggregate/equal_compute.{{ending}}",
    ending=["parquet", "csv", "json", "csv.provenance.json", "json.provenance.json"],
)
SUMMARIES = expand(f"{STUDY}/evaluate/logs/{{experiment}}.json", experiment=EXPERIMENTS)


localrules:
    write_summaries,
    write_tables,
    compare_at_equal_compute,


rule aggregate_all:
    input:
        f"{STUDY}/study.duckdb",
        f"{STUDY}/data-dictionary.md",
        SUMMARIES,
        PRINTED,
        STORED,
        COMPARED,


rule build_warehouse:
    """Compute the 16 metrics of every experiment in SQL, and refuse results that cannot be true."""
    input:
        scores=expand(f"{STUDY}/evaluate/scores/{{experiment}}.parquet", experiment=EXPERIMENTS),
        traces=expand(f"{STUDY}/evaluate/traces/{{experiment}}.parquet", experiment=EXPERIMENTS),
        scores_repeat=expand(f"{STUDY}/evaluate/scores/{{experiment}}_repeat.parquet", experiment=EXPERIMENTS),
        traces_repeat=expand(f"{STUDY}/evaluate/traces/{{experiment}}_repeat.parquet", experiment=EXPERIMENTS),
        speed=f"{STUDY}/evaluate/speed.json",
        model=f"{STUDY}/prepare/models/{MODEL}",
    output:
        database=f"{STUDY}/study.duckdb",
        dictionary=f"{STUDY}/data-dictionary.md",
    log:
        f"{LOGS}/build_warehouse.log",
    benchmark:
        f"{LOGS}/build_warehouse.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        told=[
            {"kind": TEXTS[dataset]["kind"], **one.told} for one in CONFIGS.values() for dataset in DATASETS
        ],
        code=code_of("build_warehouse"),
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
        code=code_of("write_summaries"),
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
        code=code_of("write_tables"),
    script:
        "../workflow_scripts/write_tables.py"


rule compare_at_equal_compute:
    """Hold every adaptive configuration against static top-k at its own mean number of experts, sample by sample."""
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
        code=code_of("compare_at_equal_compute"),
    script:
        "../workflow_scripts/compare_at_equal_compute.py"
