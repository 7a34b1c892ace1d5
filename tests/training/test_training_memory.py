"""A batch that does not fit into memory is done in halves: the same gradient, and no example is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqloom.errors import TrainingError
from seqloom.model import Model
from seqloom.training import loop
from seqloom.training.gradients import TOLD, is_out_of_memory
from seqloom.training.loop import Trainer
from seqloom.training.session import train_run
from seqloom.types import Loss
from training_helpers import Files, Told, configuration, rows_of, trainer_of

ERRORS: dict[str, Any] = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cpu": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate "
                                "memory: you tried to allocate 8000000000 bytes."),
    "windows": lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    "python": MemoryError,
}
SAMPLED = {"teacher_forcing": {"ratio": 0.5, "draw": "token"}}


class Small:
    """Memory for so many rows at once; what is too much fails in the middle of the backward pass, some of the gradient
    being there already."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: int, error: Any = MemoryError) -> None:
        self.rows, self.error, self.seen = rows, error, []
        original = Model.forward

        def forward(model: Model, batch: Any, *others: Any) -> Loss:
            loss = original(model, batch, *others)
            if model.training and batch.target.size > self.rows:
                loss.total.backward()
                raise self.error()
            if model.training:
                self.seen.extend(batch.indices.tolist())
            return loss

        monkeypatch.setattr(Model, "forward", forward)


def gradient(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in trainer.model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_halves_give_the_gradient_of_the_whole(error: Any, files: Files, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, with sampled history, which the halves see as the whole would have seen it."""
    told = Told()
    trainer = trainer_of(configuration(*files, training={"batch_size": 8, "accumulate": 2, **SAMPLED}),
                         tmp_path / "run", told)
    trainer.model.double()
    groups = trainer._groups()[0]
    whole = trainer.gradients.of(groups, 3, 0.5)
    expected = gradient(trainer)
    memory = Small(monkeypatch, 3, error)
    halved = trainer.gradients.of(groups, 3, 0.5)
    assert halved.total == pytest.approx(whole.total, rel=1e-12)
    assert halved.count == whole.count
    assert halved.splits == 6  # 8 → 4 + 4 → 2 + 2 + 2 + 2, twice
    assert sorted(memory.seen[-16:]) == sorted(index for group in groups for index in group.tolist())
    for name, value in gradient(trainer).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-10, atol=1e-14)
    assert len(told.warnings) == TOLD
    assert "not enough memory for 8 examples at once at step 4 (up to " in told.warnings[0]
    assert "they are done in two halves, none is left out. Lower training.batch_size" in told.warnings[0]
    assert "metrics.jsonl goes on counting: split_batches" in told.warnings[-1]


def test_splits_are_counted(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Small(monkeypatch, 2)
    out = train_run(configuration(*files, training={"epochs": 2}), tmp_path / "run")
    assert [row["split_batches"] for row in rows_of(out)] == [6, 12]
    assert sorted(set(memory.seen)) == list(range(24))


def test_one_example_alone_that_does_not_fit(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Small(monkeypatch, 0)
    with pytest.raises(TrainingError, match=r"not enough memory for one example alone \(\d source") as error:
        train_run(configuration(*files), tmp_path / "run")
    assert error.value.where.startswith(f"{files.train}:")
    assert "data.max_source_length" in error.value.fix


def test_other_errors_are_not_taken_for_it(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Small(monkeypatch, 2, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train_run(configuration(*files), tmp_path / "run")
    assert not is_out_of_memory(ValueError("out of memory"))


def test_want_of_memory_outside_of_the_batches(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def validate(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "validate", validate)
    with pytest.raises(TrainingError, match="not enough memory outside of the batches, in validation") as error:
        train_run(configuration(*files), tmp_path / "run")
    assert "decoding.batch_tokens" in error.value.fix
