"""Output layer, softmax and cross-entropy in one, so that logits for all tokens never exist together; and the same with
a sparse distribution and its loss (`fenchel_young.py`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from seqloom.nn.kernels.fenchel_young import sparse_loss_
from seqloom.nn.kernels.primitives import add_product, copy_to, operand_of, refuse_second_order, set_product
from seqloom.nn.normalization import NORMALIZATIONS

# Positions are taken in chunks whose fp32 logits fit in this, so that they stay in a CPU's cache; but at least
# SMALLEST_CHUNK of them, so that adding to the weight's gradient, one pass over it for each chunk, stays cheap.
LOGIT_BYTES = 16 * 2**20
SMALLEST_CHUNK = 256
# Products get a multiple of so many positions, zeros at the end: oneDNN makes and keeps code for every number of them
# that it meets, half a megabyte each, and no two batches have the same number of tokens.
POSITIONS = 32


def linear_cross_entropy_reference(
        values: Float[Tensor, "N O"], weight: Float[Tensor, "V O"], bias: Float[Tensor, " V"],
        targets: Int[Tensor, " N"], smoothing: float = 0.0) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Sum of −Σ_v q_v log p_v over N positions, and how many best ids equal the target.

    p = softmax(values·weightᵀ + bias); q gives 1 − ε to the target and ε/V to every id (Szegedy et al. 2016, §7).
    """
    logits = functional.linear(values, weight, bias)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    total = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    return total, (logits.argmax(1) == targets).sum()


def linear_cross_entropy(
        values: Float[Tensor, "N O"], weight: Float[Tensor, "V O"], bias: Float[Tensor, " V"],
        targets: Int[Tensor, " N"], smoothing: float = 0.0, counted: Bool[Tensor, " N"] | None = None,
        normalization: str = "softmax") -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """As the reference, in chunks of positions; the gradient is made on the way forward, where one is asked for.

    counted: positions that are summed; all when None. normalization: with one that is sparse its Fenchel-Young loss, as
    `linear_fenchel_young_reference` has it. Under autocast the products run in its precision, softmax, loss
    and gradients stay fp32.
    """
    device = values.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    with torch.autocast(device, enabled=False):
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (values, weight, bias)):
            made: tuple[Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
                values, weight, bias, targets, counted, smoothing, low, normalization)
            return made
        total, correct, _ = _pass(values, weight, bias, targets, counted, smoothing, low, normalization,
                                  gradient=False)
        return total, correct


class _Gradient(NamedTuple):
    """Of the sum, by values, weight and bias."""

    values: Float[Tensor, "N O"]
    weight: Float[Tensor, "V O"]
    bias: Float[Tensor, " V"]


