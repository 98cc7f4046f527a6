"""Fingerprints of library code: what a job's result depends on beside its inputs and settings.

Imports the standard library only: snakemake asks for the fingerprint of every job that it plans.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from switchyard.errors import InputError

PACKAGE = Path(__file__).parents[1].name
ROOT = Path(__file__).parents[2]

_SQL_NOISE = re.compile(r"('(?:[^']|'')*'|\"[^\"]*\")|(?:--[^\n]*|/\*.*?\*/|\s)+", re.DOTALL)


NAMED_BY_STRING = {
    "collect_router_logits": ("switchyard.evaluation.router_logits_job",),
    "assess_model": ("switchyard.evaluation.assessment_job",),
    "evaluate_experiment": ("switchyard.evaluation.job",),
    "sweep_var": ("switchyard.var.sweep_job",),
    "generate_code": ("switchyard.evaluation.code_job",),
    "evaluate_points": ("switchyard.search.job",),
    "validate_search": ("switchyard.search.job",),
    "ablate_rules": ("switchyard.search.ablation_job",),
}
"""By script: modules that no import leads to, because a worker is asked for their function by name.

The module of a job's own routing rule is the other one; the registry names it, and the caller of `fingerprint` adds it.
"""

EXCLUDED = frozenset(f"{PACKAGE}.runtime.{name}" for name in ("log", "progress", "workers"))
"""Modules that decide what is printed and which process works, and no result. They are not followed either."""

_LOG_CALLS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})


class Source(NamedTuple):
    """What one module contributes: the digest of its meaning and the library modules it imports."""

    digest: str
    imports: frozenset[str]


def fingerprint(script: str | Path, *modules: str, root: Path = ROOT) -> str:
    """SHA-256 of all library code that a script and `modules` (dotted names) reach through their imports.

    Followed are `import` statements of this package's modules, inside functions too, but not those under
    `if TYPE_CHECKING`. Neither the lazy `__init__` files of packages nor EXCLUDED modules are followed. Comments,
    docstrings, layout and the arguments of `raise` and of logging calls do not count. A module that reads files lying
    beside it declares them in a constant, `DATA_FILES = ("metrics.sql",)` (glob patterns allowed); their content
    counts, SQL without its comments and layout. The script's own code does not count: Snakemake sees it.

    Raises `InputError` for a module or data file that does not exist, and for an import of a package instead of
    one of its modules, which could not be followed.
    """
    return hashlib.sha256(json.dumps(sorted(_reached(script, modules, root).items())).encode()).hexdigest()


def reachable(script: str | Path, *modules: str, root: Path = ROOT) -> list[str]:
    """The modules that `fingerprint(script, *modules)` covers, sorted."""
    return sorted(_reached(script, modules, root))


def _reached(script: str | Path, modules: tuple[str, ...], root: Path) -> dict[str, str]:
    """Digest of every module on the way."""
    script = Path(script)
    named = (*modules, *NAMED_BY_STRING.get(script.stem, ()))
    digests: dict[str, str] = {}
    waiting = [*_imports_of(script, root), *(_existing(module, str(script), root) for module in named)]
    while waiting:
        module = waiting.pop()
        if module not in digests and module not in EXCLUDED:
            source = _source(module, root)
            digests[module] = source.digest
            waiting.extend(source.imports)
    return digests


def _imports_of(script: Path, root: Path) -> frozenset[str]:
    status = script.stat()
    return _parsed(script, script.stem, root, status.st_mtime_ns, status.st_size)[1]


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
    data_files = _declared_data(tree)
    meaning = ast.dump(_WithoutWording().visit(tree))
    return hashlib.sha256(meaning.encode()).hexdigest(), imports, data_files


class _WithoutWording(ast.NodeTransformer):
    """Drops what is only said: the arguments of raised exceptions and of logging calls."""

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        call = node.value
        if isinstance(call, ast.Call) and _is_logging(call.func):
            call.args, call.keywords = [], []
        return self.generic_visit(node)


def _is_logging(function: ast.expr) -> bool:
    """Whether this is a method such as `log.info` of a logger."""
    owner = getattr(function, "value", None)
    name = getattr(owner, "id", getattr(owner, "attr", ""))
    return getattr(function, "attr", "") in _LOG_CALLS and name in ("log", "logger", "logging")


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
