"""TensorBoard: the numbers of every validation as events, and what is said without the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqloom.config.loading import update_config
from seqloom.errors import Interrupted, MissingExtraError
from seqloom.run import open_run
from seqloom.training import events
from seqloom.training.session import resume_run, train_run
from training_helpers import Files, at_update, configuration, interrupt, rows_of


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """tag → (step, value) in the order that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
            for tag in accumulator.Tags()["scalars"]}


def test_events_when_they_are_asked_for(files: Files, tmp_path: Path) -> None:
    out = train_run(configuration(*files, training={"tensorboard": True}), tmp_path / "run")
    found = scalars(out / "tensorboard")
    rows = rows_of(out)
    assert set(found) == {*rows[0], "seconds", "tokens_per_second", "data_wait_seconds"} - {"step"}
    for key in ("valid_loss", "cer", "accuracy_gap", "best"):
        assert found[key] == [(row["step"], pytest.approx(float(row[key]), rel=1e-6)) for row in rows]


def test_a_resumed_run_goes_on_in_the_same_curves(files: Files, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    at_update(monkeypatch, {8: interrupt})
    with pytest.raises(Interrupted):
        train_run(configuration(*files, training={"tensorboard": True}), tmp_path / "run")
    monkeypatch.undo()
    resume_run(tmp_path / "run")
    assert [step for step, _ in scalars(tmp_path / "run" / "tensorboard")["valid_loss"]] == [6, 12, 18]


def test_none_when_not(files: Files, tmp_path: Path) -> None:
    out = train_run(configuration(*files, training={"epochs": 1}), tmp_path / "run")
    assert not (out / "tensorboard").exists()


def test_without_the_package(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is read or written; for a resumed run too."""
    config = configuration(*files, training={"epochs": 1})
    out = train_run(config, tmp_path / "run")
    monkeypatch.setattr(events, "find_spec", lambda name: None)
    wanted, _ = update_config(config, overrides=["training.tensorboard=true"])
    with pytest.raises(MissingExtraError, match="needs the package 'tensorboard', which is not installed") as error:
        train_run(wanted, tmp_path / "other")
    assert error.value.fix == "pip install 'seqloom[tensorboard]'"
    assert error.value.exit_code == 2
    assert not (tmp_path / "other").exists()
    with pytest.raises(MissingExtraError, match="tensorboard"):
        resume_run(out, wanted)
    assert open_run(out).config.training.tensorboard is False
