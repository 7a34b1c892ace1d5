"""Encoders: a padded source becomes an encoded memory. Mirrors nn/encoders.py and nn/memory.py."""

from __future__ import annotations

from typing import NamedTuple

from seqloom.config.checks import features_of
from seqloom.config.sections import Config, TextSourceConfig
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.characters import beside
from seqloom.export.graph import Graph
from seqloom.export.products import embedding, linear
from seqloom.export.recurrent import Before, stack
from seqloom.export.weights import Weights
from seqloom.types import Floats


class Encoded(NamedTuple):
    """values [B S M]; mask [B S]; lengths [B]; last states of every layer [B N]; copy [B S] or ""."""

    values: str
    mask: str
    lengths: str
    hidden: list[str]
    cell: list[str]
    copy: str

    @property
    def summary(self) -> str:
        """The top layer's last state [B N]."""
        return self.hidden[-1]


def memory_is_bounded(config: Config) -> bool:
    """Whether every number of the memory lies between −1 and 1, as states of most cells do."""
    return config.source.kind == "text" and EXPORTED_CELLS[config.encoder.cell].bounded and not config.encoder.residual


def states_are_bounded(config: Config) -> bool:
    """Whether the decoder's first hidden states lie between −1 and 1."""
    if config.bridge.kind != "copy":
        return True
    features = features_of(config)
    return memory_is_bounded(config) and not (features is not None and features.mode == "encoder")


def text_encoder(graph: Graph, config: Config, weights: Weights, before: Before | None = None) -> Encoded:
    """Embedding and recurrent stack over ids [B S]; see nn.encoders.TextEncoder."""
    ids = graph.input("main", "int64", ["B", "S"])
    lengths = graph.input("lengths", "int64", ["B"])
    copying = config.head.kind == "sequence" and config.decoder.copy_source
    copy = graph.input("copy", "int64", ["B", "S"]) if copying else ""
    table = weights.take("encoder.embedding.weight")
    embedded = embedding(graph, graph.op("Transpose", ids, perm=[1, 0]), table)
    if isinstance(config.source, TextSourceConfig) and config.source.language == "embedding":
        languages = graph.op("Transpose", graph.input("language", "int64", ["B", "S"]), perm=[1, 0])
        embedded = graph.op("Add", embedded, embedding(graph, languages, table))
    features = features_of(config)
    if features is not None and features.mode == "embedding":
        embedded = graph.op("Add", embedded, added(graph, table))
    if isinstance(config.source, TextSourceConfig) and config.source.characters is not None:
        embedded = beside(graph, embedded, config.source.characters, weights)
    mask = real_positions(graph, lengths, graph.sizes(ids, 1, 2))
    turned = graph.op("Unsqueeze", graph.op("Transpose", mask, perm=[1, 0]), graph.ids(2))
    found = stack(graph, embedded, graph.op("Cast", lengths, to=6), turned, config.encoder, weights,
                  "encoder.recurrent", before)
    values = graph.op("Transpose", found.outputs, perm=[1, 0, 2])
    memory = Encoded(values, mask, lengths, found.hidden, found.cell, copy)
    if features is None or features.mode != "encoder":
        return memory
    return feature_encoder(graph, memory, weights)


def real_positions(graph: Graph, lengths: str, size: str) -> str:
    """The mask [B S]: True where position < length. size: [1]."""
    return graph.op("Less", positions(graph, size), graph.op("Unsqueeze", lengths, graph.ids(1)))


def positions(graph: Graph, size: str) -> str:
    """0 … size − 1; size: [1]."""
    return graph.op("Range", graph.constant(0, "int64"), graph.op("Squeeze", size), graph.constant(1, "int64"))


def added(graph: Graph, table: Floats) -> str:
    """The sum of the embeddings [1 B E] of features that are added to every symbol's."""
    ids = graph.input("added", "int64", ["B", "F"])
    real = real_positions(graph, graph.input("added_lengths", "int64", ["B"]), graph.sizes(ids, 1, 2))
    turned, mask = graph.op("Transpose", ids, perm=[1, 0]), graph.op("Transpose", real, perm=[1, 0])
    rows = graph.op("Mul", embedding(graph, turned, table),
                    graph.op("Unsqueeze", graph.op("Cast", mask, to=1), graph.ids(2)))
    return graph.op("ReduceSum", rows, graph.ids(0), keepdims=1)


def feature_encoder(graph: Graph, memory: Encoded, weights: Weights) -> Encoded:
    """Features right after each row's last real position; see nn.encoders.FeatureEncoder."""
    ids = graph.input("features", "int64", ["B", "F"])
    lengths = graph.input("features_lengths", "int64", ["B"])
    count = graph.sizes(ids, 1, 2)
    mask = graph.op("Unsqueeze", graph.op("Cast", real_positions(graph, lengths, count), to=1), graph.ids(2))
    embedded = embedding(graph, ids, weights.take("encoder.features.embedding.weight"))
    transformed = linear(graph, embedded, *weights.linear("encoder.features.transform"), rank=3)
    features = graph.op("Mul", graph.op("Tanh", transformed), mask)
    real = graph.op("Max", graph.op("ReduceSum", mask, graph.ids(1), keepdims=0), graph.number(1.0))
    mean = graph.op("Div", graph.op("ReduceSum", features, graph.ids(1), keepdims=0), real)
    rows = graph.op("Unsqueeze", positions(graph, graph.sizes(ids, 0, 1)), graph.ids(1))
    places = graph.op("Add", graph.op("Unsqueeze", memory.lengths, graph.ids(1)), positions(graph, count))
    indices = graph.join(*(graph.op("Unsqueeze", graph.op("Expand", part, graph.sizes(ids, 0, 2)), graph.ids(2))
                           for part in (rows, places)), axis=2)
    values = graph.op("ScatterND", _longer(graph, memory.values, count, 3), indices, features)
    copy = memory.copy
    if copy:
        none = graph.op("Expand", graph.constant(-1, "int64"), graph.sizes(ids, 0, 2))
        copy = graph.op("ScatterND", _longer(graph, copy, count, 2), indices, none)
    together = graph.op("Add", memory.lengths, lengths)
    return Encoded(values, real_positions(graph, together, graph.sizes(values, 1, 2)), together,
                   [graph.op("Add", state, mean) for state in memory.hidden], memory.cell, copy)


def _longer(graph: Graph, value: str, count: str, rank: int) -> str:
    """`count` more positions of zeros on axis 1."""
    before, after = [0] * (rank + 1), [0] * (rank - 2)
    pads = graph.join(graph.ids(*before), count, *([graph.ids(*after)] if after else []), axis=0)
    return graph.op("Pad", value, pads)
