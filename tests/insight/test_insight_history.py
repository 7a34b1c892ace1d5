"""The watched example as training left it: frames in order, damage told, runs without any told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from seqloom.data.storage import write_json
from seqloom.errors import RunFolderError, UsageError
from seqloom.insight.history import history_of
from seqloom.plots.history_page import history_html, history_json
from seqloom.run import open_run, watched_file
from tiny import Tiny

SEEN: dict[str, Any] = {"format_version": 1, "step": 5, "source_tokens": ["a", "<b>", "</s>"],
                        "target_tokens": ["b", "a"], "tokens": ["b"], "stopped": "end", "probabilities": [0.5, 0.25],
                        "attention": [[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]]}


def run_with(folder: Path, **changes: Any) -> Any:
    rows = [{"step": step, "gold_token_accuracy": 0.5 + step / 100, "free_token_accuracy": 0.25, "accuracy_gap": 0.25}
            for step in (5, 10, 15)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    (folder / "history").mkdir()
    for step in (5, 15, 20):  # 10 was left out, 20 was lost with a crash
        write_json(watched_file(folder, step), {**SEEN, "step": step, **changes})
    return open_run(folder)


def test_frames_are_those_of_the_validations(run_of: Callable[..., tuple[Path, Tiny]]) -> None:
    history = history_of(run_with(run_of()[0]))
    assert [frame.step for frame in history.frames] == [5, 15]
    assert history.frames[0].attention == SEEN["attention"]
    document = json.loads(history_json(history))
    assert document["curves"][0]["gold_token_accuracy"] == 0.55
    page = history_html(history).decode()
    assert "&lt;b&gt;" not in page  # source tokens stand in the data alone
    assert "\\u003cb\\u003e" in page
    assert "Gold history and free running" in page


def test_without_attention_the_answers_are_shown(run_of: Callable[..., tuple[Path, Tiny]]) -> None:
    page = history_html(history_of(run_with(run_of()[0], attention=None))).decode()
    assert "This model has no attention" in page


@pytest.mark.parametrize("changes", [{"attention": [[1.0]]}, {"probabilities": [0.1]}, {"attention": "x"},
                                     {"tokens": 3}, {"probabilities": [[0.1]]}], ids=str)
def test_damage_is_told(changes: dict[str, Any], run_of: Callable[..., tuple[Path, Tiny]]) -> None:
    changes = {"tokens": ["a", "b"], **changes} if changes.get("probabilities") == [0.1] else changes
    with pytest.raises(RunFolderError, match="not an answer that training kept"):
        history_of(run_with(run_of()[0], **changes))


def test_a_run_without_history_is_told(run_of: Callable[..., tuple[Path, Tiny]]) -> None:
    with pytest.raises(UsageError, match="keeps no example of its training"):
        history_of(open_run(run_of()[0]))
