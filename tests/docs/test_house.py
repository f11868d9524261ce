"""What the house promises of itself: no circle between files, legends that name what is there."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "hilum").rglob("*.py"))
}
PACKAGES = sorted(path.parent for path in FILES.values() if path.name == "__init__.py")
WITHOUT_LEGEND = {"hilum/bundles", "hilum/cli"}


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


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_package_has_a_legend_of_its_files(package: Path) -> None:
    parts = {p.stem for p in package.glob("*.py")} - {"__init__"}
    if not parts or str(package.relative_to(ROOT)) in WITHOUT_LEGEND:
        return
    legend = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    assert legend, f"{package} says nothing of itself"
    words = legend.replace(",", " ").split()
    listed = {word.removesuffix(".py") for word in words if word.endswith(".py")}
    assert not listed - parts, f"{package.name} has no {sorted(listed - parts)}"
    if listed:
        assert not parts - listed, f"the legend of {package.name} leaves out {parts - listed}"
