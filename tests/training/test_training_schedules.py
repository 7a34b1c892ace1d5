"""Learning rates and optimisers by formula, averages by hand, which validation is best, and when training stops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seqloom.config.sections import ScheduleConfig, TrainingConfig
from seqloom.metrics import METRICS
from seqloom.run import open_run
from seqloom.training import loop
from seqloom.training.averaging import Averaging
from seqloom.training.checkpoint import read_checkpoint
from seqloom.training.optimizers import DEFAULT_RATES, Schedule, base_rate, build_optimizer
from seqloom.training.session import train_run
from seqloom.training.state import Rate
from seqloom.training.validation import LOWER_IS_BETTER
from training_helpers import Files, Told, configuration, rows_of, trainer_of


def schedule(rate: float, **options: Any) -> Schedule:
    return Schedule(ScheduleConfig.model_validate(options), rate, Rate())


# --- schedules -------------------------------------------------------------------------------------------------------


def test_constant_after_a_linear_warm_up() -> None:
    made = schedule(0.5, kind="constant", warmup_steps=4)
    assert [made.at(step) for step in (1, 2, 3, 4, 5, 1000)] == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]


def test_inverse_square_root_peaks_at_the_end_of_the_warm_up() -> None:
    """Vaswani et al. 2017, eq. 3: min(step^−½, step · warmup^−3/2), scaled to `rate` at step = warmup."""
    made = schedule(0.02, kind="inverse_square_root", warmup_steps=100, min_learning_rate=0.0)
    for step in (1, 37, 100, 101, 400, 10_000):
        expected = min(step**-0.5, step * 100**-1.5) / 100**-0.5 * 0.02
        assert made.at(step) == pytest.approx(expected, rel=1e-12)
    assert schedule(1.0, kind="inverse_square_root").at(16) == 0.25


def test_plateau_lowers_the_rate_after_more_than_patience_validations_in_vain() -> None:
    """As torch's ReduceLROnPlateau does."""
    made = schedule(0.8, kind="plateau", factor=0.5, patience=2, min_learning_rate=0.15)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.8)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, min_lr=0.15, threshold=0)
    losses = [5.0, 4.0, 4.5, 4.5, 4.5, 4.5, 4.5, 4.5, 3.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5]
    best, reduced = math.inf, []
    for loss in losses:
        reduced.append(made.validated(loss < best))
        best = min(best, loss)
        theirs.step(loss)
        assert made.at(1000) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert sum(reduced) == made.moved.reductions >= 3
    assert made.at(1000) == 0.15


def test_halvings_of_the_guard_hold_for_all_schedules() -> None:
    for kind in ("constant", "plateau", "inverse_square_root"):
        made, before = schedule(0.4, kind=kind, warmup_steps=2), schedule(0.4, kind=kind, warmup_steps=2)
        made.moved.halvings = 2
        assert [made.at(step) for step in (1, 2, 50)] == [before.at(step) / 4 for step in (1, 2, 50)]
    assert not schedule(1.0, kind="constant").validated(False)


def test_the_rate_of_each_update_follows_the_schedule(files: Files, tmp_path: Path) -> None:
    trainer = trainer_of(configuration(*files, training={"learning_rate": 0.4, "schedule": {
        "kind": "inverse_square_root", "warmup_steps": 2}}), tmp_path / "run")
    rates = []
    for group in trainer._groups():
        trainer._update(group)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.2, 0.4, 0.4 * math.sqrt(2 / 3), 0.4 * math.sqrt(2 / 4), 0.4 * math.sqrt(2 / 5),
                                   0.4 * math.sqrt(2 / 6)])


# --- optimisers ------------------------------------------------------------------------------------------------------

