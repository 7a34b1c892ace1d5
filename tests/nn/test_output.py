"""The output layer: cross-entropy as torch has it, sums that add up, and the pointer-generator by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seqloom.nn.decoders import InStepDecoder, RecurrentDecoder
from seqloom.nn.memory import Memory, real_positions
from seqloom.nn.output import SequenceModule
from seqloom.types import Loss, Padded
from tiny import config_of, gradients, normal, randomise, settings

SYMBOLS, M, S = 9, 8, 6
PLAIN: dict[str, dict[str, Any]] = {
    "attention": {},
    "coverage": {"coverage": True},
    "every step": {"context": "every_step"},
    "initial": {"context": "initial"},
}
EVERY: dict[str, dict[str, Any]] = {**PLAIN, "copying": {"copying": True}, "both": {"copying": True, "coverage": True}}
plain_case = pytest.mark.parametrize("case", PLAIN)
every_case = pytest.mark.parametrize("case", EVERY)
EXACT = {"rtol": 0, "atol": 1e-9}


def module_of(case: str, smoothing: float = 0.0, coverage_loss: float = 0.0) -> SequenceModule:
    config = config_of(settings(**EVERY[case]))
    module = SequenceModule(RecurrentDecoder(SYMBOLS, M, True, config), SYMBOLS, label_smoothing=smoothing,
                            coverage_loss=coverage_loss).double()
    randomise(module)
    return module


def memory_of(rows: int) -> Memory:
    """Sources of length 1 to 6; symbols of known ids, of ids of their own (9, 10), and one that cannot be copied."""
    lengths = torch.tensor([1 + row % S for row in range(rows)])
    mask = real_positions(lengths, S)
    copies = torch.tensor([[3, 4, 9, -1, 10, 9], [9, 5, 5, 4, 3, -1]]).repeat(rows // 2, 1) * mask
    return Memory(normal(rows, S, M), mask, normal(rows, 1, M, seed=2), normal(rows, 1, M, seed=3), copies)


def target_of(rows: int, copied: bool = False) -> Padded:
    """<s> … </s> of 2 to 6 ids, then padding. With `copied`, one target holds an id that is its source's own."""
    draw = torch.Generator().manual_seed(4)
    ids = torch.randint(4, SYMBOLS, (rows, 7), generator=draw)
    lengths = torch.tensor([2 + row % 5 for row in range(rows)])
    ids[:, 0] = 2
    ids[torch.arange(rows), lengths - 1] = 3
    if copied:
        ids[3, 2] = 9
    ids[~real_positions(lengths, 7)] = 0
    return Padded({"main": ids}, lengths)


def rows_of(part: Any, rows: slice) -> Any:
    """Some rows of a memory or of targets."""
    if isinstance(part, Padded):
        return Padded({"main": part.main[rows]}, part.lengths[rows])
    return Memory(*(None if tensor is None else tensor[rows] for tensor in part))


# --- cross-entropy ---------------------------------------------------------------------------------------------------


@plain_case
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_cross_entropy_of_torch(case: str, smoothing: float) -> None:
    """Logits from the decoder's outputs and the output layer, padding left out by torch's own ignore_index."""
    module, memory, target = module_of(case, smoothing), memory_of(8), target_of(8)
    loss = module.train().loss(memory, target)
    read, state = module.decoder.begin(memory)
    outputs = module.decoder.unroll(read, state, target.main[:, :-1])
    logits = torch.einsum("bto,vo->btv", outputs.values, module.output.weight) + module.output.bias
    gold = target.main[:, 1:].masked_fill(~real_positions(target.lengths - 1, 6), -100)
    expected = functional.cross_entropy(logits.flatten(0, 1), gold.flatten(), reduction="sum",
                                        label_smoothing=smoothing, ignore_index=-100)
    torch.testing.assert_close(loss.total, expected, **EXACT)
    assert int(loss.count) == int((target.lengths - 1).sum())
    assert int(loss.correct) == int((logits.argmax(2) == gold).sum())
    found, wanted = gradients(loss.total, module), gradients(expected, module)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], **EXACT)


