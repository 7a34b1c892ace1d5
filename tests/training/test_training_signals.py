"""Ctrl-C and SIGTERM save and say how to go on; in preparation they leave nothing; a second one stops at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from seqloom.config.loading import update_config
from seqloom.errors import Interrupted
from seqloom.run import open_run
from seqloom.training import session
from seqloom.training.session import resume_run, train_run
from training_helpers import Files, Told, at_update, configuration, in_validation, interrupt, rows_of, terminate

ENDLESS = ["--set", "training.epochs=1000000", "--set", "training.patience=null"]


@contextmanager
def command(*arguments: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], Callable[[str], str]]]:
    """A running `seqloom`, and a function that reads its stderr up to the line that holds a text."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-m", "seqloom", *arguments], cwd=folder, env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None

    def until(text: str) -> str:
        seen = []
        for line in process.stderr:  # type: ignore[union-attr]
            seen.append(line)
            if text in line:
                break
        else:
            pytest.fail(f"no line with {text!r} in:\n{''.join(seen)}")
        return "".join(seen)

    try:
        yield process, until
    finally:
        process.kill()
        process.communicate()


def small_options() -> list[str]:
    return [text for key, value in {
        "source.embedding_size": 6, "encoder.cell": "gru", "encoder.hidden_size": 8, "encoder.bidirectional": "false",
        "decoder.cell": "gru", "decoder.hidden_size": 8, "decoder.embedding_size": 6, "decoder.context": "initial",
        "training.batch_size": 4, "training.metric": "cer", "decoding.max_length": 7, "decoding.beam_size": 1,
    }.items() for text in ("--set", f"{key}={value}")]


def test_the_command_saves_and_says_how_to_go_on(files: Files, tmp_path: Path) -> None:
    """SIGINT → 130, resumed as the message says; SIGTERM → 143, resumed to the end."""
    arguments = ["train", str(files.train), "--valid", str(files.valid), "--out", "a run", "--threads", "1"]
    with command(*arguments, *small_options(), *ENDLESS, folder=tmp_path) as (process, until):
        until("epoch 2.0")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "stopped by SIGINT: everything up to the last update is saved in a run" in errors
    assert "go on with: seqloom train --resume --out 'a run'" in errors
    assert "Traceback" not in errors
    before = open_run(tmp_path / "a run").metrics()[-1]["step"]

    with command("train", "--resume", "--out", "a run", folder=tmp_path) as (process, until):
        until("going on from step")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert "stopped by SIGTERM" in errors
    rows = open_run(tmp_path / "a run").metrics()
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    assert rows[-1]["step"] >= before

    longer, _ = update_config(open_run(tmp_path / "a run").config, overrides=[f"training.max_steps={rows[-1]['step']}"])
    resume_run(tmp_path / "a run", longer)
    assert (tmp_path / "a run" / "README.md").exists()


@pytest.mark.slow
def test_the_command_goes_on_after_sigkill(files: Files, tmp_path: Path) -> None:
    arguments = ["train", str(files.train), "--valid", str(files.valid), "--out", "run", "--threads", "1"]
    with command(*arguments, *small_options(), *ENDLESS, folder=tmp_path) as (process, until):
        until("epoch 3.0")
        process.kill()
    run = open_run(tmp_path / "run")
    steps = run.metrics()[-1]["step"]
    resume_run(run.folder, update_config(run.config, overrides=[f"training.max_steps={steps + 9}"])[0])
    rows = run.metrics()
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    assert rows[-1]["step"] == steps + 9


@pytest.mark.parametrize(("send", "code"), [(interrupt, 130), (terminate, 143)])
def test_the_update_in_progress_ends_and_is_saved(send: Callable[[], None], code: int, files: Files, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    at_update(monkeypatch, {2: send})
    told = Told()
    with pytest.raises(Interrupted, match="everything up to the last update is saved") as error:
        train_run(configuration(*files), tmp_path / "run", reporter=told)
    assert error.value.exit_code == code
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    monkeypatch.undo()
    resume_run(tmp_path / "run", reporter=told)
    assert "going on from step 2, epoch 1" in told.lines
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [6, 12, 18]
    resume_run(tmp_path / "run", reporter=told)
    (note,) = [line for line in told.lines if line.startswith("note: nothing was left to do: 3 epochs are done; ")]
    assert told.lines.index(note) > told.lines.index("going on from step 18, epoch 4")


def test_it_is_said_when_not_one_answer_is_right(tmp_path: Path) -> None:
    """Targets that are each a symbol of their own can only be guessed."""
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"a{number}\tx{number}\n" for number in range(30)), encoding="utf-8")
    told = Told()
    config = configuration(path, path, training={"epochs": 1, "metric": "exact_match"})
    train_run(config, tmp_path / "run", reporter=told)
    assert [line for line in told.lines if line.startswith("note: not one validation answer is right (exact_match 0)")]


def test_a_run_that_never_came_to_a_validation_says_so(files: Files, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    at_update(monkeypatch, {1: interrupt})
    with pytest.raises(Interrupted):
        train_run(configuration(*files), tmp_path / "run")
    with pytest.raises(Exception, match="training stopped before its first validation") as error:
        open_run(tmp_path / "run").weights()
    assert f"seqloom train --resume --out {tmp_path / 'run'}" in str(error.value)


def test_a_second_signal_stops_at_once(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first waits for the validation to end, the second does not."""
    def twice() -> None:
        interrupt()
        terminate()
        pytest.fail("went on after the second signal")

    in_validation(monkeypatch, 2, twice)
    with pytest.raises(Interrupted, match="stopped by a second SIGTERM: what was saved last is whole") as error:
        train_run(configuration(*files), tmp_path / "run")
    assert error.value.exit_code == 143
    assert "--resume" in error.value.fix
    monkeypatch.undo()
    resume_run(tmp_path / "run")
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [6, 12, 18]


@pytest.mark.parametrize(("send", "code"), [(interrupt, 130), (terminate, 143)])
def test_a_signal_in_preparation_leaves_nothing(send: Callable[[], None], code: int, files: Files, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(*arguments: Any, **options: Any) -> None:
        send()

    monkeypatch.setattr(session, "prepare", prepare)
    with pytest.raises(Interrupted, match="training has not begun, and nothing is kept") as error:
        train_run(configuration(*files), tmp_path / "run")
    assert error.value.exit_code == code
    assert not (tmp_path / "run").exists()


def test_a_signal_after_training(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is there; going on makes up for what is missing."""
    evaluate = session.compared

    def interrupted(*arguments: Any, **options: Any) -> Any:
        interrupt()
        return evaluate(*arguments, **options)

    monkeypatch.setattr(session, "compared", interrupted)
    with pytest.raises(Interrupted, match=r"the model is trained, its last evaluation and its README\.md are missing"):
        train_run(configuration(*files, training={"epochs": 1}), tmp_path / "run")
    monkeypatch.undo()
    before = open_run(tmp_path / "run").weights()
    resume_run(tmp_path / "run")
    assert (tmp_path / "run" / "README.md").exists()
    assert all((array == before[name]).all() for name, array in open_run(tmp_path / "run").weights().items())


def test_signals_are_left_alone_in_other_threads(files: Files, tmp_path: Path) -> None:
    """Only the main thread may set handlers; training in a thread works all the same."""
    failures: list[BaseException] = []

    def train() -> None:
        try:
            train_run(configuration(*files, training={"epochs": 1}), tmp_path / "run")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert failures == []
    assert (tmp_path / "run" / "README.md").exists()
