"""From scores to a distribution over the last axis: softmax, and two that give exactly 0 to what scores low.

All three are argmax_p p·z − Ω(p) over distributions, with another Ω each (Blondel et al. 2020, table 1), and all three
are unmoved when a number is added to every score. A score of −∞ has probability 0; one score of a row must be finite.
What is computed in half precision elsewhere is computed in fp32 here.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from seqloom.nn.kernels.primitives import refuse_second_order
from seqloom.nn.kernels.static import is_static

# Both sparse ones give 0 to a score that is 1 or more below the highest, in the units of `_shifted`: the threshold lies
# at most 1 below it, as no probability exceeds 1 (Martins & Astudillo 2016, proposition 1; Peters et al. 2019, §3.2).
LOWEST = -1.0


class Normalization:
    """What all have. `forward` and `backward` record nothing; `apply` is the function of both for autograd."""

    sparse: ClassVar[bool] = True

    @classmethod
    def forward(cls, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        """The distribution."""
        raise NotImplementedError

    @classmethod
    def backward(cls, gradient: Float[Tensor, "*rows N"], weights: Float[Tensor, "*rows N"],
                 ) -> Float[Tensor, "*rows N"]:
        """From the gradient of the distribution, and the distribution, to that of the scores; it sums to 0."""
        raise NotImplementedError

    @classmethod
    def entropy(cls, weights: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows"]:
        """−Ω: 0 for a distribution that has all of its mass in one place, else positive."""
        raise NotImplementedError

    @classmethod
    def apply(cls, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        """The distribution, with a gradient."""
        made: Tensor = _Apply.apply(_exact(scores), cls)  # type: ignore[no-untyped-call]
        return made

    @classmethod
    def logarithm(cls, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        """Log-probabilities; −∞ where the probability is 0."""
        return cls.apply(scores).log()


class Softmax(Normalization):
    """exp(z) / Σ exp(z); Ω is the negative Shannon entropy. Every finite score gets some of the mass."""

    sparse = False

    @classmethod
    def forward(cls, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        return scores.softmax(-1)

    @classmethod
    def backward(cls, gradient: Float[Tensor, "*rows N"], weights: Float[Tensor, "*rows N"],
                 ) -> Float[Tensor, "*rows N"]:
        found: Tensor = weights * (gradient - (gradient * weights).sum(-1, keepdim=True))
        return found

    @classmethod
    def entropy(cls, weights: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows"]:
        entropy: Tensor = torch.special.entr(weights).sum(-1)
        return entropy

    @classmethod
    def apply(cls, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        return scores.softmax(-1)

    @classmethod
    def logarithm(cls, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        return scores.log_softmax(-1)


class Sparsemax(Normalization):
    """max(0, z − τ), the Euclidean projection of the scores on the simplex (Martins & Astudillo 2016, eqs. 1 and 3).

    Ω = ½ Σ p²; the entropy is that of Gini, ½ (1 − Σ p²).
    """

    @classmethod
    def forward(cls, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        """By sorting (ibid., algorithm 1): τ is what the first k scores leave over when k is as large as it can be."""
        shifted = _shifted(_exact(scores))
        ordered, sizes = _highest(shifted)
        sums = ordered.cumsum(-1)
        last = _last(1 + sizes * ordered > sums, ordered)
        threshold = (sums.gather(-1, last) - 1) / (last + 1)
        return (shifted - threshold).clamp_(min=0)

    @classmethod
    def backward(cls, gradient: Float[Tensor, "*rows N"], weights: Float[Tensor, "*rows N"],
                 ) -> Float[Tensor, "*rows N"]:
        """Less the mean over the support, and 0 outside (ibid., eq. 11)."""
        support = (weights > 0).to(gradient.dtype)
        mean = (gradient * support).sum(-1, keepdim=True) / support.sum(-1, keepdim=True)
        return support * (gradient - mean)

    @classmethod
    def entropy(cls, weights: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows"]:
        return (1 - weights.square().sum(-1)) / 2


class Entmax15(Normalization):
    """max(0, z/2 − τ)², between softmax and sparsemax (Peters, Niculae & Martins 2019, eq. 10 with α = 1.5).

    The entropy is that of Tsallis, 4/3 (1 − Σ p^1.5) (ibid., eq. 8).
    """

    @classmethod
    def forward(cls, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        """By sorting (ibid., algorithm 2): with k in the support, τ solves Σ (z − τ)² = 1 over the first k."""
        shifted = _shifted(_exact(scores) / 2)
        ordered, sizes = _highest(shifted)
        mean = ordered.cumsum(-1) / sizes
        spread = sizes * (ordered.square().cumsum(-1) / sizes - mean.square())
        thresholds = mean - ((1 - spread) / sizes).clamp_(min=0).sqrt_()
        threshold = thresholds.gather(-1, _last(thresholds <= ordered, ordered))
        return (shifted - threshold).clamp_(min=0).square_()

    @classmethod
    def backward(cls, gradient: Float[Tensor, "*rows N"], weights: Float[Tensor, "*rows N"],
                 ) -> Float[Tensor, "*rows N"]:
        """√p (g − Σ √p g / Σ √p) (ibid., proposition 2)."""
        roots = weights.sqrt()
        mean = (gradient * roots).sum(-1, keepdim=True) / roots.sum(-1, keepdim=True)
        found: Tensor = roots * (gradient - mean)
        return found

    @classmethod
    def entropy(cls, weights: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows"]:
        return (1 - weights.pow(1.5).sum(-1)) * (4 / 3)


def _exact(scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _shifted(scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
    """Less the highest, and none below LOWEST: finite, and what comes of it is the same."""
    return (scores - scores.amax(-1, keepdim=True)).clamp_(min=LOWEST)


def _highest(shifted: Float[Tensor, "*rows N"]) -> tuple[Float[Tensor, "*rows K"], Float[Tensor, " K"]]:
    """The scores in falling order, as many as the fullest row has above LOWEST, and the numbers 1 … K."""
    N = shifted.shape[-1]
    count = N if is_static() or not shifted.numel() else int((shifted > LOWEST).sum(-1).amax())
    return shifted.topk(count, -1).values, torch.arange(1, count + 1, dtype=shifted.dtype, device=shifted.device)


def _last(inside: Tensor, ordered: Float[Tensor, "*rows K"]) -> Tensor:
    """Place [… 1] of the last score of the support, which is a beginning of the order: rounding may not add to it what
    is surely outside, so that padding changes nothing."""
    return (inside & (ordered > LOWEST)).sum(-1, keepdim=True) - 1


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(node: Any, scores: Tensor, kind: type[Normalization]) -> Tensor:
        weights = kind.forward(scores)
        node.kind = kind
        node.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(node: Any, gradient: Tensor) -> tuple[Tensor, None]:
        refuse_second_order("a sparse normalization", "use softmax")
        return node.kind.backward(gradient, *node.saved_tensors), None


NORMALIZATIONS: dict[str, type[Normalization]] = {
    "softmax": Softmax,
    "sparsemax": Sparsemax,
    "entmax15": Entmax15,
}
