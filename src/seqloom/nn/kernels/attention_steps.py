"""Attention step by step in work buffers, forward and backward, without autograd.

`forward` and `backward` do once what all steps share and return the function of one step; what the steps only have
to add up, the gradients of keys, memory and weights, is one product each after the loop, in `finish`. Everything is
computed in the state's precision: the products are small, and the softmax decides on small differences. What is used of
the softmax is that a number added to all scores changes nothing; the sparse normalizations have that too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from seqloom.nn.kernels.precision import BatchedProducts
from seqloom.nn.kernels.primitives import add_product, set_product, softmax_backward
from seqloom.nn.normalization import Normalization

# Attention of one step, by its number.
Attend = Callable[[int], None]
# The backward pass of one step: its number, the gradient of the attention value [B M] and, to be added to, of the
# query [B H].
AttendBackward = Callable[[int, Tensor, Tensor], None]


class Additive(NamedTuple):
    """Weights of the additive score vᵀ tanh(W q + b + k). A: its hidden size."""

    weight: Float[Tensor, "A H"]
    bias: Float[Tensor, " A"]
    score: Float[Tensor, " A"]


class AttentionWork(NamedTuple):
    """Buffers of T steps.

    bias: 0 at real positions, −∞ elsewhere; queries: the states that ask, operand: as the products read them;
    projected: W q + b, of the additive score only; sparse: what stands in the softmax's place, where something does.
    """

    values: Float[Tensor, "B S M"]
    keys: Float[Tensor, "B S A"]
    bias: Float[Tensor, "B S"]
    queries: Float[Tensor, "T B H"]
    operand: Float[Tensor, "T B H"]
    weights: Float[Tensor, "T B S"]
    attended: Float[Tensor, "T B M"]
    additive: Additive | None = None
    projected: Float[Tensor, "T B A"] | None = None
    sparse: type[Normalization] | None = None


class AttentionGradient(NamedTuple):
    """scores [T B S]: gradient of the scores before the softmax; keys: of the keys, of the additive score only.

    queries: of W q + b, without the factor v that all steps share; score: of v.
    """

    scores: Float[Tensor, "T B S"]
    keys: Float[Tensor, "B S A"] | None = None
    queries: Float[Tensor, "T B A"] | None = None
    score: Float[Tensor, " A"] | None = None


def forward(work: AttentionWork) -> Attend:
    """Step t: from work.queries[t] to work.weights[t] and work.attended[t]."""
    scores, batched = torch.empty_like(work.bias), BatchedProducts(work.bias.device)
    project = None if work.additive is None else _project(work, work.additive)
    fill = _bilinear_scores(work, scores) if work.additive is None else _additive_scores(work, work.additive, scores)
    weights, attended = work.weights.unbind(0), work.attended.unsqueeze(2).unbind(0)
    weights_row, sparse = work.weights.unsqueeze(2).unbind(0), work.sparse

    def attend(t: int) -> None:
        if project is not None:
            project(t)
        with batched:
            fill(t)
            if sparse is None:
                torch.softmax(scores, 1, out=weights[t])
            else:
                weights[t].copy_(sparse.forward(scores))
            torch.bmm(weights_row[t], work.values, out=attended[t])

    return attend


def _bilinear_scores(work: AttentionWork, scores: Float[Tensor, "B S"]) -> Attend:
    keys, bias, out = work.keys.transpose(1, 2), work.bias.unsqueeze(1), scores.unsqueeze(1)
    queries = work.queries.unsqueeze(2).unbind(0)

    def fill(t: int) -> None:
        torch.baddbmm(bias, queries[t], keys, out=out)

    return fill


def _twice_sigmoid(work: AttentionWork) -> Callable[[int], Tensor]:
    """σ(2(W q + b + k)) [B S A] of one step in a buffer that the next one overwrites: tanh is twice that less 1.

    The backward pass computes it again: that costs no more than to store it for all steps, and memory does not grow
    with T.
    """
    assert work.projected is not None
    twice_keys = work.keys * 2
    buffer = torch.empty_like(twice_keys)
    projected = work.projected.unsqueeze(2).unbind(0)

    def compute(t: int) -> Tensor:
        return torch.add(twice_keys, projected[t], alpha=2, out=buffer).sigmoid_()

    return compute


def _project(work: AttentionWork, additive: Additive) -> Attend:
    assert work.projected is not None
    weight, operand, projected = additive.weight.t(), work.operand.unbind(0), work.projected.unbind(0)

    def project(t: int) -> None:
        projected[t].copy_(additive.bias)
        add_product(projected[t], operand[t], weight)

    return project


def _additive_scores(work: AttentionWork, additive: Additive, scores: Float[Tensor, "B S"]) -> Attend:
    """Without the constant Σ v, which the softmax takes no notice of."""
    sigmoid, twice_score = _twice_sigmoid(work), additive.score * 2
    bias, out, A = work.bias.flatten(), scores.flatten(), work.keys.shape[2]

    def fill(t: int) -> None:
        torch.addmv(bias, sigmoid(t).view(-1, A), twice_score, out=out)

    return fill


def new_gradient(work: AttentionWork) -> AttentionGradient:
    """Buffers for the backward pass."""
    scores = torch.empty_like(work.weights)
    if work.additive is None or work.projected is None:
        return AttentionGradient(scores)
    return AttentionGradient(scores, torch.zeros_like(work.keys), torch.empty_like(work.projected),
                             torch.zeros_like(work.additive.score))


def backward(work: AttentionWork, gradient: AttentionGradient,
             of_weights: Float[Tensor, "T B S"] | None) -> AttendBackward:
    """Step t: from the gradient of the attention value to those of the scores and the query."""
    batched = BatchedProducts(work.bias.device)
    back = _bilinear_backward(work, gradient) if work.additive is None else _additive_backward(work, gradient)
    onward = None if work.additive is None else _project_backward(work, work.additive, gradient)
    values, each = work.values.transpose(1, 2), torch.empty_like(work.bias)
    out, weights, scores = each.unsqueeze(1), work.weights.unbind(0), gradient.scores.unbind(0)
    direct = None if of_weights is None else of_weights.unbind(0)
    dtype, sparse = each.dtype, work.sparse

    def attend_backward(t: int, of_value: Tensor, of_query: Tensor) -> None:
        with batched:
            torch.bmm(of_value.unsqueeze(1), values, out=out)
            if direct is not None:
                each.add_(direct[t])
            if sparse is None:
                softmax_backward(each, weights[t], 1, dtype, grad_input=scores[t])
            else:
                scores[t].copy_(sparse.backward(each, weights[t]))
            back(t, of_query)
        if onward is not None:
            onward(t, of_query)

    return attend_backward


def _bilinear_backward(work: AttentionWork, gradient: AttentionGradient) -> Callable[[int, Tensor], None]:
    scores = gradient.scores.unsqueeze(2).unbind(0)

    def back(t: int, of_query: Tensor) -> None:
        of_query.unsqueeze(1).baddbmm_(scores[t], work.keys)

    return back


def _additive_backward(work: AttentionWork, gradient: AttentionGradient) -> Callable[[int, Tensor], None]:
    """With s = σ(2x): tanh x = 2s − 1 and its derivative is 4(s − s²)."""
    assert gradient.keys is not None
    assert gradient.queries is not None
    assert gradient.score is not None
    sigmoid, A = _twice_sigmoid(work), work.keys.shape[2]
    slope, of_keys, of_score = torch.empty_like(work.keys), gradient.keys, gradient.score
    flat, column, row = (gradient.scores.flatten(1).unbind(0), gradient.scores.unsqueeze(3).unbind(0),
                         gradient.scores.unsqueeze(2).unbind(0))
    out = gradient.queries.unsqueeze(2).unbind(0)

    def back(t: int, of_query: Tensor) -> None:
        s = sigmoid(t)
        of_score.addmv_(s.view(-1, A).t(), flat[t])
        torch.addcmul(s, s, s, value=-1, out=slope)
        of_keys.addcmul_(slope, column[t])
        torch.bmm(row[t], slope, out=out[t])

    return back


def _project_backward(work: AttentionWork, additive: Additive,
                      gradient: AttentionGradient) -> Callable[[int, Tensor], None]:
    assert gradient.queries is not None
    low = work.operand.dtype
    weight = (additive.weight * (4 * additive.score).unsqueeze(1)).to(low)
    queries = gradient.queries.unbind(0)

    def onward(t: int, of_query: Tensor) -> None:
        add_product(of_query, queries[t].to(low), weight)

    return onward


class AttentionGradients(NamedTuple):
    """Of what attention reads, and of the additive score's weights."""

    values: Float[Tensor, "B S M"]
    keys: Float[Tensor, "B S A"]
    additive: Additive | None


def finish(work: AttentionWork, gradient: AttentionGradient,
           of_attended: Float[Tensor, "T B M"]) -> AttentionGradients:
    """After the last step of the backward pass."""
    with BatchedProducts(work.bias.device):
        of_values = torch.bmm(work.weights.permute(1, 2, 0), of_attended.transpose(0, 1))
        if work.additive is None or gradient.keys is None or gradient.queries is None or gradient.score is None:
            of_keys = torch.bmm(gradient.scores.permute(1, 2, 0), work.queries.transpose(0, 1))
            return AttentionGradients(of_values, of_keys, None)
    slope = 4 * work.additive.score
    queries = gradient.queries.flatten(0, 1).mul_(slope)
    of_weight = torch.empty_like(work.additive.weight, dtype=slope.dtype)
    set_product(of_weight, queries.to(work.operand.dtype).t(), work.operand.flatten(0, 1))
    # Gradients of the scores add up to 0 in each sentence, so v's is Σ (2s − 1) = 2 Σ s.
    return AttentionGradients(of_values, gradient.keys.mul_(slope),
                              Additive(of_weight, queries.sum(0), gradient.score.mul_(2)))
