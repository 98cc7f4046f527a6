"""Where a result came from: fingerprints of library code, run stamps, and stamps inside published files.

Imports the standard library only: the Snakefile asks for a fingerprint per rule at every start.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from switchyard.errors import InputError
from switchyard.seals import checked

SCHEMA_VERSION = 1
"""Raised when the layout of a stamp changes."""

LIBRARIES = (
    "altair",
    "bitsandbytes",
    "datasets",
    "duckdb",
    "numpy",
    "orjson",
    "pandas",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scikit-optimize",
    "scipy",
    "snakemake",
    "tokenizers",
    "torch",
    "transformers",
    "vl-convert-python",
)
"""Distributions whose version can move a number or a picture."""

PACKAGE = Path(__file__).parent.name
ROOT = Path(__file__).parents[1]

_MARKDOWN_NOTE = re.compile(r"\n*<!-- switchyard: (\{.*\}) -->\s*\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SQL_NOISE = re.compile(r"('(?:[^']|'')*'|\"[^\"]*\")|(?:--[^\n]*|/\*.*?\*/|\s)+", re.DOTALL)


class Source(NamedTuple):
    """What one module contributes: the digest of its meaning and the library modules it imports."""

    digest: str
    imports: frozenset[str]


def fingerprint(*modules: str, root: Path = ROOT) -> str:
    """SHA-256 of all library code that `modules` (dotted names) reach through their imports.

    Followed are `import` statements of this package's modules, inside functions too, but not those under
    `if TYPE_CHECKING`. Modules named by a string (the rule registry) are not followed, and neither are the lazy
    `__init__` files of packages. Comments, docstrings and layout do not count. A module that reads files lying
    beside it declares them in a constant, `DATA_FILES = ("metrics.sql",)` (glob patterns allowed); their content
    counts, SQL without its comments and layout.

    Raises `InputError` for a module or data file that does not exist, and for an import of a package instead of
    one of its modules, which could not be followed.
    """
    return hashlib.sha256(json.dumps(sorted(_reached(modules, root).items())).encode()).hexdigest()


def reachable(*modules: str, root: Path = ROOT) -> list[str]:
    """The modules that `fingerprint(*modules)` covers, sorted."""
    return sorted(_reached(modules, root))


def _reached(modules: tuple[str, ...], root: Path) -> dict[str, str]:
    """Digest of every module on the way."""
    digests: dict[str, str] = {}
    waiting = [_existing(module, "fingerprint", root) for module in modules]
    while waiting:
        module = waiting.pop()
        if module not in digests:
            source = _source(module, root)
            digests[module] = source.digest
            waiting.extend(source.imports)
    return digests


def _source(module: str, root: Path) -> Source:
    path = _module_path(module, root)
    status = path.stat()
    syntax_digest, imports, data_files = _parsed(path, module, root, status.st_mtime_ns, status.st_size)
    digest = hashlib.sha256(syntax_digest.encode())
    for pattern in data_files:
        found = sorted(path.parent.glob(pattern))
        if not found:
            raise InputError(
                f"{path}: DATA_FILES names {pattern!r}, which does not lie beside it; correct the name"
            )
        for file in found:
            digest.update(file.name.encode() + b"\0" + _data_content(file))
    return Source(digest.hexdigest(), imports)


@cache
def _parsed(
    path: Path, module: str, root: Path, mtime_ns: int, size_bytes: int
) -> tuple[str, frozenset[str], tuple[str, ...]]:
    """Syntax digest, imports and data files of one file; time and size are the key of the cache."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    imports = frozenset(
        name for statement in _statements(tree) for name in _imported(statement, module, path, root)
    )
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports, _declared_data(tree)


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements below `node` that can run; drops docstrings from the tree on the way."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if not isinstance(block, list):
            continue
        block[:] = [statement for statement in block if not _is_docstring(statement)]
        if field == "body" and _is_type_checking(node):
            continue
        for statement in block:
            yield statement
            yield from _statements(statement)
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield from _statements(part)


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in (
        getattr(node.test, "id", None),
        getattr(node.test, "attr", None),
    )


def _imported(statement: ast.stmt, module: str, path: Path, root: Path) -> Iterator[str]:
    """Library modules that one statement imports."""
    place = f"{path}:{statement.lineno}"
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if alias.name.split(".")[0] == PACKAGE:
                yield _existing(alias.name, place, root)
    elif isinstance(statement, ast.ImportFrom):
        base = statement.module or ""
        if statement.level:
            parents = module.split(".")[: -statement.level]
            base = ".".join([*parents, base] if base else parents)
        if base.split(".")[0] == PACKAGE:
            for alias in statement.names:
                yield _existing(_submodule(base, alias.name, root), place, root)


