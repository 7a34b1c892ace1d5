"""The ways the source reaches the decoder at each step. Mirrors nn/contexts.py and nn/attention.py.

A context says what the encoder graph leaves for it (`prepare`), what it adds to the cell's input (`feed`) and what it
makes of the cell's new state (`combine`). Rows R are the hypotheses of all sentences, B·K of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from seqloom.config.sections import Config
from seqloom.export.encoders import Encoded, memory_is_bounded
from seqloom.export.graph import Graph
from seqloom.export.normalization import EXPORTED_NORMALIZATIONS
from seqloom.export.products import linear
from seqloom.export.scores import EXPORTED_SCORES
from seqloom.export.weights import DECODER, Weights

# Prefixes of the names under which the encoder graph hands out what the step graph takes.
MEMORY, STATE = "memory.", "state."


class Part(NamedTuple):
    """A part of memory or state: its value, number type and shape, whose first axis is left out."""

    value: str
    dtype: str
    shape: list[str | int]


@dataclass
class StepInputs:
    """What a step has: sizes [2] holds B and K, `memory` the parts once per sentence, `state` the parts gathered by
    parents, one row per hypothesis; `after` takes the new state.
    """

    sizes: str
    memory: dict[str, str]
    state: dict[str, str]
    after: dict[str, str] = field(default_factory=dict)


class Attended(NamedTuple):
    """values [R M] and weights [B K S]."""

    values: str
    weights: str


class Fed(NamedTuple):
    """addition: what joins the cell's input [R F], or ""; attended: the attention, where that made it already."""

    addition: str = ""
    attended: Attended | None = None


class Combined(NamedTuple):
    """outputs [R O] for the output layer, and the attention where there is any."""

    outputs: str
    attended: Attended | None = None


class Context:
    """context: initial. Also the base of the others. N: size of an encoder state, M: memory size."""

    def __init__(self, config: Config, weights: Weights) -> None:
        self.options = config.decoder
        self.weights = weights
        self.memory_size = config.encoder.hidden_size * (1 + config.encoder.bidirectional)
        self.memory_bounded = memory_is_bounded(config)

    def prepare(self, graph: Graph, encoded: Encoded) -> tuple[dict[str, Part], dict[str, Part]]:
        """Parts of memory [B …] and of the first state [B …]."""
        return {}, {}

    def memory_ports(self) -> dict[str, tuple[str, list[str | int]]]:
        """Number types and shapes of the parts of memory, first axis included."""
        return {}

    def state_ports(self) -> dict[str, tuple[str, list[str | int]]]:
        """Number types and shapes of the parts of state, without the first axis."""
        return {}

    def feed(self, graph: Graph, given: StepInputs, previous: str) -> Fed:
        """Addition to the cell's input; `previous` [R H] is the top state before the step."""
        return Fed()

    def combine(self, graph: Graph, given: StepInputs, hidden: str, previous: str, fed: Fed) -> Combined:
        """From the top output after the step, `hidden` [R H], and the state before it."""
        return Combined(hidden)


class SummaryContext(Context):
    """context: every_step."""

    def prepare(self, graph: Graph, encoded: Encoded) -> tuple[dict[str, Part], dict[str, Part]]:
        return {"summary": Part(encoded.summary, "float32", [self.memory_size])}, {}

    def memory_ports(self) -> dict[str, tuple[str, list[str | int]]]:
        return {"summary": ("float32", ["B", self.memory_size])}

    def feed(self, graph: Graph, given: StepInputs, previous: str) -> Fed:
        size = graph.ids(self.memory_size)
        each = graph.op("Unsqueeze", given.memory["summary"], graph.ids(1))
        spread = graph.op("Expand", each, graph.join(given.sizes, size, axis=0))
        return Fed(graph.reshape(spread, -1, self.memory_size))

    def combine(self, graph: Graph, given: StepInputs, hidden: str, previous: str, fed: Fed) -> Combined:
        return Combined(graph.join(hidden, fed.addition, axis=1))


