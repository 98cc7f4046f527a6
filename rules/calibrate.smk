"""Calibrate: null distributions of router logits, fitted on text that no evaluation sees.

Reads   prepare/models/{model}/, prepare/datasets/{calibration,validation}.parquet
Writes  calibrate/{model}_{text}_logits.parquet   router logits of the untouched model
        calibrate/{model}_nulls.parquet           nine nulls per layer: layer, null, logit, cdf
        calibrate/{model}_null_check.parquet      p-value histograms on the validation text
        calibrate/{model}_null_summary.parquet    uniformity and rejections of each null
        calibrate/{model}_budgets/{config}.parquet  the alpha of a rule that has a budget
"""


rule calibrate_all:
    input:
        expand(f"{STUDY}/calibrate/{MODEL}_{{table}}.parquet", table=["nulls", "null_check", "null_summary"]),
        expand(f"{STUDY}/calibrate/{MODEL}_budgets/{{config}}.parquet", config=BUDGETS),


rule collect_router_logits:
    """Run the untouched model over a calibration text and keep its router logits."""
    input:
        model=f"{STUDY}/prepare/models/{{model}}",
        text=f"{STUDY}/prepare/datasets/{{text}}.parquet",
    output:
        f"{STUDY}/calibrate/{{model}}_{{text}}_logits.parquet",
    log:
        f"{LOGS}/collect_router_logits/{{model}}_{{text}}.log",
    benchmark:
        f"{LOGS}/collect_router_logits/{{model}}_{{text}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **model_resources(config["evaluation"]["batch_tokens"]),
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        tokens=config["calibration"]["tokens"],
        max_length=config["calibration"]["max_length"],
        batch_tokens=config["evaluation"]["batch_tokens"],
        threads=config["evaluation"]["threads"],
        code=code_of("collect_router_logits"),
    script:
        "../workflow_scripts/collect_router_logits.py"


rule fit_nulls:
    """Fit the nine null distributions of every layer."""
    input:
        logits=f"{STUDY}/calibrate/{{model}}_calibration_logits.parquet",
        model=f"{STUDY}/prepare/models/{{model}}",
    output:
        f"{STUDY}/calibrate/{{model}}_nulls.parquet",
    log:
        f"{LOGS}/fit_nulls/{{model}}.log",
    benchmark:
        f"{LOGS}/fit_nulls/{{model}}.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        code=code_of("fit_nulls"),
    script:
        "../workflow_scripts/fit_nulls.py"


rule check_nulls:
    """Hold the nulls against router logits of other text: are p-values uniform, and what would BH reject?"""
    input:
        logits=f"{STUDY}/calibrate/{{model}}_validation_logits.parquet",
        nulls=rules.fit_nulls.output,
        model=f"{STUDY}/prepare/models/{{model}}",
    output:
        check=f"{STUDY}/calibrate/{{model}}_null_check.parquet",
        summary=f"{STUDY}/calibrate/{{model}}_null_summary.parquet",
    log:
        f"{LOGS}/check_nulls/{{model}}.log",
    benchmark:
        f"{LOGS}/check_nulls/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        code=code_of("check_nulls"),
    script:
        "../workflow_scripts/check_nulls.py"


rule solve_budget:
    """Find the alpha at which BH gives a mean number of experts on the calibration text."""
    input:
        logits=f"{STUDY}/calibrate/{{model}}_calibration_logits.parquet",
        nulls=rules.fit_nulls.output,
    output:
        f"{STUDY}/calibrate/{{model}}_budgets/{{config}}.parquet",
    log:
        f"{LOGS}/solve_budget/{{model}}_{{config}}.log",
    benchmark:
        f"{LOGS}/solve_budget/{{model}}_{{config}}.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        setting=lambda w: CONFIGS[w.config].job,
        code=code_of("solve_budget"),
    script:
        "../workflow_scripts/solve_budget.py"
