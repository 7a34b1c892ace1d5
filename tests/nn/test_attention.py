"""Attention: weights are a distribution over the real positions, the value is their weighted sum."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from seqloom.nn.attention import Attention, LocalWindow
from seqloom.nn.memory import real_positions
from seqloom.nn.normalization import NORMALIZATIONS
from seqloom.nn.scores import SCORES
from tiny import normal, randomise

B, K, S, M = 3, 4, 6, 5
LENGTHS = torch.tensor([6, 1, 3])
MASK = real_positions(LENGTHS, S)

every_score = pytest.mark.parametrize("name", SCORES)
with_coverage = pytest.mark.parametrize("coverage", [False, True], ids=["plain", "coverage"])


def attention_of(name: str, coverage: bool = False) -> Attention:
    attention = Attention(name, M, M, hidden_size=7, layers=2, coverage=coverage).double()
    randomise(attention)
    return attention


def attend(attention: Attention, values: Tensor, mask: Tensor = MASK, query: Tensor | None = None,
           ) -> tuple[Tensor, Tensor]:
    query = normal(B, K, M, seed=2) if query is None else query
    last = normal(B, K, S, seed=3).masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(2)
    found: tuple[Tensor, Tensor] = attention(query, attention.keys(values), values, mask, last, last * 2)
    return found


@every_score
@with_coverage
def test_weights_sum_to_one_and_are_zero_on_padding(name: str, coverage: bool) -> None:
    _, weights = attend(attention_of(name, coverage), normal(B, S, M))
    assert weights.shape == (B, K, S)
    torch.testing.assert_close(weights.sum(2), torch.ones(B, K, dtype=torch.float64), rtol=0, atol=1e-12)
    assert not weights[~MASK.unsqueeze(1).expand(B, K, S)].any()
    assert (weights[MASK.unsqueeze(1).expand(B, K, S)] > 0).all()


@every_score
@with_coverage
def test_attention_value_is_the_weighted_sum(name: str, coverage: bool) -> None:
    memory = normal(B, S, M)
    values, weights = attend(attention_of(name, coverage), memory)
    torch.testing.assert_close(values, torch.einsum("bks,bsm->bkm", weights, memory), rtol=0, atol=1e-12)


@every_score
@with_coverage
def test_weights_are_the_softmax_of_the_scores_of_the_real_positions(name: str, coverage: bool) -> None:
    """Row by row, unpadded, with the exponentials written out."""
    attention, memory, query = attention_of(name, coverage), normal(B, S, M), normal(B, K, M, seed=2)
    _, weights = attend(attention, memory, query=query)
    last = normal(B, K, S, seed=3).masked_fill(~MASK.unsqueeze(1), -torch.inf).softmax(2)
    for row, length in enumerate(LENGTHS.tolist()):
        one = memory[row : row + 1, :length]
        scores = attention.score(query[row : row + 1], attention.score.keys(one), last[row : row + 1, :, :length])[0]
        if coverage:
            assert attention.coverage_weight is not None
            scores = scores + attention.coverage_weight * 2 * last[row, :, :length]
        expected = scores.exp() / scores.exp().sum(1, keepdim=True)
        torch.testing.assert_close(weights[row, :, :length], expected, rtol=0, atol=1e-12)


@every_score
def test_content_of_padding_does_not_matter(name: str) -> None:
    attention = attention_of(name)
    memory = normal(B, S, M).requires_grad_()
    other = torch.where(MASK.unsqueeze(2), memory, 1e3 * normal(B, S, M, seed=8))
    first, second = attend(attention, memory), attend(attention, other)
    assert all(torch.equal(mine, their) for mine, their in zip(first, second, strict=True))
    gradient, = torch.autograd.grad((second[0] * normal(B, K, M, seed=4)).sum(), memory)
    assert not gradient[~MASK].any()


@every_score
def test_a_single_position_gets_all_the_weight(name: str) -> None:
    memory = normal(B, S, M)
    values, weights = attend(attention_of(name), memory)
    assert torch.equal(weights[1, :, 0], torch.ones(K, dtype=torch.float64))
    torch.testing.assert_close(values[1], memory[1, :1].expand(K, M), rtol=0, atol=0)


@every_score
def test_large_scores_stay_finite(name: str) -> None:
    values, weights = attend(attention_of(name), normal(B, S, M) * 1e4, query=normal(B, K, M, seed=2) * 1e4)
    assert values.isfinite().all()
    torch.testing.assert_close(weights.sum(2), torch.ones(B, K, dtype=torch.float64))


# --- by hand ---------------------------------------------------------------------------------------------------------

# Four states of an encoder, and a decoder state that asks.
STATES = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0]]], dtype=torch.float64)
QUERY = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
ALL_REAL = torch.ones(1, 4, dtype=torch.bool)


def test_four_states_worked_by_hand() -> None:
    """Scores 1, 0, 1, 2; exponentials 2.718282, 1, 2.718282, 7.389056, their sum 13.825620."""
    attention = Attention("dot", 2, 2, hidden_size=1).double()
    assert attention.score(QUERY, attention.keys(STATES), None).tolist() == [[[1.0, 0.0, 1.0, 2.0]]]
    values, weights = attention(QUERY, attention.keys(STATES), STATES, ALL_REAL)
    assert weights[0, 0].tolist() == pytest.approx([0.1966119, 0.0723295, 0.1966119, 0.5344466], abs=1e-6)
    # 0.1966119 · (1, 0) + 0.0723295 · (0, 1) + 0.1966119 · (1, 1) + 0.5344466 · (2, 0)
    assert values[0, 0].tolist() == pytest.approx([1.4621172, 0.2689414], abs=1e-6)


def test_four_states_of_which_the_last_is_padding() -> None:
    """The sum of the exponentials is 6.436564 without the last."""
    attention = Attention("dot", 2, 2, hidden_size=1).double()
    mask = torch.tensor([[True, True, True, False]])
    values, weights = attention(QUERY, attention.keys(STATES), STATES, mask)
    assert weights[0, 0].tolist() == pytest.approx([0.4223188, 0.1553624, 0.4223188, 0.0], abs=1e-6)
    assert weights[0, 0, 3].item() == 0
    assert values[0, 0].tolist() == pytest.approx([0.8446376, 0.5776812], abs=1e-6)


def test_scaled_scores_worked_by_hand() -> None:
    """Scores over √2; exponentials of 0.7071068, 0, 0.7071068, 1.4142136: 2.028115, 1, 2.028115, 4.113250."""
    attention = Attention("scaled_dot", 2, 2, hidden_size=1).double()
    _, weights = attention(QUERY, attention.keys(STATES), STATES, ALL_REAL)
    total = 2.0281150 + 1 + 2.0281150 + 4.1132504
    expected = [2.0281150 / total, 1 / total, 2.0281150 / total, 4.1132504 / total]
    assert weights[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_coverage_pushes_away_from_what_has_been_read() -> None:
    """Coverage (1, 0, 0, 2) times -1 joins the scores: 0, 0, 1, 0; weights 1, 1, e, 1 over 5.718282."""
    attention = Attention("dot", 2, 2, hidden_size=1, coverage=True).double()
    assert attention.coverage_weight is not None
    with torch.no_grad():
        attention.coverage_weight.fill_(-1.0)
    coverage = torch.tensor([[[1.0, 0.0, 0.0, 2.0]]], dtype=torch.float64)
    _, weights = attention(QUERY, attention.keys(STATES), STATES, ALL_REAL, None, coverage)
    assert weights[0, 0].tolist() == pytest.approx([0.1748777, 0.1748777, 0.4753669, 0.1748777], abs=1e-6)
    _, without = attention(QUERY, attention.keys(STATES), STATES, ALL_REAL)
    assert without[0, 0, 3].item() == pytest.approx(math.exp(2) / (1 + 2 * math.e + math.exp(2)))


# --- other normalizations, local windows -----------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("window", [None, 1, 2, 9])
@with_coverage
def test_weights_of_every_kind(normalization: str, window: int | None, coverage: bool) -> None:
    """Exactly 0 on padding, whose content does not matter; a sentence alone gets what it gets in a batch; the sum is 1,
    with a window at most that; every gradient is the slope."""
    attention = Attention("concat", M, M, hidden_size=7, coverage=coverage, normalization=normalization,
                          window=window).double()
    randomise(attention)
    memory = normal(B, S, M)
    values, weights = attend(attention, memory)
    sums = weights.sum(2)
    if window is None:
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-12)
    else:
        assert (sums <= 1 + 1e-12).all()
        assert (sums > 0).all()
    assert not weights[~MASK.unsqueeze(1).expand(B, K, S)].any()
    torch.testing.assert_close(values, torch.einsum("bks,bsm->bkm", weights, memory), rtol=0, atol=1e-12)
    other = torch.where(MASK.unsqueeze(2), memory, 1e3 * normal(B, S, M, seed=8))
    found = zip((values, weights), attend(attention, other), strict=True)
    assert all(torch.equal(mine, their) for mine, their in found)
    last = normal(B, K, S, seed=3).masked_fill(~MASK.unsqueeze(1), -torch.inf).softmax(2)
    query = normal(B, K, M, seed=2)
    for row, length in enumerate(LENGTHS.tolist()):
        one = memory[row : row + 1, :length]
        alone = attention(query[row : row + 1], attention.keys(one), one, MASK[row : row + 1, :length], None,
                          2 * last[row : row + 1, :, :length])
        torch.testing.assert_close(alone[1][0], weights[row, :, :length], rtol=0, atol=1e-13)

    def numbers(query: Tensor, memory: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        return attend(attention, memory, query=query)

    inputs = (query.requires_grad_(), memory.requires_grad_(), *attention.parameters())
    assert torch.autograd.gradcheck(numbers, inputs)


def test_a_local_window_worked_by_hand() -> None:
    """S = 4, W and v such that σ(vᵀ tanh(W q)) = 2.9/4, so p = 2.9. D = 2 and σ = 1: positions 1, 2, 3 are 1.9, 0.9 and
    0.1 away; their scores are 0, 1, 2."""
    attention = Attention("dot", 2, 2, hidden_size=1, window=2).double()
    window = attention.window
    assert window is not None
    with torch.no_grad():
        window.transform.weight.copy_(torch.eye(2))
        window.vector.weight.copy_(torch.tensor([[math.log(2.9 / 1.1) / math.tanh(1), 0.0]]))
    _, weights = attention(QUERY, attention.keys(STATES), STATES, ALL_REAL)
    total = 1 + math.e + math.exp(2)
    expected = [0.0, math.exp(-1.805) / total, math.exp(1 - 0.405) / total, math.exp(2 - 0.005) / total]
    assert weights[0, 0].tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("pull", [-1e4, 1e4])
def test_a_window_at_either_end_holds_a_position(pull: float) -> None:
    """In fp32 the centre rounds to 0 or to S, one position past the last; in half precision it is computed in fp32."""
    window = LocalWindow(2, 1)
    with torch.no_grad():
        window.transform.weight.copy_(torch.eye(2))
        window.vector.weight.copy_(torch.tensor([[pull, 0.0]]))
    for dtype in (torch.float32, torch.bfloat16):
        within, factors = window.to(dtype)(torch.ones(B, 1, 2, dtype=dtype), MASK)
        assert within.any(2).all()
        assert not (within & ~MASK.unsqueeze(1)).any()
        assert factors.dtype == torch.float32
