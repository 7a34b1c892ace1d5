"""Fenchel-Young losses of sparse output distributions, the likes of cross-entropy, on rows of logits.

L(z; y) = H(p) + p·z − z_y with p the distribution of the logits z and H its entropy (Blondel et al. 2020, eq. 14 and
proposition 2; Peters et al. 2019, eq. 12): 0 exactly where p gives the target everything, with the gradient p − y. With
softmax this is cross-entropy. Smoothing adds ε (z_y − mean z), as it does to cross-entropy (Peters & Martins 2021,
§3.1): the gradient is then p − q, where q gives 1 − ε to the target and ε/V to every id.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from seqloom.nn.normalization import NORMALIZATIONS, Normalization


def row_losses(logits: Float[Tensor, "N V"], targets: Int[Tensor, "N 1"], weights: Float[Tensor, "N V"],
               kind: type[Normalization], smoothing: float) -> Float[Tensor, "N 1"]:
    """The loss of each row, of which `weights` is the distribution."""
    picked = logits.gather(1, targets)
    # p·z − z_y as p·(z − z_y): no difference of great numbers.
    losses = kind.entropy(weights).unsqueeze(1) + (weights * (logits - picked)).sum(1, keepdim=True)
    return losses + smoothing * (picked - logits.mean(1, keepdim=True)) if smoothing else losses


def linear_fenchel_young_reference(
        values: Float[Tensor, "N O"], weight: Float[Tensor, "V O"], bias: Float[Tensor, " V"],
        targets: Int[Tensor, " N"], smoothing: float, normalization: str,
        ) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Sum of the losses over N positions, and how many best ids equal the target; all logits at once."""
    logits = functional.linear(values, weight, bias)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    kind = NORMALIZATIONS[normalization]
    losses = row_losses(logits, targets.unsqueeze(1), kind.apply(logits), kind, smoothing)
    return losses.sum(), (logits.argmax(1) == targets).sum()


def sparse_loss_(logits: Float[Tensor, "N V"], targets: Int[Tensor, "N 1"], counted: Bool[Tensor, "N 1"] | None,
                 smoothing: float, kind: type[Normalization]) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Loss sum and hits; in place, the logits become their gradient, p − q."""
    hits = logits.argmax(1, keepdim=True) == targets
    weights = kind.forward(logits)
    losses = row_losses(logits, targets, weights, kind, smoothing)
    if smoothing:
        weights.sub_(smoothing / logits.shape[1])
    weights.scatter_add_(1, targets, torch.full_like(losses, smoothing - 1))
    if counted is not None:
        losses, hits = losses * counted, hits & counted
        weights.mul_(counted)
    logits.copy_(weights)
    return losses.sum(), hits.sum()
