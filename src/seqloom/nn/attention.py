"""Attention over a memory: scores, weights, attention value. The decoder decides what to do with the value."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqloom.nn.kernels.precision import many_products
from seqloom.nn.normalization import NORMALIZATIONS
from seqloom.nn.scores import SCORES


class LocalWindow(nn.Module):
    """Where a query looks: the D positions to either side of a predicted centre, and the less the farther from it.

    Local-p attention (Luong et al. 2015, §3.2): centre p = S σ(vᵀ tanh(W q)) (eq. 9) with S the source's length, and
    weights times exp(−(s − p)² / 2σ²) with σ = D/2 (eq. 10). Positions count from 0.
    """

    def __init__(self, query_size: int, reach: int) -> None:
        super().__init__()
        self.transform = nn.Linear(query_size, query_size, bias=False)
        self.vector = nn.Linear(query_size, 1, bias=False)
        self.reach = reach

    def forward(self, query: Float[Tensor, "B K Q"], mask: Bool[Tensor, "B S"],
                ) -> tuple[Bool[Tensor, "B K S"], Float[Tensor, "B K S"]]:
        """Which real positions are within reach, always one or more; and the factors of their weights."""
        # In fp32 at least: half precision does not tell the positions of a long source apart.
        asked = self.vector(torch.tanh(self.transform(query)))
        asked = asked.to(torch.promote_types(asked.dtype, torch.float32))
        length = mask.sum(1).to(asked.dtype).view(-1, 1, 1)
        away = torch.arange(mask.shape[1], dtype=asked.dtype, device=asked.device) - length * asked.sigmoid()
        # The last position too where rounding puts the centre at S: that is as far away as the window reaches.
        within = (away.abs() <= self.reach) & mask.unsqueeze(1)
        return within, torch.exp(-2 * (away / self.reach).square())


class Attention(nn.Module):
    """Global attention (Luong et al. 2015, §3.1; Bahdanau et al. 2015, eqs. 5-6), or local with a `window` of D.

    weights = softmax over real positions of score(query, keys), or another of `NORMALIZATIONS`; attention value =
    Σ_s weights_s · values_s. With `coverage` the sum of past weights is added to the score, times a learned number. See
    et al. 2017, eq. 11 put it inside the additive score; here it stands outside, so that every score can have it. With
    a window the weights sum to less than 1, as in the paper.
    """

    def __init__(self, score: str, query_size: int, memory_size: int, *, hidden_size: int, layers: int = 1,
                 coverage: bool = False, normalization: str = "softmax", window: int | None = None) -> None:
        super().__init__()
        self.score = SCORES[score](query_size, memory_size, hidden_size=hidden_size, layers=layers)
        self.normalization = NORMALIZATIONS[normalization]
        self.window = None if window is None else LocalWindow(query_size, window)
        self.coverage_weight = nn.Parameter(torch.tensor(-0.1)) if coverage else None

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S H"]:
        """Once per source; pass the result to `forward`."""
        return self.score.keys(values)

    def forward(self, query: Float[Tensor, "B K Q"], keys: Float[Tensor, "B S H"], values: Float[Tensor, "B S M"],
                mask: Bool[Tensor, "B S"], last: Float[Tensor, "B K S"] | None = None,
                coverage: Float[Tensor, "B C S"] | None = None,
                ) -> tuple[Float[Tensor, "B K M"], Float[Tensor, "B K S"]]:
        """Attention values and weights of K queries for each sentence. Weights are exactly 0 where mask is False.

        coverage: of each query; [B 1 S] where there are more queries: then they are positions in order, and each is
        told what those before it have attended to.
        """
        scores = self.score(query, keys, last)
        within, factors = (mask.unsqueeze(1).expand_as(scores), None) if self.window is None else self.window(
            query, mask)
        if coverage is None or self.coverage_weight is None:
            weights = self._normalised(scores, within, factors)
        elif coverage.shape[1] == scores.shape[1]:
            weights = self._normalised(scores + self.coverage_weight * coverage, within, factors)
        else:
            steps = []
            for t, score in enumerate(scores.split(1, 1)):
                now = self._normalised(score + self.coverage_weight * coverage, within[:, t:t + 1],
                                       None if factors is None else factors[:, t:t + 1])
                coverage = coverage + now
                steps.append(now)
            weights = torch.cat(steps, 1)
        return many_products(weights.to(values.dtype), values).to(values.dtype), weights

    def _normalised(self, scores: Float[Tensor, "B K S"], within: Bool[Tensor, "B K S"],
                    factors: Float[Tensor, "B K S"] | None) -> Float[Tensor, "B K S"]:
        """Weights of scores: exactly 0 where `within` is False."""
        weights = self.normalization.apply(scores.masked_fill(~within, -torch.inf))
        return weights if factors is None else weights * factors
