"""Sparse normalizations and their losses: against the package entmax, by hand, and by slope."""

from __future__ import annotations

import entmax
import pytest
import torch
from torch import Tensor

from seqloom.nn.kernels import cross_entropy
from seqloom.nn.kernels.cross_entropy import linear_cross_entropy
from seqloom.nn.kernels.fenchel_young import linear_fenchel_young_reference
from seqloom.nn.kernels.static import static_shapes
from seqloom.nn.normalization import NORMALIZATIONS
from tiny import normal

SPARSE = [name for name, kind in NORMALIZATIONS.items() if kind.sparse]
every = pytest.mark.parametrize("name", NORMALIZATIONS)
every_sparse = pytest.mark.parametrize("name", SPARSE)
scales = pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 5.0, 1e4])
ORACLES = {"softmax": lambda z: torch.softmax(z, -1), "sparsemax": lambda z: entmax.sparsemax(z, dim=-1),
           "entmax15": lambda z: entmax.entmax15(z, dim=-1)}
ALPHAS = {"sparsemax": 2.0, "entmax15": 1.5}
EXACT = {"rtol": 0.0, "atol": 1e-12}


# --- the distribution ------------------------------------------------------------------------------------------------


@every
@scales
def test_equals_another_library(name: str, scale: float) -> None:
    scores = normal(4, 5, 17) * scale
    torch.testing.assert_close(NORMALIZATIONS[name].apply(scores), ORACLES[name](scores), **EXACT)


@every_sparse
@scales
def test_equals_bisection_of_the_definition(name: str, scale: float) -> None:
    """p = max(0, (α − 1) z − τ)^(1/(α−1)), with τ halved in until the sum is 1 (Peters et al. 2019, eq. 10, alg. 1)."""
    scores, alpha = normal(50, 9) * scale, ALPHAS[name]
    x = scores * (alpha - 1)
    low, high = x.amax(1, keepdim=True) - 1, x.amax(1, keepdim=True)
    for _ in range(80):
        middle = (low + high) / 2
        fuller = (x - middle).clamp(min=0).pow(1 / (alpha - 1)).sum(1, keepdim=True) >= 1
        low, high = torch.where(fuller, middle, low), torch.where(fuller, high, middle)
    torch.testing.assert_close(NORMALIZATIONS[name].apply(scores), (x - low).clamp(min=0).pow(1 / (alpha - 1)),
                               rtol=0, atol=1e-9)