@every_case
def test_loss_is_the_sum_over_the_steps_of_a_search(case: str) -> None:
    """Training and search see the same distribution: −Σ log p of the gold tokens, step by step."""
    module, memory, target = module_of(case).eval(), memory_of(8), target_of(8, copied="copying" in EVERY[case])
    read, state = module.begin(memory)
    total = torch.zeros((), dtype=torch.float64)
    for t in range(target.main.shape[1] - 1):
        scores, _, state = module.step(read, state, target.main[:, t : t + 1])
        for row in range(8):
            if t + 1 < target.lengths[row]:
                total = total - scores[row, 0, target.main[row, t + 1]]
    torch.testing.assert_close(module.loss(memory, target).total, total, **EXACT)


@every_case
def test_smoothing_and_coverage_loss_are_for_training_only(case: str) -> None:
    memory, target = memory_of(8), target_of(8)
    bare = module_of(case).train().loss(memory, target)
    full = module_of(case, 0.2, 0.7)
    torch.testing.assert_close(full.eval().loss(memory, target).total, bare.total, **EXACT)
    assert not torch.isclose(full.train().loss(memory, target).total, bare.total)


def test_coverage_loss_is_the_overlap_with_what_was_read() -> None:
    """0.7 · Σ_t Σ_s min(weights, sum of those before) over real target positions (See et al. 2017, eqs. 12-13)."""
    memory, target = memory_of(8), target_of(8)
    bare = module_of("coverage").train().loss(memory, target).total
    module = module_of("coverage", coverage_loss=0.7).train()
    read, state = module.begin(memory)
    expected = torch.zeros((), dtype=torch.float64)
    covered = torch.zeros(8, S, dtype=torch.float64)
    for t in range(6):
        _, weights, state = module.step(read, state, target.main[:, t : t + 1])
        assert weights is not None
        for row in range(8):
            if t + 1 < target.lengths[row]:
                for s in range(S):
                    expected = expected + 0.7 * min(weights[row, 0, s], covered[row, s])
        covered = covered + weights[:, 0]
    torch.testing.assert_close(module.loss(memory, target).total - bare, expected, **EXACT)


@pytest.mark.parametrize("case", ["copying", "both"])
def test_smoothing_of_a_mixture_spreads_over_the_vocabulary(case: str) -> None:
    """(1 − ε)·(−log p(gold)) + ε · the mean of −log p over the V ids that every sentence has."""
    module, memory, target = module_of(case, smoothing=0.3), memory_of(8), target_of(8)
    read, state = module.begin(memory)
    expected = torch.zeros((), dtype=torch.float64)
    for t in range(6):
        scores, _, state = module.step(read, state, target.main[:, t : t + 1])
        for row in range(8):
            if t + 1 < target.lengths[row]:
                gold = scores[row, 0, target.main[row, t + 1]]
                expected = expected - 0.7 * gold - 0.3 * scores[row, 0, :SYMBOLS].sum() / SYMBOLS
    torch.testing.assert_close(module.train().loss(memory, target).total, expected, **EXACT)


# --- sums ------------------------------------------------------------------------------------------------------------


def added(losses: list[Loss]) -> Loss:
    return Loss(*(sum(parts[1:], parts[0]) for parts in zip(*(loss[:3] for loss in losses), strict=True)))


@every_case
def test_one_batch_of_eight_is_two_of_four(case: str) -> None:
    """Total, count, correct and gradients add up, so dividing once by the count gives the mean over tokens."""
    module, memory = module_of(case, 0.1, 1.0).train(), memory_of(8)
    target = target_of(8, copied="copying" in EVERY[case])
    whole = module.loss(memory, target)
    parts = added([module.loss(rows_of(memory, rows), rows_of(target, rows)) for rows in (slice(4), slice(4, 8))])
    torch.testing.assert_close(whole.total, parts.total, **EXACT)
    assert int(whole.count) == int(parts.count)
    assert int(whole.correct) == int(parts.correct)
    found, wanted = gradients(whole.total, module), gradients(parts.total, module)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], **EXACT)


