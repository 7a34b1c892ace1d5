"""The contract of SCORES, run on every entry, and the formulas of those that we ship."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
import torch
from numpy import allclose, einsum, tanh
from torch import Tensor

from seqloom.nn.kernels.additive import additive_scores
from seqloom.nn.scores import SCORES, Score
from seqloom.types import Floats
from tiny import normal, randomise

B, K, S, Q, HIDDEN = 2, 3, 5, 4, 6

every_score = pytest.mark.parametrize("name", SCORES)
layers = pytest.mark.parametrize("layers", [1, 2])


def score_of(name: str, layers: int = 1, memory_size: int = Q) -> Score:
    score = SCORES[name](Q, memory_size, hidden_size=HIDDEN, layers=layers).double()
    randomise(score, 3)
    return score


def queries(K: int = K) -> Tensor:
    return normal(B, K, Q, seed=1)


def values(memory_size: int = Q) -> Tensor:
    return normal(B, S, memory_size, seed=2)


def last_weights(K: int = K) -> Tensor:
    return normal(B, K, S, seed=3).softmax(2)


# --- every entry -----------------------------------------------------------------------------------------------------


@every_score
@layers
def test_one_number_for_each_query_and_position(name: str, layers: int) -> None:
    score = score_of(name, layers)
    keys = score.keys(values())
    assert keys.shape[:2] == (B, S)
    scores = score(queries(), keys, last_weights())
    assert scores.shape == (B, K, S)
    assert scores.isfinite().all()


@every_score
@layers
def test_queries_together_are_queries_one_by_one(name: str, layers: int) -> None:
    score = score_of(name, layers)
    keys, query, last = score.keys(values()), queries(), last_weights()
    together = score(query, keys, last)
    alone = [score(query[:, k : k + 1], keys, last[:, k : k + 1]) for k in range(K)]
    torch.testing.assert_close(together, torch.cat(alone, 1), rtol=0, atol=1e-12)


@every_score
def test_sentences_do_not_meet(name: str) -> None:
    score = score_of(name)
    together = score(queries(), score.keys(values()), last_weights())
    for row in range(B):
        rows = slice(row, row + 1)
        alone = score(queries()[rows], score.keys(values()[rows]), last_weights()[rows])
        torch.testing.assert_close(together[rows], alone, rtol=0, atol=1e-12)


@every_score
def test_every_query_and_key_counts(name: str) -> None:
    score = score_of(name)
    query, memory = queries().requires_grad_(), values().requires_grad_()
    scores = score(query, score.keys(memory), last_weights())
    found = torch.autograd.grad((scores * normal(B, K, S, seed=4)).sum(), [query, memory])
    assert all(gradient.all() for gradient in found)


@every_score
@layers
def test_every_parameter_gets_a_gradient(name: str, layers: int) -> None:
    score = score_of(name, layers)
    query = queries().requires_grad_()  # a score without parameters has a gradient too
    (score(query, score.keys(values()), last_weights()) * normal(B, K, S, seed=4)).sum().backward()
    for weight, parameter in score.named_parameters():
        assert parameter.grad is not None, weight
        assert parameter.grad.any(), weight


@every_score
@layers
def test_gradient_is_the_numeric_gradient(name: str, layers: int) -> None:
    score = SCORES[name](3, 3, hidden_size=2, layers=layers).double()
    randomise(score, 3)
    names = [weight for weight, _ in score.named_parameters()]

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = score

        def forward(self, query: Tensor, memory: Tensor, last: Tensor) -> Tensor:
            scores: Tensor = self.score(query, self.score.keys(memory), last)
            return scores

    def run(query: Tensor, memory: Tensor, last: Tensor, *weights: Tensor) -> Tensor:
        given = {f"score.{weight}": value for weight, value in zip(names, weights, strict=True)}
        found: Tensor = torch.func.functional_call(Whole(), given, (query, memory, last))
        return found

    tensors = [normal(2, 2, 3), normal(2, 2, 3, seed=2), normal(2, 2, 2, seed=3).softmax(2), *score.parameters()]
    assert torch.autograd.gradcheck(run, [tensor.detach().requires_grad_() for tensor in tensors])


@every_score
def test_a_bilinear_score_is_the_product_of_query_and_keys(name: str) -> None:
    """What kernels may rely on; and a score that is one and does not say so is only slower."""
    score = score_of(name)
    keys = score.keys(values())
    if score.bilinear:
        product = torch.einsum("bkh,bsh->bks", queries(), keys)
        torch.testing.assert_close(score(queries(), keys, None), product, rtol=0, atol=1e-12)
    assert not (score.bilinear and score.uses_last)


@every_score
def test_last_weights_change_only_the_scores_that_say_so(name: str) -> None:
    score = score_of(name)
    keys = score.keys(values())
    first = score(queries(), keys, last_weights())
    second = score(queries(), keys, last_weights().flip(2))
    assert torch.equal(first, second) != score.uses_last


@every_score
def test_entry_names_its_source(name: str) -> None:
    assert re.search(r"\b(19|20)\d\d\b", SCORES[name].__doc__ or ""), "give the paper, its year and the equation"


# --- formulas --------------------------------------------------------------------------------------------------------

Weights = Mapping[str, Floats]


def dot(query: Floats, memory: Floats, weights: Weights) -> Floats:
    """Luong et al. 2015, eq. 8."""
    return einsum("bkm,bsm->bks", query, memory)


def scaled_dot(query: Floats, memory: Floats, weights: Weights) -> Floats:
    """Vaswani et al. 2017, eq. 1."""
    return einsum("bkm,bsm->bks", query, memory) / memory.shape[2] ** 0.5


def general(query: Floats, memory: Floats, weights: Weights) -> Floats:
    """Luong et al. 2015, eq. 8."""
    return einsum("bkq,qm,bsm->bks", query, weights["weight"], memory)


def concat(query: Floats, memory: Floats, weights: Weights) -> Floats:
    """Bahdanau et al. 2015, A.1.2; further layers as in a feed-forward network."""
    hidden = (einsum("hq,bkq->bkh", weights["query.weight"], query)[:, :, None]
              + einsum("hm,bsm->bsh", weights["key.weight"], memory)[:, None] + weights["query.bias"])
    hidden = tanh(hidden)
    for layer in range(sum(name.startswith("deeper") for name in weights) // 2):
        hidden = einsum("oh,bksh->bkso", weights[f"deeper.{layer}.weight"], hidden) + weights[f"deeper.{layer}.bias"]
        hidden = tanh(hidden)
    return einsum("h,bksh->bks", weights["score.weight"][0], hidden)


def location(query: Floats, memory: Floats, weights: Weights, last: Floats | None = None) -> Floats:
    """Chorowski et al. 2015, eqs. 8-9: the convolution as a sum over shifts."""
    hidden = (einsum("hq,bkq->bkh", weights["query.weight"], query)[:, :, None]
              + einsum("hm,bsm->bsh", weights["key.weight"], memory)[:, None] + weights["query.bias"])
    if last is not None:
        filters = weights["convolution.weight"][:, 0]
        half = filters.shape[1] // 2
        count = last.shape[2]
        for position in range(count):
            for shift in range(-half, half + 1):
                if 0 <= position + shift < count:
                    found = einsum("f,bk->bkf", filters[:, half + shift], last[:, :, position + shift])
                    hidden[:, :, position] += einsum("hf,bkf->bkh", weights["location.weight"], found)
    return einsum("h,bksh->bks", weights["score.weight"][0], tanh(hidden))


FORMULAS: list[tuple[str, int, int, Callable[[Floats, Floats, Weights], Floats]]] = [
    ("dot", 1, Q, dot),
    ("scaled_dot", 1, Q, scaled_dot),
    ("general", 1, Q, general),
    ("general", 1, 7, general),
    ("concat", 1, 7, concat),
    ("concat", 2, 7, concat),
    ("concat", 3, 7, concat),
    ("location", 1, 7, location),
]


@pytest.mark.parametrize(("name", "layers", "memory_size", "formula"), FORMULAS,
                         ids=[f"{name}-{layers}-{size}" for name, layers, size, _ in FORMULAS])
def test_value_is_the_formula(name: str, layers: int, memory_size: int,
                              formula: Callable[[Floats, Floats, Weights], Floats]) -> None:
    score = score_of(name, layers, memory_size)
    found = score(queries(), score.keys(values(memory_size)), None)
    weights = {weight: parameter.detach().numpy() for weight, parameter in score.named_parameters()}
    expected = formula(queries().numpy(), values(memory_size).numpy(), weights)
    assert allclose(found.detach().numpy(), expected, rtol=0, atol=1e-12)


def test_location_sees_where_the_last_step_has_looked() -> None:
    score = score_of("location", memory_size=7)
    weights = {weight: parameter.detach().numpy() for weight, parameter in score.named_parameters()}
    found = score(queries(), score.keys(values(7)), last_weights())
    expected = location(queries().numpy(), values(7).numpy(), weights, last_weights().numpy())
    assert allclose(found.detach().numpy(), expected, rtol=0, atol=1e-12)


def test_concat_has_as_many_hidden_layers_as_it_is_told() -> None:
    assert [len(score_of("concat", layers).deeper) for layers in (1, 2, 5)] == [0, 1, 4]  # type: ignore[arg-type]


def test_general_by_hand() -> None:
    """(1, 2) · ((1, 0, 2), (0, 3, 1)) · (1, 1, 1) = 1 · 3 + 2 · 4."""
    score = SCORES["general"](2, 3, hidden_size=1, layers=1)
    score.load_state_dict({"weight": torch.tensor([[1.0, 0, 2], [0, 3, 1]])})
    found = score(torch.tensor([[[1.0, 2.0]]]), score.keys(torch.ones(1, 1, 3)), None)
    assert found.item() == 11


# --- the kernel of the additive one ----------------------------------------------------------------------------------


def plain_additive(query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
    return torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1)) @ vector


@pytest.mark.parametrize("K", [1, 2, 5])
def test_additive_scores_are_the_formula_in_value_and_gradient(K: int) -> None:
    query, keys, vector = (part.requires_grad_() for part in (normal(B, K, 4, seed=4), normal(B, S, 4, seed=5),
                                                              normal(4, seed=6)))
    torch.testing.assert_close(additive_scores(query, keys, vector), plain_additive(query, keys, vector))
    assert torch.autograd.gradcheck(additive_scores, (query, keys, vector))


def test_additive_scores_of_half_precision_are_fp32() -> None:
    query, keys, vector = (part.bfloat16() for part in (normal(B, 3, 4, seed=4), normal(B, S, 4, seed=5), normal(4)))
    with torch.autocast("cpu", torch.bfloat16):
        found = additive_scores(query, keys, vector)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain_additive(query.float(), keys.float(), vector.float()))


def test_additive_scores_have_no_second_gradient() -> None:
    query, keys, vector = (part.requires_grad_() for part in (normal(B, 3, 4), normal(B, S, 4), normal(4)))
    with pytest.raises(RuntimeError, match="the additive score's kernel has a gradient, but not a gradient of its"):
        torch.autograd.grad(additive_scores(query, keys, vector).sum(), query, create_graph=True)
