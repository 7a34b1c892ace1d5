"""Output layer and cross-entropy in one: the reference's numbers in value and gradient, and the memory it promises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqloom.nn.kernels import cross_entropy
from seqloom.nn.kernels.cross_entropy import linear_cross_entropy, linear_cross_entropy_reference
from tiny import normal

O = 6  # noqa: E741
SIZES = {"one chunk": (7, 5), "many chunks": (90, 11), "one position": (1, 4), "one symbol": (3, 1), "none": (0, 5)}
every_size = pytest.mark.parametrize("size", SIZES)
smoothings = pytest.mark.parametrize("smoothing", [0.0, 0.1])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "SMALLEST_CHUNK", 16)
    monkeypatch.setattr(cross_entropy, "LOGIT_BYTES", 1)
    monkeypatch.setattr(cross_entropy, "POSITIONS", 5)


def inputs_of(size: str, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], Tensor]:
    """values, weight and bias; targets."""
    N, V = SIZES[size]
    tensors = [normal(N, O), normal(V, O, seed=2), normal(V, seed=3)]
    targets = torch.randint(V, (N,), generator=torch.Generator().manual_seed(4))
    return [tensor.to(dtype).requires_grad_() for tensor in tensors], targets


@every_size
@smoothings
def test_equals_the_formula(size: str, smoothing: float) -> None:
    """−Σ_v q_v log p_v, written out."""
    (values, weight, bias), targets = inputs_of(size)
    logits = values @ weight.t() + bias
    q = torch.nn.functional.one_hot(targets, len(weight)) * (1 - smoothing) + smoothing / len(weight)
    expected = -(q * (logits.exp() / logits.exp().sum(1, keepdim=True)).log()).sum()
    for function in (linear_cross_entropy, linear_cross_entropy_reference):
        total, correct = function(values, weight, bias, targets, smoothing)
        torch.testing.assert_close(total, expected)
        assert int(correct) == int((logits.argmax(1) == targets).sum())


@every_size
@smoothings
def test_positions_that_do_not_count(size: str, smoothing: float) -> None:
    """Left out of the sums as if they were not there, with no gradient of their own."""
    tensors, targets = inputs_of(size)
    counted = torch.arange(len(targets)) % 3 != 1
    total, correct = linear_cross_entropy(*tensors, targets, smoothing, counted)
    values, weight, bias = tensors
    expected, hits = linear_cross_entropy_reference(values[counted], weight, bias, targets[counted], smoothing)
    torch.testing.assert_close(total, expected)
    assert torch.equal(correct, hits)
    found, right = (torch.autograd.grad(sum_, tensors) for sum_ in (total, expected))
    torch.testing.assert_close(found, right)


@every_size
@smoothings
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_equals_the_reference(size: str, smoothing: float, dtype: torch.dtype) -> None:
    tensors, targets = inputs_of(size, dtype)
    total, correct = linear_cross_entropy(*tensors, targets, smoothing)
    expected, hits = linear_cross_entropy_reference(*tensors, targets, smoothing)
    torch.testing.assert_close(total, expected)
    assert torch.equal(correct, hits)
    found, right = (torch.autograd.grad(3 * sum_, tensors) for sum_ in (total, expected))
    torch.testing.assert_close(found, right)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(*tensors, targets, smoothing), (total.detach(), correct))


@smoothings
def test_gradient_is_the_slope(smoothing: float) -> None:
    tensors, targets = inputs_of("many chunks")
    assert torch.autograd.gradcheck(lambda *given: linear_cross_entropy(*given, targets, smoothing)[0], tensors)


def test_bf16_products_with_fp32_sums() -> None:
    tensors, targets = inputs_of("many chunks", torch.float32)
    expected, _ = linear_cross_entropy_reference(*tensors, targets)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = linear_cross_entropy(*tensors, targets)
        found = torch.autograd.grad(total, tensors)
    assert total.dtype == torch.float32
    assert {gradient.dtype for gradient in found} == {torch.float32}
    torch.testing.assert_close(total, expected, rtol=5e-3, atol=0)
    for gradient, right in zip(found, torch.autograd.grad(expected, tensors), strict=True):
        assert (gradient - right).norm() < 1e-2 * right.norm()


def test_values_of_low_precision_get_gradients_of_theirs() -> None:
    tensors, targets = inputs_of("one chunk", torch.float32)
    values = tensors[0].detach().bfloat16().requires_grad_()
    total, _ = linear_cross_entropy(values, *tensors[1:], targets)
    gradient, = torch.autograd.grad(total, values)
    assert (total.dtype, gradient.dtype) == (torch.float32, torch.bfloat16)


def test_great_logits_stay_finite() -> None:
    weight, bias = torch.tensor([[3e4], [-3e4], [0.0]], requires_grad=True), torch.zeros(3)
    total, correct = linear_cross_entropy(torch.ones(2, 1), weight, bias, torch.tensor([0, 1]))
    assert (total.item(), int(correct)) == (6e4, 1)
    assert torch.autograd.grad(total, weight)[0].isfinite().all()


def test_what_is_not_finite_shows() -> None:
    values = torch.tensor([[torch.nan], [1.0]], requires_grad=True)
    total, correct = linear_cross_entropy(values, torch.ones(3, 1), torch.zeros(3), torch.tensor([0, 0]))
    assert total.isnan()
    assert int(correct) == 1


def test_a_tie_goes_to_the_lower_id() -> None:
    values, weight = torch.ones(3, 1), torch.tensor([[0.0], [1.0], [1.0], [0.5]])
    for targets, hits in ((torch.tensor([1, 1, 1]), 3), (torch.tensor([2, 2, 1]), 1), (torch.tensor([0, 3, 2]), 0)):
        for function in (linear_cross_entropy, linear_cross_entropy_reference):
            assert int(function(values, weight, torch.zeros(4), targets)[1]) == hits


# --- as a node of the graph ------------------------------------------------------------------------------------------


def test_backward_twice_is_the_same_twice_and_scaled() -> None:
    tensors, targets = inputs_of("many chunks")
    total, _ = linear_cross_entropy(*tensors, targets, 0.1)
    first = torch.autograd.grad(total / 7, tensors, retain_graph=True)
    second = torch.autograd.grad(total, tensors)
    torch.testing.assert_close([7 * gradient for gradient in first], list(second))


def test_used_twice_in_one_graph() -> None:
    tensors, targets = inputs_of("many chunks")
    total, _ = linear_cross_entropy(*tensors, targets)
    expected, _ = linear_cross_entropy_reference(*tensors, targets)
    torch.testing.assert_close(torch.autograd.grad(total * total, tensors),
                               torch.autograd.grad(expected * expected, tensors))


def test_gradients_accumulate() -> None:
    (values, weight, bias), targets = inputs_of("many chunks")
    for rows in (slice(0, 40), slice(40, 90)):
        linear_cross_entropy(values[rows], weight, bias, targets[rows])[0].backward()
    expected, _ = linear_cross_entropy_reference(values, weight, bias, targets)
    torch.testing.assert_close((values.grad, weight.grad, bias.grad),
                               torch.autograd.grad(expected, (values, weight, bias)))


def test_gradients_of_gradients_are_refused() -> None:
    tensors, targets = inputs_of("one chunk")
    total, _ = linear_cross_entropy(*tensors, targets)
    with pytest.raises(RuntimeError, match=r"not a gradient of its gradient.*\n  fix: use linear_cross_entropy_refer"):
        torch.autograd.grad(total, tensors, create_graph=True)


# --- memory ----------------------------------------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """Number of elements of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, Tensor):
                self.elements = max(self.elements, part.numel())
        return result


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_logits_of_all_positions_never_exist_together(precision: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    N, V = 500, 40
    monkeypatch.setattr(cross_entropy, "LOGIT_BYTES", 4 * V * 50)  # fifty positions
    values, weight = normal(N, 2).float().requires_grad_(), normal(V, 2).float().requires_grad_()
    with Largest() as largest, torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        linear_cross_entropy(values, weight, torch.zeros(V), torch.zeros(N, dtype=torch.long))[0].backward()
    assert largest.elements == 50 * V


def test_without_gradient_nothing_is_made_for_one() -> None:
    tensors, targets = inputs_of("many chunks", torch.float32)
    assert linear_cross_entropy(*tensors, targets)[0].requires_grad
    with torch.no_grad(), torch.profiler.profile() as profile:
        assert not linear_cross_entropy(*tensors, targets)[0].requires_grad
    products = sum(event.count for event in profile.key_averages() if event.key == "aten::mm")
    assert products == 6  # one for each chunk of 15 positions
