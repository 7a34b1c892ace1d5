"""Attention scores: how well a query (decoder state) fits each key (source position). Before the softmax.

Whatever depends on the source alone is computed once per source by `keys` and handed back, not stored. K queries of
one sentence are scored together: K is 1 in a step, the beam in search, all target positions when training allows.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from seqloom.nn.kernels.additive import additive_scores
from seqloom.nn.kernels.precision import many_products


class Score(nn.Module):
    """Base of all scores. Q query size, M memory size, H hidden size of scores that have hidden layers."""

    # The score is the inner product of the query and `keys`: kernels may use that.
    bilinear: ClassVar[bool] = False
    # The score depends on the previous step's weights, so steps cannot be scored together.
    uses_last: ClassVar[bool] = False

    def __init__(self, query_size: int, memory_size: int, *, hidden_size: int, layers: int) -> None:
        super().__init__()

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S H"]:
        """What the score needs of the source, once per source."""
        return values

    def forward(self, query: Float[Tensor, "B K Q"], keys: Float[Tensor, "B S H"],
                last: Float[Tensor, "B K S"] | None) -> Float[Tensor, "B K S"]:
        """Scores of K queries; `last` are the previous step's weights, for scores that use them."""
        raise NotImplementedError


class Dot(Score):
    """Inner product qᵀk (Luong et al. 2015, eq. 8 "dot"). Query and memory must have the same size."""

    bilinear = True

    def forward(self, query: Float[Tensor, "B K Q"], keys: Float[Tensor, "B S Q"],
                last: Float[Tensor, "B K S"] | None) -> Float[Tensor, "B K S"]:
        return many_products(query, keys.transpose(1, 2))


class ScaledDot(Dot):
    """Inner product over the root of the size, qᵀk / √M (Vaswani et al. 2017, eq. 1). Equal sizes."""

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S M"]:
        return values * float(values.shape[2] ** -0.5)


class General(Dot):
    """Bilinear form qᵀ W k (Luong et al. 2015, eq. 8 "general")."""

    def __init__(self, query_size: int, memory_size: int, *, hidden_size: int, layers: int) -> None:
        super().__init__(query_size, memory_size, hidden_size=hidden_size, layers=layers)
        self.weight = nn.Parameter(torch.empty(query_size, memory_size))
        nn.init.xavier_uniform_(self.weight)

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S Q"]:
        return functional.linear(values, self.weight)


class Concat(Score):
    """Additive score vᵀ tanh(W_q q + W_k k + b) (Bahdanau et al. 2015, appendix A.1.2; Luong et al. 2015, "concat").

    With more layers the hidden vector goes through further tanh layers before v.
    """

    def __init__(self, query_size: int, memory_size: int, *, hidden_size: int, layers: int) -> None:
        super().__init__(query_size, memory_size, hidden_size=hidden_size, layers=layers)
        self.query = nn.Linear(query_size, hidden_size)
        self.key = nn.Linear(memory_size, hidden_size, bias=False)
        self.deeper = nn.ModuleList([nn.Linear(hidden_size, hidden_size) for _ in range(layers - 1)])
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S H"]:
        return self.key(values)  # type: ignore[no-any-return]

    def forward(self, query: Float[Tensor, "B K Q"], keys: Float[Tensor, "B S H"],
                last: Float[Tensor, "B K S"] | None) -> Float[Tensor, "B K S"]:
        asked = self.query(query)
        if query.shape[1] > 1 and not self.deeper and query.device.type == "cpu":
            return additive_scores(asked, keys, self.score.weight[0])
        hidden = torch.tanh(asked.unsqueeze(2) + keys.unsqueeze(1))
        for layer in self.deeper:
            hidden = torch.tanh(layer(hidden))
        return self.score(hidden).squeeze(3)  # type: ignore[no-any-return]


class Location(Score):
    """Location-aware score vᵀ tanh(W_q q + W_k k + U f + b), f = F ∗ last weights (Chorowski et al. 2015, eqs. 8-9).

    A convolution F over the previous step's weights tells where the step before has looked, so that attention moves on
    along a long source, and does not jump between places that sound alike. There are no further layers.
    """

    uses_last = True
    filters: ClassVar[int] = 10  # ibid., §3.1
    width: ClassVar[int] = 31    # positions that a filter sees, an odd number

    def __init__(self, query_size: int, memory_size: int, *, hidden_size: int, layers: int) -> None:
        super().__init__(query_size, memory_size, hidden_size=hidden_size, layers=layers)
        self.query = nn.Linear(query_size, hidden_size)
        self.key = nn.Linear(memory_size, hidden_size, bias=False)
        self.location = nn.Linear(self.filters, hidden_size, bias=False)
        self.convolution = nn.Conv1d(1, self.filters, self.width, padding=self.width // 2, bias=False)
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S H"]:
        return self.key(values)  # type: ignore[no-any-return]

    def forward(self, query: Float[Tensor, "B K Q"], keys: Float[Tensor, "B S H"],
                last: Float[Tensor, "B K S"] | None) -> Float[Tensor, "B K S"]:
        hidden = self.query(query).unsqueeze(2) + keys.unsqueeze(1)
        if last is not None:
            B, K, S = last.shape
            found = self.convolution(last.reshape(B * K, 1, S).to(keys.dtype)).transpose(1, 2)
            hidden = hidden + self.location(found).view(B, K, S, -1)
        return self.score(torch.tanh(hidden)).squeeze(3)  # type: ignore[no-any-return]


SCORES: dict[str, type[Score]] = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "general": General,
    "concat": Concat,
    "location": Location,
}