@every_case
def test_what_stands_at_padding_does_not_matter(case: str) -> None:
    module, memory, target = module_of(case, 0.1, 1.0).train(), memory_of(8), target_of(8)
    padded = ~real_positions(target.lengths, 7)
    other = Padded({"main": target.main.masked_fill(padded, 5)}, target.lengths)
    first, second = module.loss(memory, target), module.loss(memory, other)
    assert first.total.item() == second.total.item()
    assert (int(first.count), int(first.correct)) == (int(second.count), int(second.correct))
    found, wanted = gradients(first.total, module), gradients(second.total, module)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=0, atol=0)


# --- the model's own history -----------------------------------------------------------------------------------------


@every_case
def test_own_history_is_the_best_token_of_the_step_before(case: str) -> None:
    module, memory, target = module_of(case).eval(), memory_of(8), target_of(8)
    own = torch.ones(8, 6, dtype=torch.bool)
    loss = module.loss(memory, target, own)
    read, state = module.begin(memory)
    tokens, total = target.main[:, :1], torch.zeros((), dtype=torch.float64)
    for t in range(6):
        scores, _, state = module.step(read, state, tokens)
        tokens = torch.tensor([[max(range(scores.shape[2]), key=lambda v: scores[row, 0, v])] for row in range(8)])
        for row in range(8):
            if t + 1 < target.lengths[row]:
                total = total - scores[row, 0, target.main[row, t + 1]]
    torch.testing.assert_close(loss.total, total, **EXACT)
    forced = module.loss(memory, target)
    assert not torch.isclose(forced.total, loss.total)
    torch.testing.assert_close(module.loss(memory, target, ~own).total, forced.total, **EXACT)


# --- copying ---------------------------------------------------------------------------------------------------------


def mixture(gate: float, generated: list[float], weights: list[float], copies: list[int], length: int) -> list[float]:
    """See et al. 2017, eq. 9, over V ids and two copied symbols; what cannot be copied leaves its weight to others."""
    probabilities = [gate * p for p in generated] + [0.0, 0.0]
    copyable = [s for s in range(length) if copies[s] >= 0]
    share = sum(weights[s] for s in copyable)
    for s in copyable:
        probabilities[copies[s]] += (1 - gate) * weights[s] / share
    return probabilities


def softmax(logits: Tensor) -> list[float]:
    powers = [math.exp(x) for x in logits.tolist()]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("case", ["copying", "both"])
def test_mixture_by_hand(case: str) -> None:
    module, memory = module_of(case).eval(), memory_of(8)
    read, state = module.begin(memory)
    tokens = target_of(8).main[:, :1]
    outputs, _ = module.decoder.step(read, state, tokens)
    scores, weights, _ = module.step(read, state, tokens)
    assert memory.copy_ids is not None
    assert outputs.copy_gate is not None
    assert weights is not None
    assert scores.shape == (8, 1, SYMBOLS + 2)
    for row in range(8):
        length = int(memory.mask[row].sum())
        expected = mixture(outputs.copy_gate[row, 0].item(), softmax(module.output(outputs.values[row, 0])),
                           weights[row, 0].tolist(), memory.copy_ids[row].tolist(), length)
        assert sum(expected) == pytest.approx(1)
        found = scores[row, 0].exp().tolist()
        assert found == pytest.approx(expected, abs=1e-9)
        assert sum(found) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("case", ["copying", "both"])
