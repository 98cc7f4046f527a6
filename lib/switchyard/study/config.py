"""The study's configuration: what a file may say, checked before anything runs.

A study is `config.yaml` with a study file merged over it: maps merge, lists replace, and a null drops the entry
of a name-keyed map. Every complaint is one line that names the field, what is wrong, and what would be right.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from switchyard.errors import InputError
from switchyard.study.agreement import disagreements
from switchyard.study.configurations import configurations, observed_models, var_models

_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]+(e[-+]?[0-9]+)?", re.IGNORECASE)

RENAMED = {"rules": "routing", "evaluation.model": "evaluation.models (a list of names)"}
"""Keys of earlier versions and what they are called now."""

RESERVED_DATASETS = ("calibration", "validation")
"""Names of the prepared texts that the calibration makes for itself."""


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a repeated key instead of letting the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if key in seen:
                raise InputError(
                    f"{self.name}: key {key!r} on line {line} stands on line {seen[key]} already; keep one of the two"
                )
            seen[key] = line
        return super().construct_mapping(node, deep)


def read(path: str | Path) -> dict[str, Any]:
    """Read one configuration file.

    Raises:
        InputError: the file is missing, is not YAML, is not a map, or repeats a key.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such study file; `ls studies` lists those of the project")
    with path.open("rb") as stream:
        try:
            content = yaml.load(stream, _StrictLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f" line {mark.line + 1}" if mark else ""
            fault = " ".join(str(getattr(error, "problem", error)).split())
            raise InputError(
                f"{path}:{place} is not YAML ({fault}); correct the indentation or quotes"
            ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: a map of settings is expected, found {type(content).__name__}; see config.yaml"
        )
    return content


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`overlay` over `base`: maps merge, everything else replaces."""
    merged = dict(base)
    for key, value in overlay.items():
        both_maps = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both_maps else value
    return merged


def complete(config: dict[str, Any], files: Iterable[str | Path], checkout: Path) -> dict[str, Any]:
    """The resolved configuration of a run of snakemake.

    Args:
        config: what snakemake merged of `files` and its command line. It puts a study file's keys first; the order of
            sets and datasets is that of config.yaml.
        files: the configuration files, read again for what snakemake's reader lets pass.
        checkout: the folder of config.yaml and its schema.

    Raises:
        InputError: the first complaint, in one line.
    """
    for file in files:
        read(file)
    ordered = merge(read(checkout / "config.yaml"), config)
    return resolve(ordered, read(checkout / "config.schema.yaml"))


def resolve(config: dict[str, Any], schema: dict[str, Any], root: Path = Path(".")) -> dict[str, Any]:
    """Drop nulls of named maps, fill in defaults, check against the schema and against sense.

    Args:
        config: the merged configuration.
        schema: the content of config.schema.yaml.
        root: the folder that relative paths start from.

    Raises:
        InputError: the first complaint, in one line.
    """
    named = ("models", "datasets", "corpora", "routing")
    _refuse_old_keys(config)
    pruned = {key: _without_nulls(value) if key in named else value for key, value in config.items()}
    if isinstance(pruned.get("code"), dict) and "datasets" in pruned["code"]:
        pruned["code"] = {**pruned["code"], "datasets": _without_nulls(pruned["code"]["datasets"])}
    for section in ("var", "search"):
        if isinstance(pruned.get(section), dict):
            pruned[section] = {key: _without_nulls(value) for key, value in pruned[section].items()}
    filled = _with_defaults(pruned, schema, schema)
    errors = sorted(Draft202012Validator(schema).iter_errors(filled), key=_precedence)
    if errors:
        raise InputError(_one_line(errors[0]))
    for complaint in _senseless(filled, root):
        raise InputError(f"config: {complaint}")
    return filled


def _refuse_old_keys(config: dict[str, Any]) -> None:
    """Raise InputError for a key of an earlier version, naming the new one."""
    for place, new in RENAMED.items():
        *parents, key = place.split(".")
        section: Any = config
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict) and key in section:
            raise InputError(f"config: {place}: this key is now called {new}; rename it")


def _precedence(error: ValidationError) -> tuple[list[str], bool]:
    """Keys that no kind knows are judged last: where a kind's own fields are wrong, all its keys seem unknown."""
    return [str(part) for part in error.path], error.validator == "unevaluatedProperties"


def _without_nulls(value: Any) -> Any:
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def _with_defaults(value: Any, schema: dict, whole: dict) -> Any:
    """A copy of `value` with the schema's defaults, through references, patterns and conditions."""
    if "$ref" in schema:
        schema = {**whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], **schema}
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    defaults = {key: child for key, child in properties.items() if "default" in _resolved(child, whole)}
    filled = {**{key: _resolved(child, whole)["default"] for key, child in defaults.items()}, **value}
    patterns = list(schema.get("patternProperties", {}).values())
    for key, child in filled.items():
        filled[key] = _with_defaults(child, properties.get(key) or (patterns[0] if patterns else {}), whole)
    for condition in schema.get("allOf", []):
        if Draft202012Validator(condition["if"]).is_valid(filled):
            filled = _with_defaults(filled, condition["then"], whole)
    for kind in schema.get("oneOf", []):
        if (fixed := _fixed(kind)) and fixed.items() <= filled.items():
            filled = _with_defaults(filled, kind, whole)
    return filled


