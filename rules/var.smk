"""VAR: experts looked up by token id or in a cache, against the untouched models.

Reads   prepare/models/{model}/, prepare/datasets/ of var.datasets, observe/{model}/{routing_stats,expert_counts}.parquet
Writes  var/{model}/routing_table.parquet     experts and weights of each layer and token id, from the offline split
        var/configs/{preset}_var_config.json  the presets, and configurations of one's own
        var/{model}/runs/{name}_{dataset}_seed{n}.json   one evaluation each; `baseline` is the untouched model
        var/{model}/speed.json                all of them interleaved, alone on the machine
        var/{model}/sweep.parquet             where VAR begins to act: points over its thresholds, and controls
        var/{model}/comparison.{json,csv}, baseline.json, var.json, var_performance.json, statistical_tests.json
"""

VAR = f"{OUT}/var/{{model}}"
VAR_NAMES = ["baseline", *STUDY.var_configs]


localrules:
    make_routing_table,
    write_var_configs,
    compare_var,


rule var_all:
    input:
        expand(
            f"{VAR}/{{file}}",
            model=STUDY.var_models,
            file=["routing_table.parquet", "comparison.json", "sweep.parquet"],
        ),
        expand(f"{OUT}/var/configs/{{name}}_var_config.json", name=STUDY.var_configs),


rule make_routing_table:
    """List the experts that each token id is routed to most in every layer, from the observed text."""
    input:
        statistics=f"{OUT}/observe/{{model}}/routing_stats.parquet",
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        f"{VAR}/routing_table.parquet",
    log:
        f"{LOGS}/make_routing_table/{{model}}.log",
    benchmark:
        f"{LOGS}/make_routing_table/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        code=lambda _: STUDY.code("make_routing_table"),
    script:
        "../workflow_scripts/make_routing_table.py"


rule write_var_configs:
    """Write each configuration as the JSON that VARConfig reads."""
    output:
        expand(f"{OUT}/var/configs/{{name}}_var_config.json", name=STUDY.var_configs),
    log:
        f"{LOGS}/write_var_configs.log",
    benchmark:
        f"{LOGS}/write_var_configs.tsv"
    conda:
        "../envs/model.yaml"
    params:
        configs=STUDY.var_configs,
        code=lambda _: STUDY.code("write_var_configs"),
    script:
        "../workflow_scripts/write_var_configs.py"


rule evaluate_var:
    """Run the untouched model and VAR's configurations on the samples that each seed draws."""
    input:
        model=f"{OUT}/prepare/models/{{model}}",
        table=rules.make_routing_table.output[0],
        datasets=expand(f"{OUT}/prepare/datasets/{{dataset}}.parquet", dataset=config["var"]["datasets"]),
    output:
        [
            f"{VAR}/runs/{name}_{dataset}_seed{seed}.json"
            for name in VAR_NAMES
            for dataset in config["var"]["datasets"]
            for seed in config["var"]["seeds"]
        ],
    log:
        f"{LOGS}/evaluate_var/{{model}}.log",
    benchmark:
        f"{LOGS}/evaluate_var/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **RESOURCES.model(config["var"]["batch_tokens"], runtime=120),
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        configs=STUDY.var_configs,
        var={key: config["var"][key] for key in ("datasets", "samples", "seeds", "tokens_per_second")},
        batch_tokens=config["var"]["batch_tokens"],
        code=lambda _: STUDY.code("evaluate_var"),
    script:
        "../workflow_scripts/evaluate_var.py"


rule measure_var_speed:
    """Time prefill and decode of the untouched model and VAR's configurations, interleaved, alone on the machine."""
    input:
        model=f"{OUT}/prepare/models/{{model}}",
        table=rules.make_routing_table.output[0],
        text=f"{OUT}/prepare/datasets/validation.parquet",
    output:
        f"{VAR}/speed.json",
    log:
        f"{LOGS}/measure_var_speed/{{model}}.log",
    benchmark:
        f"{LOGS}/measure_var_speed/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: workflow.resource_settings.cores or 1
    resources:
        **RESOURCES.model(config["speed"]["prefill_tokens"], runtime=60),
        slurm_extra="--exclusive",
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        configs=STUDY.var_configs,
        tokens_per_second=config["var"]["tokens_per_second"],
        speed={**config["speed"], "rounds": config["var"]["rounds"]},
        code=lambda _: STUDY.code("measure_var_speed"),
    script:
        "../workflow_scripts/measure_var_speed.py"


rule sweep_var:
    """Run VAR over its thresholds, and rules that look nothing up, on the same samples."""
    input:
        model=f"{OUT}/prepare/models/{{model}}",
        table=rules.make_routing_table.output[0],
        counts=f"{OUT}/observe/{{model}}/expert_counts.parquet",
        text=f"{OUT}/prepare/datasets/{STUDY.swept_text}.parquet",
    output:
        f"{VAR}/sweep.parquet",
    log:
        f"{LOGS}/sweep_var/{{model}}.log",
    # Measures the process that waits; a worker does the work.
    benchmark:
        f"{LOGS}/sweep_var/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **RESOURCES.model(config["var"]["batch_tokens"], runtime=120),
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        settings={**config["var"]["sweep"], "batch_tokens": config["var"]["batch_tokens"]},
        dataset=config["var"]["datasets"][STUDY.swept_text],
        tokens_per_second=config["var"]["tokens_per_second"],
        code=lambda _: STUDY.code("sweep_var"),
    script:
        "../workflow_scripts/sweep_var.py"


rule compare_var:
    """Compare VAR with the untouched model, paired by sample and by round, and judge it by the criteria set beforehand."""
    input:
        runs=rules.evaluate_var.output,
        speed=rules.measure_var_speed.output[0],
    output:
        comparison=f"{VAR}/comparison.json",
        table=f"{VAR}/comparison.csv",
        baseline=f"{VAR}/baseline.json",
        var=f"{VAR}/var.json",
        performance=f"{VAR}/var_performance.json",
        tests=f"{VAR}/statistical_tests.json",
    log:
        f"{LOGS}/compare_var/{{model}}.log",
    benchmark:
        f"{LOGS}/compare_var/{{model}}.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        configs=list(STUDY.var_configs),
        datasets=list(config["var"]["datasets"]),
        code=lambda _: STUDY.code("compare_var"),
    script:
        "../workflow_scripts/compare_var.py"
