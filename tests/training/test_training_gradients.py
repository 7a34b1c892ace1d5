"""The gradient of an update: summed, divided once by the real target tokens, clipped as torch clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqloom.engines.torch import TorchEngine, to_tensors
from seqloom.training import gradients
from seqloom.training.loop import Trainer
from seqloom.training.validation import gold_history
from seqloom.types import Batch
from training_helpers import Files, configuration, trainer_of


def trainer(files: Files, folder: Path, *, double: bool = True, **options: Any) -> Trainer:
    """With attention, so that sources of different length matter."""
    made = trainer_of(configuration(*files, decoder={"context": "attention"}, training=options), folder)
    made.model.train()
    if double:
        made.model.double()
    return made


def own_gradient(trainer: Trainer) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in trainer.model.named_parameters()
            if parameter.grad is not None}


def expected_gradient(trainer: Trainer, indices: Any) -> tuple[dict[str, Tensor], float, int]:
    """Gradient of Σ −log p / number of tokens, one example after the other: nothing is padded here."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for index in indices:
        sums = trainer.gradients.of([np.asarray([index])], 0, 1.0)
        target = trainer.data.store.get(int(index))[1]
        assert sums.count == target.length - 1  # every token and </s>, not <s>
        batch = trainer.data.batch(np.asarray([index]))
        assert batch.source is not None
        loss = trainer.model(Batch(to_tensors(batch.source, trainer.device), to_tensors(batch.target, trainer.device),
                                   batch.indices))
        total, count = total + loss.total, count + target.length - 1
    names, parameters = zip(*trainer.model.named_parameters(), strict=True)
    found = torch.autograd.grad(total / count, parameters)
    return dict(zip(names, found, strict=True)), total.item(), count


def test_one_division_by_real_tokens(files: Files, tmp_path: Path) -> None:
    """Batches of unequal size, three for one update; padding counts nowhere."""
    made = trainer(files, tmp_path, max_grad_norm=0)
    batches = [np.arange(0, 5), np.arange(5, 7), np.arange(7, 14)]
    expected, total, count = expected_gradient(made, np.arange(14))
    sums = made.gradients.of(batches, 0, 1.0)
    assert sums.total == pytest.approx(total, rel=1e-12)
    assert sums.count == count
    for name, value in own_gradient(made).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-13)
    once = made.gradients.of([np.arange(14)], 0, 1.0)
    assert once.total == pytest.approx(total, rel=1e-12)
    for name, value in own_gradient(made).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-13)


def test_two_batches_in_one_update_are_one_batch_twice_as_large(files: Files, tmp_path: Path) -> None:
    """fp32, through the optimiser."""
    halves, whole = (trainer(files, tmp_path / name, double=False, optimizer="sgd") for name in ("halves", "whole"))
    indices = np.arange(16)
    halves._update([indices[:8], indices[8:]])
    whole._update([indices])
    assert halves.progress.step == whole.progress.step == 1
    assert halves.progress.tokens == whole.progress.tokens
    for (name, one), other in zip(halves.model.named_parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=name)


def test_accumulation_groups_the_batches_of_an_epoch(files: Files, tmp_path: Path) -> None:
    """Six batches by four: an update of four, and one of what is left."""
    made = trainer(files, tmp_path, accumulate=4)
    groups = made._groups()
    assert [len(group) for group in groups] == [4, 2]
    assert sorted(index for group in groups for batch in group for index in batch.tolist()) == list(range(24))


