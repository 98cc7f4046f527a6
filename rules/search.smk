"""Search: the thresholds of VAR with the most speed under a limit on quality.

Reads   prepare/models/{model}/, prepare/datasets/ of search.dataset and search.final, var/{model}/routing_table.parquet,
        observe/{model}/routing_stats.parquet, with the space bh calibrate/{model}/nulls.parquet
Writes  search/{model}/{method}/seed{seed}/points/{batch}.parquet   a batch of evaluated points, chosen from earlier batches
        search/{model}/{method}/trajectory.{parquet,csv}, pareto.csv   all points of all seeds and spaces
        search/{model}/{method}/best_config.json   the best feasible point, as VARConfig reads it
        search/{model}/{method}/validation.json    the same on the final text, with its interval
        search/{model}/manual.json            the study's own configurations of VAR on both texts
        search/{model}/summary.json           the best of each method, methods compared, shares of the spaces
        search/{model}/sensitivity.parquet    partial dependence of speed and degradation on each dimension
        search/{model}/ablation.parquet       components of VAR and BH switched off in turn, against the whole rule
"""

from switchyard.search.plan import Plan

PLAN = Plan(STUDY)
SEARCH = f"{OUT}/search/{{model}}"
METHOD = f"{SEARCH}/{{method}}"
# What is timed has the machine to itself.
IS_TIMED = config["search"]["speedup"] == "measured"
SEARCH_THREADS = (workflow.resource_settings.cores or 1) if IS_TIMED else config["evaluation"]["threads"]


localrules:
    collect_points,


rule search_all:
    input:
        expand(f"{SEARCH}/{{file}}", model=PLAN.models, file=["summary.json", "sensitivity.parquet"]),
        expand(f"{SEARCH}/ablation.parquet", model=PLAN.ablated),


rule evaluate_points:
    """Choose a batch of points from the results of earlier batches, and evaluate each point."""
    input:
        earlier=lambda w: PLAN.earlier(w.model, w.method, int(w.seed), int(w.batch)),
        others=lambda w: PLAN.others(w.model, w.method, int(w.seed), int(w.batch)),
        reads=lambda w: PLAN.reads(w.model).values(),
        model=f"{OUT}/prepare/models/{{model}}",
        text=PLAN.text("dataset")["path"],
    output:
        f"{METHOD}/seed{{seed}}/points/{{batch}}.parquet",
    log:
        f"{LOGS}/evaluate_points/{{model}}_{{method}}_seed{{seed}}_{{batch}}.log",
    # Measures the process that waits; a worker does the work.
    benchmark:
        f"{LOGS}/evaluate_points/{{model}}_{{method}}_seed{{seed}}_{{batch}}.tsv"
    wildcard_constraints:
        seed=r"\d+",
        batch=r"\d+",
    conda:
        "../envs/search.yaml"
    threads: SEARCH_THREADS
    resources:
        **RESOURCES.model(config["var"]["batch_tokens"], runtime=60, experiments="bh" in PLAN.spaces),
    params:
        job=lambda w: PLAN.job(w.model),
        text=PLAN.text("dataset"),
        batch=lambda w: PLAN.batch(w.method, int(w.seed), int(w.batch)),
        code=lambda _: PLAN.code("evaluate_points"),
    script:
        "../workflow_scripts/evaluate_points.py"


rule collect_points:
    """Merge the points of a method into one trajectory, and find the best point and the Pareto front."""
    input:
        points=lambda w: PLAN.points(w.model, w.method),
        reads=lambda w: PLAN.reads(w.model).values(),
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        trajectory=f"{METHOD}/trajectory.parquet",
        table=f"{METHOD}/trajectory.csv",
        pareto=f"{METHOD}/pareto.csv",
        best=f"{METHOD}/best_config.json",
    log:
        f"{LOGS}/collect_points/{{model}}_{{method}}.log",
    benchmark:
        f"{LOGS}/collect_points/{{model}}_{{method}}.tsv"
    conda:
        "../envs/search.yaml"
    params:
        spaces=PLAN.spaces,
        reads=lambda w: PLAN.reads(w.model),
        limit=config["search"]["max_quality_degradation"],
        code=lambda _: PLAN.code("collect_points"),
    script:
        "../workflow_scripts/collect_points.py"


rule validate_search:
    """Run the best point of each method and the study's own configurations on the held-out final text."""
    input:
        best=[f"{SEARCH}/{method}/best_config.json" for method in PLAN.methods],
        reads=lambda w: PLAN.reads(w.model).values(),
        model=f"{OUT}/prepare/models/{{model}}",
        tuning=PLAN.text("dataset")["path"],
        final=PLAN.text("final")["path"],
    output:
        validations=[f"{SEARCH}/{method}/validation.json" for method in PLAN.methods],
        manual=f"{SEARCH}/manual.json",
    log:
        f"{LOGS}/validate_search/{{model}}.log",
    benchmark:
        f"{LOGS}/validate_search/{{model}}.tsv"
    conda:
        "../envs/search.yaml"
    threads: SEARCH_THREADS
    resources:
        **RESOURCES.model(config["var"]["batch_tokens"], runtime=60),
    params:
        job=lambda w: PLAN.job(w.model),
        texts={name: PLAN.text(name) for name in ("dataset", "final")},
        methods=PLAN.methods,
        manual=PLAN.manual(),
        code=lambda _: PLAN.code("validate_search"),
    script:
        "../workflow_scripts/validate_search.py"


rule judge_search:
    """Compare methods with each other and with the study's own configurations; measure the effect of each dimension."""
    input:
        trajectories=[f"{SEARCH}/{method}/trajectory.parquet" for method in PLAN.methods],
        validations=rules.validate_search.output.validations,
        manual=rules.validate_search.output.manual,
        reads=lambda w: PLAN.reads(w.model).values(),
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        summary=f"{SEARCH}/summary.json",
        sensitivity=f"{SEARCH}/sensitivity.parquet",
    log:
        f"{LOGS}/judge_search/{{model}}.log",
    benchmark:
        f"{LOGS}/judge_search/{{model}}.tsv"
    conda:
        "../envs/search.yaml"
    params:
        methods=PLAN.methods,
        spaces=PLAN.spaces,
        reads=lambda w: PLAN.reads(w.model),
        settings={
            name: config["search"][name]
            for name in ("max_quality_degradation", "speedup", "dataset", "final", "calls", "grid_points")
        },
        code=lambda _: PLAN.code("judge_search"),
    script:
        "../workflow_scripts/judge_search.py"


rule ablate_rules:
    """Switch components of VAR and of BH off in turn, and compare each with the whole rule on the same samples."""
    input:
        reads=lambda w: PLAN.ablation_job(w.model)["reads"].values(),
        model=f"{OUT}/prepare/models/{{model}}",
        text=PLAN.text("ablation")["path"],
    output:
        f"{SEARCH}/ablation.parquet",
    log:
        f"{LOGS}/ablate_rules/{{model}}.log",
    # Measures the process that waits; a worker does the work.
    benchmark:
        f"{LOGS}/ablate_rules/{{model}}.tsv"
    conda:
        "../envs/search.yaml"
    threads: config["evaluation"]["threads"]
    resources:
        **RESOURCES.model(config["var"]["batch_tokens"], runtime=60, experiments=True),
    params:
        job=lambda w: PLAN.ablation_job(w.model),
        wholes=lambda w: PLAN.wholes(w.model),
        text=PLAN.text("ablation"),
        code=lambda _: STUDY.code("ablate_rules", rules=["bh"]),
    script:
        "../workflow_scripts/ablate_rules.py"
