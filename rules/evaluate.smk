"""Evaluate: every configuration on every dataset, and the speed of a model's configurations side by side.

Reads   prepare/models/{model}/, prepare/datasets/{dataset}.parquet, what the rule reads of calibrate/{model}/
        and, for a configuration matched with another, the trace of that one
Writes  evaluate/{model}/traces/{config}_{dataset}.parquet   routing of every token in every layer, lossless
        evaluate/{model}/scores/{config}_{dataset}.parquet   what each sample's metric is made of
        evaluate/{model}/{traces,scores}/..._repeat.parquet  the first samples again, alone and in reversed order
        evaluate/{model}/logs/{config}_{dataset}_internal_routing.json
        evaluate/{model}/speed.json                          measured by one job for each model, alone on the machine
        evaluate/{model}/assessment.json                     how good the untouched model is
"""

EVALUATE = f"{OUT}/evaluate/{{model}}"


rule evaluate_all:
    input:
        STUDY.files("evaluate/{model}/traces/{config}_{dataset}.parquet"),
        STUDY.files("evaluate/{model}/scores/{config}_{dataset}.parquet"),
        STUDY.files("evaluate/{model}/logs/{config}_{dataset}_internal_routing.json"),
        expand(f"{EVALUATE}/assessment.json", model=config["models"]),
        expand(f"{EVALUATE}/speed.json", model=STUDY.models),


rule evaluate_experiment:
    """Run one configuration on one dataset."""
    input:
        unpack(lambda w: STUDY.rule_files(w.model, w.config, [w.dataset])),
        model=f"{OUT}/prepare/models/{{model}}",
        dataset=f"{OUT}/prepare/datasets/{{dataset}}.parquet",
    output:
        trace=f"{EVALUATE}/traces/{{config}}_{{dataset}}.parquet",
        scores=f"{EVALUATE}/scores/{{config}}_{{dataset}}.parquet",
        trace_repeat=f"{EVALUATE}/traces/{{config}}_{{dataset}}_repeat.parquet",
        scores_repeat=f"{EVALUATE}/scores/{{config}}_{{dataset}}_repeat.parquet",
        log=f"{EVALUATE}/logs/{{config}}_{{dataset}}_internal_routing.json",
    log:
        f"{LOGS}/evaluate_experiment/{{model}}_{{config}}_{{dataset}}.log",
    # Measures the process that waits; a worker does the work.
    benchmark:
        f"{LOGS}/evaluate_experiment/{{model}}_{{config}}_{{dataset}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **RESOURCES.model(config["evaluation"]["batch_tokens"], runtime=15, experiments=True),
    params:
        experiment=lambda w: STUDY.experiment(w.model, w.config, w.dataset).as_json(),
        reads=lambda w: STUDY.rule_files(w.model, w.config, [w.dataset]),
        code=lambda w: STUDY.code("evaluate_experiment", [(w.model, w.config)]),
    script:
        "../workflow_scripts/evaluate_experiment.py"


rule measure_speed:
    """Time prefill and decode of every configuration, interleaved in one process that has the machine to itself."""
    input:
        model=f"{OUT}/prepare/models/{{model}}",
        text=f"{OUT}/prepare/datasets/validation.parquet",
        rules=lambda w: STUDY.files_of_rules(w.model, STUDY.of(w.model)),
    output:
        f"{EVALUATE}/speed.json",
    log:
        f"{LOGS}/measure_speed/{{model}}.log",
    benchmark:
        f"{LOGS}/measure_speed/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: workflow.resource_settings.cores or 1  # workflow.cores is an error where nothing runs (--report)
    resources:
        **RESOURCES.model(config["speed"]["prefill_tokens"], runtime=120, experiments=True),
        slurm_extra="--exclusive",
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        settings=lambda w: {name: one.job for name, one in STUDY.of(w.model).items()},
        reads=lambda w: {name: STUDY.rule_files(w.model, name, STUDY.datasets) for name in STUDY.of(w.model)},
        speed=config["speed"],
        code=lambda w: STUDY.code("measure_speed", [(w.model, name) for name in STUDY.of(w.model)]),
    script:
        "../workflow_scripts/measure_speed.py"


rule assess_model:
    """Say how good an untouched model is, against chance, and how evenly it uses its experts."""
    input:
        model=f"{OUT}/prepare/models/{{model}}",
        datasets=expand(f"{OUT}/prepare/datasets/{{dataset}}.parquet", dataset=STUDY.datasets),
    output:
        f"{EVALUATE}/assessment.json",
    log:
        f"{LOGS}/assess_model/{{model}}.log",
    benchmark:
        f"{LOGS}/assess_model/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **RESOURCES.model(config["evaluation"]["batch_tokens"]),
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        datasets={name: STUDY.texts[name]["max_length"] for name in STUDY.datasets},
        samples=config["evaluation"]["assessment_samples"],
        batch_tokens=config["evaluation"]["batch_tokens"],
        threads=config["evaluation"]["threads"],
        code=lambda _: STUDY.code("assess_model"),
    script:
        "../workflow_scripts/assess_model.py"
