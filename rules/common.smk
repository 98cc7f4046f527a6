"""What every stage shares: the checked configuration, names of files, fingerprints of code."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "lib"))

from switchyard.launcher import interpreter
from switchyard.study import config as study_config
from switchyard.study.configurations import RUN_SETTINGS, configurations, inspected
from switchyard.runtime import warm
from switchyard.errors import InputError
from switchyard.artifacts.fingerprints import fingerprint
from switchyard.routing.registry import entry, rule_module
from switchyard.planning import footprint
from switchyard.text.corpus import versions

try:
    interpreter.check(sys.executable)
    for file in workflow.configfiles:
        study_config.read(file)
    # Snakemake puts a study file's keys first; the order of sets and datasets is that of config.yaml.
    config = study_config.merge(study_config.read(ROOT / "config.yaml"), config)
    config = study_config.resolve(config, study_config.read(ROOT / "config.schema.yaml"))
    CONFIGS = {one.name: one for one in configurations(config)}
except InputError as error:
    raise SystemExit(f"switchyard: error: {error}")  # a WorkflowError would add its own lines

# Jobs find the library on whatever machine they run; the launcher tells its own orphans by the second name.
os.environ.update(
    PYTHONPATH=str(ROOT / "lib"),
    SWITCHYARD_CHECKOUT=str(Path.cwd()),
)

STUDY = f"results/{config['study']}"
LOGS = f"{STUDY}/job-logs"
AROUND_MB = (
    500  # snakemake starts itself twice around a job of a cluster, and a script waits for a warm process
)
MODEL = config["evaluation"]["model"]
DATASETS = list(config["datasets"])
TEXTS = {
    **config["datasets"],
    **{name: config["calibration"][name] for name in study_config.RESERVED_DATASETS},
}
if "hub" not in {
    entry["source"] for entry in (*config["models"].values(), *TEXTS.values(), *config["corpora"].values())
}:
    os.environ.update(HF_HUB_OFFLINE="1")
TRAINED = [
    name for name, entry in config["models"].items() if entry["source"] == "pocket" and entry["retrain"]
]
BUDGETS = [name for name, one in CONFIGS.items() if "budgets" in entry(one.rule).reads]
EXPERIMENTS = [f"{name}_{dataset}" for name in CONFIGS for dataset in DATASETS]
INSPECTED = inspected(config)


onstart:
    warm.start()  # imports nothing before an experiment asks


if workflow.remote_exec and "SWITCHYARD_REMOTE" not in os.environ:
    # A job of a cluster has a server of its own, which all steps of it share; nobody else waits for its memory.
    warm.start(idle_s=300)
    os.environ.update(SWITCHYARD_REMOTE="1")


wildcard_constraints:
    model="|".join(config["models"]),
    config="|".join(map(re.escape, CONFIGS)),
    dataset="|".join(TEXTS),
    corpus="|".join(config["corpora"]),
    text="|".join(study_config.RESERVED_DATASETS),


def rule_files(name, datasets):
    """What the rule of a configuration reads, by name; traces of its partner on `datasets` if it is matched."""
    places = {
        "nulls": f"{STUDY}/calibrate/{MODEL}_nulls.parquet",
        "logits": f"{STUDY}/calibrate/{MODEL}_calibration_logits.parquet",
        "budgets": f"{STUDY}/calibrate/{MODEL}_budgets/{name}.parquet",
    }
    files = {file: places[file] for file in entry(CONFIGS[name].rule).reads}
    if partner := CONFIGS[name].settings.get("matched"):
        files["matched"] = [f"{STUDY}/evaluate/traces/{partner}_{dataset}.parquet" for dataset in datasets]
    return files


def files_of_rules(names):
    """What the rules of these configurations read, each file once."""
    files = [file for name in names for file in rule_files(name, DATASETS).values()]
    return sorted({path for file in files for path in ([file] if isinstance(file, str) else file)})


def rule_modules(*names):
    """Library modules of the rules behind configurations: what their fingerprints cover beside the shared code."""
    return sorted({rule_module(CONFIGS[name].rule) for name in names})


def dataset_source(wildcards):
    """The corpus, a local file, or nothing for the hub."""
    entry = TEXTS[wildcards.dataset]
    if entry["source"] == "pocket":
        return f"{STUDY}/prepare/corpus.parquet"
    return f"{config['data_folder']}/{entry['path']}" if entry["source"] == "file" else []


def corpus_files(wildcards):
    """The pocket corpus, local files, or nothing for the hub."""
    entry = config["corpora"][wildcards.corpus]
    if entry["source"] == "pocket":
        return f"{STUDY}/prepare/corpus.parquet"
    return [f"{config['data_folder']}/{path}" for path in entry.get("paths", [])]


def model_files(wildcards):
    """Files of a checkpoint that lies on disk, so that a changed one is seen."""
    entry = config["models"][wildcards.model]
    return sorted(map(str, Path(entry["path"]).glob("*"))) if entry["source"] != "hub" else []


def most_experts(name):
    """The most experts that a configuration may give a token; None if its settings do not say."""
    settings = CONFIGS[CONFIGS[name].settings.get("matched", name)].settings
    return settings.get("k") or settings.get("max_k")


def structure_of(wildcards):
    """What is known by now of the model that a job runs; None for a model of the hub that was never here."""
    name = getattr(wildcards, "model", MODEL)
    return footprint.structure(
        config["models"][name],
        Path(f"{STUDY}/prepare/models/{name}"),
        vocabulary_size=config["corpus"]["vocabulary_size"],
    )


def minutes(number):
    """The `runtime` of a job, which a cluster ends that takes longer; more at each attempt."""
    return lambda wildcards, attempt: attempt * number


def model_resources(batch_tokens, runtime=60, configs=(), counted=lambda structure: 0):
    """Resources of a job that runs a model; what snakemake is not asked to count is not counted.

    `gpu_mem_gb` lets jobs share a card (--resources gpu_mem_gb=80), of which a job leases that much. `gpu`, `mem_mb` and
    `runtime` are what a cluster is asked for; the last two grow with each attempt. `models` lets the members of a group
    take turns. A process that has run one of `configs` runs the others too, so that the largest counts; without any the
    model runs as it was trained. `counted` tells the GB of what is counted beside the model.
    """

    def slots(structure):
        most = [most_experts(name) for name in configs] or [structure and structure["top_k"]]
        return None if None in most else max(most)

    def dtype(wildcards):
        return config["models"][getattr(wildcards, "model", MODEL)]["dtype"]

    def host(wildcards, attempt):
        structure = structure_of(wildcards)
        needed = footprint.mem_mb(structure, dtype(wildcards), batch_tokens, slots=slots(structure))
        return attempt * (AROUND_MB + needed + int(1000 * counted(structure)))

    def card(wildcards):
        structure = structure_of(wildcards)
        return footprint.gpu_mem_gb(structure, dtype(wildcards), batch_tokens, slots=slots(structure))

    return {"mem_mb": host, "gpu_mem_gb": card, "gpu": 1, "models": 1, "runtime": minutes(runtime)}


def counted(times=1):
    """GB of a job that holds `times` the counts of an observed shard, by structure; 0 for a model that nobody knows."""
    layers = config["observation"]["layers"]
    return lambda structure: (
        times * footprint.observation_gb(structure, layers=len(layers) if layers else None)
        if structure
        else 0
    )


def figure(name, folder="figures", category="Figures", **labels):
    """The files of a figure; the interactive page and the drawing are in the HTML report."""
    caption = f"../reports/captions/{name}.rst"
    stem = f"{STUDY}/publish/{folder}/{name}"
    shown = {"caption": caption, "category": category}
    drawing = report(f"{stem}.svg", **shown, labels={**labels, "figure": name, "format": "SVG"})
    interactive = report(f"{stem}.html", **shown, labels={**labels, "figure": name, "format": "interactive"})
    return [drawing, interactive, f"{stem}.png"]


def page(name, category):
    """A table or text as a page of the HTML report."""
    path = f"{STUDY}/publish/tables/{name}.html"
    return report(path, caption=f"../reports/captions/{name}.rst", category=category, labels={"table": name})
