"""Observe: how the untouched models route every token id, layer by layer, and whether experts could be looked up.

Reads   prepare/corpora/{corpus}.parquet, its offline split, and prepare/models/{model}/
Writes  observe/{model}/windows.parquet           the text as token ids, cut into batches before it is shared out
        observe/{model}/shards/{shard}.safetensors   counts of a range of batches; checkpoints beside it while it runs
        observe/{model}/routing_stats.{parquet,csv}  entropy, confidence, consistency, most used experts per layer and token id
        observe/{model}/expert_counts.parquet     how often each token id used each expert, by domain
        observe/{model}/context_counts.parquet    the same after the same previous tokens (hashed n-grams)
        observe/{model}/analyses/                 co-activation, repetition, segments, caches, specialisation, saturation
        observe/{model}/verdict.json              VAR's hypothesis, layer by layer; validation_report.txt in words
        observe/{model}/ceiling.json, context.parquet   hit rates of routing tables, and the gain from context
        observe/{model}/memory_profiling.json     memory at each checkpoint, and whether it grew
        observe/{model}/analysis_summary.txt      what was read and counted
"""

OBSERVATION = config["observation"]
OBSERVED = STUDY.observed
OBSERVE = f"{OUT}/observe/{{model}}"
ANALYSES = ["coactivation", "repetition", "segments", "caches"]
SPECIALISATION = ["domain_specialisation", "vocabulary_specialisation", "vocabulary_by_layer"]
SATURATED = [name for name in OBSERVED if name in STUDY.trained]


localrules:
    validate_hypothesis,


rule observe_all:
    input:
        expand(
            f"{OBSERVE}/{{file}}",
            model=OBSERVED,
            file=["verdict.json", "ceiling.json", "analysis_summary.txt"],
        ),
        expand(f"{OBSERVE}/analyses/{{table}}.parquet", model=OBSERVED, table=SPECIALISATION),
        expand(f"{OBSERVE}/analyses/saturation.parquet", model=SATURATED),


rule cut_windows:
    """Tokenise the offline split of the corpus and cut it into windows and batches."""
    input:
        corpus=expand(f"{OUT}/prepare/corpora/{{corpus}}.parquet", corpus=OBSERVATION["corpus"]),
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        f"{OBSERVE}/windows.parquet",
    log:
        f"{LOGS}/cut_windows/{{model}}.log",
    benchmark:
        f"{LOGS}/cut_windows/{{model}}.tsv"
    conda:
        "../envs/text.yaml"
    params:
        **{key: OBSERVATION[key] for key in ("tokens", "max_length", "batch_tokens")},
        code=lambda _: STUDY.code("cut_windows"),
    script:
        "../workflow_scripts/cut_windows.py"


rule observe_shard:
    """Run the untouched model over a range of batches and count how it routes; resumes from its own checkpoints."""
    input:
        windows=rules.cut_windows.output[0],
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        counts=f"{OBSERVE}/shards/{{shard}}.safetensors",
        memory=f"{OBSERVE}/shards/{{shard}}.memory.json",
    log:
        f"{LOGS}/observe_shard/{{model}}_{{shard}}.log",
    benchmark:
        f"{LOGS}/observe_shard/{{model}}_{{shard}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: OBSERVATION["threads"]
    resources:
        **RESOURCES.model(OBSERVATION["batch_tokens"], runtime=240, counted=1),
    params:
        **{key: OBSERVATION[key] for key in ("shards", "layers", "threads", "segments")},
        **{key: OBSERVATION[key] for key in ("context_window", "buckets", "checkpoint_tokens")},
        dtype=lambda w: config["models"][w.model]["dtype"],
        code=lambda _: STUDY.code("observe_shard"),
    script:
        "../workflow_scripts/observe_shard.py"


