"""Streams: windows of bounded size, answers as inputs come, line numbers, engines by name; and the same answers however
many inputs are together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import seqloom.predictor
from seqloom.errors import DataError
from seqloom.export import export_run
from seqloom.model import stored_weights
from seqloom.predictor import load_predictor, windows
from seqloom.run import WEIGHTS, write_description, write_weights
from seqloom.types import BadRecord, Item, Record
from tiny import TRIALS, Tiny, record, tiny

SENTENCES = [trial.text("source") for trial in TRIALS]


@pytest.fixture(scope="module")
def task() -> Tiny:
    return tiny(bidirectional=True, copying=True)


@pytest.fixture(scope="module")
def run(task: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with both exports."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    write_description(folder, task.config, task.source, task.head)
    write_weights(folder / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
    export_run(folder, int8=True, check=False)
    return folder


# --- windows ---------------------------------------------------------------------------------------------------------


def test_windows_hold_every_record_once_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record(str(number)) for number in range(23)]
    assert [one for window in windows(records) for one in window] == records
    monkeypatch.setattr(seqloom.predictor, "WINDOW", 5)
    assert [len(window) for window in windows(records)] == [5, 5, 5, 5, 3]
    assert list(windows([])) == []


def test_windows_of_long_records_are_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seqloom.predictor, "WINDOW_CHARACTERS", 10)
    records: list[Record | BadRecord] = [record("abcd"), record("abcd"), BadRecord("long", "x", 1, "y" * 50),
                                         record("abcd" * 5), record("a")]
    assert [len(window) for window in windows(records)] == [3, 1, 1]


def test_a_window_closes_when_the_next_record_is_not_there() -> None:
    held = []

    def ready(count: int) -> bool:
        held.append(count)
        return len(held) not in (3, 4)

    assert [len(window) for window in windows([record("a")] * 6, ready)] == [3, 1, 2]
    assert held == [1, 2, 3, 1, 1, 2]


def test_answers_come_before_the_next_input_is_asked_for(task: Tiny) -> None:
    """With an input that never ends, each answer has to come before the next input."""
    asked = []

    def inputs() -> Iterator[Record]:
        for number in range(3):
            asked.append(number)
            yield record("a b c")

    for number, answer in enumerate(task.predictor().predict_records(inputs(), ready=lambda held: False)):
        assert answer.tokens
        assert asked == list(range(number + 1))
    assert asked == [0, 1, 2]


def test_the_first_line_number_names_random_draws(task: Tiny) -> None:
    predictor = task.predictor()
    options = predictor.options({"strategy": "sampling", "temperature": 3.0})
    records = [record("a b c")] * 12
    whole = [answer.tokens for answer in predictor.predict_records(records, options)]
    assert len(set(map(tuple, whole))) > 3
    rest = [answer.tokens for answer in predictor.predict_records(records[5:], options, first=5)]
    assert rest == whole[5:]


def test_every_readable_record_is_noticed_once(task: Tiny) -> None:
    seen: list[tuple[str, list[str]]] = []

    def notice(one: Record, item: Item) -> None:
        seen.append((one.text("source"), item.tokens))

    records = [record("a b", "b"), BadRecord("bad", "x", 2), record("x", "a")]
    expected = [("a b", ["a", "b", "</s>"]), ("x", ["x", "</s>"])]
    list(task.predictor().predict_records(records, notice=notice))
    assert seen == expected
    seen.clear()
    list(task.predictor().score_records(records, notice=notice))
    assert seen == expected


def test_an_input_longer_than_the_limit_is_an_error_as_in_files(task: Tiny) -> None:
    limit = "a " * 50_000
    answers = task.predictor().predict(["a b", f"{limit}a", "b"], beam_size=1, max_length=1)
    assert [answer.stopped == "error" for answer in answers] == [False, True, False]
    assert answers[1].error == "line too long: more than 100,000 characters"
    with pytest.raises(DataError, match=r"(?s)<input>:1: line too long.*fix: split it into several inputs"):
        task.predictor().encode([f"{limit}a"])


MEMORY = """
import resource, sys
sys.modules["torch"] = None
from seqloom.data.files import read_inputs
from seqloom.predictor import load_predictor
predictor = load_predictor(sys.argv[1], threads=1)
options = predictor.options({"beam_size": 1, "max_length": 1})
lines, seen, highest = int(sys.argv[3]), 0, []
for seen, answer in enumerate(predictor.predict_records(read_inputs(sys.argv[2], sys.argv[2]), options), 1):
    assert answer.where == f"{sys.argv[2]}:{seen}"
    if seen in (lines // 4, lines):
        highest.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(seen, (highest[1] - highest[0]) // (1024 if sys.platform == "darwin" else 1))
"""


@pytest.mark.parametrize("count", [24_000, pytest.param(300_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_input(run: Path, tmp_path: Path, count: int,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """The highest memory after a quarter of the lines is, a little apart, that after all of them."""
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"a b {'c ' * (number % 3)}\n" for number in range(count)))
    program = MEMORY if count > 40_000 else f"import seqloom.predictor; seqloom.predictor.WINDOW = 1000\n{MEMORY}"
    done = subprocess.run([sys.executable, "-c", program, str(run), str(path), str(count)], capture_output=True,
                          text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    seen, grown = map(int, done.stdout.split())
    assert seen == count
    # KiB on Linux; one Prediction is near a KiB, so keeping three quarters of them would show many times over.
    assert grown < max(4000, count // 50)


# --- engines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "name"), [
    ("torch", "torch fp32"), ("onnx", "onnx fp32"), ("onnx-int8", "onnx int8")])
def test_every_answer_names_its_engine(run: Path, engine: str, name: str) -> None:
    predictor = load_predictor(run, engine=engine, threads=1)
    answers = predictor.predict(["a b c", ""], n_best=2)
    assert [answer.engine for answer in answers] == [name, ""]
    assert [answer.engine for answer in answers[0].n_best] == [name, name]
    assert predictor.predict("a b", alternatives=2).engine == name
    assert predictor.score(["a b"], ["b a"])[0].engine == name


@pytest.mark.parametrize("engine", ["torch", "onnx", "onnx-int8"])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_tokens_do_not_depend_on_how_many_are_together(run: Path, engine: str, beam_size: int,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """1, 7 and 64 at a time, as they are and shuffled: in windows of that size, and in batches within them."""
    draw = np.random.default_rng(3)
    inputs = [" ".join(draw.choice(list("abcdefxy"), size)) for size in draw.integers(1, 25, 64)]
    predictor = load_predictor(run, engine=engine, threads=1)
    options = predictor.options({"beam_size": beam_size})
    shuffled = [int(index) for index in draw.permutation(len(inputs))]
    found: dict[str, list[list[str]]] = {}
    for size in (1, 7, 64):
        monkeypatch.setattr(seqloom.predictor, "WINDOW", size)
        for name, order in (("as they are", list(range(len(inputs)))), ("shuffled", shuffled)):
            answers = list(predictor.predict_records([record(inputs[index]) for index in order], options))
            back = dict(zip(order, answers, strict=True))
            found[f"{size}, {name}"] = [back[index].tokens for index in range(len(inputs))]
    first = found.pop("1, as they are")
    assert len(set(map(tuple, first))) > 10
    for name, tokens in found.items():
        assert tokens == first, name
