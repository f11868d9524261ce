"""What the house promises of itself: no circle between files, legends that name what is there."""

from __future__ import annotations

import ast
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parents[2] / "src"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "hilum").rglob("*.py"))
}
PACKAGES = sorted(path.parent for path in FILES.values() if path.name == "__init__.py")
WITHOUT_LEGEND = {"hilum/bundles"}  # and the command line, whose files are its verbs


def imported(path: Path) -> set[str]:
    """Our own modules that a file names: at its top, inside functions, for types alone."""
    out, waiting = set[str](), list[ast.AST](ast.parse(path.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            out |= {name if name in FILES else node.module for name in names}
        elif isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        waiting += ast.iter_child_nodes(node)
    return out & FILES.keys()


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = {name: imported(path) - {name} for name, path in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_command_line_imports_what_it_needs_in_command_bodies() -> None:
    """`hilum --help` is there at once, and the base install has every command's help."""
    wrong = [
        f"{name} imports {one.module}"
        for name, path in FILES.items()
        if name.startswith("hilum.cli.")
        for one in ast.parse(path.read_text()).body
        if isinstance(one, ast.ImportFrom) and (one.module or "").startswith("hilum.")
        if not f"{one.module}.".startswith(("hilum.cli.", "hilum.core.errors."))
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_package_has_a_legend_of_its_files(package: Path) -> None:
    parts = {p.stem for p in package.glob("*.py")} - {"__init__", "__main__"}
    place = str(package.relative_to(ROOT))
    if not parts or place in WITHOUT_LEGEND or place.startswith("hilum/cli"):
        return
    legend = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    assert legend, f"{package} says nothing of itself"
    words = set(re.findall(r"\w+(?:\.py)?", legend))
    listed = {word.removesuffix(".py") for word in words if word.endswith(".py")}
    assert not listed - parts, f"{package.name} has no {sorted(listed - parts)}"
    left_out = parts - listed - words
    assert not left_out, f"the legend of {package.name} leaves out {sorted(left_out)}"


# Rows of a table, which are read beside each other.
TABLES = {"Item", "Published"}


def positional(call: ast.Call) -> int:
    """How many values a call takes by place, `*(a, b)` counted as two."""
    packed = (a.value for a in call.args if isinstance(a, ast.Starred))
    more = sum(len(one.elts) - 1 for one in packed if isinstance(one, ast.Tuple))
    return len(call.args) + more


def test_no_value_is_built_of_many_alike_by_place() -> None:
    trees = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
    classes = [
        node
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and "dataclass" in map(_name, node.decorator_list)
    ]
    many = Counter(node.name for node in classes)
    fields = {
        node.name: [ast.unparse(one.annotation) for one in node.body if _is_field(one)]
        for node in classes
        if many[node.name] == 1 and node.name not in TABLES
    }
    assert len(fields) > 100
    wrong = [
        f"{name}:{node.lineno} {_name(node)}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and positional(node) > 3 and _name(node) in fields
        if max(Counter(fields[_name(node)][: positional(node)]).values()) >= 3
    ]
    assert not wrong, "name the values: " + ", ".join(wrong)


UNNAMED = {"said", "found", "told", "asked", "judged", "resampled"}  # what was? A name says it


def test_no_variable_is_called_by_a_past_participle_that_names_nothing() -> None:
    wrong = [
        f"{name}:{node.lineno} {word}"
        for name, path in FILES.items()
        if name != "hilum.serve.tables"  # columns of databases that are there
        for node in ast.walk(ast.parse(path.read_text()))
        for word in (getattr(node, "arg", None) or getattr(node, "id", None),)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        if word in UNNAMED
    ]
    assert not wrong


MANY = 4  # values by place that a reader can follow


def test_no_function_of_ours_is_called_with_many_values_by_place() -> None:
    trees = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
    own = {name: {one.name for one in tree.body if _is_called(one)} for name, tree in trees.items()}
    wrong = []
    for name, tree in trees.items():
        known = set(own[name])  # and what it imports of others
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in own:
                known |= {one.name for one in node.names} & own[node.module]
        wrong += [
            f"{name}:{node.lineno} {_name(node)}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and positional(node) > MANY
            if _name(node) in known - TABLES
        ]
    assert not wrong, "name the values: " + ", ".join(wrong)


def test_no_function_returns_different_things_without_names() -> None:
    """Three or more of one type are corners, a colour or a shape."""
    wrong = [
        f"{name}:{node.lineno} {node.name}"
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None
        for one in ast.walk(node.returns)
        if isinstance(one, ast.Subscript) and ast.unparse(one.value) == "tuple"
        if isinstance(one.slice, ast.Tuple) and len(one.slice.elts) > 2
        if len({ast.unparse(part) for part in one.slice.elts}) > 1
    ]
    assert not wrong, "a NamedTuple has names: " + ", ".join(wrong)


def _is_called(node: ast.AST) -> TypeGuard[ast.FunctionDef | ast.ClassDef]:
    """A class, or a function that does not take any number of values."""
    if isinstance(node, ast.FunctionDef):
        return node.args.vararg is None
    return isinstance(node, ast.ClassDef)


def _is_field(node: ast.AST) -> TypeGuard[ast.AnnAssign]:
    return isinstance(node, ast.AnnAssign)


def _name(node: ast.AST) -> str:
    """Of what is called or used as a decorator."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.id if isinstance(node, ast.Name) else ""
