"""What a configuration and its models say about each other, as far as the models are known before the first job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from switchyard.models.files import fault_of_folder
from switchyard.models.structure import length_fault
from switchyard.routing.null_names import left_out
from switchyard.study.configurations import Configuration, configurations
from switchyard.study.models import checkpoint_folder, known_structure, own_config

Structure = Mapping[str, Any]

EXPERTS = {"olmoe": ("num_experts", "num_local_experts"), "mixtral": ("num_local_experts", "num_experts")}
"""What an architecture calls the number of experts of a layer, and what another one calls it."""

PROMPT_TOKENS = 32
"""Tokens before those that are decoded while speed is measured."""


def disagreements(config: Mapping[str, Any], root: Path) -> Iterator[str]:
    """Complaints, each as `field: fault; remedy`.

    Args:
        config: filled in and checked against the schema; names of models are known ones.
        root: the folder that relative paths start from.
    """
    for name, entry in config["models"].items():
        yield from _entry(name, entry, root)
    size = config["corpus"]["vocabulary_size"]
    structures = {
        name: known_structure(one, root=root, vocabulary_size=size) for name, one in config["models"].items()
    }
    known = {name: structure for name, structure in structures.items() if structure}
    for name in config["evaluation"]["models"]:
        if name in known:
            yield from _lengths(config, name, known[name])
    for name in config["observation"]["models"] or config["models"]:
        if name in known:
            yield from _observed(config["observation"], name, known[name])
    for one in configurations(dict(config)):
        if one.model in known:
            yield from _configured(one, known[one.model])


def check_families(config: Mapping[str, Any], root: Path) -> None:
    """Refuse a model of the user's whose routers rules cannot stand in for, as far as its class says so by now.

    Imports torch, so that a run of the workflow leaves it to the job that fetches the model.
    """
    from switchyard.models.routers import check_fields

    used = [*config["evaluation"]["models"], *(config["observation"]["models"] or config["models"])]
    for entry in (config["models"][name] for name in dict.fromkeys(used)):
        stated = (entry.get("structure") or {}).get("model_type")
        fields = own_config(entry, root) or (stated and {"model_type": stated})
        if entry["source"] != "pocket" and fields:
            check_fields(fields)


def _entry(name: str, entry: Mapping[str, Any], root: Path) -> Iterator[str]:
    """A model's own entry: a folder that lacks a file, a recipe or a stated structure that contradicts itself."""
    trained = entry["source"] == "pocket" and entry["retrain"]
    if (
        entry["source"] != "hub"
        and not trained
        and (fault := fault_of_folder(checkpoint_folder(entry, root)))
    ):
        yield f"models.{name}.path: {entry['path']} {fault}"
    if trained:
        yield from _recipe(f"models.{name}.training", entry["training"])
    if (packed := entry.get("quantise")) and packed["experts_on"] == "host" and packed["experts"] == "none":
        yield f"models.{name}.quantise.experts_on: host is for packed experts; set `experts` to nf4 or int8"
    if stated := entry.get("structure"):
        yield from _parts(f"models.{name}.structure", stated)


def _recipe(place: str, recipe: Mapping[str, Any]) -> Iterator[str]:
    shape = recipe["shape"]
    own, other = EXPERTS[recipe["architecture"]]
    if other in shape:
        yield f"{place}.shape.{other}: {recipe['architecture']} calls it {own}; rename it"
    structure = known_structure({"source": "pocket", "retrain": True, "training": recipe}, vocabulary_size=1)
    yield from _parts(f"{place}.shape", structure)
    if fault := length_fault(structure, recipe["sequence_length"]):
        yield f"{place}.sequence_length: {fault}"
    if recipe["warmup_steps"] > recipe["steps"]:
        yield f"{place}.warmup_steps: {recipe['warmup_steps']} of {recipe['steps']} steps; lower it"


def _parts(place: str, structure: Structure) -> Iterator[str]:
    """Numbers of a structure that do not go together."""
    heads = structure["num_heads"]
    if structure["top_k"] > structure["num_experts"]:
        yield f"{place}: {structure['top_k']} experts per token of {structure['num_experts']}; correct one of them"
    if heads % structure["num_key_value_heads"]:
        yield (
            f"{place}: {heads} attention heads cannot share {structure['num_key_value_heads']} of keys and values; "
            "make the first a multiple of the second"
        )
    if structure["head_dim"] * heads != structure["hidden_size"] and structure["hidden_size"] % heads:
        yield f"{place}: a width of {structure['hidden_size']} is no multiple of {heads} attention heads; correct one"
    if structure.get("num_hidden_layers", structure["num_layers"]) < structure["num_layers"]:
        yield f"{place}: {structure['num_layers']} layers with experts of {structure['num_hidden_layers']}; correct one"


def _lengths(config: Mapping[str, Any], model: str, structure: Structure) -> Iterator[str]:
    """Sequences that are longer than a model's positions."""
    lengths = {f"datasets.{name}.max_length": one["max_length"] for name, one in config["datasets"].items()}
    lengths |= {
        f"var.datasets.{name}.max_length": one["max_length"]
        for name, one in config["var"]["datasets"].items()
    }
    lengths |= {
        f"code.datasets.{name}.max_length": one["max_length"]
        for name, one in config["code"]["datasets"].items()
    }
    lengths["calibration.max_length"] = config["calibration"]["max_length"]
    lengths["speed.decode_tokens"] = PROMPT_TOKENS + config["speed"]["decode_tokens"]
    for place, length in lengths.items():
        if fault := length_fault(structure, length):
            yield f"{place}: {model} {fault}"


def _observed(observation: Mapping[str, Any], model: str, structure: Structure) -> Iterator[str]:
    if fault := length_fault(structure, observation["max_length"]):
        yield f"observation.max_length: {model} {fault}"
    for layer in observation["layers"] or ():
        if layer >= structure["num_layers"]:
            yield (
                f"observation.layers: {layer} is no MoE block of {model}, which has {structure['num_layers']} of them, "
                "counted from 0; drop it"
            )


def _configured(one: Configuration, structure: Structure) -> Iterator[str]:
    """A routing configuration that a model cannot have."""
    place, num_experts = f"routing.{one.set_name}", structure["num_experts"]
    if (one.most_experts or 0) > num_experts:
        yield (
            f"{place}: {one.name} asks for {one.most_experts} experts a token, {one.model} has {num_experts}; "
            "lower it, or name other `models` for the set"
        )
    impossible = left_out(num_experts, structure["top_k"])
    if (null := one.settings.get("null_distribution")) in impossible:
        yield f"{place}: {one.model} has no null {null}: {impossible[null]}; choose another null_distribution"
