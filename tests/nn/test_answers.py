"""Heads that answer at once, against the same formulas in NumPy and torch.nn, one row at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from seqloom.nn.answers import POOLINGS, AnswerModule, LabelModule, TagsModule
from seqloom.nn.memory import Memory, real_positions
from seqloom.types import Padded
from tiny import gradients, normal, randomise

B, S, M, C = 3, 5, 4, 3
LENGTHS = [5, 2, 1]


def memory() -> Memory:
    """Values that are wild at padding, which nothing may read."""
    lengths = torch.tensor(LENGTHS)
    mask = real_positions(lengths, S)
    values = torch.where(mask.unsqueeze(2), normal(B, S, M), torch.full((B, S, M), 50.0, dtype=torch.float64))
    return Memory(values, mask, normal(B, 2, M, seed=2))


def module(pooling: str) -> LabelModule:
    made = LabelModule(M, C, pooling).double()
    randomise(made)
    return made.eval()


def by_hand(pooling: str, made: LabelModule, row: int) -> np.ndarray:
    given = memory()
    values = given.values[row, : LENGTHS[row]].numpy()
    if pooling == "last":
        return given.hidden[row, -1].numpy()
    if pooling == "mean":
        return values.mean(0)
    if pooling == "max":
        return values.max(0)
    weights = {name: value.detach().numpy() for name, value in made.pooling.named_parameters()}
    scores = np.tanh(values @ weights["transform.weight"].T) @ weights["query.weight"][0]
    share = np.exp(scores - scores.max())
    return (share / share.sum()) @ values


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_are_their_formulas(pooling: str) -> None:
    made = module(pooling)
    found = made.pooling(memory()).detach().numpy()
    for row in range(B):
        np.testing.assert_allclose(found[row], by_hand(pooling, made, row), rtol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_answer_is_a_distribution_and_its_own(pooling: str) -> None:
    made, given = module(pooling), memory()
    answer = made.answer(given)
    assert answer.shape == (B, 1, C)
    torch.testing.assert_close(answer.exp().sum(2), torch.ones(B, 1, dtype=torch.float64))
    for row, length in enumerate(LENGTHS):
        alone = Memory(given.values[row : row + 1, :length], given.mask[row : row + 1, :length],
                       given.hidden[row : row + 1])
        torch.testing.assert_close(made.answer(alone), answer[row : row + 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0]])
def test_the_loss_of_labels_is_weighted_cross_entropy(smoothing: float, weights: list[float] | None) -> None:
    made = LabelModule(M, C, "mean", label_smoothing=smoothing, class_weights=weights).double()
    randomise(made)
    gold = torch.tensor([2, 0, 1])
    loss = made.train().loss(memory(), Padded({"main": gold[:, None]}, torch.ones(B, dtype=torch.long)))
    logits = made.output(made.pooling(memory()))
    expected = functional.cross_entropy(logits, gold, reduction="sum", label_smoothing=smoothing,
                                        weight=None if weights is None else torch.tensor(weights).double())
    torch.testing.assert_close(loss.total, expected)
    assert int(loss.count) == B
    assert int(loss.correct) == int((logits.argmax(1) == gold).sum())
    assert all(gradient.any() for gradient in gradients(loss.total, made).values())


def test_the_loss_of_tags_counts_real_steps_alone() -> None:
    """The memory has a position more than there are tags: the end symbol of a text."""
    made = TagsModule(M, C).double()
    randomise(made)
    gold = torch.tensor([[2, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    lengths = torch.tensor([4, 1, 0])
    loss = made.train().loss(memory(), Padded({"main": gold}, lengths))
    logits = made.output(memory().values)
    rows, steps = [0, 0, 0, 0, 1], [0, 1, 2, 3, 0]
    expected = functional.cross_entropy(logits[rows, steps], gold[rows, steps], reduction="sum")
    torch.testing.assert_close(loss.total, expected)
    assert int(loss.count) == 5


def test_what_is_answered_about_is_up_to_the_kind() -> None:
    with pytest.raises(NotImplementedError):
        AnswerModule(M, C).places(memory())
