"""The package and the pages of the repository as syntax trees, for the tests that read them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "seqloom"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


SOURCE_FILES = python_files("src")


def name_of(path: Path) -> str:
    """Dotted name below seqloom: "data.files", "search" for search/__init__.py, "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def at(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, Function):
            yield node


def parameters(function: Function) -> list[ast.arg]:
    arguments = function.args
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred]


MODULES = {name_of(path): path for path in SOURCE_FILES}


def imported(node: ast.AST) -> list[str]:
    """Dotted names that an import statement asks for; `from a import b` gives a.b where that is a module, else a."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name.removeprefix("seqloom.") in MODULES else str(node.module) for name in names]
    return []


def definition(path: Path, name: str) -> ast.AST | None:
    """The class or function of that name, in the module or in the one of ours it is imported from."""
    for node in tree_of(path).body:
        if isinstance(node, Function | ast.ClassDef) and node.name == name:
            return node
    for node in tree_of(path).body:
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            module = str(node.module).removeprefix("seqloom").removeprefix(".")
            return definition(MODULES[module], name) if module in MODULES else None
    return None


def entries(table: str, path: Path) -> dict[str, ast.expr]:
    """Key and value expression of every line of a table written as a dict literal."""
    for node in tree_of(path).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        value = getattr(node, "value", None)
        if isinstance(value, ast.Dict) and any(isinstance(name, ast.Name) and name.id == table for name in targets):
            return {key.value: item for key, item in zip(value.keys, value.values, strict=True)
                    if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return {}


def code_blocks(page: Path) -> Iterator[str]:
    """Fenced blocks of a Markdown page."""
    yield from re.findall(r"^```[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
