"""Evaluate: every configuration on every dataset, and the speed of all configurations side by side.

Reads   prepare/models/{model}/, prepare/datasets/{dataset}.parquet, what the rule reads of calibrate/
        and, for a configuration matched with another, the trace of that one
Writes  evaluate/traces/{config}_{dataset}.parquet   routing of every token in every layer, lossless
        evaluate/scores/{config}_{dataset}.parquet   what each sample's metric is made of
        evaluate/{traces,scores}/..._repeat.parquet  the first samples again, alone and in reversed order
        evaluate/logs/{config}_{dataset}_internal_routing.json
        evaluate/speed.json                          measured by one job, alone on the machine
        evaluate/models/{model}.json                 how good the untouched models are
"""


rule evaluate_all:
    input:
        expand(
            f"{STUDY}/evaluate/{{part}}/{{experiment}}.parquet",
            part=["traces", "scores"],
            experiment=EXPERIMENTS,
        ),
        expand(f"{STUDY}/evaluate/logs/{{experiment}}_internal_routing.json", experiment=EXPERIMENTS),
        expand(f"{STUDY}/evaluate/models/{{model}}.json", model=config["models"]),
        f"{STUDY}/evaluate/speed.json",


rule evaluate_experiment:
    """Run one configuration on one dataset."""
    input:
        unpack(lambda w: rule_files(w.config, [w.dataset])),
        model=f"{STUDY}/prepare/models/{MODEL}",
        dataset=f"{STUDY}/prepare/datasets/{{dataset}}.parquet",
    output:
        trace=f"{STUDY}/evaluate/traces/{{config}}_{{dataset}}.parquet",
        scores=f"{STUDY}/evaluate/scores/{{config}}_{{dataset}}.parquet",
        trace_repeat=f"{STUDY}/evaluate/traces/{{config}}_{{dataset}}_repeat.parquet",
        scores_repeat=f"{STUDY}/evaluate/scores/{{config}}_{{dataset}}_repeat.parquet",
        log=f"{STUDY}/evaluate/logs/{{config}}_{{dataset}}_internal_routing.json",
    log:
        f"{LOGS}/evaluate_experiment/{{config}}_{{dataset}}.log",
    # Measures the process that waits; the work itself is done in a fork of the run's warm process.
    benchmark:
        f"{LOGS}/evaluate_experiment/{{config}}_{{dataset}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **model_resources(config["evaluation"]["batch_tokens"], runtime=15, configs=CONFIGS),
    params:
        study=config["study"],
        model=MODEL,
        dtype=config["models"][MODEL]["dtype"],
        setting=lambda w: CONFIGS[w.config].job,
        reads=lambda w: rule_files(w.config, [w.dataset]),
        samples=lambda w: TEXTS[w.dataset]["samples"],
        max_length=lambda w: TEXTS[w.dataset]["max_length"],
        run=lambda w: {
            **{key: config["evaluation"][key] for key in ("batch_tokens", "threads", *RUN_SETTINGS)},
            **CONFIGS[w.config].run,
        },
        code=lambda w: fingerprint("switchyard.evaluation.job", *rule_modules(w.config)),
    script:
        "../workflow_scripts/evaluate_experiment.py"


rule measure_speed:
    """Time prefill and decode of every configuration, interleaved in one process that has the machine to itself."""
    input:
        model=f"{STUDY}/prepare/models/{MODEL}",
        text=f"{STUDY}/prepare/datasets/validation.parquet",
        rules=files_of_rules(CONFIGS),
    output:
        f"{STUDY}/evaluate/speed.json",
    log:
        f"{LOGS}/measure_speed.log",
    benchmark:
        f"{LOGS}/measure_speed.tsv"
    conda:
        "../envs/model.yaml"
    threads: workflow.resource_settings.cores or 1  # workflow.cores is an error where nothing runs (--report)
    resources:
        **model_resources(config["speed"]["prefill_tokens"], runtime=120, configs=CONFIGS),
        slurm_extra="--exclusive",
    params:
        dtype=config["models"][MODEL]["dtype"],
        settings={name: one.job for name, one in CONFIGS.items()},
        reads={name: rule_files(name, DATASETS) for name in CONFIGS},
        speed=config["speed"],
        code=fingerprint(
            "switchyard.study.experiment",
            "switchyard.evaluation.speed",
            "switchyard.models.load",
            *rule_modules(*CONFIGS),
        ),
    script:
        "../workflow_scripts/measure_speed.py"


rule assess_model:
    """Say how good an untouched model is, against chance, and how evenly it uses its experts."""
    input:
        model=f"{STUDY}/prepare/models/{{model}}",
        datasets=expand(f"{STUDY}/prepare/datasets/{{dataset}}.parquet", dataset=DATASETS),
    output:
        f"{STUDY}/evaluate/models/{{model}}.json",
    log:
        f"{LOGS}/assess_model/{{model}}.log",
    benchmark:
        f"{LOGS}/assess_model/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **model_resources(config["evaluation"]["batch_tokens"]),
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        datasets={name: TEXTS[name]["max_length"] for name in DATASETS},
        samples=config["evaluation"]["assessment_samples"],
        batch_tokens=config["evaluation"]["batch_tokens"],
        threads=config["evaluation"]["threads"],
        code=fingerprint("switchyard.evaluation.assessment", "switchyard.models.load"),
    script:
        "../workflow_scripts/assess_model.py"
