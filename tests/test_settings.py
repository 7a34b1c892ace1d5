"""docs/settings.md: every block of it trains, on a few examples and for a few updates, and answers."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import seqloom
from seqloom.config.loading import load_config
from seqloom.data.generated import language, moving, shapes, tones, vectors
from source_tree import ROOT

PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
BLOCKS = {re.sub(r"\W+", "-", title).strip("-"): code for title, code in re.findall(
    r"^## ([^\n]+)\n.*?```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)}
SMALL = ["training.max_steps=2", "training.threads=1", "training.batch_size=4"]


def test_the_pictures_are_there() -> None:
    assert list(BLOCKS) == ["One-to-one-a-vector-a-class", "One-to-many-a-picture-a-sentence",
                            "Many-to-one-sound-a-word", "Many-to-many-sound-text",
                            "No-source-a-text-what-comes-next", "Many-to-many-in-step-frames-a-tag-for-each"]


def test_the_configuration_shown_is_one(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "shown.yaml").write_text(shown, encoding="utf-8")
    config, notes = load_config(tmp_path / "shown.yaml")
    assert (config.source.kind, notes) == ("features", [])


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_trains_and_answers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    module: ModuleType
    for module in (language, moving, shapes, tones, vectors):
        monkeypatch.setattr(module, "write", partial(module.write, train=12, valid=4, test=2))
    full = seqloom.train

    def short(*files: Any, **options: Any) -> Path:
        return full(*files, overrides=SMALL, **options)

    monkeypatch.setattr(seqloom, "train", short)
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[name], name, "exec"), {})
    assert capsys.readouterr().out
    assert len(list((tmp_path / "runs").iterdir())) == 1
