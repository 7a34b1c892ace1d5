"""Generated pages are what their generator gives today (`make docs`). config.md has its own test beside its tables."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from seqloom.config.loading import load_config, preset_names
from seqloom.config.sections import CorpusConfig
from seqloom.data.files import read_records
from seqloom.types import Record
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


def test_the_page_of_presets_is_not_stale_and_its_blocks_are_the_presets(generate: ModuleType, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    assert page == generate.presets_page(), "make docs"
    shown = dict(re.findall(r"^## (\w+)\n.*?```yaml\n(.*?)```", page, re.MULTILINE | re.DOTALL))
    assert list(shown) == preset_names()
    for name, text in shown.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        own, of_page = load_config(preset=name)[0], load_config(tmp_path / f"{name}.yaml")[0]
        assert of_page == own.model_copy(update={"preset": None})


def test_every_verb_has_its_part(generate: ModuleType) -> None:
    found = re.findall(r"^## seqloom (\w+)\n\n```text\nUsage: seqloom (\w+) ", generate.cli_page(), re.MULTILINE)
    assert {first for first, _ in found} >= {"train", "predict", "evaluate", "explain", "doctor", "demo"}
    assert all(first == second for first, second in found)


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl"])
def test_the_files_shown_are_read_as_the_page_says(suffix: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (shown,) = re.findall(rf"```{suffix}\n(.*?)```", page, re.DOTALL)
    path = tmp_path / f"shown.{suffix}"
    path.write_text(shown, encoding="utf-8")
    records = list(read_records([CorpusConfig(path=str(path))], None, ("source", "target")))
    assert len(records) == 2
    assert all(isinstance(record, Record) and record.text("target") for record in records)


def test_the_configuration_shown_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    columns, languages = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "shown.yaml").write_text(columns, encoding="utf-8")
    config, _ = load_config(tmp_path / "shown.yaml")
    assert [corpus.columns for corpus in config.data.train] == [{"source": "Q", "target": "A"}, None]
    assert [corpus.weight for corpus in config.data.train] == [1.0, 0.5]
    (tmp_path / "languages.yaml").write_text(languages, encoding="utf-8")
    config, _ = load_config(tmp_path / "languages.yaml")
    assert [corpus.language for corpus in (*config.data.train, *config.data.valid)] == ["fra", "kor", "fra", "kor"]
