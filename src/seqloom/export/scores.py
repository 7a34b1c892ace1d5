"""Attention scores: what each makes of the source, once, and of a query at each step. Mirrors nn/scores.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from seqloom.config.sections import AttentionConfig
from seqloom.export.graph import Graph
from seqloom.export.products import linear
from seqloom.export.weights import DECODER, Weights
from seqloom.types import Floats

SCORE = f"{DECODER}.context.attention.score"


class ExportedScore(NamedTuple):
    """keys: from values [B S M], once per source, laid out as `shape`; scores: [B K S] from a query [R H] with the
    sizes [B, K], and the keys; `last`: what a score that depends on the previous step's weights [R S] adds to the keys,
    from their sizes [B, K].
    """

    keys: Callable[[Graph, str, AttentionConfig, Weights], str]
    scores: Callable[[Graph, str, str, str, AttentionConfig, Weights], str]
    shape: Callable[[Weights, int], list[str | int]]
    last: Callable[[Graph, str, str, Weights], str] | None = None


def _turned(graph: Graph, keys: str) -> str:
    """Keys [B S H] as [B 1 H S], which a product with one query reads in order."""
    return graph.op("Unsqueeze", graph.op("Transpose", keys, perm=[0, 2, 1]), graph.ids(1))


def dot_keys(graph: Graph, values: str, config: AttentionConfig, weights: Weights) -> str:
    """See nn.scores.Dot."""
    return _turned(graph, values)


def scaled_dot_keys(graph: Graph, values: str, config: AttentionConfig, weights: Weights) -> str:
    """See nn.scores.ScaledDot."""
    size = graph.op("Cast", graph.sizes(values, 2, 3), to=1)
    return _turned(graph, graph.op("Mul", values, graph.op("Pow", size, graph.number(-0.5))))


def general_keys(graph: Graph, values: str, config: AttentionConfig, weights: Weights) -> str:
    """See nn.scores.General."""
    return _turned(graph, linear(graph, values, weights.take(f"{SCORE}.weight"), rank=3))


def product_scores(graph: Graph, query: str, sizes: str, keys: str, config: AttentionConfig, weights: Weights) -> str:
    """Inner products of queries and keys [B 1 H S].

    Each query is a product of its own, [1 H] · [H S]: with several rows the runtime cuts H into pieces whose size
    depends on S, and the rounding of a score would depend on how much padding the neighbours bring. With one sentence
    it would make them one product after all, were it not for the further axis in front of the keys.
    """
    product = graph.op("MatMul", graph.reshape(query, sizes, 1, -1), graph.op("Unsqueeze", keys, graph.ids(0)))
    return graph.op("Squeeze", product, graph.ids(0, 3))


def concat_keys(graph: Graph, values: str, config: AttentionConfig, weights: Weights) -> str:
    """See nn.scores.Concat."""
    keys = linear(graph, values, *weights.linear(f"{SCORE}.key"), rank=3)
    return graph.op("Unsqueeze", keys, graph.ids(1))


def concat_scores(graph: Graph, query: str, sizes: str, keys: str, config: AttentionConfig, weights: Weights) -> str:
    """vᵀ tanh(W_q q + keys) with keys [B 1 S H], through further tanh layers where there are any."""
    asked = graph.reshape(linear(graph, query, *weights.linear(f"{SCORE}.query")), sizes, 1, -1)
    hidden = graph.op("Tanh", graph.op("Add", asked, keys))
    for layer in range(config.score_layers - 1):
        hidden = graph.op("Tanh", linear(graph, hidden, *weights.linear(f"{SCORE}.deeper.{layer}"), rank=4))
    vector: Floats = weights.take(f"{SCORE}.score.weight")
    return graph.op("Squeeze", graph.op("MatMul", hidden, graph.constant(vector.T, name="weight")), graph.ids(3))


def location_scores(graph: Graph, query: str, sizes: str, keys: str, config: AttentionConfig, weights: Weights) -> str:
    """vᵀ tanh(W_q q + keys) with keys [B K S H] to which `location` has been added."""
    asked = graph.reshape(linear(graph, query, *weights.linear(f"{SCORE}.query")), sizes, 1, -1)
    vector: Floats = weights.take(f"{SCORE}.score.weight")
    hidden = graph.op("Tanh", graph.op("Add", asked, keys))
    return graph.op("Squeeze", graph.op("MatMul", hidden, graph.constant(vector.T, name="weight")), graph.ids(3))


def location(graph: Graph, last: str, sizes: str, weights: Weights) -> str:
    """U f of nn.scores.Location, [B K S H]."""
    filters: Floats = weights.take(f"{SCORE}.convolution.weight")
    half = filters.shape[2] // 2
    found = graph.op("Conv", graph.op("Unsqueeze", last, graph.ids(1)), graph.constant(filters, name="weight"),
                     pads=[half, half])
    matrix, _ = weights.linear(f"{SCORE}.location")
    moved = linear(graph, graph.op("Transpose", found, perm=[0, 2, 1]), matrix, rank=3)
    return graph.reshape(moved, sizes, graph.sizes(last, 1, 2), len(matrix))


def _turned_shape(weights: Weights, query_size: int) -> list[str | int]:
    return ["B", 1, query_size, "S"]


def _concat_shape(weights: Weights, query_size: int) -> list[str | int]:
    return ["B", 1, "S", len(weights.take(f"{SCORE}.key.weight"))]


EXPORTED_SCORES: dict[str, ExportedScore] = {
    "dot": ExportedScore(dot_keys, product_scores, _turned_shape),
    "scaled_dot": ExportedScore(scaled_dot_keys, product_scores, _turned_shape),
    "general": ExportedScore(general_keys, product_scores, _turned_shape),
    "concat": ExportedScore(concat_keys, concat_scores, _concat_shape),
    "location": ExportedScore(concat_keys, location_scores, _concat_shape, location),
}