@pytest.mark.parametrize("copied", [False, True])
def test_the_loss_of_a_mixture_is_that_of_its_steps(case: str, copied: bool) -> None:
    """In value, in gradient, and in what counts as right."""
    module, memory, target = module_of(case).eval(), memory_of(8), target_of(8, copied=copied)
    found = module.loss(memory, target)
    read, state = module.begin(memory)
    total, right = torch.zeros((), dtype=torch.float64), 0
    for t in range(target.main.shape[1] - 1):
        scores, _, state = module.step(read, state, target.main[:, t : t + 1])
        for row in range(8):
            if t + 1 < int(target.lengths[row]):
                gold = int(target.main[row, t + 1])
                total = total - scores[row, 0, gold]
                right += int(scores[row, 0].argmax()) == gold
    torch.testing.assert_close(found.total, total)
    assert int(found.correct) == right
    expected = gradients(total, module)
    for name, gradient in gradients(found.total, module).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-11)


def test_only_a_sentence_with_a_symbol_can_copy_it() -> None:
    """Sources of lengths 1, 2: neither reaches symbol 10; the first of them not even 9."""
    module, memory = module_of("copying").eval(), memory_of(8)
    read, state = module.begin(memory)
    scores, _, _ = module.step(read, state, target_of(8).main[:, :1])
    assert memory.copy_ids is not None
    for row in range(8):
        own = set(memory.copy_ids[row][memory.mask[row]].tolist())
        for symbol in (9, 10):
            assert (scores[row, 0, symbol] > -25) == (symbol in own)
            if symbol > max(own):
                assert scores[row, 0, symbol] == -torch.inf, "a symbol of another sentence is impossible here"


def test_no_room_for_copies_where_there_are_none() -> None:
    module, memory = module_of("copying").eval(), memory_of(8)
    assert memory.copy_ids is not None
    read, state = module.begin(memory._replace(copy_ids=memory.copy_ids.clamp(max=5)))
    scores, _, _ = module.step(read, state, target_of(8).main[:, :1])
    assert scores.shape[2] == SYMBOLS


def test_a_copied_symbol_is_read_as_unknown() -> None:
    """It has no embedding: the step after it is the step after <unk>."""
    module, memory = module_of("copying").eval(), memory_of(8)
    read, state = module.begin(memory)
    ids = [torch.full((8, 1), token) for token in (9, 10, 1, 4)]
    copied, other, unknown, known = (module.step(read, state, tokens)[0] for tokens in ids)
    assert torch.equal(copied, unknown)
    assert torch.equal(other, unknown)
    assert not torch.equal(known, unknown)


def test_every_gradient_of_a_mixture_is_finite_where_a_symbol_is_improbable() -> None:
    """A gate at 1 makes a copy impossible; the loss of copying then is large, and so finite."""
    module, memory, target = module_of("copying").train(), memory_of(8), target_of(8, copied=True)
    assert isinstance(module.decoder, RecurrentDecoder)
    assert module.decoder.copy_gate is not None
    with torch.no_grad():
        module.decoder.copy_gate.bias.fill_(1e3)
    loss = module.loss(memory, target)
    assert loss.total.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(loss.total, module).values())


# --- in step ---------------------------------------------------------------------------------------------------------


def test_in_step_answers_from_the_encoder_alone() -> None:
    module = SequenceModule(InStepDecoder(M), SYMBOLS).double()
    randomise(module)
    memory, target = memory_of(8), target_of(8)
    expected = torch.zeros((), dtype=torch.float64)
    for row in range(8):
        for t in range(int(target.lengths[row]) - 1):
            position = min(t, int(memory.mask[row].sum()) - 1)
            logits = module.output.weight @ memory.values[row, position] + module.output.bias
            expected = expected - logits.log_softmax(0)[target.main[row, t + 1]]
    torch.testing.assert_close(module.loss(memory, target).total, expected, **EXACT)
    own = torch.ones(8, 6, dtype=torch.bool)
    torch.testing.assert_close(module.loss(memory, target, own).total, expected, **EXACT)