@pytest.mark.parametrize("limit", [0.01, 0.5, 3.0, 1e6, 0])
def test_clipping_is_that_of_torch(limit: float, files: Files, tmp_path: Path) -> None:
    made = trainer(files, tmp_path, max_grad_norm=limit)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.mul_(3)
    expected, _, _ = expected_gradient(made, np.arange(6))
    for name, parameter in made.model.named_parameters():
        parameter.grad = expected[name].clone()
    norm = float(torch.nn.utils.clip_grad_norm_(made.model.parameters(), limit or float("inf")))
    clipped = own_gradient(made)
    sums = made.gradients.of([np.arange(6)], 0, 1.0)
    assert sums.norm == pytest.approx(norm, rel=1e-6)
    assert sums.clipped == (bool(limit) and norm > limit)
    for name, value in own_gradient(made).items():
        torch.testing.assert_close(value, clipped[name], rtol=1e-6, atol=1e-12)


def test_clipped_updates_are_counted(files: Files, tmp_path: Path) -> None:
    made = trainer(files, tmp_path, max_grad_norm=1e-4, double=False)
    made._update([np.arange(4)])
    made._update([np.arange(4, 8)])
    assert made.progress.clipped == 2
    assert made._training_row()["clipped_share"] == 1.0


def test_label_smoothing_is_for_training_only(files: Files, tmp_path: Path) -> None:
    """(1 − ε)·(−log p_gold) + ε/V·Σ_v (−log p_v) (Szegedy et al. 2016, §7), against probabilities read one by one."""
    plain, smooth = (trainer(files, tmp_path / str(epsilon), label_smoothing=epsilon) for epsilon in (0.0, 0.3))
    smooth.model.load_state_dict(plain.model.state_dict())
    indices = np.arange(4)
    batch = plain.data.batch(indices)
    assert batch.source is not None
    engine = TorchEngine(plain.model)
    state, gold, spread = engine.begin(batch.source), 0.0, 0.0
    for position in range(batch.target.main.shape[1] - 1):
        step, state = engine.step(state, batch.target.main[:, position, None], np.zeros((4, 1), np.int64), None)
        real = position + 1 < batch.target.lengths
        gold -= float(step.scores[np.arange(4), 0, batch.target.main[:, position + 1]][real].sum())
        spread -= float(step.scores[real, 0].mean(1).sum())
    smooth.model.train()
    assert smooth.gradients.of([indices], 0, 1.0).total == pytest.approx(0.7 * gold + 0.3 * spread, rel=1e-6)
    assert gold_history(smooth.model, smooth.data) == gold_history(plain.model, plain.data)


def test_an_update_is_one_step_of_the_optimiser_at_the_rate_of_the_schedule(files: Files, tmp_path: Path) -> None:
    """SGD by hand: w − rate·g, the rate of update 1 of 10 updates of warm-up."""
    made = trainer(files, tmp_path, double=False, optimizer="sgd", learning_rate=2.0, max_grad_norm=0,
                   schedule={"kind": "constant", "warmup_steps": 10})
    before = {name: parameter.detach().clone() for name, parameter in made.model.named_parameters()}
    made.gradients.of([np.arange(4)], 0, 1.0)
    gradient = own_gradient(made)
    made._update([np.arange(4)])
    for name, parameter in made.model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] - 0.2 * gradient[name], rtol=1e-6, atol=1e-7)


def test_bf16_products_leave_weights_in_fp32(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the device has none, fp32 serves, and is said to."""
    made = trainer(files, tmp_path, double=False, precision="bf16")
    exact = trainer(files, tmp_path / "exact", double=False)
    for able, name in ((True, "bf16 products with fp32 weights"), (False, "fp32 (there are no bf16 products here)")):
        monkeypatch.setattr(gradients, "multiplies_bf16", lambda device, able=able: able)
        sums, expected = (one.gradients.of([np.arange(8)], 0, 1.0) for one in (made, exact))
        assert (sums.total == expected.total) == (not able)
        assert sums.total == pytest.approx(expected.total, rel=2e-2)
        assert all(parameter.dtype == torch.float32 and parameter.grad is not None
                   and parameter.grad.dtype == torch.float32 for parameter in made.model.parameters())
        assert made.gradients.precision_name() == name
        assert exact.gradients.precision_name() == "fp32"
