"""What the characters of each symbol say, computed once for each different symbol. Mirrors nn/characters.py."""

from __future__ import annotations

import numpy as np

from seqloom.config.sections import CharactersConfig, EncoderConfig
from seqloom.export.graph import Graph, Whole
from seqloom.export.products import LEVELS, MIDDLE, embedding
from seqloom.export.recurrent import stack
from seqloom.export.weights import Weights
from seqloom.types import PADDING

NAME = "encoder.characters"
WHOLE, FLOAT = 6, 1  # number types of ONNX: int32, float32


def beside(graph: Graph, embedded: str, options: CharactersConfig, weights: Weights) -> str:
    """Embeddings [S B E] with what the characters [B S W] say of each symbol behind them, [S B E+C]."""
    characters = graph.input("characters", "int64", ["B", "S", "W"])
    turned = graph.op("Transpose", characters, perm=[1, 0, 2])
    words, places = _different(graph, turned)
    vectors = graph.op("Gather", _last_states(graph, words, options, weights), places)
    vectors = graph.reshape(vectors, graph.sizes(turned, 0, 2), 2 * options.hidden_size)
    joined = graph.op("Concat", embedded, vectors, axis=2)
    if graph.int8:
        known = graph.whole[embedded]
        assert known.columns is not None
        states = graph.op("QuantizeLinear", vectors, graph.number(1 / LEVELS), graph.constant(MIDDLE, "uint8"))
        ones = np.ones(2 * options.hidden_size, np.float32)
        graph.whole[joined] = Whole(graph.op("Concat", known.whole, states, axis=2),
                                    np.concatenate([known.columns, ones]))
    return joined


def _different(graph: Graph, turned: str) -> tuple[str, str]:
    """The different rows [N W] of characters [S B W], N being even, and where each row is found among them.

    Even, because the runtime sums an odd last row in another order: a symbol would depend on how many others there are.
    """
    rows = graph.op("Reshape", turned, graph.join(graph.ids(-1), graph.sizes(turned, 2, 3), axis=0))
    words, _, places, _ = graph.node("Unique", rows, outputs=4, axis=0)
    odd = graph.op("Mod", graph.sizes(words, 0, 1), graph.ids(2))
    return graph.op("Pad", words, graph.join(graph.ids(0, 0), odd, graph.ids(0), axis=0)), places


def _last_states(graph: Graph, words: str, options: CharactersConfig, weights: Weights) -> str:
    """Last states [N C] of words [N W], up to the longest one; zeros for one without characters."""
    real = graph.op("Not", graph.op("Equal", words, graph.constant(PADDING, "int64")))
    counts = graph.op("ReduceSum", graph.op("Cast", real, to=WHOLE), graph.ids(1), keepdims=0)
    lengths = graph.op("Max", counts, graph.constant(1, "int32"))
    longest = graph.op("Cast", graph.op("ReduceMax", lengths, keepdims=1), to=7)
    ids, mask = (graph.op("Transpose", graph.op("Slice", value, graph.ids(0), longest, graph.ids(1)), perm=[1, 0])
                 for value in (words, real))
    embedded = embedding(graph, ids, weights.take(f"{NAME}.embedding.weight"))
    config = EncoderConfig(cell="lstm", hidden_size=options.hidden_size, bidirectional=True)
    found = stack(graph, embedded, lengths, graph.op("Unsqueeze", mask, graph.ids(2)), config, weights,
                  f"{NAME}.recurrent")
    some = graph.op("Cast", graph.op("Greater", counts, graph.constant(0, "int32")), to=FLOAT)
    return graph.op("Mul", found.hidden[0], graph.op("Unsqueeze", some, graph.ids(1)))
