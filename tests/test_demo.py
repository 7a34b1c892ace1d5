"""The demo end to end, on a few dates and a model that learns nothing."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from seqloom import demo
from seqloom.config.loading import load_config
from seqloom.data.dates import LOCALES, write_dates
from seqloom.errors import UsageError
from seqloom.run import open_run

TINY = ["source.embedding_size=4", "encoder.hidden_size=4", "decoder.hidden_size=8", "decoder.embedding_size=4",
        "training.max_steps=2", "training.threads=1", "decoding.max_length=12"]


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Any:
    """200 dates to train on, 10 for each of the other parts, two updates."""
    def few_dates(folder: Path) -> dict[str, Path]:
        return write_dates(folder, train=200, valid=10, test=10)

    def small_config(**options: Any) -> Any:
        return load_config(overrides=TINY, **options)

    monkeypatch.setattr(demo, "write_dates", few_dates)
    monkeypatch.setattr(demo, "load_config", small_config)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_tiny")
def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    folder = demo.run_demo("runs/dates", quiet=True)
    out, err = capsys.readouterr()
    assert folder == Path("runs/dates")
    assert err == ""
    assert open_run(folder).config.preset == "dates"
    for name in ("train.tsv", "valid.tsv", "test.tsv", "attention.html", "README.md", "model.safetensors"):
        assert (folder / name).stat().st_size > 0, name
    assert "<html" in (folder / "attention.html").read_text(encoding="utf-8")
    assert "2021년" in (folder / "attention.html").read_text(encoding="utf-8")

    assert f"Dates in {len(LOCALES)} languages and regions" in out
    assert len(LOCALES) >= 40
    assert "% of 10 dates exactly right" in out
    answered = [line for line in out.splitlines() if "  →  " in line]
    assert [line.split("→")[0].strip() for line in answered] == list(demo.EXAMPLES)
    assert len(answered) == 5
    assert any("가" <= character <= "힣" for character in "".join(demo.EXAMPLES))
    for verb in ("predict", "explain", "evaluate", "curves"):
        assert f"seqloom {verb} runs/dates" in out
    with pytest.raises(UsageError, match="exists already"):
        demo.run_demo("runs/dates", quiet=True)
    demo.run_demo("runs/dates", overwrite=True, quiet=False)
    assert "plan: 200 examples" in capsys.readouterr().err


@pytest.mark.usefixtures("_tiny")
def test_the_commands_to_try_are_commands(tmp_path: Path) -> None:
    """Each line is one that the program knows, with options that it knows."""
    from seqloom.cli.app import command as whole_program

    group: Any = whole_program()
    told = demo.NEXT.format(run="runs/dates").splitlines()
    lines = [line.split("#")[0].strip() for line in told if "seqloom" in line]
    assert len(lines) >= 5
    for line in lines:
        program, verb, *arguments = shlex.split(line)
        assert program == "seqloom"
        command = group.commands[verb]
        context = command.make_context(verb, arguments, resilient_parsing=False)
        assert context.params


def test_the_demo_sets_hold_what_the_readme_says() -> None:
    """At least a thousand test dates, and the training part is the preset as it is."""
    import inspect

    assert inspect.signature(write_dates).parameters["test"].default >= 1000
    assert load_config(preset="dates")[0].head.tokenizer.kind == "character"