def test_by_hand() -> None:
    """sparsemax of (1, 0.6, −1): two remain, τ = (1.6 − 1)/2. entmax15 of (0, −1): of 0 and −½ the mean is −¼ and
    Σ (z − mean)² is 1/8."""
    found = NORMALIZATIONS["sparsemax"].apply(torch.tensor([1.0, 0.6, -1.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.7, 0.3, 0.0], abs=1e-12)
    threshold = -0.25 - (7 / 16) ** 0.5
    found = NORMALIZATIONS["entmax15"].apply(torch.tensor([0.0, -1.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([threshold**2, (-0.5 - threshold) ** 2], abs=1e-12)


@every
@scales
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_is_a_distribution(name: str, scale: float, dtype: torch.dtype) -> None:
    scores = (normal(64, 200) * scale).to(dtype)
    found = NORMALIZATIONS[name].apply(scores.float() if dtype == torch.bfloat16 and name == "softmax" else scores)
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(64, dtype=found.dtype), rtol=0, atol=5e-6)


@every
def test_what_is_impossible_changes_nothing(name: str) -> None:
    """Rows with −∞ at the end give to the bit what they give without; one finite score has everything."""
    scores = normal(6, 7).float()
    padded = torch.cat([scores, torch.full((6, 5), -torch.inf)], 1)
    found = NORMALIZATIONS[name].apply(padded)
    assert torch.equal(found[:, :7], NORMALIZATIONS[name].apply(scores))
    assert not found[:, 7:].any()
    alone = torch.full((1, 4), -torch.inf)
    alone[0, 2] = -3.0
    assert NORMALIZATIONS[name].apply(alone).tolist() == [[0, 0, 1, 0]]


@every
def test_a_row_does_not_depend_on_its_neighbours(name: str) -> None:
    scores = torch.cat([normal(5, 30), normal(5, 30, seed=2) * 1e-3]).float()
    together = NORMALIZATIONS[name].apply(scores)
    for row, alone in zip(together, scores.split(1), strict=True):
        assert torch.equal(row, NORMALIZATIONS[name].apply(alone)[0])


@every
def test_a_number_added_to_every_score_changes_nothing(name: str) -> None:
    scores = normal(6, 7)
    torch.testing.assert_close(NORMALIZATIONS[name].apply(scores + 3), NORMALIZATIONS[name].apply(scores), **EXACT)


@every_sparse
def test_ties_share(name: str) -> None:
    found = NORMALIZATIONS[name].apply(torch.tensor([2.0, 2.0, 2.0, -9.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=1e-12)


@every
def test_logarithm(name: str) -> None:
    scores = normal(6, 7) * 2
    found = NORMALIZATIONS[name].logarithm(scores)
    torch.testing.assert_close(found.exp(), NORMALIZATIONS[name].apply(scores), **EXACT)
    assert (found == -torch.inf).any() == NORMALIZATIONS[name].sparse


@every
def test_fixed_shapes_give_the_same(name: str) -> None:
    scores = normal(6, 7) * 4
    with static_shapes():
        fixed = NORMALIZATIONS[name].apply(scores)
    assert torch.equal(fixed, NORMALIZATIONS[name].apply(scores))


@every
def test_nothing_of_nothing(name: str) -> None:
    assert NORMALIZATIONS[name].apply(torch.zeros(0, 5)).shape == (0, 5)


# --- gradients -------------------------------------------------------------------------------------------------------


@every
def test_gradient_is_the_slope(name: str) -> None:
    assert torch.autograd.gradcheck(NORMALIZATIONS[name].apply, (normal(5, 6).requires_grad_(),))


@every
def test_backward_equals_another_librarys(name: str) -> None:
    """That which kernels call, and that which autograd does."""
    scores, gradient = normal(40, 9).requires_grad_(), normal(40, 9, seed=2)
    expected, = torch.autograd.grad(ORACLES[name](scores), scores, gradient)
    weights = NORMALIZATIONS[name].apply(scores)
    torch.testing.assert_close(torch.autograd.grad(weights, scores, gradient)[0], expected, **EXACT)
    found = NORMALIZATIONS[name].backward(gradient, weights.detach())
    torch.testing.assert_close(found, expected, **EXACT)
    torch.testing.assert_close(found.sum(1), torch.zeros(40, dtype=torch.float64), **EXACT)


@every_sparse
def test_gradients_of_gradients_are_refused(name: str) -> None:
    scores = normal(2, 3).requires_grad_()
    total = NORMALIZATIONS[name].apply(scores).square().sum()
    with pytest.raises(RuntimeError, match=r"sparse normalization has a gradient, but not a.*\n  fix: use softmax"):
        torch.autograd.grad(total, scores, create_graph=True)


# --- losses ----------------------------------------------------------------------------------------------------------

LOSSES = {"sparsemax": entmax.SparsemaxLoss(reduction="none"), "entmax15": entmax.Entmax15Loss(reduction="none")}
smoothings = pytest.mark.parametrize("smoothing", [0.0, 0.1])
O = 6  # noqa: E741


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "SMALLEST_CHUNK", 16)
    monkeypatch.setattr(cross_entropy, "LOGIT_BYTES", 1)
    monkeypatch.setattr(cross_entropy, "POSITIONS", 5)


def inputs_of(N: int, V: int) -> tuple[list[Tensor], Tensor]:
    """values, weight and bias; targets."""
    tensors = [normal(N, O).requires_grad_(), normal(V, O, seed=2).requires_grad_(), normal(V, seed=3).requires_grad_()]
    return tensors, torch.randint(V, (N,), generator=torch.Generator().manual_seed(4))


@every_sparse
@smoothings
def test_loss_equals_another_librarys(name: str, smoothing: float) -> None:
    """Which has no smoothing: ε (z_gold − mean z) is added (Peters & Martins 2021, §3.1)."""
    (values, weight, bias), targets = inputs_of(40, 9)
    logits = values @ weight.t() + bias
    expected = LOSSES[name](logits, targets) + smoothing * (logits.gather(1, targets.unsqueeze(1))[:, 0]
                                                            - logits.mean(1))
    for total, correct in (linear_fenchel_young_reference(values, weight, bias, targets, smoothing, name),
                           linear_cross_entropy(values, weight, bias, targets, smoothing, normalization=name)):
        torch.testing.assert_close(total, expected.sum())
        assert int(correct) == int((logits.argmax(1) == targets).sum())


def test_the_same_formula_with_softmax_is_cross_entropy() -> None:
    tensors, targets = inputs_of(40, 9)
    logits = tensors[0] @ tensors[1].t() + tensors[2]
    total, _ = linear_fenchel_young_reference(*tensors, targets, 0.1, "softmax")
    torch.testing.assert_close(total, torch.nn.functional.cross_entropy(
        logits, targets, reduction="sum", label_smoothing=0.1))


@every_sparse
@smoothings
@pytest.mark.parametrize("size", [(7, 5), (90, 11), (1, 4), (3, 1), (0, 5)], ids=str)
@pytest.mark.usefixtures("small_chunks")
def test_kernel_equals_the_reference(name: str, smoothing: float, size: tuple[int, int]) -> None:
    tensors, targets = inputs_of(*size)
    counted = torch.arange(size[0]) % 3 != 1
    total, correct = linear_cross_entropy(*tensors, targets, smoothing, counted, name)
    expected, hits = linear_fenchel_young_reference(tensors[0][counted], *tensors[1:], targets[counted], smoothing,
                                                    name)
    torch.testing.assert_close(total, expected)
    assert torch.equal(correct, hits)
    torch.testing.assert_close(torch.autograd.grad(3 * total, tensors), torch.autograd.grad(3 * expected, tensors))


@every_sparse
@smoothings
@pytest.mark.usefixtures("small_chunks")
def test_the_losss_gradient_is_the_slope(name: str, smoothing: float) -> None:
    tensors, targets = inputs_of(20, 7)
    assert torch.autograd.gradcheck(
        lambda *given: linear_cross_entropy(*given, targets, smoothing, normalization=name)[0], tensors)


@every_sparse
def test_loss_is_zero_where_the_target_has_everything(name: str) -> None:
    """Beyond a margin, unlike cross-entropy; and finite where the target has nothing."""
    weight, bias, targets = torch.tensor([[9.0], [-9.0]]), torch.zeros(2), torch.tensor([0, 1])
    right, _ = linear_cross_entropy(torch.ones(1, 1), weight, bias, targets[:1], normalization=name)
    wrong, _ = linear_cross_entropy(torch.ones(1, 1), weight, bias, targets[1:], normalization=name)
    assert right.item() == 0
    assert wrong.item() == pytest.approx(18.0)