DEFAULTS = {"adam": (torch.optim.Adam, 0.001), "adamw": (torch.optim.AdamW, 0.001), "sgd": (torch.optim.SGD, 1.0),
            "adadelta": (torch.optim.Adadelta, 1.0)}


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_optimiser_is_torchs_with_our_defaults(name: str) -> None:
    """Five steps beside the plain form of torch's own, with and without weight decay."""
    kind, rate = DEFAULTS[name]
    assert base_rate(TrainingConfig(optimizer=name)) == DEFAULT_RATES[name] == rate  # type: ignore[arg-type]
    for decay in (0.0, 0.1):
        options = TrainingConfig(optimizer=name, weight_decay=decay, betas=(0.8, 0.95),  # type: ignore[arg-type]
                                 momentum=0.5)
        own = [nn.Parameter(torch.linspace(-1, 1, 6)), nn.Parameter(torch.ones(2, 2)),
               nn.Parameter(torch.ones(3), requires_grad=False)]
        other = [nn.Parameter(parameter.detach().clone()) for parameter in own[:2]]
        further: dict[str, Any] = {"adam": {"betas": (0.8, 0.95)}, "adamw": {"betas": (0.8, 0.95)},
                                   "sgd": {"momentum": 0.5}, "adadelta": {"rho": 0.95}}[name]
        ours = build_optimizer(options, own)
        theirs = kind(other, lr=rate, weight_decay=decay, foreach=False, **further)
        assert isinstance(ours, kind)
        assert len(ours.param_groups[0]["params"]) == 2  # what is frozen is left out
        draw = torch.Generator().manual_seed(1)
        for _ in range(5):
            for one, two in zip(own, other, strict=False):
                one.grad = torch.randn(one.shape, generator=draw)
                two.grad = one.grad.clone()
            ours.step()
            theirs.step()
        for one, two in zip(own, other, strict=False):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_a_given_rate_wins() -> None:
    assert base_rate(TrainingConfig(optimizer="adadelta", learning_rate=0.25)) == 0.25


# --- averages --------------------------------------------------------------------------------------------------------


def moving(average: str, **options: Any) -> tuple[nn.Linear, Averaging]:
    model = nn.Linear(2, 1)
    return model, Averaging(TrainingConfig.model_validate({"average": average, **options}), model)


def test_the_moving_average_by_hand() -> None:
    """d = min(0.25, (1 + n)/(10 + n)) at update n; the first update starts it."""
    model, averaging = moving("ema", average_decay=0.25)
    expected = None
    for step in range(1, 8):
        with torch.no_grad():
            model.weight.fill_(float(step**2))
        averaging.updated(step)
        decay = min(0.25, (1 + step) / (10 + step))
        expected = float(step**2) if expected is None else decay * expected + (1 - decay) * step**2
    with averaging.applied():
        torch.testing.assert_close(model.weight, torch.full((1, 2), expected))
    assert model.weight.eq(49.0).all()


def test_the_mean_of_the_last_validations_by_hand() -> None:
    model, averaging = moving("last", average_count=3)
    for value in (100.0, 1.0, 2.0, 6.0):
        with torch.no_grad():
            model.weight.fill_(value)
        averaging.before_validation()
        averaging.updated(1)
    with averaging.applied():
        assert model.weight.eq(3.0).all()
    assert model.weight.eq(6.0).all()


def test_no_average_is_no_average() -> None:
    model, averaging = moving("none")
    averaging.updated(1)
    averaging.before_validation()
    before = model.weight.detach().clone()
    with averaging.applied():
        assert torch.equal(model.weight, before)
    assert averaging.tensors() == {}


@pytest.mark.parametrize("average", ["ema", "last"])
def test_what_is_stored_is_what_comes_back_and_a_copy(average: str) -> None:
    _, averaging = moving(average, average_count=2)
    for step in (1, 2):
        averaging.updated(step)
        averaging.before_validation()
    stored = averaging.tensors()
    _, other = moving(average)
    other.restore(stored)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in other.tensors().items())
    other.kept[0][0].add_(1)
    assert not torch.equal(other.kept[0][0], stored["average.0.0"])
    with pytest.raises(ValueError, match="1 averaged tensors, expected a multiple of 2"):
        other.restore({"average.0.0": stored["average.0.0"]})
    with pytest.raises(ValueError, match=r"average\.0\.0 has shape \(3,\), expected \(1, 2\)"):
        other.restore({**stored, "average.0.0": torch.zeros(3)})


