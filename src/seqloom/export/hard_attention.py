"""Hard attention: a step that sums over source positions. Mirrors nn/hard_attention.py and nn/hard_output.py.

The output layer reads every position of the source, so a step makes its distribution itself. Sums over positions go one
after another (CumSum), since ReduceSum would round differently with more padding.
"""

from __future__ import annotations

import numpy as np

from seqloom.config.sections import Config
from seqloom.export.contexts import AttentionContext, Combined, Fed, Part, StepInputs
from seqloom.export.decoders import Outputs, Ports, RecurrentDecoder
from seqloom.export.encoders import Encoded
from seqloom.export.graph import Graph
from seqloom.export.output import TINY
from seqloom.export.products import embedding, linear
from seqloom.export.weights import DECODER, OUTPUT, Weights

IMPOSSIBLE = -1e30  # as nn.hard_attention.IMPOSSIBLE
# Parts of the state: see nn.hard_attention.HardAttentionContext.
ASKED, GENERATED, COPIED = "feed", "last", "coverage"
COMBINATION = f"{DECODER}.context.combination"


class HardAttentionContext(AttentionContext):
    """context: attention, kind hard or hard_monotonic: scores, and what the output layer reads at each position."""

    def __init__(self, config: Config, weights: Weights) -> None:
        super().__init__(config, weights)
        self.monotonic = self.attention.kind == "hard_monotonic"
        self.copying = self.options.copy_source

    def memory_ports(self) -> Ports:
        size = self.options.hidden_size if self.tanh else self.memory_size
        ports = super().memory_ports()
        ports = {"read": ("float32", ["B", "S", size]), "keys": ports["keys"], "bias": ports["bias"]}
        return {**ports, "gates": ("float32", ["B", 1, "S"])} if self.copying else ports

    def state_ports(self) -> Ports:
        if not self.monotonic:
            return {}
        carried: Ports = {ASKED: ("float32", [self.options.hidden_size]), GENERATED: ("float32", ["S"])}
        return {**carried, COPIED: ("float32", ["S"])} if self.copying else carried

    def prepare(self, graph: Graph, encoded: Encoded) -> tuple[dict[str, Part], dict[str, Part]]:
        values = graph.bound(encoded.values, self.memory_bounded)
        read = linear(graph, values, self.weights.take(f"{COMBINATION}.weight")[:, : self.memory_size], rank=3) \
            if self.tanh else values
        impossible = graph.op("Where", encoded.mask, graph.number(0.0), graph.number(IMPOSSIBLE))
        made = {"read": read, "keys": self.score.keys(graph, encoded.values, self.attention, self.weights),
                "bias": graph.op("Unsqueeze", impossible, graph.ids(1))}
        if self.copying:
            gate = self.weights.take(f"{DECODER}.copy_gate.weight")[:, : self.memory_size]
            asked = graph.op("MatMul", encoded.values, graph.constant(gate.T, name="weight"))
            made["gates"] = graph.op("Transpose", asked, perm=[0, 2, 1])
        memory = {name: Part(made[name], dtype, shape[1:]) for name, (dtype, shape) in self.memory_ports().items()}
        rows, positions = graph.sizes(values, 0, 1), graph.sizes(values, 1, 2)
        nowhere = graph.op("Sub", graph.zeros(rows, positions), graph.number(-IMPOSSIBLE))
        zero = graph.constant(0, "int64")
        every = graph.op("Range", zero, graph.op("Squeeze", positions), graph.constant(1, "int64"))
        first = graph.op("Where", graph.op("Equal", every, zero), graph.number(0.0), nowhere)
        begin = {ASKED: graph.zeros(rows, self.options.hidden_size), GENERATED: first, COPIED: nowhere}
        return memory, {name: Part(begin[name], dtype, shape) for name, (dtype, shape) in self.state_ports().items()}

    def feed(self, graph: Graph, given: StepInputs, previous: str) -> Fed:
        return Fed()

    def combine(self, graph: Graph, given: StepInputs, hidden: str, previous: str, fed: Fed) -> Combined:
        """outputs: the scores [B K S] of every position; the rest is the decoder's."""
        scores = self.score.scores(graph, hidden, given.sizes, given.memory["keys"], self.attention, self.weights)
        return Combined(graph.op("Add", scores, given.memory["bias"]))

    def at_positions(self, graph: Graph, given: StepInputs, hidden: str) -> str:
        """What the output layer reads for each position [B K S O], from the state [R H]."""
        values = graph.op("Unsqueeze", given.memory["read"], graph.ids(1))
        if self.tanh:
            own = linear(graph, hidden, self.weights.take(f"{COMBINATION}.weight")[:, self.memory_size:])
            return graph.bound(graph.op("Tanh", graph.op("Add", values, graph.reshape(own, given.sizes, 1, -1))))
        own = graph.reshape(hidden, given.sizes, 1, -1)
        sizes = graph.join(given.sizes, graph.sizes(values, 2, 3), graph.ids(1), axis=0)
        bounded = self.memory_bounded and hidden in graph.bounded
        return graph.bound(graph.join(graph.op("Expand", values, sizes), graph.op("Expand", own, sizes), axis=3),
                           bounded)


