"""A golden run of every released version must still predict the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import seqloom
from seqloom.run import open_run

GOLDEN = Path(__file__).parent / "golden"
RUNS = sorted(path.parent for path in GOLDEN.glob("*/*/config.yaml"))


def expected(run: Path) -> list[dict[str, Any]]:
    lines = (run.parent / "expected.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_this_version_has_one() -> None:
    """Made by tests/golden/make_golden.py."""
    assert (GOLDEN / seqloom.__version__) in {run.parent for run in RUNS}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}-{run.name}")
def test_it_predicts_the_same(run: Path) -> None:
    """Text, and score to 1e-5: the run's own search, greedy search, given targets; in one batch and alone."""
    model, entries = seqloom.load(run), expected(run)
    inputs = [entry["input"] for entry in entries]
    beam, greedy = model.predict(inputs), model.predict(inputs, beam_size=1)
    scored = model.score(inputs, [entry["target"] for entry in entries])
    for entry, one, other, given in zip(entries, beam, greedy, scored, strict=True):
        assert one.text == model.predict(entry["input"]).text == entry["text"]
        assert one.score == pytest.approx(entry["score"], abs=1e-5)
        assert other.text == entry["greedy_text"]
        assert other.score == pytest.approx(entry["greedy_score"], abs=1e-5)
        assert given.score == pytest.approx(entry["target_score"], abs=1e-5)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}-{run.name}")
def test_it_is_small_and_says_nothing_of_where_it_was_made(run: Path) -> None:
    assert sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) < 60_000
    for path in run.rglob("*"):
        if path.suffix in (".yaml", ".json", ".jsonl", ".md"):
            text = path.read_text(encoding="utf-8")
            assert not any(place in text for place in ("/tmp", "/home", "/work", "/root", "/Users", "C:\\")), path


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}-{run.name}")
def test_it_has_learned_its_task(run: Path) -> None:
    """Otherwise equal answers would mean little."""
    entries = {entry["input"]: entry["text"] for entry in expected(run)}
    assert [entries[text] for text in ("ab", "cde", "eda", "bb")] == ["BA", "EDC", "ADE", "BB"]
    assert open_run(run).metrics()