def test_the_average_is_what_is_validated_and_shipped(files: Files, tmp_path: Path) -> None:
    """With the mean of the last two validations: model.safetensors is the mean of both checkpoints' own weights."""
    from safetensors.numpy import load_file

    base = {"validate_every": 3, "patience": None, "metric": "loss", "average": "last", "average_count": 2}
    config = configuration(*files, training={**base, "max_steps": 3})
    first = load_file(train_run(config, tmp_path / "three") / "checkpoints" / "last" / "model.safetensors")
    out = train_run(configuration(*files, training={**base, "max_steps": 6}), tmp_path / "six")
    second = load_file(out / "checkpoints" / "last" / "model.safetensors")
    assert [row["best"] for row in rows_of(out)] == [True, True]
    for name, array in open_run(out).weights().items():
        assert array == pytest.approx((first[name] + second[name]) / 2, rel=1e-5, abs=1e-7)


# --- the best, and the end -------------------------------------------------------------------------------------------


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[tuple[float, float]], metric: str) -> None:
    """Validations that come out with these (metric, loss); they take no time."""
    left = iter(values)

    def validate(*arguments: Any) -> dict[str, Any]:
        value, loss = next(left)
        row = {"valid_loss": loss, "gold_token_accuracy": 0.5, "free_token_accuracy": 0.5, "accuracy_gap": 0.0}
        return row if metric == "loss" else {**row, metric: value}

    monkeypatch.setattr(loop, "validate", validate)


def test_lower_is_better_for_losses_and_error_rates() -> None:
    assert set(LOWER_IS_BETTER) == {"loss", "wer", "cer", "ter"}
    assert {"exact_match", "bleu", "chrf", "rouge_l"} <= set(METRICS) - set(LOWER_IS_BETTER)