rule merge_shards:
    """Add the shards' counts up, exactly, and write them as tables."""
    input:
        shards=expand(
            f"{OBSERVE}/shards/{{shard}}.safetensors", shard=range(OBSERVATION["shards"]), allow_missing=True
        ),
        memory=expand(
            f"{OBSERVE}/shards/{{shard}}.memory.json", shard=range(OBSERVATION["shards"]), allow_missing=True
        ),
        windows=rules.cut_windows.output[0],
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        memory=f"{OBSERVE}/memory_profiling.json",
        statistics=f"{OBSERVE}/routing_stats.parquet",
        csv=f"{OBSERVE}/routing_stats.csv",
        csv_stamp=f"{OBSERVE}/routing_stats.csv.provenance.json",
        counts=f"{OBSERVE}/expert_counts.parquet",
        contexts=f"{OBSERVE}/context_counts.parquet",
        analyses=[f"{OBSERVE}/analyses/{table}.parquet" for table in ANALYSES],
        summary=f"{OBSERVE}/analysis_summary.txt",
        summary_stamp=f"{OBSERVE}/analysis_summary.txt.provenance.json",
    log:
        f"{LOGS}/merge_shards/{{model}}.log",
    benchmark:
        f"{LOGS}/merge_shards/{{model}}.tsv"
    conda:
        "../envs/model.yaml"
    resources:
        mem_mb=RESOURCES.counts(2),
    params:
        segments=OBSERVATION["segments"],
        corpus=OBSERVATION["corpus"],
        code=lambda _: STUDY.code("merge_shards"),
    script:
        "../workflow_scripts/merge_shards.py"


rule validate_hypothesis:
    """Test VAR's hypothesis on the routing statistics: are frequent tokens routed alike, and surely enough?"""
    input:
        statistics=f"{OBSERVE}/routing_stats.parquet",
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        verdict=f"{OBSERVE}/verdict.json",
        report_stamp=f"{OBSERVE}/validation_report.txt.provenance.json",
        report=report(
            f"{OBSERVE}/validation_report.txt",
            caption="../reports/captions/validation_report.rst",
            category="Routing statistics",
            labels={"model": "{model}", "document": "validation report"},
        ),
    log:
        f"{LOGS}/validate_hypothesis/{{model}}.log",
    benchmark:
        f"{LOGS}/validate_hypothesis/{{model}}.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        frequency_threshold=OBSERVATION["frequency_threshold"],
        entropy_threshold=OBSERVATION["entropy_threshold"],
        code=lambda _: STUDY.code("validate_hypothesis"),
    script:
        "../workflow_scripts/validate_hypothesis.py"


rule measure_ceilings:
    """Measure hit rates of routing tables, on their own text and on other domains, and the gain from context."""
    input:
        counts=f"{OBSERVE}/expert_counts.parquet",
        contexts=f"{OBSERVE}/context_counts.parquet",
        model=f"{OUT}/prepare/models/{{model}}",
    output:
        ceiling=f"{OBSERVE}/ceiling.json",
        context=f"{OBSERVE}/context.parquet",
        specialisation=[f"{OBSERVE}/analyses/{table}.parquet" for table in SPECIALISATION],
    log:
        f"{LOGS}/measure_ceilings/{{model}}.log",
    benchmark:
        f"{LOGS}/measure_ceilings/{{model}}.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=RESOURCES.counts(4),
    params:
        code=lambda _: STUDY.code("measure_ceilings"),
    script:
        "../workflow_scripts/measure_ceilings.py"


rule measure_saturation:
    """Compare the routing of earlier checkpoints of a training with that of the last one, on the same text."""
    input:
        windows=f"{OBSERVE}/windows.parquet",
        model=f"{OUT}/prepare/models/{{model}}",
        kept=f"{OUT}/prepare/checkpoints/{{model}}",
    output:
        f"{OBSERVE}/analyses/saturation.parquet",
    log:
        f"{LOGS}/measure_saturation/{{model}}.log",
    benchmark:
        f"{LOGS}/measure_saturation/{{model}}.tsv"
    wildcard_constraints:
        model="|".join(STUDY.trained) or "none",
    conda:
        "../envs/model.yaml"
    threads: OBSERVATION["threads"]
    resources:
        **RESOURCES.model(OBSERVATION["batch_tokens"], runtime=240),
    params:
        dtype=lambda w: config["models"][w.model]["dtype"],
        threads=OBSERVATION["threads"],
        code=lambda _: STUDY.code("measure_saturation"),
    script:
        "../workflow_scripts/measure_saturation.py"
