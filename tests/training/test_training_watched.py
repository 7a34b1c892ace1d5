"""The watched example: one answer at each validation, of the weights of that moment; it never ends a training."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import seqloom
from seqloom.data.storage import read_json
from seqloom.run import read_metrics, watched_file
from seqloom.training.watched import LONGEST, watch, watched_example
from seqloom.types import Item, Record
from tiny import TRIALS, tiny
from training_helpers import Files, Told

SMALL = ["source.embedding_size=8", "encoder.hidden_size=8", "decoder.hidden_size=8", "decoder.embedding_size=8",
         "training.epochs=3", "decoding.max_length=8"]


def data_of(task: Any, records: list[Record]) -> Any:
    items = [(task.item(record), task.head.read(record, None)) for record in records]
    return SimpleNamespace(head=task.head, source=task.source, valid_records=records, valid_items=items)


def test_each_validation_leaves_one_file(files: Files, tmp_path: Path) -> None:
    run = seqloom.train(files.train, valid=files.valid, out=tmp_path / "run", overrides=SMALL)
    steps = [row["step"] for row in read_metrics(run / "metrics.jsonl")]
    assert len(steps) == 3
    assert sorted(path.name for path in (run / "history").iterdir()) == [f"{step:09d}.json" for step in steps]
    first, *_, last = (read_json(watched_file(run, step)) for step in steps)
    line = files.valid.read_text(encoding="utf-8").splitlines()[0]
    assert "".join(first["target_tokens"]) == line.split("\t")[1].replace(" ", "")
    assert first["attention"] != last["attention"]
    for seen in (first, last):
        assert np.shape(seen["attention"]) == (len(seen["probabilities"]), len(seen["source_tokens"]))
        assert np.sum(seen["attention"], 1) == pytest.approx(1, abs=1e-3)


def test_the_answer_is_that_of_the_live_model(tmp_path: Path) -> None:
    task = tiny(copying=True)
    watch(tmp_path, task.model, data_of(task, TRIALS[2:4]), task.config, 7, Told())
    seen = json.loads(watched_file(tmp_path, 7).read_text(encoding="utf-8"))
    answer = task.predictor().predict(dict(TRIALS[2].fields), attention=True, beam_size=1)
    assert (seen["step"], seen["tokens"], seen["source_tokens"]) == (7, answer.tokens, answer.source_tokens)
    assert seen["attention"] == pytest.approx(answer.attention, abs=1e-4)


def test_the_first_short_example_else_the_shortest() -> None:
    def pair(length: int) -> tuple[Item, Item]:
        return Item({"main": np.zeros(length, np.int64)}), Item({"main": np.zeros(3, np.int64)})

    def chosen(*lengths: int) -> int | None:
        records = [Record({"source": str(length)}) for length in lengths]
        found = watched_example(SimpleNamespace(  # type: ignore[arg-type]
            valid_records=records, valid_items=[pair(length) for length in lengths]))
        return None if found is None else int(found[0].text("source"))

    assert chosen(200, LONGEST + 1, LONGEST, 3) == LONGEST
    assert chosen(200, 90, 100) == 90
    assert chosen() is None


def test_without_attention_there_are_tokens_alone(tmp_path: Path) -> None:
    task = tiny(context="initial")
    watch(tmp_path, task.model, data_of(task, TRIALS[:1]), task.config, 1, Told())
    assert read_json(watched_file(tmp_path, 1))["attention"] is None


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    task, told = tiny(), Told()
    (tmp_path / "history").write_text("a file in the way")
    watch(tmp_path, task.model, data_of(task, TRIALS[:1]), task.config, 1, told)
    assert len(told.warnings) == 1
    assert "left out at step 1" in told.warnings[0]
