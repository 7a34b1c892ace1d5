"""Attention over a memory: scores, weights, attention value. The decoder decides what to do with the value."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqloom.nn.scores import SCORES


class Attention(nn.Module):
    """Global attention (Luong et al. 2015, §3.1; Bahdanau et al. 2015, eqs. 5-6).

    weights = softmax over real positions of score(query, keys); attention value = Σ_s weights_s · values_s.
    With `coverage` the sum of past weights is added to the score, times a learned number. See et al. 2017, eq. 11 put
    it inside the additive score; here it stands outside, so that every score can have it.
    """

    def __init__(self, score: str, query_size: int, memory_size: int, *, hidden_size: int, layers: int = 1,
                 coverage: bool = False) -> None:
        super().__init__()
        self.score = SCORES[score](query_size, memory_size, hidden_size=hidden_size, layers=layers)
        self.coverage_weight = nn.Parameter(torch.tensor(-0.1)) if coverage else None

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S H"]:
        """Once per source; pass the result to `forward`."""
        return self.score.keys(values)

    def forward(self, query: Float[Tensor, "B K Q"], keys: Float[Tensor, "B S H"], values: Float[Tensor, "B S M"],
                mask: Bool[Tensor, "B S"], last: Float[Tensor, "B K S"] | None = None,
                coverage: Float[Tensor, "B K S"] | None = None,
                ) -> tuple[Float[Tensor, "B K M"], Float[Tensor, "B K S"]]:
        """Attention values and weights of K queries for each sentence. Weights are exactly 0 where mask is False."""
        scores = self.score(query, keys, last)
        if self.coverage_weight is not None and coverage is not None:
            scores = scores + self.coverage_weight * coverage
        weights = scores.masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(2)
        return torch.bmm(weights.to(values.dtype), values), weights