def _pass(values: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, counted: Tensor | None, smoothing: float,
          low: torch.dtype | None, normalization: str, *, gradient: bool) -> tuple[Tensor, Tensor, _Gradient | None]:
    """Sum, number of hits, and the gradient, over all chunks."""
    N, V, kind = values.shape[0], weight.shape[0], NORMALIZATIONS[normalization]
    state = torch.float64 if weight.dtype == torch.float64 else torch.float32
    left, right, bias = values.to(low or state), weight.to(low or state), bias.to(state)
    total, correct = bias.new_zeros(()), targets.new_zeros(())
    rounded = -(-N // POSITIONS) * POSITIONS
    of = _Gradient(bias.new_empty(rounded, values.shape[1]), torch.zeros_like(weight, dtype=state),
                   torch.zeros_like(bias)) if gradient else None
    size = max(POSITIONS, max(SMALLEST_CHUNK, LOGIT_BYTES // (4 * V)) // POSITIONS * POSITIONS)
    buffer = bias.new_empty(min(size, rounded), V)
    low_buffer = operand_of(buffer, low)
    for start in range(0, N, size):
        real = min(size, N - start)
        rows = functional.pad(left[start : start + real], (0, 0, 0, -real % POSITIONS))
        logits, operand, padding = buffer[:real], low_buffer[: len(rows)], low_buffer[real : len(rows)]
        torch.mm(rows, right.t(), out=operand)
        copy_to(logits, operand[:real])
        rows_of = (logits.add_(bias), targets[start : start + size].unsqueeze(1),
                   None if counted is None else counted[start : start + size].unsqueeze(1), smoothing)
        loss, hits = sparse_loss_(*rows_of, kind) if kind.sparse else _softmax_loss_(*rows_of)
        total += loss
        correct += hits
        if of is not None:
            of.bias.add_(logits.sum(0))
            copy_to(operand[:real], logits)
            padding.zero_()
            set_product(of.values[start : start + len(rows)], operand, right)
            (add_product if start else set_product)(of.weight, operand.t(), rows)
    return total, correct, None if of is None else of._replace(values=of.values[:N])


def _softmax_loss_(logits: Float[Tensor, "N V"], targets: Int[Tensor, "N 1"], counted: Bool[Tensor, "N 1"] | None,
                   smoothing: float) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Loss sum and hits; in place, the logits become their gradient, softmax − q."""
    picked = logits.gather(1, targets)
    mean = logits.mean(1, keepdim=True) if smoothing else picked
    rival = logits.scatter_(1, targets, -torch.inf).amax(1, keepdim=True)
    logits.scatter_(1, targets, picked)
    hits = _hits(logits, targets, picked, rival, counted)
    # In place where it is known to be allowed.
    probabilities = torch.softmax(logits, 1, out=logits if logits.is_cpu else torch.empty_like(logits))
    # log Σ exp: the greatest logit less the logarithm of its probability, which is not below 1/V.
    normaliser = torch.maximum(picked, rival) - probabilities.amax(1, keepdim=True).log_()
    losses = normaliser - (1 - smoothing) * picked - smoothing * mean
    if smoothing:
        probabilities.sub_(smoothing / logits.shape[1])
    probabilities.scatter_add_(1, targets, torch.full_like(picked, smoothing - 1))
    if counted is not None:
        losses = losses * counted
        probabilities.mul_(counted)
    if probabilities is not logits:
        logits.copy_(probabilities)
    return losses.sum(), hits


def _hits(logits: Float[Tensor, "N V"], targets: Int[Tensor, "N 1"], picked: Float[Tensor, "N 1"],
          rival: Float[Tensor, "N 1"], counted: Bool[Tensor, "N 1"] | None) -> Int[Tensor, ""]:
    """How many targets are their row's argmax; `rival` is the best of the others.

    On a CPU argmax takes as long as the whole softmax, so it is asked only about ties, which go to the lower id.
    """
    if not logits.is_cpu or counted is not None:
        hits = logits.argmax(1, keepdim=True) == targets
        return (hits if counted is None else hits & counted).sum()
    hits = (picked > rival).sum()
    ties = (picked == rival).squeeze(1).nonzero().squeeze(1)
    return hits + (logits[ties].argmax(1) == targets[ties, 0]).sum() if len(ties) else hits


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient is ready before the backward pass, which scales and hands it out; asked again, it is made again."""

    @staticmethod
    def forward(node: Any, values: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, counted: Tensor | None,
                smoothing: float, low: torch.dtype | None, normalization: str) -> tuple[Tensor, Tensor]:
        total, correct, node.ready = _pass(values, weight, bias, targets, counted, smoothing, low, normalization,
                                           gradient=True)
        node.save_for_backward(values, weight, bias, targets, counted)
        node.options = smoothing, low, normalization
        node.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    def backward(node: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_order("linear_cross_entropy", "use linear_cross_entropy_reference, which gives the same numbers")
        of, node.ready = node.ready, None
        with torch.autocast(gradient.device.type, enabled=False):
            of = of or _pass(*node.saved_tensors, *node.options, gradient=True)[2]
            assert of is not None
            if not gradient.is_cpu or float(gradient) != 1:
                for part in of:
                    part.mul_(gradient)
        return *of, None, None, None, None, None
