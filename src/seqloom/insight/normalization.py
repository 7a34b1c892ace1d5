"""From scores to a distribution in NumPy, with the number that decides it. Every normalization of
`nn/normalization.py` has its like in `NORMALIZERS`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from seqloom.types import Floats


class Normalizer:
    """formula: how a weight comes about, as text, from x (a score) and τ, where there is one.

    factor: what scores are multiplied by before τ is taken away.
    """

    formula: ClassVar[str] = ""
    factor: ClassVar[float] = 1.0

    def threshold(self, scores: Floats) -> float | None:
        """τ for these scores; None where there is none. −∞ among the scores stands for what is impossible."""
        raise NotImplementedError

    def weights(self, scores: Floats) -> Floats:
        """The distribution [S]."""
        raise NotImplementedError

    def logarithms(self, scores: Floats) -> Floats:
        """Log-probabilities; −∞ where the probability is 0."""
        with np.errstate(divide="ignore"):
            found: Floats = np.log(self.weights(scores))
        return found


class Softmax(Normalizer):
    """exp(score − highest score) over their sum (Bahdanau et al. 2015, eq. 6)."""

    formula = "exp(x − highest) / Σ exp(x − highest)"

    def threshold(self, scores: Floats) -> float | None:
        return None

    def weights(self, scores: Floats) -> Floats:
        shares = np.exp(scores - scores.max())
        weights: Floats = shares / shares.sum()
        return weights

    def logarithms(self, scores: Floats) -> Floats:
        shifted = scores - scores.max()
        found: Floats = shifted - np.log(np.exp(shifted).sum())
        return found


class Sparse(Normalizer):
    """The best scores share everything: more of them, as long as the next one is above what is left as τ."""

    def of_support(self, best: Floats) -> float:
        """τ if these scores, times `factor`, and no others get something."""
        raise NotImplementedError

    def threshold(self, scores: Floats) -> float:
        ordered = -np.sort(-scores[scores > -np.inf] * self.factor)
        for count in range(1, len(ordered) + 1):
            found = self.of_support(ordered[:count])
            if count == len(ordered) or ordered[count] <= found:
                break
        return found

    def above(self, scores: Floats) -> Floats:
        """max(0, factor · score − τ)."""
        found: Floats = np.maximum(0.0, self.factor * scores - self.threshold(scores))
        return found


class Sparsemax(Sparse):
    """Martins & Astudillo 2016, eqs. 3-4: Σ max(0, x − τ) = 1."""

    formula = "max(0, x − τ)"

    def of_support(self, best: Floats) -> float:
        return (float(best.sum()) - 1) / len(best)

    def weights(self, scores: Floats) -> Floats:
        return self.above(scores)


class Entmax15(Sparse):
    """Peters et al. 2019, eq. 10 with α = 1.5: Σ max(0, x/2 − τ)² = 1, a quadratic equation in τ."""

    formula = "max(0, x/2 − τ)²"
    factor = 0.5

    def of_support(self, best: Floats) -> float:
        mean = float(best.mean())
        spread = float(np.square(best - mean).sum())
        return mean - float(np.sqrt(max(0.0, 1 - spread) / len(best)))

    def weights(self, scores: Floats) -> Floats:
        found: Floats = np.square(self.above(scores))
        return found


NORMALIZERS: dict[str, Normalizer] = {
    "softmax": Softmax(),
    "sparsemax": Sparsemax(),
    "entmax15": Entmax15(),
}
