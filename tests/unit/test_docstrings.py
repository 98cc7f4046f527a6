"""Docstrings of the library: every public name has one, and it gives the shapes of its tensors and its errors.

A public name begins without an underscore, and so do the classes that hold it. A class answers for its constructor.
A verb of the command line names no errors: its docstring is its help, and `main` prints the errors.
"""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

LIBRARY = Path(__file__).parents[2] / "lib" / "switchyard"
LATER: tuple[str, ...] = ()
"""Packages that are not checked yet."""

TENSOR = re.compile(r"\b(Tensor|ndarray|NDArray|ArrayLike)\b")
SHAPE = re.compile(r"(?<![\w\])])\[([^][]*([a-zA-Z]|\.\.\.)[^][]*|\d+)\]")
"""[tokens, experts], [...] or [2], but neither logits[k] nor the interval [0, 1]."""
REFERENCE = re.compile(r"\b[Ss]ee `([\w.]+)`")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
CONSTRUCTORS = ("__init__", "__post_init__", "__new__")


class Public(NamedTuple):
    """A public function or class."""

    place: str
    name: str
    docstring: str
    text: str
    """All that describes it: the docstring, and for a class those of its constructor and fields."""
    annotations: str
    raised: set[str]

    @property
    def names_a_shape(self) -> bool:
        """Whether a shape such as [tokens, experts] stands in the text."""
        return bool(SHAPE.search(self.text))


def described(source: str, file: str) -> Iterator[Public]:
    """The public names of a module."""
    lines = source.splitlines()

    def below(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[Public]:
        for child in node.body:
            if not isinstance(child, DEFINITIONS) or child.name.startswith("_") or _sets_a_property(child):
                continue
            place, name = f"{file}:{child.lineno}: {prefix}{child.name}", prefix + child.name
            if isinstance(child, ast.ClassDef):
                yield Public(place, name, *_of_class(child, lines))
                yield from below(child, f"{name}.")
            else:
                docstring = _docstring(child)
                raised = set() if _is_verb(child) else _raised([child])
                yield Public(place, name, docstring, docstring, _signature(child), raised)

    yield from below(ast.parse(source), "")


def _of_class(node: ast.ClassDef, lines: list[str]) -> tuple[str, str, str, set[str]]:
    """Docstring, text, annotations and errors of a class: of itself, its public fields and its constructor."""
    inside = [one for one in node.body if getattr(one, "name", None) in CONSTRUCTORS]
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and _is_public(one)]
    text = "\n".join([_docstring(node), *map(_docstring, inside), *_of_fields(node, lines)])
    annotations = [*(ast.unparse(one.annotation) for one in fields), *map(_signature, inside)]
    return _docstring(node), text, " ".join(annotations), _raised(inside)


def _docstring(node: ast.AST) -> str:
    return ast.get_docstring(node) or ""


def _signature(node: ast.FunctionDef) -> str:
    return f"{ast.unparse(node.args)} {ast.unparse(node.returns) if node.returns else ''}"


def _is_verb(node: ast.FunctionDef) -> bool:
    return ast.unparse(node.args) == "arguments: argparse.Namespace"


def _is_public(field: ast.AnnAssign) -> bool:
    return not ast.unparse(field.target).startswith("_")


def _sets_a_property(node: ast.AST) -> bool:
    return any(ast.unparse(one).endswith((".setter", ".deleter")) for one in node.decorator_list)


def _of_fields(node: ast.ClassDef, lines: list[str]) -> Iterator[str]:
    """The comments behind the fields of a class and the strings below them."""
    for one in node.body:
        if isinstance(one, ast.AnnAssign):
            yield lines[one.end_lineno - 1].partition("#")[2]
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
            yield str(one.value.value)


