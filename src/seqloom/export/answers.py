"""The graphs of heads that answer at once, label and tags: encoder, pooling and output layer. Mirrors nn/answers.py."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from seqloom.config.checks import features_of
from seqloom.config.sections import Config, LabelHeadConfig
from seqloom.export.builder import NEXT, Builder, check_part
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.contexts import STATE
from seqloom.export.encoders import Encoded, memory_is_bounded
from seqloom.export.graph import Graph
from seqloom.export.products import linear
from seqloom.export.recurrent import Before
from seqloom.export.weights import OUTPUT, Weights

POOLING = "head.pooling"
FLOAT = 1  # number type of ONNX


class AnswerBuilder(Builder):
    """answer, and the encoder by itself for who wants to see states."""

    @abstractmethod
    def places(self, graph: Graph, encoded: Encoded) -> str:
        """What is answered about, [B T M]."""

    def graphs(self) -> dict[str, Graph]:
        graph = self.graph("encoder")
        return {"encoder": self.encoder(graph, self.encoded(graph), {}, {}), "answer": self.answer()}

    def answer(self) -> Graph:
        """Source → log-probabilities of the classes, and the encoder's state, to go on from."""
        graph = self.graph("answer")
        before = self.before(graph)
        encoded = self.encoded(graph, before)
        logits = linear(graph, self.places(graph, encoded), *self.weights.linear(OUTPUT), rank=3)
        graph.output("answer", graph.op("LogSoftmax", logits, axis=2), "float32", ["B", "T", self.symbols])
        if before is not None:
            size = self.config.encoder.hidden_size
            for name, values in (("hidden", encoded.hidden), ("cell", encoded.cell)):
                for layer, value in enumerate(values):
                    graph.output(f"{NEXT}{name}.{layer}", value, "float32", ["B", size])
        return graph

    def before(self, graph: Graph) -> Before | None:
        """Where the encoder goes on from, as inputs; None where an answer needs its whole input."""
        return None


class LabelBuilder(AnswerBuilder):
    """head.kind label: one place, pooled from all positions."""

    @classmethod
    def check(cls, config: Config) -> None:
        super().check(config)
        assert isinstance(config.head, LabelHeadConfig)
        check_part("pooling", config.head.pooling, EXPORTED_POOLINGS, "answers")

    def places(self, graph: Graph, encoded: Encoded) -> str:
        assert isinstance(self.config.head, LabelHeadConfig)
        pooling = self.config.head.pooling
        features = features_of(self.config)
        grown = pooling == "last" and features is not None and features.mode == "encoder"  # a mean was added
        pooled = graph.op("Unsqueeze", EXPORTED_POOLINGS[pooling](graph, encoded, self.weights), graph.ids(1))
        return graph.bound(pooled, memory_is_bounded(self.config) and not grown)


class TagsBuilder(AnswerBuilder):
    """head.kind tags: a place for every position."""

    def places(self, graph: Graph, encoded: Encoded) -> str:
        return graph.bound(encoded.values, memory_is_bounded(self.config))

    def before(self, graph: Graph) -> Before | None:
        if not goes_on(self.config):
            return None
        encoder = self.config.encoder
        parts = ("hidden", "cell") if EXPORTED_CELLS[encoder.cell].has_cell_state else ("hidden",)
        states = [[graph.input(f"{STATE}{name}.{layer}", "float32", ["B", encoder.hidden_size])
                   for layer in range(encoder.layers)] for name in parts]
        return Before(states[0], states[1] if len(states) > 1 else [])


def goes_on(config: Config) -> bool:
    """Whether answers to an input may come step by step: the same positions in and out, read in one direction."""
    source = config.source
    subsampled = getattr(source, "subsampling", None)
    return (source.kind != "image" and not config.encoder.bidirectional and features_of(config) is None
            and (subsampled is None or subsampled.kind == "none"))


# --- poolings --------------------------------------------------------------------------------------------------------


def last(graph: Graph, encoded: Encoded, weights: Weights) -> str:
    """See nn.answers.LastState."""
    return encoded.summary


def mean(graph: Graph, encoded: Encoded, weights: Weights) -> str:
    """See nn.answers.MeanPooling."""
    count = graph.op("Unsqueeze", graph.op("Cast", encoded.lengths, to=FLOAT), graph.ids(1))
    return graph.op("Div", _sum(graph, graph.op("Mul", encoded.values, _mask(graph, encoded))), count)


def largest(graph: Graph, encoded: Encoded, weights: Weights) -> str:
    """See nn.answers.MaxPooling."""
    real = graph.op("Unsqueeze", encoded.mask, graph.ids(2))
    filled = graph.op("Where", real, encoded.values, graph.number(float("-inf")))
    return graph.op("ReduceMax", filled, graph.ids(1), keepdims=0)


def attention(graph: Graph, encoded: Encoded, weights: Weights) -> str:
    """See nn.answers.AttentionPooling. The softmax is written out, so that both sums go one after another."""
    hidden = graph.op("Tanh", linear(graph, encoded.values, *weights.linear(f"{POOLING}.transform"), rank=3))
    query, _ = weights.linear(f"{POOLING}.query")
    scores = graph.op("MatMul", hidden, graph.constant(query.T, name="weight"))
    real = graph.op("Unsqueeze", encoded.mask, graph.ids(2))
    masked = graph.op("Where", real, scores, graph.number(float("-inf")))
    powers = graph.op("Exp", graph.op("Sub", masked, graph.op("ReduceMax", masked, graph.ids(1))))
    return graph.op("Div", _sum(graph, graph.op("Mul", encoded.values, powers)), _sum(graph, powers))


def _mask(graph: Graph, encoded: Encoded) -> str:
    return graph.op("Unsqueeze", graph.op("Cast", encoded.mask, to=FLOAT), graph.ids(2))


def _sum(graph: Graph, values: str) -> str:
    """The sum over positions [B S M], one after another: ReduceSum would round differently with more padding."""
    sums = graph.op("CumSum", values, graph.constant(1, "int64"))
    final = graph.op("Slice", sums, graph.ids(-1), graph.ids(2**31 - 1), graph.ids(1))
    return graph.op("Squeeze", final, graph.ids(1))


EXPORTED_POOLINGS: dict[str, Callable[[Graph, Encoded, Weights], str]] = {
    "last": last,
    "mean": mean,
    "max": largest,
    "attention": attention,
}
