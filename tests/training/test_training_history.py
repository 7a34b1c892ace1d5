"""Teacher forcing: the share of gold history by the formulas of Bengio et al. 2015, and what a draw decides for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqloom.config.sections import TeacherForcingConfig
from seqloom.data.batching import pad
from seqloom.engines.torch import TorchEngine, to_tensors
from seqloom.training import loop
from seqloom.training.history import draw_own_history, gold_ratio
from seqloom.training.seeds import derived_seed, generator
from seqloom.training.session import train_run
from seqloom.types import START, Batch
from training_helpers import Files, configuration, rows_of, trainer_of


def forcing(**options: Any) -> TeacherForcingConfig:
    return TeacherForcingConfig.model_validate(options)


# §2.4: linear max(ε, k − c·i), exponential k^i, inverse sigmoid k / (k + exp(i/k)).
@pytest.mark.parametrize(("options", "step", "expected"), [
    ({}, 10**9, 1.0),
    ({"ratio": 0.75}, 5, 0.75),
    ({"decay": "linear", "slope": 0.01}, 0, 1.0),
    ({"decay": "linear", "slope": 0.01}, 30, 0.7),
    ({"decay": "linear", "slope": 0.01, "ratio": 0.9, "min_ratio": 0.25}, 1000, 0.25),
    ({"decay": "exponential", "k": 0.5}, 3, 0.125),
    ({"decay": "exponential", "k": 0.5, "ratio": 0.8}, 2, 0.2),
    ({"decay": "exponential", "k": 0.5, "min_ratio": 0.1}, 60, 0.1),
    ({"decay": "inverse_sigmoid", "k": 10.0}, 0, 10 / 11),
    ({"decay": "inverse_sigmoid", "k": math.e}, 0, math.e / (math.e + 1)),
    ({"decay": "inverse_sigmoid", "k": 1.0}, 1, 1 / (1 + math.e)),
    ({"decay": "inverse_sigmoid", "k": 20.0, "ratio": 0.5}, 10**7, 0.0),
    ({"decay": "inverse_sigmoid", "k": 20.0, "min_ratio": 0.05}, 10**300, 0.05),
])
def test_the_share_of_gold_history(options: dict[str, Any], step: int, expected: float) -> None:
    config = forcing(**options)
    assert gold_ratio(config, step) == pytest.approx(expected, rel=1e-12, abs=1e-300)
    assert gold_ratio(config, step, switched_off=True) == 0


def test_half_is_gone_at_k_times_its_logarithm() -> None:
    """exp(i/k) = k there."""
    k = 50.0
    around = [gold_ratio(forcing(decay="inverse_sigmoid", k=k), step) for step in (195, 196)]
    assert around[0] > 0.5 > around[1]
    assert 195 < k * math.log(k) < 196


B, T = 60, 50


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("draw", ["token", "sequence", "batch"])
def test_one_draw_decides_for_a_token_a_sequence_or_a_batch(draw: str, ratio: float) -> None:
    config, units = forcing(draw=draw), []
    for number in range(40):
        own = draw_own_history(config, ratio, (B, T), generator(3, number))
        assert own is not None
        assert own.shape == (B, T)
        assert own.dtype == torch.bool
        assert not own[:, 0].any()  # <s> is always given
        if draw == "token":
            units += own[:, 1:].flatten().tolist()
        else:
            assert bool((own[:, 1:] == own[:, 1:2]).all())  # a sentence is of one kind
            assert draw == "sequence" or bool((own[:, 1:] == own[:1, 1:2]).all())
            units += own[:, 1].tolist() if draw == "sequence" else own[:1, 1].tolist()
    share, expected = sum(units) / len(units), 1 - ratio
    assert abs(share - expected) <= 4.5 * math.sqrt(expected * ratio / len(units))


def test_tokens_of_a_sentence_are_drawn_by_themselves() -> None:
    own = draw_own_history(forcing(draw="token"), 0.5, (B, T), generator(1))
    assert own is not None
    assert 0 < own[:, 1:].float().mean(1).std() < 0.2
    assert 0 < own[:, 1:].float().mean(0).std() < 0.2


def test_all_gold_needs_no_draw_and_draws_are_repeatable() -> None:
    assert draw_own_history(forcing(), 1.0, (B, T), generator(1)) is None
    draws = [draw_own_history(forcing(), 0.5, (B, T), generator(seed, step)) for seed, step in ((1, 1), (1, 1), (2, 1),
                                                                                               (1, 2))]
    same = [torch.equal(draws[0], draw) for draw in draws if draws[0] is not None and draw is not None]
    assert same == [True, True, False, False]


def test_seeds_of_places_differ_in_the_bits_that_torch_reads() -> None:
    """torch's CPU generator takes the low 32 bits of a seed; (seed << 32) + step made all seeds alike."""
    seeds = {derived_seed(seed, step, what)
             for seed in range(20) for step in range(50) for what in ("dropout", "history")}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert derived_seed(1, 12) != derived_seed(11, 2)