def _raised(nodes: list[ast.AST]) -> set[str]:
    """Names of the exceptions that the code itself makes and raises; a function that makes one makes an InputError."""
    raised = [one.exc for node in nodes for one in ast.walk(node) if isinstance(one, ast.Raise)]
    names = {ast.unparse(one.func).split(".")[-1] for one in raised if isinstance(one, ast.Call)}
    return {"InputError" if name[0].islower() else name for name in names}


def without_docstring(found: list[Public]) -> list[str]:
    return [one.place for one in found if not one.docstring]


def without_shape(found: list[Public]) -> list[str]:
    """Names with tensors or arrays and no shape, neither there nor where "See `Name`" points."""
    shaped = {one.name for one in found if one.names_a_shape}
    return [
        one.place
        for one in found
        if TENSOR.search(one.annotations)
        and not one.names_a_shape
        and not shaped.intersection(REFERENCE.findall(one.text))
    ]


def without_errors(found: list[Public]) -> list[str]:
    """Names whose text lacks an exception that they raise."""
    return [f"{one.place}: {error}" for one in found for error in sorted(one.raised) if error not in one.text]


@cache
def library() -> list[Public]:
    files = sorted(LIBRARY.rglob("*.py"))
    checked = [file for file in files if file.relative_to(LIBRARY).parts[0] not in LATER]
    return [one for file in checked for one in described(file.read_text(), str(file.relative_to(LIBRARY)))]


def refuse(missing: list[str], remedy: str) -> None:
    assert not missing, f"{remedy}:\n" + "\n".join(missing)


def test_every_public_name_has_a_docstring():
    refuse(without_docstring(library()), "say in a docstring what these are")


def test_docstrings_give_the_shapes_of_tensors_and_arrays():
    remedy = "name the shapes, such as [tokens, experts], or a function that does: See `RoutingRule.select`"
    refuse(without_shape(library()), remedy)


def test_docstrings_name_the_errors_that_are_raised():
    refuse(without_errors(library()), "say when these raise the error, by its name")


SOURCE = '''
class Rule:
    """A rule of [0, 1]."""

    weights: Tensor{comment}

    def __init__(self):
        {constructor}
        raise InputError("empty")

    def select(self, logits: Tensor):
        """{select}"""

    @property
    def limits(self):
        {limits}

    @limits.setter
    def limits(self, value): ...


def choose(logits: np.ndarray):
    """{choose}"""
    raise damaged("logits")


def verb(arguments: argparse.Namespace):
    """Choose, from the command line."""
    raise InputError("no file")
'''
COMPLETE = {
    "comment": "  # [experts]",
    "constructor": '"""InputError where it is empty."""',
    "select": "Choose from `logits` [tokens, experts].",
    "limits": '"""Fewest and most experts."""',
    "choose": "See `Rule.select`; raises InputError for damaged logits.",
}


def check_lacks(check: Callable[[list[Public]], list[str]], name: str, **parts: str) -> None:
    """Every check but `check` passes, and that one names `name` alone."""
    found = list(described(SOURCE.format(**COMPLETE | parts), "rule.py"))
    for one in (without_docstring, without_shape, without_errors):
        expected = [name] if one is check else []
        assert [place.split(": ")[1] for place in one(found)] == expected


def test_a_complete_module_passes():
    check_lacks(without_docstring, "Rule.limits", limits="pass")
    found = list(described(SOURCE.format(**COMPLETE), "rule.py"))
    assert [one.name for one in found] == ["Rule", "Rule.select", "Rule.limits", "choose", "verb"]
    assert not without_docstring(found) + without_shape(found) + without_errors(found)


def test_what_is_missing_is_found():
    check_lacks(without_shape, "Rule", comment="")
    check_lacks(without_errors, "Rule", constructor="")
    check_lacks(without_errors, "choose", choose="See `Rule.select`.")
    check_lacks(without_shape, "choose", choose="InputError for a `logits[0]` of none.")
    check_lacks(without_shape, "choose", choose="InputError. See `Rule.limits`.")
