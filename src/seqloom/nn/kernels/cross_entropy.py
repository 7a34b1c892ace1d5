"""Output layer, softmax and cross-entropy in one, so that logits for all tokens never exist together."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def linear_cross_entropy_reference(
        values: Float[Tensor, "N O"], weight: Float[Tensor, "V O"], bias: Float[Tensor, "V"], targets: Int[Tensor, "N"],
        smoothing: float = 0.0) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Sum of −Σ_v q_v log p_v over N positions, and how many best ids equal the target.

    p = softmax(values·weightᵀ + bias); q gives 1 − ε to the target and ε/V to every id (Szegedy et al. 2016, §7).
    """
    logits = functional.linear(values, weight, bias).float()
    total = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    return total, (logits.argmax(1) == targets).sum()


linear_cross_entropy = linear_cross_entropy_reference
