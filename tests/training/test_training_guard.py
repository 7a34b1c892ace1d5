"""Losses that are not finite: the examples are named, the update is left out or undone, the rate halved; in the end
training gives up."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from seqloom.errors import TrainingError
from seqloom.model import Model
from seqloom.training.guard import MAX_BAD_UPDATES
from seqloom.training.session import train_run
from seqloom.types import Loss
from training_helpers import Files, Told, configuration, rows_of, trainer_of


def spoil_losses(monkeypatch: pytest.MonkeyPatch, bad: Any) -> None:
    """Every training loss whose number (from 1) is bad becomes NaN, with its gradient."""
    original, count = Model.forward, 0

    def forward(model: Model, *arguments: Any) -> Loss:
        nonlocal count
        loss = original(model, *arguments)
        count += model.training
        if model.training and bad(count):
            return Loss(loss.total * math.nan, loss.count, loss.correct)
        return loss

    monkeypatch.setattr(Model, "forward", forward)


def test_one_bad_update_is_left_out(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights stay, the rate is halved, the examples are named by file and line, and it is counted."""
    told = Told()
    trainer = trainer_of(configuration(*files), tmp_path / "run", told)
    trainer.guard.remember()
    groups = trainer._groups()
    trainer._update(groups[0])
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    spoil_losses(monkeypatch, lambda number: number == 1)
    trainer._update(groups[1])
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.model.named_parameters())
    assert trainer.progress.step == 1
    assert trainer.progress.batch == 2
    assert trainer.progress.bad_updates == 1
    assert trainer.schedule.at(5) == pytest.approx(0.0005)
    (warning,) = told.warnings
    assert "the loss (nan) or its gradient is not finite at step 2; the update is left out" in warning
    assert "the learning rate is halved to 0.0005" in warning
    assert "last good state" not in warning
    named = re.findall(rf"{re.escape(str(files.train))}:(\d+)", warning)
    lines = files.train.read_text(encoding="utf-8").splitlines()
    shown = [trainer.data.store.get(int(index))[1].fields["main"][1:-1] for index in groups[1][0]]
    targets = [[trainer.data.head.tokenizer.id(token) for token in lines[int(number) - 1].split("\t")[1].split()]
               for number in named]
    assert targets == [ids.tolist() for ids in shown]
    trainer._update(groups[2])
    assert trainer.progress.step == 2
    assert trainer.progress.bad_in_a_row == 0


def test_the_second_in_a_row_goes_back_to_the_last_good_state(files: Files, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, optimiser and average are those of `remember`, and going back twice gives the same."""
    told = Told()
    trainer = trainer_of(configuration(*files, training={"average": "ema"}), tmp_path / "run", told)
    groups = trainer._groups()
    trainer._update(groups[0])
    trainer.guard.remember()
    good = {**{name: weight.detach().clone() for name, weight in trainer.model.named_parameters()},
            **{name: tensor.clone() for name, tensor in trainer.guard.tensors.items()}}
    spoil_losses(monkeypatch, lambda number: number in (2, 3, 5, 6))
    for number in range(1, 7):
        trainer._update(groups[number % len(groups)])
        if number in (3, 6):
            trainer_state = {**dict(trainer.model.named_parameters())}
            assert all(torch.equal(weight, good[name]) for name, weight in trainer_state.items())
            trainer.guard.remember()
            assert all(torch.equal(tensor, good[name]) for name, tensor in trainer.guard.tensors.items())
    assert ["last good state" in line for line in told.warnings] == [False, True, False, True]


def test_weights_that_are_not_finite_are_replaced_at_once(files: Files, tmp_path: Path) -> None:
    told = Told()
    trainer = trainer_of(configuration(*files), tmp_path / "run", told)
    trainer.guard.remember()
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(math.inf)
    trainer._update(trainer._groups()[0])
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.model.named_parameters())
    assert "weights go back to the last good state" in told.warnings[0]


def test_it_gives_up_after_ten_in_a_row(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    spoil_losses(monkeypatch, lambda number: number > 3)
    with pytest.raises(TrainingError, match=f"not finite in {MAX_BAD_UPDATES} updates in a row") as error:
        train_run(configuration(*files, training={"validate_every": 2}), tmp_path / "run", reporter=told)
    assert len(told.warnings) == MAX_BAD_UPDATES
    assert str(files.train) in error.value.where
    assert "training.learning_rate" in error.value.fix
    assert error.value.exit_code == 1
    assert (tmp_path / "run" / "checkpoints" / "last").is_dir()


def test_a_learning_rate_of_a_million_is_survived(files: Files, tmp_path: Path) -> None:
    """Without clipping the weights explode at once, as losses and validations show; halving helps."""
    told = Told()
    options = {"learning_rate": 1e6, "optimizer": "sgd", "max_grad_norm": 0, "epochs": 6,
               "schedule": {"kind": "constant"}}
    decoder = {"cell": "rnn_relu", "context": "attention"}
    out = train_run(configuration(*files, encoder={"cell": "rnn_relu"}, decoder=decoder, training=options),
                    tmp_path / "run", reporter=told)
    rows = rows_of(out)
    diverged = sum(row["valid_loss"] is None or row["cer"] is None for row in rows)
    assert diverged
    assert sum("the validation at step" in warning for warning in told.warnings) == diverged
    halvings = sum("halved" in warning for warning in told.warnings)  # the export may warn too
    assert rows[-1]["bad_updates"] == halvings - diverged
    assert rows[-1]["learning_rate"] == 1e6 / 2**halvings
    assert math.isfinite(rows[-1]["train_loss"])


def test_validations_that_are_never_finite_leave_no_weights(files: Files, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN is null in metrics.jsonl, and no checkpoint is called the best."""
    from seqloom.training import loop

    original = loop.validate
    monkeypatch.setattr(loop, "validate", lambda *arguments: {**original(*arguments), "valid_loss": math.nan})
    with pytest.raises(TrainingError, match="no validation gave a finite loss and cer") as error:
        train_run(configuration(*files, training={"epochs": 2}), tmp_path / "run")
    assert error.value.where == str(tmp_path / "run")
    assert [row["valid_loss"] for row in rows_of(tmp_path / "run")] == [None, None]
    assert not (tmp_path / "run" / "model.safetensors").exists()
