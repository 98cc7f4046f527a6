"""Evaluate: every configuration on every dataset, and the speed of a model's configurations side by side.

Reads   prepare/models/{model}/, prepare/datasets/{dataset}.parquet, what the rule reads of calibrate/{model}/
        and, for a configuration matched with another, the trace of that one
Writes  evaluate/{model}/traces/{config}_{dataset}.parquet   routing of every token in every layer, lossless
        evaluate/{model}/scores/{config}_{dataset}.parquet   what each sample's metric is made of
        evaluate/{model}/{traces,scores}/..._repeat.parquet  the first samples again, alone and in reversed order
        evaluate/{model}/logs/{config}_{dataset}_internal_routing.json
        evaluate/{model}/speed.json                          measured by one job for each model, alone on the machine
        evaluate/{model}/assessment.json                     how good the untouched model is
        code/{model}/{config}_{task}_samples.jsonl           programs for the problems of `code.datasets`
        code/{model}/traces/{config}_{task}.parquet          routing of their prompts and tokens
        code/{model}/{config}_{task}.json                    pass@k, and the outcome of each program in the sandbox
        code/{model}/comparison_{task}.json                  each configuration against the trained top-k
"""

EVALUATE = f"{OUT}/evaluate/{{model}}"
CODE = f"{OUT}/code/{{model}}"


localrules:
    compare_code,


rule evaluate_all:
    input:
        STUDY.files("evaluate/{model}/traces/{config}_{dataset}.parquet"),
        STUDY.files("evaluate/{model}/scores/{config}_{dataset}.parquet"),
        STUDY.files("evaluate/{model}/logs/{config}_{dataset}_internal_routing.json"),
        expand(f"{EVALUATE}/assessment.json", model=config["models"]),
        expand(f"{EVALUATE}/speed.json", model=STUDY.models),
        expand(
            f"{CODE}/comparison_{{task}}.json", model=filter(STUDY.writers, STUDY.models), task=STUDY.tasks
        ),


rule code_all:
    input:
        expand(
            f"{CODE}/comparison_{{task}}.json", model=filter(STUDY.writers, STUDY.models), task=STUDY.tasks
        ),


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
    """Measure the quality of an untouched model, against chance, and how evenly it uses its experts."""
    input:
        model=f"{OUT}/prepare/models/{{model}}",
        datasets=expand(f"{OUT}/prepare/datasets/{{dataset}}.parquet", dataset=STUDY.datasets),
    output:
        f"{EVALUATE}/assessment.json",
    log:
        f"{LOGS}/assess_model/{{model}}.log",
    # Measures the process that waits; a worker does the work.
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


rule generate_code:
    """Generate programs for the problems of a set under one configuration, greedily and by sampling."""
    input:
        unpack(lambda w: STUDY.rule_files(w.model, w.config, [w.task], "code")),
        model=f"{OUT}/prepare/models/{{model}}",
        dataset=f"{OUT}/prepare/datasets/{{task}}.parquet",
    output:
        samples=f"{CODE}/{{config}}_{{task}}_samples.jsonl",
        stamp=f"{CODE}/{{config}}_{{task}}_samples.jsonl.provenance.json",
        trace=f"{CODE}/traces/{{config}}_{{task}}.parquet",
    log:
        f"{LOGS}/generate_code/{{model}}_{{config}}_{{task}}.log",
    benchmark:
        f"{LOGS}/generate_code/{{model}}_{{config}}_{{task}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **RESOURCES.model(config["code"]["batch_tokens"], runtime=120, experiments=True),
    params:
        experiment=lambda w: STUDY.experiment(w.model, w.config, w.task).as_json(),
        reads=lambda w: STUDY.rule_files(w.model, w.config, [w.task], "code"),
        batch_tokens=config["code"]["batch_tokens"],
        code=lambda w: STUDY.code("generate_code", [(w.model, w.config)]),
    script:
        "../workflow_scripts/generate_code.py"


rule score_code:
    """Run the programs in a sandbox that is tested first; a killed job resumes after the last scored program."""
    input:
        samples=rules.generate_code.output.samples,
        stamp=rules.generate_code.output.stamp,
        problems=f"{OUT}/prepare/datasets/{{task}}.parquet",
    output:
        f"{CODE}/{{config}}_{{task}}.json",
    log:
        f"{LOGS}/score_code/{{model}}_{{config}}_{{task}}.log",
    benchmark:
        f"{LOGS}/score_code/{{model}}_{{config}}_{{task}}.tsv"
    conda:
        "../envs/sandbox.yaml"
    threads: config["code"]["threads"]
    resources:
        mem_mb=1000 + 2 * config["code"]["threads"] * config["code"]["memory_mb"],
        runtime=minutes(60),
    params:
        kept=f"{CODE}/scored-so-far/{{config}}_{{task}}.jsonl",
        k=config["code"]["k"],
        limits={key: config["code"][key] for key in ("seconds", "memory_mb")},
        code=lambda _: STUDY.code("score_code"),
    script:
        "../workflow_scripts/score_code.py"


rule compare_code:
    """Compare the problems that each configuration solves with those of the trained top-k, paired by problem."""
    input:
        lambda w: [f"{OUT}/code/{w.model}/{name}_{w.task}.json" for name in STUDY.writers(w.model)],
    output:
        f"{CODE}/comparison_{{task}}.json",
    log:
        f"{LOGS}/compare_code/{{model}}_{{task}}.log",
    benchmark:
        f"{LOGS}/compare_code/{{model}}_{{task}}.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        code=lambda _: STUDY.code("compare_code"),
    script:
        "../workflow_scripts/compare_code.py"
