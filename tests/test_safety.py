"""Nothing that runs foreign code: no pickle, no eval, no shell; in the package, the benchmarks and the pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from source_tree import ROOT, at, code_blocks, python_files, tree_of

# What never stands in code that reads files or talks to a shell, as dotted calls and as imports.
UNSAFE_CALLS = set("""
    eval exec __import__ os.system os.popen torch.load torch.save yaml.load yaml.load_all yaml.unsafe_load
    yaml.full_load subprocess.getoutput subprocess.getstatusoutput
""".split())
UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def unsafe(tree: ast.AST) -> Iterator[ast.AST]:
    """Calls and imports that can run foreign code or go through a shell."""
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        if any(module.partition(".")[0] in UNSAFE_MODULES for module in modules):
            yield node
        if isinstance(node, ast.Call):
            switched_on = {word.arg for word in node.keywords
                           if not (isinstance(word.value, ast.Constant) and word.value.value is False)}
            if ast.unparse(node.func) in UNSAFE_CALLS or switched_on & {"shell", "allow_pickle"}:
                yield node


def test_nothing_runs_foreign_code() -> None:
    files = python_files("src", "benchmarks", "docs")
    assert files
    assert [at(path, node) for path in files for node in unsafe(tree_of(path))] == []


def test_docs_show_nothing_that_runs_foreign_code() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    pattern = re.compile(r"\bpickle\b|\btorch\.load\(|\byaml\.load\(|shell=True|\bos\.system\b|(?<![.\w])(eval|exec)\(")
    assert [str(page.relative_to(ROOT)) for page in pages for block in code_blocks(page) if pattern.search(block)] == []


@pytest.mark.parametrize("code", [
    "import pickle", "from pickle import loads", "eval('1')", "exec('1')", "torch.load(path)", "yaml.load(text)",
    "os.system('ls')", "subprocess.run('ls', shell=True)", "numpy.load(path, allow_pickle=True)",
    "numpy.load(path, allow_pickle=flag)"])
def test_unsafe_code_is_found(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


@pytest.mark.parametrize("code", ["model.eval()", "yaml.safe_load(text)", "numpy.load(path, allow_pickle=False)"])
def test_safe_code_is_not(code: str) -> None:
    assert not list(unsafe(ast.parse(code)))
