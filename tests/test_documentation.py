"""What must be written down: docstrings, the text of every option, sources of the tables, the map in the README."""

from __future__ import annotations

import ast
import re

import pytest

from source_tree import PACKAGE, ROOT, SOURCE_FILES, Function, at, code_blocks, definition, entries, tree_of

# --- docstrings ------------------------------------------------------------------------------------------------------


def is_section(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Section" for base in node.bases)


def test_public_names_have_docstrings() -> None:
    """Every module, and every public class and function in it. Configuration sections have a text per field."""
    bare = [str(path.relative_to(ROOT)) for path in SOURCE_FILES
            if tree_of(path).body and path.name != "_version.py" and not ast.get_docstring(tree_of(path))]
    for path in SOURCE_FILES:
        for node in tree_of(path).body:
            if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node) and not (isinstance(node, ast.ClassDef) and is_section(node)):
                bare.append(f"{at(path, node)} {node.name}")
    assert bare == []


def test_every_option_has_a_text() -> None:
    bare = []
    for node in (node for path in sorted((PACKAGE / "config").glob("*.py")) for node in tree_of(path).body):
        if not isinstance(node, ast.ClassDef) or not is_section(node):
            continue
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and not isinstance(item.value, ast.Constant | ast.Tuple):
                call = item.value
                described = isinstance(call, ast.Call) and (
                    len(call.args) > 1 or any(word.arg == "description" for word in call.keywords))
                bare += [] if described else [f"{node.name}.{ast.unparse(item.target)}"]
    assert bare == []


# Where each table stands, and whether all of its entries come from papers. Elsewhere these entries do.
TABLES = {
    "SCORES": ("nn/scores.py", True),
    "CELLS": ("nn/cells.py", True),
    "NORMALIZATIONS": ("nn/normalization.py", False),
    "BRIDGES": ("nn/bridge.py", False),
    "POOLINGS": ("nn/answers.py", False),
    "STRATEGIES": ("search/__init__.py", False),
    "METRICS": ("metrics/__init__.py", False),
    "TOKENIZERS": ("data/tokenizers.py", False),
}
PUBLISHED = {"sparsemax", "entmax15", "bpe", "unigram", "bleu", "chrf", "ter", "rouge_1", "rouge_2", "rouge_l"}


@pytest.mark.parametrize("table", TABLES)
def test_table_entries_say_where_they_come_from(table: str) -> None:
    module, all_published = TABLES[table]
    path = PACKAGE / module
    found = entries(table, path)
    assert found, f"{module} has no dict literal {table}"
    for key, value in found.items():
        name = next((node.id for node in ast.walk(value) if isinstance(node, ast.Name)), "")
        node = definition(path, name)
        assert isinstance(node, Function | ast.ClassDef), f"{table}['{key}'] is not a class or function of ours"
        text = ast.get_docstring(node) or ""
        assert text, f"{node.name} has no docstring"
        if all_published or key in PUBLISHED:
            assert re.search(r"\b(19|20)\d\d\b", text), f"{node.name}: name the paper and its year"


# --- the map in the README -------------------------------------------------------------------------------------------


def readme_tree() -> str:
    """The code block of the README that begins with src/seqloom/."""
    blocks = [block for block in code_blocks(ROOT / "README.md") if re.search(r"^\s*src/seqloom/", block, re.MULTILINE)]
    if not blocks:
        pytest.skip("README.md has no tree of src/seqloom/ yet")
    return blocks[0]


def test_the_tree_in_the_readme_names_every_file_and_folder() -> None:
    unnamed = {"__pycache__", "__init__.py", "__main__.py", "_version.py", "py.typed"}
    names = {f"{path.name}/" if path.is_dir() else path.name for path in PACKAGE.iterdir() if path.name not in unnamed}
    assert names - set(re.findall(r"^  ([\w.]+/?) ", readme_tree(), re.MULTILINE)) == set()


def test_the_tree_in_the_readme_names_nothing_else() -> None:
    named = re.findall(r"^( *)([\w./]+)(?= |$)", readme_tree(), re.MULTILINE)
    assert [name for indent, name in named if not ((PACKAGE if indent else ROOT) / name).exists()] == []
