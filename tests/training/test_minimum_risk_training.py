"""Training for the minimum risk as users start it: what it says, that it goes on bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqloom.config.loading import load_config
from seqloom.errors import Interrupted
from seqloom.model import stored_weights
from seqloom.training import gradients as gradients_module
from seqloom.training.loop import Trainer
from seqloom.training.prepare import prepare
from seqloom.training.session import resume_run, train_run
from training_helpers import (
    Files,
    Told,
    at_update,
    configuration,
    interrupt,
    letters,
    rows_of,
    state_of,
    trainer_of,
    write_pairs,
)

RISK: dict[str, Any] = {"kind": "minimum_risk", "candidates": 3}
WAYS = {"beam": {}, "sampling": {"candidate_search": "sampling"}, "risk alone": {"likelihood_weight": 0.0}}


def options(**changes: Any) -> dict[str, Any]:
    return {"training": {"epochs": 2, "objective": {**RISK, **changes}}, "decoder": {"dropout": 0.2}}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
def test_broken_off_training_goes_on_bit_for_bit(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 changes: dict[str, Any]) -> None:
    whole = train_run(configuration(*files, **options(**changes)), tmp_path / "whole")
    at_update(monkeypatch, {3: interrupt, 8: interrupt})
    with pytest.raises(Interrupted):
        train_run(configuration(*files, **options(**changes)), tmp_path / "parts")
    with pytest.raises(Interrupted):
        resume_run(tmp_path / "parts")
    resume_run(tmp_path / "parts")
    assert state_of(tmp_path / "parts") == state_of(whole)


def test_parts_of_a_batch_are_the_batch(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into memory is done in halves, each of which has the candidates that the whole has."""
    trainer = trainer_of(configuration(*files, training={"objective": {**RISK, "candidate_search": "sampling"}}),
                         tmp_path)
    trainer.model.double().train()
    whole = trainer.gradients.of([np.arange(8)], 5, 1.0)
    expected = [parameter.grad.clone() for parameter in trainer.model.parameters() if parameter.grad is not None]
    original = trainer.gradients.risk

    def small(batch: Any, own: Any) -> Any:
        if len(batch.indices) > 4:
            raise MemoryError
        assert original is not None
        return original(batch, own)

    small.step = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(trainer.gradients, "risk", small)
    assert original is not None
    original.step = 5
    halves = trainer.gradients.of([np.arange(8)], 5, 1.0)
    assert (halves.splits, halves.count) == (1, whole.count)
    assert (halves.total, halves.risk) == pytest.approx((whole.total, whole.risk), rel=1e-9)
    found = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_passes_with_a_search_in_them_are_not_captured(files: Files, tmp_path: Path) -> None:
    class Backend:
        def capture(self, function: Any) -> Any:
            raise AssertionError

    for objective, captures in (("likelihood", True), ("minimum_risk", False)):
        trainer = trainer_of(configuration(*files, encoder={"cell": "lstm"}, decoder={"cell": "lstm"},
                                           training={"objective": objective}), tmp_path / objective)
        made = gradients_module.Gradients(trainer.model, trainer.data, trainer.options, trainer.device, print,
                                          backend=Backend(), risk=trainer.gradients.risk)
        assert made.captures == captures


def test_training_on_lowers_the_risk(tmp_path: Path) -> None:
    """From a trained model on; rows of metrics and lines say what it was in training."""
    sources = letters(48, alphabet="abcd", longest=4)
    files = write_pairs(tmp_path / "train.tsv", sources[:40]), write_pairs(tmp_path / "valid.tsv", sources[40:])
    sizes: dict[str, Any] = {"encoder": {"hidden_size": 24}, "decoder": {"hidden_size": 24}}
    training = {"epochs": 10, "learning_rate": 0.01, "validate_every": 50}
    first = trainer_of(configuration(*files, **sizes, training=training), tmp_path / "first")
    first.run()
    assert not any("train_risk" in row for row in rows_of(tmp_path / "first"))
    told, objective = Told(), {"kind": "minimum_risk", "candidates": 4}
    config = configuration(*files, **sizes, training={**training, "validate_every": 20, "objective": objective})
    (tmp_path / "second").mkdir()
    second = Trainer(config, prepare(config, tmp_path / "second", told), tmp_path / "second", told,
                     start=stored_weights(first.model))
    second.run()
    rows = rows_of(tmp_path / "second")
    assert "train_risk" not in rows[0]  # before the first update there is none
    risks = [row["train_risk"] for row in rows[1:]]
    assert len(risks) == 5
    assert risks[0] > 1.5 * risks[-1] > 0
    assert any(f"  risk {risks[-1]:.3f}  " in line for line in told.lines)


def test_a_kind_alone_is_enough_and_what_it_has_no_use_for_is_told() -> None:
    config, notes = load_config(overrides=["training.objective=minimum_risk"])
    assert config.training.objective.kind == "minimum_risk"
    assert not notes
    _, notes = load_config(overrides=["training.objective.candidates=4"])
    assert "training.objective.candidates has no effect, because training.objective.kind is 'likelihood'" in notes
