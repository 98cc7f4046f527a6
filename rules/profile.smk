"""Profile: where the time of a forward goes under each rule, what limits it, and where a rule is faster.

Reads   prepare/models/{model}/, prepare/datasets/validation.parquet, what the profiled rules read
Writes  profile/{model}/components.csv        time of each component, by rule and phase
        profile/{model}/operators.csv         the operators that take most of it, by torch.profiler
        profile/{model}/overhead.json         what a rule adds to the routing and saves, and what the instruments cost
        profile/{model}/scaling.csv           time by length, batch and cache, with the experts that were used
        profile/{model}/roofline.csv          operations, bytes, and the attained share of the measured ceilings
        profile/{model}/latency.parquet       latencies one by one
        profile/{model}/performance_model.json   fitted costs, errors on held-out points, break-even, bottlenecks
        profile/{model}/calculator.html       the performance model as a page
"""

PROFILE = f"{OUT}/profile/{{model}}"
PROFILE_TABLES = ["components", "operators", "scaling", "roofline"]


localrules:
    write_calculator,


rule profile_all:
    input:
        expand(f"{PROFILE}/{{table}}.csv", model=STUDY.profiled, table=PROFILE_TABLES),
        expand(
            f"{PROFILE}/{{file}}",
            model=STUDY.profiled,
            file=["latency.parquet", "overhead.json", "performance_model.json", "calculator.html"],
        ),


rule profile_model:
    """Time the untouched model and the profiled rules, interleaved, alone on the machine; fit and check a model of it."""
    input:
        model=f"{OUT}/prepare/models/{{model}}",
        text=f"{OUT}/prepare/datasets/validation.parquet",
        rules=lambda w: STUDY.profiled_files(w.model),
    output:
        **{table: f"{PROFILE}/{table}.csv" for table in PROFILE_TABLES},
        stamps=[f"{PROFILE}/{table}.csv.provenance.json" for table in PROFILE_TABLES],
        latency=f"{PROFILE}/latency.parquet",
        overhead=f"{PROFILE}/overhead.json",
        performance_model=f"{PROFILE}/performance_model.json",
    log:
        f"{LOGS}/profile_model/{{model}}.log",
    benchmark:
        f"{LOGS}/profile_model/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: workflow.resource_settings.cores or 1
    resources:
        **RESOURCES.model(config["profile"]["max_tokens"], runtime=120, experiments=True),
        slurm_extra="--exclusive",
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        rules=lambda w: STUDY.profiled_rules(w.model),
        settings={
            key: value for key, value in config["profile"].items() if key not in ("models", "sets", "var")
        },
        code=lambda w: STUDY.code("profile_model", modules=STUDY.profiled_modules(w.model)),
    script:
        "../workflow_scripts/profile_model.py"


rule write_calculator:
    """Write the performance model as a page that predicts speed-ups in the browser."""
    input:
        rules.profile_model.output.performance_model,
    output:
        report(
            f"{PROFILE}/calculator.html",
            caption="../reports/captions/calculator.rst",
            category="Profile",
            labels={"model": "{model}", "page": "calculator"},
        ),
    log:
        f"{LOGS}/write_calculator/{{model}}.log",
    benchmark:
        f"{LOGS}/write_calculator/{{model}}.tsv"
    conda:
        "../envs/report.yaml"
    params:
        code=lambda _: STUDY.code("write_calculator"),
    script:
        "../workflow_scripts/write_calculator.py"
