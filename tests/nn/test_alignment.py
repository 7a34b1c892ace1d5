"""The loss of alignments: against all alignments counted one by one (Graves et al. 2006, eqs. 2-3)."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from seqloom.nn.alignment import AlignmentLoss
from seqloom.nn.memory import Memory
from seqloom.types import END, PADDING, START, Padded
from tiny import TRIALS, normal, randomise, settings, tiny

SYMBOLS, S, M = 6, 4, 3
TARGETS = [[4, 5], [4, 4], [5]]
LENGTHS = [4, 4, 2]


def module_of(weight: float = 1.0) -> AlignmentLoss:
    module = AlignmentLoss(M, SYMBOLS, weight).double()
    randomise(module)
    return module


def memory() -> Memory:
    mask = torch.arange(S) < torch.tensor(LENGTHS)[:, None]
    return Memory(normal(len(TARGETS), S, M), mask, normal(len(TARGETS), 1, M))


def target() -> Padded:
    rows = [[START, *ids, END] for ids in TARGETS]
    width = max(map(len, rows))
    return Padded({"main": torch.tensor([row + [PADDING] * (width - len(row)) for row in rows])},
                  torch.tensor([len(row) for row in rows]))


def spelled(path: tuple[int, ...]) -> list[int]:
    """Repetitions become one, then blanks go."""
    kept = [symbol for place, symbol in enumerate(path) if not place or symbol != path[place - 1]]
    return [symbol for symbol in kept if symbol != PADDING]


def test_it_is_the_sum_over_all_alignments() -> None:
    module = module_of(0.3)
    scores = module.output(memory().values).softmax(2)
    expected = torch.tensor(0.0, dtype=torch.float64)
    for row, (ids, length) in enumerate(zip(TARGETS, LENGTHS, strict=True)):
        total = sum((torch.stack([scores[row, place, symbol] for place, symbol in enumerate(path)]).prod()
                     for path in product(range(SYMBOLS), repeat=length) if spelled(path) == ids), torch.tensor(0.0))
        expected = expected - 0.3 * torch.log(total)
    torch.testing.assert_close(module(memory(), target()), expected)


def test_a_target_that_does_not_fit_does_not_count() -> None:
    short = memory()._replace(mask=torch.arange(S) < torch.tensor([1, 2, 2])[:, None])  # 4 4 needs a blank between
    module = module_of()
    alone = Padded({"main": target().main[2:, :3]}, target().lengths[2:])
    rest = Memory(short.values[2:], short.mask[2:], short.hidden[2:])
    torch.testing.assert_close(module(short, target()), module(rest, alone))


def test_the_gradient_is_the_numeric_one() -> None:
    module = module_of()

    def run(values: Tensor) -> Tensor:
        total: Tensor = module(memory()._replace(values=values), target())
        return total

    assert torch.autograd.gradcheck(run, [memory().values.requires_grad_()])


def test_it_counts_in_training_only() -> None:
    with_loss = tiny(settings(head={"alignment_loss": 0.7}))
    batch = with_loss.batch(TRIALS)
    inside = with_loss.model.train()(batch).total
    outside = with_loss.model.eval()(batch).total
    added = with_loss.model.head.alignment(  # type: ignore[union-attr, operator]
        with_loss.model.encode(batch.source), batch.target)
    assert float((inside - outside).detach()) == pytest.approx(float(added.detach()), rel=1e-4)
    assert float(added.detach()) > 0
    assert tiny(settings()).model.head.alignment is None  # type: ignore[union-attr]