def test_the_training_seed_decides_dropout(files: Files, tmp_path: Path) -> None:
    totals = []
    for seed in (1, 1, 2):
        config = configuration(*files, decoder={"dropout": 0.5}, training={"seed": seed})
        trainer = trainer_of(config, tmp_path / str(seed))
        weights = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter.copy_(torch.rand(parameter.shape, generator=weights) - 0.5)
        trainer.model.train()
        totals.append(trainer.gradients.of([np.arange(8)], 0, 1.0).total)
    assert totals[0] == totals[1]
    assert totals[0] != totals[2]


def test_own_history_is_what_the_model_would_have_said(files: Files, tmp_path: Path) -> None:
    """Gold history at no position: the loss is that of a loop which feeds the best token of each step to the next."""
    trainer = trainer_of(configuration(*files, decoder={"context": "attention"}), tmp_path / "run")
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(7)))
    pairs = [trainer.data.store.get(index) for index in range(5)]
    source, target = pad([pair[0] for pair in pairs if pair[0] is not None]), pad([pair[1] for pair in pairs])
    own = torch.ones(5, target.main.shape[1] - 1, dtype=torch.bool)
    own[:, 0] = False
    cpu = torch.device("cpu")
    trainer.model.eval()
    loss = trainer.model(Batch(to_tensors(source, cpu), to_tensors(target, cpu), np.arange(5)), own)

    engine, total = TorchEngine(trainer.model), 0.0
    state, tokens = engine.begin(source), np.full((5, 1), START)
    for position in range(1, target.main.shape[1]):
        step, state = engine.step(state, tokens, np.zeros((5, 1), np.int64), None)
        for row in range(5):
            if position < target.lengths[row]:
                total -= float(step.scores[row, 0, target.main[row, position]])
        tokens = step.scores.argmax(2)
    assert loss.total.item() == pytest.approx(total, rel=1e-5)
    assert int(loss.count) == int((target.lengths - 1).sum())


def scripted(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """Validations with these free-running accuracies."""
    original, left = loop.validate, iter(accuracies)
    monkeypatch.setattr(loop, "validate",
                        lambda *arguments: {**original(*arguments), "free_token_accuracy": next(left)})


def test_it_stops_after_an_epoch(files: Files, tmp_path: Path) -> None:
    """Each row tells the share of the last update before it."""
    config = configuration(*files, training={"epochs": 4, "teacher_forcing": {"ratio": 0.8, "stop_after_epoch": 2,
                                                                              "min_ratio": 0.5}})
    assert [row["teacher_forcing_ratio"] for row in rows_of(train_run(config, tmp_path / "run"))] == [0.8, 0.8, 0, 0]


def test_it_stops_at_an_accuracy_and_stays_off(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.1, 0.6, 0.2, 0.2])
    config = configuration(*files, training={"epochs": 4, "teacher_forcing": {"stop_at_accuracy": 0.6}})
    assert [row["teacher_forcing_ratio"] for row in rows_of(train_run(config, tmp_path / "run"))] == [1, 1, 0, 0]
