"""Prepare: text, datasets and models, checked before anything is computed with them.

Reads   installed packages, local files or the hub, resources/
Writes  prepare/corpus.parquet           the pocket corpus with its splits, and corpus.json beside it
        prepare/datasets/{dataset}.parquet   samples in the columns of their kind
        prepare/skipped/{dataset}.parquet    rows of its source that were left out, with reasons
        prepare/models/{model}/          a model folder with its structure.json
        prepare/checkpoints/{model}/     weights on the way there, of models trained here
        prepare/corpora/{corpus}.parquet documents to observe routing on: digest, domain, side, text
"""


# Light, and what is on the hub is fetched where there is a network: on a cluster, beside snakemake itself.
localrules:
    prepare_dataset,
    prepare_corpus,
    fetch_model,


rule prepare_all:
    input:
        expand(f"{OUT}/prepare/models/{{model}}", model=config["models"]),
        expand(f"{OUT}/prepare/datasets/{{dataset}}.parquet", dataset=STUDY.texts),


rule harvest_corpus:
    """Collect the documentation strings of the installed packages and split them by document hash."""
    input:
        manifest=STUDY.shipped("resources/pocket-corpus.tsv")[0],
    output:
        corpus=f"{OUT}/prepare/corpus.parquet",
        card=f"{OUT}/prepare/corpus.json",
    log:
        f"{LOGS}/harvest_corpus.log",
    benchmark:
        f"{LOGS}/harvest_corpus.tsv"
    conda:
        "../envs/text.yaml"
    params:
        packages=config["corpus"]["packages"],
        versions=lambda _: versions(config["corpus"]["packages"]),
        code=lambda _: STUDY.code("harvest_corpus"),
    script:
        "../workflow_scripts/harvest_corpus.py"


rule prepare_dataset:
    """Convert one dataset to the columns of its kind, after checking for wrong columns, labels and empty texts."""
    input:
        lambda w: STUDY.dataset_source(w.dataset),
    output:
        samples=f"{OUT}/prepare/datasets/{{dataset}}.parquet",
        skipped=f"{OUT}/prepare/skipped/{{dataset}}.parquet",
    log:
        f"{LOGS}/prepare_dataset/{{dataset}}.log",
    benchmark:
        f"{LOGS}/prepare_dataset/{{dataset}}.tsv"
    conda:
        "../envs/text.yaml"
    params:
        entry=lambda w: STUDY.texts[w.dataset],
        code=lambda _: STUDY.code("prepare_dataset"),
    script:
        "../workflow_scripts/prepare_dataset.py"


rule prepare_corpus:
    """Assign the documents of a corpus to three splits by the hash of their text: offline, tuning, final."""
    input:
        lambda w: STUDY.corpus_source(w.corpus),
    output:
        f"{OUT}/prepare/corpora/{{corpus}}.parquet",
    log:
        f"{LOGS}/prepare_corpus/{{corpus}}.log",
    benchmark:
        f"{LOGS}/prepare_corpus/{{corpus}}.tsv"
    conda:
        "../envs/text.yaml"
    params:
        entry=lambda w: {key: value for key, value in config["corpora"][w.corpus].items() if key != "paths"},
        code=lambda _: STUDY.code("prepare_corpus"),
    script:
        "../workflow_scripts/prepare_corpus.py"


rule train_pocket_model:
    """Train a pocket model from scratch on the training split; resumes from its own checkpoints."""
    input:
        corpus=rules.harvest_corpus.output.corpus,
    output:
        model=directory(f"{OUT}/prepare/models/{{model}}"),
        kept=directory(f"{OUT}/prepare/checkpoints/{{model}}"),
    log:
        f"{LOGS}/train_pocket_model/{{model}}.log",
    benchmark:
        f"{LOGS}/train_pocket_model/{{model}}.tsv"
    wildcard_constraints:
        model="|".join(STUDY.trained) or "none",
    conda:
        "../envs/model.yaml"
    threads: lambda w: config["models"][w.model]["training"]["threads"]
    resources:
        gpu=1,
        runtime=minutes(480),
    params:
        recipe=lambda w: config["models"][w.model]["training"],
        quantise=lambda w: config["models"][w.model].get("quantise"),
        vocabulary_size=config["corpus"]["vocabulary_size"],
        checkpoints=f"{OUT}/prepare/training/{{model}}",
        code=lambda _: STUDY.code("train_pocket_model"),
    script:
        "../workflow_scripts/train_pocket_model.py"


rule fetch_model:
    """Copy a checkpoint or link it from the hub's cache; look at its headers and describe its structure."""
    input:
        lambda w: STUDY.model_source(w.model),
    output:
        directory(f"{OUT}/prepare/models/{{model}}"),
    log:
        f"{LOGS}/fetch_model/{{model}}.log",
    benchmark:
        f"{LOGS}/fetch_model/{{model}}.tsv"
    wildcard_constraints:
        model="|".join(name for name in config["models"] if name not in STUDY.trained) or "none",
    conda:
        "../envs/model.yaml"
    params:
        entry=lambda w: {
            key: config["models"][w.model].get(key)
            for key in ("source", "path", "repository", "revision", "structure", "quantise")
        },
        code=lambda _: STUDY.code("fetch_model"),
    script:
        "../workflow_scripts/fetch_model.py"