class HardAttentionDecoder(RecurrentDecoder):
    """A step whose Outputs hold the distribution itself."""

    context: HardAttentionContext

    def __init__(self, config: Config, weights: Weights, symbols: int) -> None:
        super().__init__(config, weights, symbols)
        self.context = HardAttentionContext(config, weights)

    def step(self, graph: Graph, given: StepInputs, tokens: str) -> Outputs:
        """One token [R] of each hypothesis; see nn.hard_output.HardAttentionModule.step."""
        before = self._aligned(graph, given, tokens) if self.context.monotonic else ""
        embedded, hidden, scores = self._read(graph, given, tokens)
        prior = self._moved(graph, scores, before) if before else graph.op("LogSoftmax", scores, axis=2)
        read = self.context.at_positions(graph, given, hidden)
        logits = linear(graph, read, *self.weights.linear(OUTPUT), rank=4)
        normaliser = _log_sum(graph, logits, 3)
        generated = graph.op("Sub", prior, normaliser)
        copied = ""
        if self.options.copy_source:
            generates, copies = self._gates(graph, given, hidden, embedded)
            generated, copied = graph.op("Add", generated, generates), graph.op("Add", prior, copies)
        dense = _log_sum(graph, graph.op("Add", logits, graph.op("Unsqueeze", generated, graph.ids(3))), 2)
        if copied:
            dense = self._with_copies(graph, given, dense, copied)
        rows = graph.op("ReduceProd", given.sizes)
        if self.context.monotonic:
            given.after[ASKED] = hidden
            given.after[GENERATED] = graph.reshape(generated, rows, -1)
            if copied:
                given.after[COPIED] = graph.reshape(copied, rows, -1)
        return Outputs("", graph.op("Exp", prior), log_probabilities=graph.reshape(dense, rows, -1))

    def _read(self, graph: Graph, given: StepInputs, tokens: str) -> tuple[str, str, str]:
        """The recurrence: embedded token [R E], the top layer's output [R H], scores [B K S]."""
        if self.options.copy_source:  # a copied symbol has no embedding of its own
            known = graph.op("Less", tokens, graph.constant(self.symbols, "int64"))
            tokens = graph.op("Where", known, tokens, graph.constant(1, "int64"))
        embedded = embedding(graph, tokens, self.weights.take(f"{DECODER}.embedding.weight"))
        self.note_bounds(graph, given)
        below, after = self._recur(graph, given.state, [embedded])
        given.after.update(after)
        return embedded, below, self.context.combine(graph, given, below, below, Fed()).outputs

    def _aligned(self, graph: Graph, given: StepInputs, tokens: str) -> str:
        """log p(a_t = j | y_≤t) [B K S] of the step before, now that its token is known."""
        matrix, bias = self.weights.linear(OUTPUT)
        assert bias is not None
        generable = graph.op("Less", tokens, graph.constant(self.symbols, "int64"))
        known = graph.op("Where", generable, tokens, graph.constant(0, "int64"))
        read = self.context.at_positions(graph, given, given.state[ASKED])
        row = graph.reshape(embedding(graph, known, matrix), given.sizes, -1, 1)
        shift = graph.op("Where", generable, graph.op("Gather", graph.constant(bias, name="bias"), known),
                         graph.number(IMPOSSIBLE))
        logits = graph.op("Add", graph.op("Squeeze", graph.op("MatMul", read, row), graph.ids(3)),
                          graph.reshape(shift, given.sizes, 1))
        found = graph.op("Add", logits, graph.reshape(given.state[GENERATED], given.sizes, -1))
        if self.options.copy_source:
            own = graph.op("Equal", graph.op("Unsqueeze", given.memory["copy"], graph.ids(1)),
                           graph.reshape(tokens, given.sizes, 1))
            copied = graph.op("Where", own, graph.reshape(given.state[COPIED], given.sizes, -1),
                              graph.number(IMPOSSIBLE))
            found = _log_sum(graph, graph.join(graph.op("Unsqueeze", found, graph.ids(3)),
                                               graph.op("Unsqueeze", copied, graph.ids(3)), axis=3), 3)
        return graph.op("LogSoftmax", found, axis=2)

    def _moved(self, graph: Graph, scores: str, before: str) -> str:
        """log p(a_t = j) from log p(a_(t−1) = i), both [B K S]; see nn.hard_attention.log_transitions."""
        size = graph.op("Squeeze", graph.sizes(scores, 2, 3))
        places = graph.op("Range", graph.constant(0, "int64"), size, graph.constant(1, "int64"))
        width = graph.op("Sub", graph.op("Unsqueeze", places, graph.ids(0)),
                         graph.op("Unsqueeze", places, graph.ids(1)))
        count = self.options.attention.jumps
        learned = self.weights.take(f"{DECODER}.context.jumps") if count else np.zeros(0)
        known = np.append(learned, 0).astype(np.float32)
        narrow = graph.op("Clip", width, graph.constant(0, "int64"), graph.constant(count, "int64"))
        preferred = graph.op("Where", graph.op("Less", width, graph.constant(0, "int64")), graph.number(IMPOSSIBLE),
                             graph.op("Gather", graph.constant(known, name="jumps"), narrow))
        moved = graph.op("LogSoftmax", graph.op("Add", graph.op("Unsqueeze", scores, graph.ids(2)), preferred), axis=3)
        return _log_sum(graph, graph.op("Add", moved, graph.op("Unsqueeze", before, graph.ids(3))), 2)

    def _gates(self, graph: Graph, given: StepInputs, hidden: str, embedded: str) -> tuple[str, str]:
        """Logarithms of generating and of copying at each position [B K S]."""
        weight, bias = self.weights.linear(f"{DECODER}.copy_gate")
        own = linear(graph, [hidden, embedded], weight[:, self.context.memory_size:], bias)
        asked = graph.op("Add", given.memory["gates"], graph.reshape(own, given.sizes, 1))
        fixed = graph.op("Unsqueeze", graph.op("Less", given.memory["copy"], graph.constant(0, "int64")), graph.ids(1))
        # log σ(x) = −softplus(−x)
        generates = graph.op("Neg", graph.op("Softplus", graph.op("Neg", asked)))
        copies = graph.op("Neg", graph.op("Softplus", asked))
        return (graph.op("Where", fixed, graph.number(0.0), generates),
                graph.op("Where", fixed, graph.number(IMPOSSIBLE), copies))

    def _with_copies(self, graph: Graph, given: StepInputs, generated: str, copied: str) -> str:
        """Ids and the batch's copied symbols [B K V2]; see nn.hard_output.HardAttentionModule._with_copies."""
        copy = given.memory["copy"]
        last = graph.constant(self.symbols - 1, "int64")
        own = graph.op("Max", graph.op("ReduceMax", copy, graph.ids(1)), last)
        extra = graph.op("Sub", graph.op("ReduceMax", own, keepdims=0), last)
        room = graph.zeros(given.sizes, graph.op("Unsqueeze", extra, graph.ids(0)))
        places = graph.op("Unsqueeze", graph.op("Max", copy, graph.constant(0, "int64")), graph.ids(1))
        mixed = graph.op("ScatterElements", graph.join(graph.op("Exp", generated), room, axis=2),
                         graph.op("Expand", places, graph.op("Shape", copied)), graph.op("Exp", copied), axis=2,
                         reduction="add")
        every = graph.op("Range", graph.constant(0, "int64"),
                         graph.op("Add", extra, graph.constant(self.symbols, "int64")), graph.constant(1, "int64"))
        impossible = graph.op("Greater", every, graph.op("Unsqueeze", own, graph.ids(2)))
        return graph.op("Where", impossible, graph.number(float("-inf")),
                        graph.op("Log", graph.op("Max", mixed, graph.number(TINY))))


def _log_sum(graph: Graph, value: str, axis: int) -> str:
    """log Σ exp along an axis, which goes: the greatest taken out, the rest summed one after another."""
    most = graph.op("ReduceMax", value, graph.ids(axis))
    powers = graph.op("Exp", graph.op("Sub", value, most))
    sums = graph.op("CumSum", powers, graph.constant(axis, "int64"))
    last = graph.op("Slice", sums, graph.ids(-1), graph.ids(2**31 - 1), graph.ids(axis))
    return graph.op("Squeeze", graph.op("Add", graph.op("Log", last), most), graph.ids(axis))
