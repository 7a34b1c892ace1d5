"""Generated pages are what their generator gives today (`make docs`). config.md has its own test beside its tables."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest

from source_tree import ROOT


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_page_of_the_command_line_is_not_stale(generate: ModuleType) -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generate.cli_page(), "make docs"


def test_every_verb_has_its_part(generate: ModuleType) -> None:
    found = re.findall(r"^## seqloom (\w+)\n\n```text\nUsage: seqloom (\w+) ", generate.cli_page(), re.MULTILINE)
    assert {first for first, _ in found} >= {"train", "predict", "evaluate", "explain", "doctor", "demo"}
    assert all(first == second for first, second in found)