@pytest.mark.parametrize(("metric", "values", "best"), [
    ("bleu", [1, 3, 2, 3, 4], [True, True, False, False, True]),
    ("exact_match", [0.5, 0.4, 0.6, 0.6], [True, False, True, False]),
    ("cer", [0.9, 0.5, 0.7, 0.4], [True, True, False, True]),
    ("loss", [3, 2, 2, 1], [True, True, False, True]),
    ("bleu", [math.nan, 0, math.nan, 1], [False, True, False, True]),
])
def test_the_best_validation(metric: str, values: list[float], best: list[bool], files: Files, tmp_path: Path,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are the run's; later equal ones change nothing."""
    scripted(monkeypatch, [(value, value if metric == "loss" else 1.0) for value in values], metric)
    monkeypatch.setattr("seqloom.training.session._finish", lambda trainer, folder, *rest: folder)
    config = configuration(*files, training={"metric": metric, "epochs": len(values), "patience": None})
    out = train_run(config, tmp_path / "run")
    rows = rows_of(out)
    assert [row["best"] for row in rows] == best
    last_best = [row["step"] for row in rows if row["best"]][-1]
    assert read_checkpoint(out, "best")[2]["step"] == last_best


def test_of_equals_the_smaller_loss_is_best(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start nothing is right yet, and the loss tells which weights are better."""
    scripted(monkeypatch, [(0, 3.0), (0, 2.0), (0, 2.5), (1, 9.0), (1, 8.0), (0, 1.0)], "exact_match")
    monkeypatch.setattr("seqloom.training.session._finish", lambda trainer, folder, *rest: folder)
    config = configuration(*files, training={"metric": "exact_match", "epochs": 6})
    rows = rows_of(train_run(config, tmp_path / "run"))
    assert [row["best"] for row in rows] == [True, True, False, True, True, False]


def test_a_tie_with_a_smaller_loss_does_not_keep_the_training_going(files: Files, tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be better than all right; while nothing is right, the loss tells that it learns."""
    scripted(monkeypatch, [(0, 9), (0, 8), (0, 7), (0, 6), (1, 5), (1, 4), (1, 3), (1, 2)], "exact_match")
    monkeypatch.setattr("seqloom.training.session._finish", lambda trainer, folder, *rest: folder)
    config = configuration(*files, training={"metric": "exact_match", "epochs": 8, "patience": 2})
    rows = rows_of(train_run(config, tmp_path / "run"))
    assert [row["best"] for row in rows] == [True] * 7


def ended(monkeypatch: pytest.MonkeyPatch, files: Files, folder: Path, values: list[float],
          **options: Any) -> tuple[list[int], str]:
    """Steps of the validations of a training with these losses, and why it ended."""
    scripted(monkeypatch, [(value, value) for value in values], "loss")
    monkeypatch.setattr("seqloom.training.session._finish", lambda trainer, folder, *rest: trainer)
    trainer: Any = train_run(configuration(*files, training={"metric": "loss", **options}), folder)
    return [row["step"] for row in rows_of(folder)], trainer.progress.finished


def test_it_stops_without_improvement(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, why = ended(monkeypatch, files, tmp_path / "run", [3, 2, 2.5, 2.4, 1, 1, 1, 1, 1], epochs=9, patience=3)
    assert steps == [6, 12, 18, 24, 30, 36, 42, 48]
    assert why == "no improvement in 3 validations"


def test_it_never_stops_so_without_patience(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, why = ended(monkeypatch, files, tmp_path / "run", [1.0] * 15, epochs=15, patience=None)
    assert len(steps) == 15
    assert why == "15 epochs are done"


def test_max_steps(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last updates are validated too, in the middle of an epoch."""
    steps, why = ended(monkeypatch, files, tmp_path / "run", [3, 2, 1], max_steps=8)
    assert (steps, why) == ([6, 8], "8 updates are done")


def test_one_of_each_is_said_in_the_singular(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, files, tmp_path / "a", [1.0], epochs=1)[1] == "1 epoch is done"
    assert ended(monkeypatch, files, tmp_path / "b", [1.0], max_steps=1)[1] == "1 update is done"
    assert ended(monkeypatch, files, tmp_path / "c", [1.0, 2.0], patience=1)[1] == "no improvement in 1 validation"


def test_validations_between_epochs(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, why = ended(monkeypatch, files, tmp_path / "run", [3, 2, 1, 1], epochs=2, validate_every=5)
    assert (steps, why) == ([5, 10, 12], "2 epochs are done")


def test_max_minutes(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute passes at each look at the clock."""
    minutes = iter(range(10_000))
    monkeypatch.setattr(loop.time, "monotonic", lambda: 60.0 * next(minutes))
    steps, why = ended(monkeypatch, files, tmp_path / "run", [3, 2, 1], epochs=50, max_minutes=7.5, validate_every=99)
    assert why == "7.5 minutes are over"
    assert len(steps) == 1
    assert 1 <= steps[0] < 8


def test_a_lowered_rate_is_said(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [(1, 1), (2, 2), (3, 3)], "loss")
    told = Told()
    config = configuration(*files, training={"metric": "loss", "learning_rate": 0.004,
                                             "schedule": {"kind": "plateau", "patience": 1, "factor": 0.25}})
    monkeypatch.setattr("seqloom.training.session._finish", lambda trainer, folder, *rest: folder)
    out = train_run(config, tmp_path / "run", reporter=told)
    assert "learning rate 0.001" in told.lines
    assert [row["learning_rate"] for row in rows_of(out)] == [0.004, 0.004, 0.004]
