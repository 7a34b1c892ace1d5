"""The files around the package agree with it and with each other."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from source_tree import PACKAGE, ROOT, SOURCE_FILES, at, imported, tree_of


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def normal(name: str) -> str:
    """Name of a distribution as the package index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines if line[:1] != "#")}


def requirement_lines() -> list[str]:
    """What the package and its extras ask for, without the extras that name other extras."""
    lines = [*project()["dependencies"], *chain(*project()["optional-dependencies"].values())]
    return [line for line in lines if not line.startswith("seqloom[")]


def requirements() -> dict[str, str]:
    """Name → lower bound, "" where there is none."""
    names = (re.match(r"([\w.-]+)(?:>=(.*))?", line) for line in requirement_lines())
    return {normal(match[1]): match[2] or "" for match in names if match}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def version() -> str:
    namespace = ast.literal_eval(tree_of(PACKAGE / "_version.py").body[-1].value)  # type: ignore[attr-defined]
    assert isinstance(namespace, str)
    return namespace


def test_changelog_starts_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == version()


def test_citation_names_this_version() -> None:
    assert f"\nversion: {version()}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_constraints_are_exact_and_cover_every_requirement() -> None:
    assert all(re.fullmatch(r"\d[\w.]*", pin) for pin in pins().values()), "exact versions without a local tag"
    assert set(requirements()) - set(pins()) == set()


def test_constraints_satisfy_the_lower_bounds() -> None:
    low = {name: pins()[name] for name, bound in requirements().items() if numbers(pins()[name]) < numbers(bound)}
    assert low == {}


def test_no_requirement_has_an_upper_bound() -> None:
    assert [line for line in requirement_lines() if re.search(r"[<!~]|==", line)] == []


def test_errors_name_extras_that_exist() -> None:
    """MissingExtraError(package, extra, purpose): the pip line it prints must work."""
    extras = project()["optional-dependencies"]
    unknown = []
    for path in SOURCE_FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "MissingExtraError":
                values = [argument.value for argument in node.args[:2] if isinstance(argument, ast.Constant)]
                if len(values) == 2 and (values[1] not in extras or normal(str(values[0])) not in requirements()):
                    unknown.append(f"{at(path, node)} {values}")
    assert unknown == []


# Packages whose objects are part of a declared one's own interface, by that one.
THROUGH = {"annotated_types": "pydantic", "pydantic_core": "pydantic"}


def test_every_import_is_a_declared_requirement() -> None:
    """Not one that happens to be installed because something else wants it."""
    distributions = packages_distributions()
    undeclared = []
    for path in SOURCE_FILES:
        for node in ast.walk(tree_of(path)):
            for name in {module.partition(".")[0] for module in imported(node)} - set(sys.stdlib_module_names):
                owners = distributions.get(THROUGH.get(name, name), [])
                if name != "seqloom" and not {normal(owner) for owner in owners} & set(requirements()):
                    undeclared.append(f"{at(path, node)} {name}")
    assert undeclared == []


def test_all_holds_every_extra_for_users() -> None:
    extras = project()["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(re.findall(r"\w+", everything.partition("[")[2])) == set(extras) - {"all", "dev"}


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell, also when the tests themselves run under make."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    environment = {name: value for name, value in os.environ.items() if not re.match("MAKE|MFLAGS", name)}
    return subprocess.run(["make", "-C", str(folder), *arguments], env=environment, capture_output=True, text=True,
                          timeout=60)


@pytest.mark.parametrize("target", "help setup demo test test-slow check format bench docs lessons site clean".split())
def test_make_has_the_target(target: str) -> None:
    done = make(ROOT, "-n", target)
    assert done.returncode == 0, done.stderr


def test_make_alone_lists_the_targets() -> None:
    done = make(ROOT, "-s")
    assert "make TARGET" in done.stdout
    assert re.search(r"^  test +\S", done.stdout, re.MULTILINE)


def test_make_refuses_an_old_python(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(tmp_path, "test", f"PYTHON={old}")
    assert done.returncode == 2
    assert "seqloom needs Python 3.11 or later" in done.stderr
    assert "make test PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_make_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")][-1] == "make test"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_workflow_actions_are_pinned_and_read_only() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert re.findall(r"uses: +(?!\S+@[0-9a-f]{40}\b)(\S+)", text) == []
    assert "permissions:\n  contents: read\n" in text


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in folder.glob("[0-9]*.md")]
    assert pages
    assert [name for name in pages if f"({name})" not in index] == []


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_no_path_of_a_machine_is_in_the_project() -> None:
    folders = ("src", "tests", "docs", "benchmarks", ".ci", ".github")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")
             if path.suffix in {".py", ".md", ".yaml", ".yml", ".json", ".html", ".tsv"}]
    pattern = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w")
    assert [str(path.relative_to(ROOT)) for path in [*files, *ROOT.glob("*.*")]
            if path.is_file() and pattern.search(path.read_text(encoding="utf-8", errors="replace"))] == []