class AttentionContext(Context):
    """context: attention, in the forms of AttentionConfig."""

    def __init__(self, config: Config, weights: Weights) -> None:
        super().__init__(config, weights)
        self.attention = self.options.attention
        self.score = EXPORTED_SCORES[self.attention.score]
        self.query_previous = self.attention.query == "previous"
        self.tanh = self.attention.combination == "tanh"
        # Fed to the next step; with the previous state as query the value joins this step instead.
        self.carries = self.attention.input_feeding and not self.query_previous
        self.feed_size = self.options.hidden_size if self.tanh else self.memory_size

    def memory_ports(self) -> dict[str, tuple[str, list[str | int]]]:
        ports: dict[str, tuple[str, list[str | int]]] = {
            "values": ("float32", ["B", "S", self.memory_size]),
            "keys": ("float32", self.score.shape(self.weights, self.options.hidden_size)),
            "bias": ("float32", ["B", 1, "S"])}
        return ports if self.attention.local_window is None else {**ports, "length": ("float32", ["B", 1, 1])}

    def state_ports(self) -> dict[str, tuple[str, list[str | int]]]:
        ports: dict[str, tuple[str, list[str | int]]] = {}
        if self.carries:
            ports["feed"] = ("float32", [self.feed_size])
        if self.attention.coverage:
            ports["coverage"] = ("float32", ["S"])
        if self.score.last is not None:
            ports["last"] = ("float32", ["S"])
        return ports

    def prepare(self, graph: Graph, encoded: Encoded) -> tuple[dict[str, Part], dict[str, Part]]:
        keys = self.score.keys(graph, encoded.values, self.attention, self.weights)
        bias = graph.op("Where", encoded.mask, graph.number(0.0), graph.number(float("-inf")))
        made = {"values": encoded.values, "keys": keys, "bias": graph.op("Unsqueeze", bias, graph.ids(1)),
                "length": graph.op("Unsqueeze", graph.op("Cast", encoded.lengths, to=1), graph.ids(1, 2))}
        memory = {name: Part(made[name], dtype, shape[1:]) for name, (dtype, shape) in self.memory_ports().items()}
        rows = graph.sizes(encoded.values, 0, 1)
        positions = graph.sizes(encoded.values, 1, 2)
        first: dict[str, str | int] = {"feed": self.feed_size, "coverage": positions, "last": positions}
        state = {name: Part(graph.zeros(rows, first[name]), dtype, shape)
                 for name, (dtype, shape) in self.state_ports().items()}
        return memory, state

    def attend(self, graph: Graph, given: StepInputs, query: str) -> Attended:
        """Attention of the queries [R H] over their sentences."""
        keys = given.memory["keys"]
        if self.score.last is not None:
            keys = graph.op("Add", keys, self.score.last(graph, given.state["last"], given.sizes, self.weights))
        scores = self.score.scores(graph, query, given.sizes, keys, self.attention, self.weights)
        if self.attention.coverage:
            weight = self.weights.take(f"{DECODER}.context.attention.coverage_weight")
            covered = graph.reshape(given.state["coverage"], given.sizes, -1)
            scores = graph.op("Add", scores, graph.op("Mul", covered, graph.number(float(weight))))
        scores = graph.op("Add", scores, given.memory["bias"])
        normalise = EXPORTED_NORMALIZATIONS[self.attention.normalization]
        if self.attention.local_window is None:
            weights = normalise(graph, scores)
        else:
            bias, factors = self._window(graph, given, query, self.attention.local_window)
            weights = graph.op("Mul", normalise(graph, graph.op("Add", scores, bias)), factors)
        values = graph.op("MatMul", weights, given.memory["values"])
        # A weighted mean of what is bounded is bounded.
        flat = graph.bound(graph.reshape(values, -1, self.memory_size), self.memory_bounded)
        return Attended(flat, weights)

    def _window(self, graph: Graph, given: StepInputs, query: str, reach: int) -> tuple[str, str]:
        """−∞ outside the window and 0 inside [B K S], and the factors of weights; see nn.attention.LocalWindow."""
        name = f"{DECODER}.context.attention.window"
        hidden = graph.bound(graph.op("Tanh", linear(graph, query, *self.weights.linear(f"{name}.transform"))))
        vector = self.weights.take(f"{name}.vector.weight")
        asked = graph.op("MatMul", hidden, graph.constant(vector.T, name="weight"))
        centre = graph.op("Mul", given.memory["length"], graph.op("Sigmoid", graph.reshape(asked, given.sizes, 1)))
        size = graph.op("Squeeze", graph.op("Cast", graph.sizes(given.memory["bias"], 2, 3), to=1))
        every = graph.op("Range", graph.number(0.0), size, graph.number(1.0))
        away = graph.op("Sub", every, centre)
        outside = graph.op("Greater", graph.op("Abs", away), graph.number(float(reach)))
        share = graph.op("Div", away, graph.number(float(reach)))
        factors = graph.op("Exp", graph.op("Mul", graph.op("Mul", share, share), graph.number(-2.0)))
        return graph.op("Where", outside, graph.number(float("-inf")), graph.number(0.0)), factors

    def feed(self, graph: Graph, given: StepInputs, previous: str) -> Fed:
        if not (self.query_previous and self.attention.input_feeding):
            fed = given.state.get("feed", "")
            return Fed(graph.bound(fed, bool(fed) and (self.tanh or self.memory_bounded)))
        attended = self.attend(graph, given, previous)
        return Fed(attended.values, attended)

    def combine(self, graph: Graph, given: StepInputs, hidden: str, previous: str, fed: Fed) -> Combined:
        attended = fed.attended or self.attend(graph, given, previous if self.query_previous else hidden)
        if self.tanh:
            matrix, _ = self.weights.linear(f"{DECODER}.context.combination")
            outputs = graph.bound(graph.op("Tanh", linear(graph, [attended.values, hidden], matrix)))
        else:
            outputs = graph.join(attended.values, hidden, axis=1)
        if self.carries:
            given.after["feed"] = outputs if self.tanh else attended.values
        if self.attention.coverage or self.score.last is not None:
            flat = graph.reshape(attended.weights, graph.op("ReduceProd", given.sizes), -1)
            if self.attention.coverage:
                given.after["coverage"] = graph.op("Add", given.state["coverage"], flat)
            if self.score.last is not None:
                given.after["last"] = flat
        return Combined(outputs, attended)


CONTEXTS: dict[str, type[Context]] = {
    "initial": Context,
    "every_step": SummaryContext,
    "attention": AttentionContext,
}
