"""Calibrate: null distributions of router logits, fitted on text that no evaluation sees.

Reads   prepare/models/{model}/, prepare/datasets/{calibration,validation}.parquet
Writes  calibrate/{model}/{text}_logits.parquet   router logits of the untouched model
        calibrate/{model}/nulls.parquet           nine nulls per layer: layer, null, logit, cdf
        calibrate/{model}/null_check.parquet      p-value histograms on the validation text
        calibrate/{model}/null_summary.parquet    uniformity and rejections of each null
        calibrate/{model}/budgets/{config}.parquet  the alpha of a rule that has a budget
"""


rule calibrate_all:
    input:
        expand(
            f"{OUT}/calibrate/{{model}}/{{table}}.parquet",
            model=STUDY.models,
            table=["nulls", "null_check", "null_summary"],
        ),
        [f"{OUT}/calibrate/{model}/budgets/{name}.parquet" for model, name in STUDY.budgets()],


rule collect_router_logits:
    """Run the untouched model over a calibration text and keep its router logits."""
    input:
        model=f"{OUT}/prepare/models/{{model}}",
        text=f"{OUT}/prepare/datasets/{{text}}.parquet",
    output:
        f"{OUT}/calibrate/{{model}}/{{text}}_logits.parquet",
    log:
        f"{LOGS}/collect_router_logits/{{model}}_{{text}}.log",
    # Measures the process that waits; a worker does the work.
    benchmark:
        f"{LOGS}/collect_router_logits/{{model}}_{{text}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **RESOURCES.model(config["evaluation"]["batch_tokens"]),
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        tokens=config["calibration"]["tokens"],
        max_length=config["calibration"]["max_length"],
        batch_tokens=config["evaluation"]["batch_tokens"],
        threads=config["evaluation"]["threads"],
        code=lambda _: STUDY.code("collect_router_logits"),
    script:
        "../workflow_scripts/collect_router_logits.py"


rule fit_nulls:
    """Fit the nine null distributions of every layer."""
    input:
        logits=f"{OUT}/calibrate/{{model}}/calibration_logits.parquet",
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        f"{OUT}/calibrate/{{model}}/nulls.parquet",
    log:
        f"{LOGS}/fit_nulls/{{model}}.log",
    benchmark:
        f"{LOGS}/fit_nulls/{{model}}.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        code=lambda _: STUDY.code("fit_nulls"),
    script:
        "../workflow_scripts/fit_nulls.py"


rule check_nulls:
    """Compare the nulls with router logits of other text: are p-values uniform, and what would BH reject?"""
    input:
        logits=f"{OUT}/calibrate/{{model}}/validation_logits.parquet",
        nulls=rules.fit_nulls.output,
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        check=f"{OUT}/calibrate/{{model}}/null_check.parquet",
        summary=f"{OUT}/calibrate/{{model}}/null_summary.parquet",
    log:
        f"{LOGS}/check_nulls/{{model}}.log",
    benchmark:
        f"{LOGS}/check_nulls/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    params:
        code=lambda _: STUDY.code("check_nulls"),
    script:
        "../workflow_scripts/check_nulls.py"


rule solve_budget:
    """Find the alpha at which BH gives a mean number of experts on the calibration text."""
    input:
        logits=f"{OUT}/calibrate/{{model}}/calibration_logits.parquet",
        nulls=rules.fit_nulls.output,
    output:
        f"{OUT}/calibrate/{{model}}/budgets/{{config}}.parquet",
    log:
        f"{LOGS}/solve_budget/{{model}}_{{config}}.log",
    benchmark:
        f"{LOGS}/solve_budget/{{model}}_{{config}}.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        settings=lambda w: STUDY.configurations[w.model, w.config].settings,
        code=lambda _: STUDY.code("solve_budget"),
    script:
        "../workflow_scripts/solve_budget.py"
