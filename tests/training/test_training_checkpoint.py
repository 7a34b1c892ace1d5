"""A crash at any moment of writing leaves the checkpoint before or the new one, whole; a full disk is an error."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from seqloom.data import storage
from seqloom.data.storage import atomic_file, read_json, write_json
from seqloom.errors import RunFolderError, TrainingError, UsageError
from seqloom.training.checkpoint import read_checkpoint, write_checkpoint
from training_helpers import Killed, kill

# Every call that changes the disk while a checkpoint is written.
CALLS = [(storage.tempfile, "mkstemp"), (Path, "chmod"), (os, "fsync"), (Path, "replace"), (Path, "rename"),
         (Path, "unlink"), (Path, "mkdir"), (shutil, "rmtree")]


def write(folder: Path, number: int) -> None:
    """A checkpoint that says one number three times."""
    tensor = torch.full((2, 3), float(number))
    write_checkpoint(folder, "last", {"weight": tensor}, {"optimizer.0.step": tensor},
                     {"config": {}, "data": "", "progress": {}, "number": number})


def read(folder: Path) -> int:
    """The number; all three places agree."""
    weights, tensors, numbers = read_checkpoint(folder, "last")
    found = {float(value) for tensor in (weights["weight"], tensors["optimizer.0.step"]) for value in tensor.flatten()}
    assert found == {float(numbers["number"])}
    return int(numbers["number"])


class Crash:
    """Raises at the n-th call that changes the disk, before or after it is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException],
                 calls: Sequence[tuple[Any, str]] = CALLS) -> None:
        self.left, self.after, self.error, self.done = -1, False, error, 0
        self.fsync = os.fsync
        for owner, name in calls:
            monkeypatch.setattr(owner, name, self.wrapped(getattr(owner, name)))

    def wrapped(self, call: Any) -> Any:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            self.done += 1
            self.left -= 1
            if self.left == 0 and not self.after:
                if call is self.fsync:
                    os.ftruncate(arguments[0], 1)  # not all of the file had come to the disk
                raise self.error()
            result = call(*arguments, **options)
            if self.left == 0:
                raise self.error()
            return result

        return wrapper

    def at(self, call: int, *, after: bool) -> None:
        self.left, self.after = call, after

    def never(self) -> None:
        self.left = -1


def calls_of_a_write(folder: Path, crash: Crash) -> int:
    write(folder, 0)
    before = crash.done
    write(folder, 1)
    return crash.done - before


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after it"])
def test_a_power_cut_at_any_moment(after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice in a row, too: what the first one left lying about is no danger to the second."""
    crash = Crash(monkeypatch, Killed)
    total = calls_of_a_write(tmp_path, crash)
    assert total > 20
    number = 1
    for first in range(1, total + 1):
        for second in (first, total + 1 - first, 3):
            known = read(tmp_path)
            for call in (first, second):
                number += 1
                crash.at(call, after=after)
                with suppress(Killed):
                    write(tmp_path, number)
                crash.never()
                now = read(tmp_path)
                assert now in (known, number), (first, second, call)
                known = now
    write(tmp_path, -5)
    assert read(tmp_path) == -5
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last"]


def test_a_full_disk_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error with its reason and a way on; the checkpoint before is whole, and the next one is written."""
    crash = Crash(monkeypatch, lambda: OSError(28, "No space left on device"), CALLS[:-1])  # removing needs no space
    total = calls_of_a_write(tmp_path, crash)
    failed = 0
    for call in range(1, total + 1):
        write(tmp_path, 1)
        crash.at(call, after=False)
        with suppress(TrainingError):
            write(tmp_path, 2)
        crash.never()
        failed += (found := read(tmp_path)) == 1
        assert found in (1, 2)
    assert failed > 15
    crash.at(3, after=False)
    with pytest.raises(TrainingError, match=r"the checkpoint cannot be written: .*No space left on device") as error:
        write(tmp_path, 3)
    assert f"seqloom train --resume --out {tmp_path}" in error.value.fix


@pytest.mark.parametrize("after", [False, True])
def test_an_atomic_file_is_old_or_new(after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash, path = Crash(monkeypatch, Killed), tmp_path / "numbers.json"
    write_json(path, {"number": 0})
    calls = crash.done
    known = 0
    for call in range(1, calls + 1):
        crash.at(call, after=after)
        with suppress(Killed):
            write_json(path, {"number": call})
        crash.never()
        now = read_json(path, "number")["number"]
        assert now in (known, call)
        known = now
    with suppress(Killed), atomic_file(path) as file:
        file.write("half a")
        kill()
    assert read_json(path) == {"number": known}


def test_an_atomic_file_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash, path = Crash(monkeypatch, lambda: OSError(28, "No space left on device")), tmp_path / "numbers.json"
    write_json(path, {"number": 1})
    crash.at(3, after=False)
    with pytest.raises(UsageError, match=r"cannot write .*numbers\.json: No space left on device") as error:
        write_json(path, {"number": 2})
    assert "disk with free space" in error.value.fix
    crash.never()
    assert read_json(path) == {"number": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["numbers.json"]


def test_checkpoints_that_are_not_there_or_cut_short(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="has no checkpoint 'last'"):
        read_checkpoint(tmp_path, "last")
    write(tmp_path, 1)
    for name, message in (("model.safetensors", "not readable"), ("state.safetensors", "not readable"),
                          ("state.json", "not readable as JSON")):
        path = tmp_path / "checkpoints" / "last" / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(RunFolderError, match=message) as error:
            read_checkpoint(tmp_path, "last")
        assert error.value.where == str(path)
        assert "copy the run folder again" in error.value.fix
        path.unlink()
        with pytest.raises(RunFolderError, match="the file is missing"):
            read_checkpoint(tmp_path, "last")
        path.write_bytes(whole)
    assert read(tmp_path) == 1
