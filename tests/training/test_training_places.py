"""Folders that cannot be written, full disks, no home, another working directory, a run that is there already."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqloom.data import storage
from seqloom.errors import DataError, TrainingError, UsageError
from seqloom.run import open_run
from seqloom.training.session import resume_run, train_run
from training_helpers import Files, at_update, configuration, rows_of, state_of


def test_a_folder_that_cannot_be_made(files: Files, tmp_path: Path) -> None:
    for out in (files.train / "run", Path("/proc/no/run"), tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match="cannot create") as error:
            train_run(configuration(*files), out)
        assert "may write to" in error.value.fix
        assert error.value.exit_code == 2


def test_a_folder_that_cannot_be_written(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkstemp(*arguments: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(storage.tempfile, "mkstemp", mkstemp)
    with pytest.raises(UsageError, match=r"cannot write .*config\.yaml: Permission denied"):
        train_run(configuration(*files), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_training(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a row of metrics.jsonl, really full; with room again the run goes on and is what it would have been."""
    straight = train_run(configuration(*files), tmp_path / "straight")
    metrics, kept = tmp_path / "run" / "metrics.jsonl", tmp_path / "kept"

    def fill() -> None:
        metrics.rename(kept)
        metrics.symlink_to("/dev/full")

    at_update(monkeypatch, {8: fill})
    with pytest.raises(TrainingError, match="cannot be written: No space left on device") as error:
        train_run(configuration(*files), tmp_path / "run")
    assert error.value.where == str(metrics)
    assert error.value.exit_code == 1
    assert f"seqloom train --resume --out {tmp_path / 'run'}" in error.value.fix
    metrics.unlink()
    kept.rename(metrics)
    monkeypatch.undo()
    assert state_of(resume_run(tmp_path / "run")) == state_of(straight)


def test_a_disk_that_is_full_at_a_checkpoint(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = train_run(configuration(*files), tmp_path / "straight")
    full: list[int] = []

    def fsync(handle: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    at_update(monkeypatch, {9: lambda: full.append(1)})
    with pytest.raises(TrainingError, match=r"the checkpoint cannot be written: .*No space left on device"):
        train_run(configuration(*files), tmp_path / "run")
    full.clear()
    monkeypatch.undo()
    assert state_of(resume_run(tmp_path / "run")) == state_of(straight)


def test_a_run_that_is_there_already(files: Files, tmp_path: Path) -> None:
    """It stays unless it is overwritten, and comes back when the new one does not even begin."""
    config = configuration(*files, training={"epochs": 1})
    out = train_run(config, tmp_path / "run")
    before = state_of(out)
    with pytest.raises(UsageError, match="exists already") as error:
        train_run(config, out)
    assert error.value.fix == (f"go on with seqloom train --resume --out {out}, choose another folder, or --overwrite "
                               "to replace it")
    with pytest.raises(DataError, match="there is no file"):
        train_run(configuration(tmp_path / "missing.tsv"), out, overwrite=True)
    assert state_of(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    train_run(configuration(*files, training={"epochs": 2}), out, overwrite=True)
    assert len(rows_of(out)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not a run folder with a name, so it is not overwritten"):
        train_run(config, other, overwrite=True)
    assert (other / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_may_be_used(files: Files, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match="there is no file"):
        train_run(configuration(tmp_path / "missing.tsv"), tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    train_run(configuration(*files, training={"epochs": 1}), tmp_path / "run")


def test_runs_are_numbered_without_out(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = configuration(*files, training={"max_steps": 1})
    assert [train_run(one, None) for one in (config, config, config.model_copy(update={"preset": "g2p"}))] == [
        Path("runs/run-1"), Path("runs/run-2"), Path("runs/g2p-1")]


def test_no_home_and_relative_paths(files: Files, tmp_path: Path) -> None:
    """The command, in a fresh process: data and run are where the working directory says."""
    (tmp_path / "data.tsv").write_text(files.train.read_text(encoding="utf-8"), encoding="utf-8")
    homes = ("HOME", "XDG_CACHE_HOME", "USERPROFILE")
    environment = {key: value for key, value in os.environ.items() if key not in homes}
    options = ["source.embedding_size=4", "encoder.hidden_size=4", "decoder.hidden_size=4", "decoder.embedding_size=4",
               "training.max_steps=2", "decoding.max_length=6", "training.tensorboard=false"]
    arguments = [text for option in options for text in ("--set", option)]
    done = subprocess.run([sys.executable, "-m", "seqloom", "train", "data.tsv", "--out", "out/run", "--threads", "1",
                           *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/run"
    assert "Traceback" not in done.stderr
    assert open_run(tmp_path / "out" / "run").weights()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.tsv", "out"]
