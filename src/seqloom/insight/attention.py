"""Attention scores in NumPy: keys once per source, then the scores of one query; and what a score compares.

`docs/notation.md` has the words. Every score of `nn/scores.py` has its like in `SCORERS`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from seqloom.insight.weights import Weights
from seqloom.types import Floats

PREFIX = "head.decoder.context.attention"
SCORE = f"{PREFIX}.score"


class Scorer:
    """A score of one query [Q] and S keys, with the numbers that go into it.

    formula:    how a score comes about, as text.
    bilinear:   the score is the inner product of `asking` and the key, so it is |asking| · |key| · cosine.
    parameters: names of weights, below the score's own name, that the formula needs beside the query and the keys.
    """

    formula: ClassVar[str] = ""
    bilinear: ClassVar[bool] = True
    parameters: ClassVar[tuple[str, ...]] = ()

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def keys(self, values: Floats) -> Floats:
        """The values [S M] as the score sees them [S H]."""
        return values

    def asking(self, query: Floats) -> Floats:
        """The query as it meets the keys [H]."""
        return query

    def scores(self, query: Floats, keys: Floats, last: Floats | None) -> Floats:
        """Scores [S]; `last` are the previous step's weights [S], for scores that use them."""
        result: Floats = keys @ self.asking(query)
        return result

    def shown(self) -> dict[str, Floats]:
        """The parameters by their names."""
        return {name: self.weights.take(f"{SCORE}.{name}") for name in self.parameters}


class Dot(Scorer):
    """Luong et al. 2015, eq. 8."""

    formula = "q · k"


class ScaledDot(Scorer):
    """Vaswani et al. 2017, eq. 1; the keys are the values over the root of their size."""

    formula = "q · k, where k = value / √M"

    def keys(self, values: Floats) -> Floats:
        scaled: Floats = values / np.sqrt(values.shape[1])
        return scaled


class General(Scorer):
    """Luong et al. 2015, eq. 8; the keys are W times the values."""

    formula = "q · k, where k = W value"

    def keys(self, values: Floats) -> Floats:
        return self.weights.linear(SCORE, values)


class Concat(Scorer):
    """Bahdanau et al. 2015, A.1.2: vᵀ tanh(a + k), a = W_q q + b, k = W_k value; more tanh layers before v."""

    formula = "v · tanh(a + k), where a = W_q q + b, k = W_k value"
    bilinear = False

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.layers = 0
        while weights.has(f"{SCORE}.deeper.{self.layers}.weight"):
            self.layers += 1

    def keys(self, values: Floats) -> Floats:
        return self.weights.linear(f"{SCORE}.key", values)

    def asking(self, query: Floats) -> Floats:
        return self.weights.linear(f"{SCORE}.query", query)

    def hidden(self, query: Floats, keys: Floats, last: Floats | None) -> Floats:
        """What v multiplies [S H]."""
        hidden = np.tanh(self.asking(query) + keys)
        for layer in range(self.layers):
            hidden = np.tanh(self.weights.linear(f"{SCORE}.deeper.{layer}", hidden))
        return hidden

    def scores(self, query: Floats, keys: Floats, last: Floats | None) -> Floats:
        result: Floats = self.hidden(query, keys, last) @ self.weights.take(f"{SCORE}.score.weight")[0]
        return result

    def shown(self) -> dict[str, Floats]:
        deeper = {f"deeper.{layer}.{part}": self.weights.take(f"{SCORE}.deeper.{layer}.{part}")
                  for layer in range(self.layers) for part in ("weight", "bias")}
        return {"v": self.weights.take(f"{SCORE}.score.weight")[0], **deeper}


class Location(Concat):
    """Chorowski et al. 2015, eqs. 8-9: vᵀ tanh(a + k + U f), f the convolution of the last weights."""

    formula = "v · tanh(a + k + U f), where f = F ∗ the last step's weights"

    def located(self, last: Floats) -> Floats:
        """U f [S H]: filters [N 1 W] slide over the last weights [S], zeros beyond both ends."""
        filters = self.weights.take(f"{SCORE}.convolution.weight")[:, 0]
        around = np.lib.stride_tricks.sliding_window_view(np.pad(last, filters.shape[1] // 2), filters.shape[1])
        return self.weights.linear(f"{SCORE}.location", around @ filters.T)

    def hidden(self, query: Floats, keys: Floats, last: Floats | None) -> Floats:
        assert last is not None
        return np.tanh(self.asking(query) + keys + self.located(last))

    def shown(self) -> dict[str, Floats]:
        return {"v": self.weights.take(f"{SCORE}.score.weight")[0],
                "filters": self.weights.take(f"{SCORE}.convolution.weight")[:, 0],
                "U": self.weights.take(f"{SCORE}.location.weight")}


SCORERS: dict[str, type[Scorer]] = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "general": General,
    "concat": Concat,
    "location": Location,
}


class Attended(NamedTuple):
    """One step of attention: the query as it meets the keys [H], scores [S], weights [S], attention value [M].

    threshold: τ of a sparse normalization; centre: of a local window.
    """

    asking: Floats
    scores: Floats
    weights: Floats
    value: Floats
    threshold: float | None = None
    centre: float | None = None


def window_centre(weights: Weights, query: Floats, length: int) -> float:
    """p = S σ(vᵀ tanh(W q)), a position from 0 (Luong et al. 2015, eq. 9)."""
    hidden = np.tanh(weights.linear(f"{PREFIX}.window.transform", query))
    return length / (1 + float(np.exp(-weights.linear(f"{PREFIX}.window.vector", hidden)[0])))


def cosines(asking: Floats, keys: Floats) -> Floats:
    """Cosine of the angle between the asking vector [H] and each key [S H]; 0 where one of them is zero."""
    norms = np.linalg.norm(keys, axis=1) * np.linalg.norm(asking)
    found: Floats = np.divide(keys @ asking, norms, out=np.zeros(len(keys)), where=norms > 0)
    return found