def _fixed(schema: dict) -> dict[str, Any]:
    """The values that a schema fixes by `const`."""
    return {key: child["const"] for key, child in schema.get("properties", {}).items() if "const" in child}


def _resolved(schema: dict, whole: dict) -> dict:
    return whole["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def _one_line(error: ValidationError) -> str:
    """A validation error as field, fault and remedy."""
    while error.context:
        if (kinds := _kinds(error)) and (own := _of_own_kind(error, kinds)) is None:
            return _no_such_kind(error, kinds)
        if kinds:
            error = own
            continue
        of_right_type = [e for e in error.context if e.validator != "type" or e.relative_path]
        error = max(of_right_type or error.context, key=lambda inner: len(inner.absolute_path))
    place = ".".join(str(part) for part in error.absolute_path) or "top level"
    about = f" ({error.schema['description']})" if "description" in error.schema else ""
    if error.validator in ("additionalProperties", "unevaluatedProperties"):
        known = [*error.schema.get("properties", {}), *_keys_of_own_kind(error)]
        patterns = [*error.schema.get("patternProperties", {})]
        allowed = re.compile("|".join(patterns) or "(?!)")
        unknown = next(k for k in error.instance if k not in known and not allowed.search(str(k)))
        near = difflib.get_close_matches(str(unknown), known, 1)
        if patterns and not known:
            return f"config: {place}: the name {unknown!r} is not allowed; names match {patterns[0]}"
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        return f"config: {place}: unknown key {unknown!r}; {hint}"
    return f"config: {place}: {_fault(error)[:300]}{about}"


def _kinds(error: ValidationError) -> list[dict[str, Any]]:
    """For a map that must be one of several kinds: what each kind fixes."""
    if error.validator != "oneOf" or not isinstance(error.instance, dict):
        return []
    return [fixed for kind in error.validator_value if (fixed := _fixed(kind))]


def _of_own_kind(error: ValidationError, kinds: list[dict[str, Any]]) -> ValidationError | None:
    """The first fault of a map by the rules of the one kind that it claims to be; None where there is no such kind."""
    own = [place for place, fixed in enumerate(kinds) if fixed.items() <= error.instance.items()]
    return min(
        (inner for inner in error.context if inner.schema_path[0] in own),
        key=lambda inner: [str(part) for part in inner.path],
        default=None,
    )


def _keys_of_own_kind(error: ValidationError) -> list[str]:
    """Keys of the one kind that a map claims to be, beside those of all kinds."""
    for kind in error.schema.get("oneOf", []):
        if (fixed := _fixed(kind)) and fixed.items() <= error.instance.items():
            return [key for key in kind["properties"] if key not in error.schema["properties"]]
    return []


def _no_such_kind(error: ValidationError, kinds: list[dict[str, Any]]) -> str:
    key = next(iter(kinds[0]))
    place = ".".join(str(part) for part in [*error.absolute_path, key])
    return f"config: {place}: {error.instance.get(key)!r} is not one of {[fixed[key] for fixed in kinds]}"


def _fault(error: ValidationError) -> str:
    """What is wrong with a value, and what would be right where jsonschema's own words leave it open."""
    message = " ".join(error.message.split())
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{missing!r} is missing; add it"
    if error.validator == "const":
        return f"{error.instance!r} does not go with the rest of this entry; {message}"
    if error.validator == "type" and isinstance(error.instance, str) and _NUMBER.fullmatch(error.instance):
        return f"{message}; write {float(error.instance)!r}"
    return message


def _senseless(config: dict[str, Any], root: Path) -> Iterator[str]:
    """What a schema cannot say."""
    for unknown in [name for name in config["evaluation"]["models"] if name not in config["models"]]:
        yield f"evaluation.models: {unknown!r} is no model of this study; name some of {', '.join(config['models'])}"
    for name in config["datasets"]:
        if _origin(config["datasets"][name]) in map(_origin, config["calibration"].values()):
            yield f"datasets.{name}: the nulls would be fitted on it or checked with it; give calibration another split"
        if name in RESERVED_DATASETS:
            yield f"datasets.{name}: this name is kept for the calibration's own texts; choose another"
    yield from _unobservable(config, root)
    yield from _not_for_var(config)
    yield from _not_for_code(config)
    for path, dataset in _texts(config):
        if dataset["source"] == "file" and not (root / config["data_folder"] / dataset["path"]).is_file():
            yield f"{path}.path: {config['data_folder']}/{dataset['path']} is no file; set data_folder or path"
    for name in _corpus_packages(config):
        if not any(importlib.metadata.distributions(name=name)):
            yield f"corpus.packages: {name!r} is not installed; install it or drop it from the corpus"
    yield from _unroutable(config)
    yield from _unprofilable(config)
    yield from disagreements(config, root)
    yield from _unsearchable(config)


def _unroutable(config: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the sets of configurations."""
    found = configurations(config)
    names = [(one.model, one.name) for one in found]
    for model in config["evaluation"]["models"]:
        if not any(one.model == model for one in found):
            yield f"routing: no enabled set runs on {model}; enable one, or drop it from evaluation.models"
    for unknown in set(config["inspector"]["configurations"] or []) - {one.name for one in found}:
        yield f"inspector.configurations: {unknown!r} is no configuration of this study; drop it or enable its set"
    for model, twice in [n for n in names if names.count(n) > 1]:
        yield f"routing: two sets give {model} the configuration {twice!r}; give each its own values"


def _unobservable(config: dict[str, Any], root: Path) -> Iterator[str]:
    """What is wrong with the observation and its corpus."""
    observation = config["observation"]
    if observation["corpus"] not in config["corpora"]:
        known = ", ".join(config["corpora"])
        yield f"observation.corpus: {observation['corpus']!r} is no corpus of this study; name one of {known}"
    for unknown in sorted(set(observation["models"] or []) - set(config["models"])):
        yield f"observation.models: {unknown!r} is no model of this study; name one of {', '.join(config['models'])}"
    length, shards = observation["max_length"], observation["shards"]
    if (longest := max(observation["segments"])) > length:
        yield (
            f"observation.segments: {longest} tokens are more than a window has (max_length {length}); drop it, or "
            "raise max_length"
        )
    if observation["tokens"] and shards > (windows := observation["tokens"] // length):
        yield f"observation.shards: {shards} shards share {windows} windows of max_length; lower it"
    for name, corpus in config["corpora"].items():
        for path in corpus.get("paths", []):
            if corpus["source"] == "file" and not (root / config["data_folder"] / path).is_file():
                yield f"corpora.{name}.paths: {config['data_folder']}/{path} is no file; set data_folder or paths"


def _not_for_var(config: dict[str, Any]) -> Iterator[str]:
    """What is wrong with VAR's models and texts."""
    from switchyard.var.config import PRESETS, VARConfig

    var, observed = config["var"], observed_models(config)
    for unknown in [name for name in var["models"] or [] if name not in observed]:
        yield f"var.models: {unknown!r} is not observed, and has no table; name some of {', '.join(observed)}"
    routed = {one.model for one in configurations(config) if one.rule == "var"}
    for model in sorted(routed - set(var_models(config))):
        yield f"routing: a set with rule var runs on {model}, which var.models leaves out; add it there"
    for name, dataset in var["datasets"].items():
        if name in (*config["datasets"], *RESERVED_DATASETS):
            yield f"var.datasets.{name}: this name is taken by another text of the study; choose another"
        if _origin(dataset) in map(_origin, config["datasets"].values()):
            yield f"var.datasets.{name}: is a final set too, which no threshold may be chosen on; give it another split"
        if dataset["source"] == "pocket" and dataset["split"] == "train":
            yield (
                f"var.datasets.{name}: the tables of VAR are made from the training text; set split to validation"
            )
    if var["datasets"] and not (var["presets"] or var["custom"]):
        yield "var: there is no configuration to compare; name one in var.presets or var.custom"
    if var["datasets"] and not any(one["kind"] == "perplexity" for one in var["datasets"].values()):
        yield "var.datasets: VAR is judged on running text; add a set of kind perplexity"
    for name, fields in var["custom"].items():
        if name in (*PRESETS, "baseline"):
            yield f"var.custom.{name}: this name is taken; choose another"
        try:
            VARConfig(**fields)
        except (InputError, TypeError) as error:
            yield f"var.custom.{name}: {error}"


def _unprofilable(config: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the models and rules that are profiled."""
    from switchyard.var.config import PRESETS

    given, evaluated = config["profile"], config["evaluation"]["models"]
    models = given["models"] or evaluated
    for unknown in [name for name in models if name not in evaluated]:
        yield f"profile.models: {unknown!r} is not evaluated; name some of {', '.join(evaluated)}"
    for unknown in [
        name for name in given["sets"] if name not in config["routing"]
    ]:  # a study may have dropped it
        if near := difflib.get_close_matches(unknown, config["routing"], 1, cutoff=0.75):
            yield f"profile.sets: {unknown!r} is no set of `routing`; did you mean {near[0]!r}?"
    known = [*PRESETS, *config["var"]["custom"]]
    for unknown in [name for name in given["var"] if name not in known]:
        yield f"profile.var: {unknown!r} is no configuration of VAR; name some of {', '.join(known)}"


def _not_for_code(config: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the sets of problems that programs are written for."""
    code, texts = config["code"], {**config["datasets"], **config["var"]["datasets"]}
    if code["datasets"] and not config["allow_code_execution"]:
        yield (
            "code.datasets: programs that a model wrote are executed, in a sandbox; if you agree, say "
            "`allow_code_execution: true`"
        )
    for name, dataset in code["datasets"].items():
        if name in (*texts, *RESERVED_DATASETS):
            yield f"code.datasets.{name}: this name is taken by another text of the study; choose another"
        if dataset["max_new_tokens"] >= dataset["max_length"]:
            yield (
                f"code.datasets.{name}.max_new_tokens: {dataset['max_new_tokens']} leave no room for a prompt in "
                f"max_length {dataset['max_length']}; lower it"
            )
    known = {one.name for one in configurations(config)}
    for unknown in sorted(set(code["configurations"] or []) - known):
        yield f"code.configurations: {unknown!r} is no configuration of this study; drop it or enable its set"


def _unsearchable(config: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the search of thresholds."""
    search = config["search"]
    for unknown in [name for name in search["models"] if name not in var_models(config)]:
        yield f"search.models: VAR does not run on {unknown!r}; name some of {', '.join(var_models(config))}"
    able = {*var_models(config), *(one.model for one in configurations(config) if one.rule == "bh")}
    for unknown in [name for name in search["ablation"]["models"] or () if name not in able]:
        yield f"search.ablation.models: {unknown!r} has neither VAR nor BH; name some of {', '.join(sorted(able))}"
    if "bh" in search["spaces"]:
        for name in [one for one in search["models"] if one not in config["evaluation"]["models"]]:
            yield f"search.spaces.bh: {name} has no nulls; add it to evaluation.models, or leave bh out"
    for key in ("calls", "grid_points"):
        if search[key] % search["batch"]:
            yield f"search.{key}: {search[key]} is no multiple of search.batch, {search['batch']}; change one of them"
    for key, texts, place in (
        ("dataset", config["var"]["datasets"], "var.datasets"),
        ("final", config["datasets"], "datasets"),
    ):
        known = [name for name, one in texts.items() if one["kind"] == "perplexity"]
        if search[key] not in known:
            yield f"search.{key}: {search[key]!r} is no running text of {place}; name one of {', '.join(known)}"


def _corpus_packages(config: dict[str, Any]) -> list[str]:
    """Packages that must be there: those of the corpus, when the study uses it."""
    trained = any(entry["source"] == "pocket" and entry["retrain"] for entry in config["models"].values())
    texts = [*(dataset for _, dataset in _texts(config)), *config["corpora"].values()]
    used = trained or any(text["source"] == "pocket" for text in texts)
    return config["corpus"]["packages"] if used else []


def _origin(entry: Any) -> Any:
    """Where a text comes from; a thing equal to nothing else for what is no text."""
    keys = ("source", "path", "repository", "subset", "split")
    return tuple(entry.get(key) for key in keys) if isinstance(entry, dict) else object()


def _texts(config: dict[str, Any]) -> Iterator[tuple[str, dict]]:
    for name, dataset in config["datasets"].items():
        yield f"datasets.{name}", dataset
    for name, dataset in config["var"]["datasets"].items():
        yield f"var.datasets.{name}", dataset
    for name, dataset in config["code"]["datasets"].items():
        yield f"code.datasets.{name}", dataset
    for name in RESERVED_DATASETS:
        yield f"calibration.{name}", config["calibration"][name]