def _submodule(base: str, name: str, root: Path) -> str:
    """`from base import name`: the module `name` where `base` is a package, otherwise `base`."""
    return f"{base}.{name}" if root.joinpath(*base.split(".")).is_dir() else base


def _existing(module: str, place: str, root: Path) -> str:
    if _module_path(module, root).is_file():
        return module
    if root.joinpath(*module.split(".")).is_dir():
        raise InputError(
            f"{place}: {module} is a package; name one of its modules, so that its code can be followed"
        )
    raise InputError(
        f"{place}: no module {module} in {root / PACKAGE}; a name is imported from its own module"
    )


def _module_path(module: str, root: Path) -> Path:
    return root.joinpath(*module.split(".")).with_suffix(".py")


def _declared_data(tree: ast.Module) -> tuple[str, ...]:
    for statement in tree.body:
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        if any(getattr(target, "id", None) == "DATA_FILES" for target in targets):
            return tuple(ast.literal_eval(statement.value))
    return ()


def _data_content(path: Path) -> bytes:
    """Content that counts: SQL without comments and layout, anything else byte for byte."""
    if path.suffix != ".sql":
        return path.read_bytes()
    return _SQL_NOISE.sub(lambda match: match[1] or " ", path.read_text(encoding="utf-8")).strip().encode()


def stamp(
    *, code: str, config: Any, inputs: Mapping[str, str | Path], model: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The run stamp of a result: what made it, and nothing that differs between two equal runs.

    `code` is a `fingerprint`, `config` the settings the result depends on (anything JSON can hold), `inputs` maps a
    name to a SHA-256 or to a path that is hashed here, `model` describes the model where there is one. No time, host
    or path stands in it.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "code": code,
        "commit": commit(),
        "config": sha256_json(config),
        "inputs": {name: _sha256_of(value) for name, value in sorted(inputs.items())},
        "model": None if model is None else dict(model),
        "python": platform.python_version(),
        "libraries": dict(library_versions()),
    }


def derived(parent: Mapping[str, Any], *, code: str) -> dict[str, Any]:
    """The run stamp of what is made from a stamped result alone: its inputs, and `upstream`, the code that made it."""
    return {
        **parent,
        "code": code,
        "commit": commit(),
        "inputs": {**parent["inputs"], "upstream": parent["code"]},
    }


def _sha256_of(value: str | Path) -> str:
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else sha256_file(value)


def sha256_json(content: Any) -> str:
    """SHA-256 of `content` as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and digests of all files in it.

    Raises:
        InputError: a file is not what was written (`switchyard.seals`).
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return sha256_json([[file.relative_to(path).as_posix(), sha256_file(file)] for file in files])
    return checked(path)


@cache
def library_versions() -> tuple[tuple[str, str], ...]:
    """(name, version) of the installed libraries that matter, none of them imported."""
    return tuple((name, version) for name in LIBRARIES if (version := _version(name)) is not None)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def commit() -> str:
    """Git commit of the checkout that holds the library, `unknown` outside one or without git."""
    checkout = ROOT.parent
    # The ceiling keeps git from answering for a repository that merely surrounds an installed copy.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(checkout.parent)}
    command = ["git", "-C", str(checkout), "rev-parse", "--verify", "HEAD"]
    try:
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return answer.stdout.strip() or "unknown"


def attach_to(path: str | Path, stamp: Mapping[str, Any]) -> Path:
    """Put `stamp` to a file whose format has no place of its own for it; return the file that now holds it.

    Markdown carries it in a closing comment; anything else (CSV) in `sidecar(path)`. JSON results have a field for
    it, Parquet its schema metadata (`switchyard.files`), figures their metadata (`switchyard.charts`).
    """
    from switchyard.files import atomic

    path = Path(path)
    note = json.dumps(stamp, sort_keys=True)
    if path.suffix != ".md":
        with atomic(sidecar(path)) as partial:
            partial.write_text(note + "\n", encoding="utf-8")
        return sidecar(path)
    text = _MARKDOWN_NOTE.sub("", path.read_text(encoding="utf-8")).rstrip()
    with atomic(path) as partial:
        partial.write_text(
            f"{text}\n\n<!-- switchyard: {note.replace('>', chr(92) + 'u003e')} -->\n", encoding="utf-8"
        )
    return path


def attached(path: str | Path) -> dict[str, Any]:
    """The stamp that `attach_to` put to `path`, `{}` where there is none."""
    path = Path(path)
    if path.suffix != ".md":
        return json.loads(sidecar(path).read_text(encoding="utf-8")) if sidecar(path).is_file() else {}
    note = _MARKDOWN_NOTE.search(path.read_text(encoding="utf-8"))
    return json.loads(note[1]) if note else {}


def sidecar(path: str | Path) -> Path:
    """Where the stamp of a file lies that cannot hold one: `results.csv.provenance.json`."""
    path = Path(path)
    return path.with_name(f"{path.name}.provenance.json")
