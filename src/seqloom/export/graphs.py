"""The graphs of a model. They share one store of large arrays, and each is opened only where it is used.

encoder: main, lengths (and features, copy) → summary, `memory.…` once per sentence [B …], `state.…` [B …].
best:    tokens [B K], rows [R] into the given state, `memory.…`, `state.…`, candidates [1] → scores and ids `best`
         [R C], weights [B K S], `next.…` [R …]. Its first nodes gather the state by `rows`.
step:    the same, and wanted [R W] → wanted_scores [R W], dense [R V].
listed:  the same as best, over the rows of the output layer that are given: `best` are places in each one's list.
greedy:  the encoder's inputs, limits [B], mask [V] → tokens and scores [T B]: a whole greedy search.

Which encoder builds a source, and which decoder a head, stands in two tables by their names in the configuration.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqloom.config.sections import Config
from seqloom.export.contexts import MEMORY, STATE, Part, StepInputs
from seqloom.export.decoders import InStepDecoder, Outputs, Ports, RecurrentDecoder
from seqloom.export.encoders import Encoded, text_encoder
from seqloom.export.graph import Array, Graph
from seqloom.export.media import frame_encoder, frames_encoder, image_encoder
from seqloom.export.output import Rows, best, listed_log_probabilities, log_probabilities
from seqloom.export.products import quantised
from seqloom.export.store import Store
from seqloom.export.weights import OUTPUT, Weights
from seqloom.types import END, START

Decoder = RecurrentDecoder | InStepDecoder
NEXT = "next."
GRAPHS = ("encoder", "best", "step", "greedy", "listed")

# From a source's kind to what builds its encoder.
SOURCE_ENCODERS: dict[str, Callable[[Graph, Config, Weights], Encoded]] = {
    "text": text_encoder, "features": frame_encoder, "audio": frame_encoder, "image": image_encoder,
    "frames": frames_encoder}


class Builder:
    """What the graphs of one model have in common. symbols: of the target."""

    def __init__(self, config: Config, weights: Weights, symbols: int, *, int8: bool = False) -> None:
        self.config = config
        self.weights = weights
        self.symbols = symbols
        self.int8 = int8
        self.store = Store()
        kind = InStepDecoder if config.decoder.context == "in_step" else RecurrentDecoder
        self.decoder: Decoder = kind(config, weights, symbols)

    def graph(self, name: str) -> Graph:
        """An empty graph."""
        return Graph(name, int8=self.int8, store=self.store)

    def graphs(self) -> dict[str, Graph]:
        """All graphs by name."""
        made = {"encoder": self.encoder(), "best": self.step("best"), "step": self.step("step")}
        # With copying the symbols are not the same for all sentences.
        return made if self.config.decoder.copy_source else {**made, "greedy": self.greedy(),
                                                             "listed": self.step("listed")}

    def output_layer(self) -> dict[str, str]:
        """Names in the store of the output layer's matrix, bias, and scales of whole numbers."""
        weight, bias = self.weights.linear(OUTPUT)
        assert bias is not None
        parts: dict[str, Array] = {"output_bias": bias}
        if self.int8:
            matrix = quantised(weight.T)
            parts |= {"output_rows": matrix.values, "output_scales": matrix.scales}
        else:
            parts["output_rows"] = weight
        return {name: self.store.add(part, "output") for name, part in parts.items()}

    def serialised(self, metadata: dict[str, str], location: str) -> dict[str, bytes]:
        """All graphs by name, b"" for one that this model has not, and under "weights" the arrays they share, which
        are to stand in the file `location` beside them.
        """
        graphs = self.graphs()
        layer = self.output_layer()
        taken = {name: graph.stored_names() for name, graph in graphs.items()}
        used = {one for names in (*taken.values(), layer.values()) for one in names}
        content, places = self.store.serialised(used, {
            **{name: " ".join(names) for name, names in taken.items()}, **layer, "symbols": str(self.symbols)})
        return {**{name: graphs[name].serialised(metadata, places, location) if name in graphs else b""
                   for name in GRAPHS}, "weights": content}

    # --- parts ---

    def begin(self, graph: Graph) -> tuple[Encoded, dict[str, Part], dict[str, Part]]:
        """The encoder with its inputs; memory and first state of the decoder."""
        encoded = SOURCE_ENCODERS[self.config.source.kind](graph, self.config, self.weights)
        return encoded, *self.decoder.begin(graph, encoded)

    def state_inputs(self, graph: Graph, first_axis: str) -> dict[str, str]:
        """Inputs for every part of the state."""
        return {name: graph.input(STATE + name, dtype, [first_axis, *shape])
                for name, (dtype, shape) in self.decoder.state_ports().items()}

    # --- graphs ---

    def encoder(self) -> Graph:
        """Source → memory and first state."""
        graph = self.graph("encoder")
        encoded, memory, state = self.begin(graph)
        size = self.config.encoder.hidden_size * (1 + self.config.encoder.bidirectional)
        graph.output("summary", encoded.summary, "float32", ["B", size])
        if self.config.source.kind != "text":  # elsewhere the source's own length tells
            graph.output("positions", encoded.lengths, "int64", ["B"])
        if "values" not in memory:
            graph.output("states", encoded.values, "float32", ["B", "S2", size])
        for prefix, parts in ((MEMORY, memory), (STATE, state)):
            for name, part in parts.items():
                shape = ["S2" if axis == "S" else axis for axis in part.shape]
                graph.output(prefix + name, part.value, part.dtype, ["B", *shape])
        return graph

    def step(self, name: str) -> Graph:
        """State and token of each hypothesis → next tokens and state; see the head of this file for the three kinds."""
        graph = self.graph(name)
        tokens = graph.input("tokens", "int64", ["B", "K"])
        rows = graph.input("rows", "int64", ["R"])
        candidates = graph.input("candidates", "int64", [1])
        ports: Ports = self.decoder.memory_ports()
        memory = {part: graph.input(MEMORY + part, dtype, shape) for part, (dtype, shape) in ports.items()}
        state = {part: graph.op("Gather", value, rows) for part, value in self.state_inputs(graph, "P").items()}
        given = StepInputs(graph.op("Shape", tokens), memory, state)
        outputs = self.decoder.step(graph, given, graph.reshape(tokens, -1))
        if name == "listed":
            dense = listed_log_probabilities(graph, outputs, self._rows(graph))
        else:
            dense = log_probabilities(graph, given, outputs, self.weights, self.symbols)
        scores, places = best(graph, dense, candidates)
        graph.output("scores", scores, "float32", ["R", "C"])
        graph.output("best", places, "int64", ["R", "C"])
        if name == "step":
            wanted = graph.input("wanted", "int64", ["R", "W"])
            found = graph.op("GatherElements", dense, wanted, axis=1)
            graph.output("wanted_scores", found, "float32", ["R", "W"])
        if name in ("step", "listed"):
            graph.output("dense", dense, "float32", ["R", "V"])
        if outputs.weights:
            graph.output("weights", outputs.weights, "float32", ["B", "K", "S"])
        for part, (dtype, shape) in self.decoder.state_ports().items():
            graph.output(NEXT + part, given.after[part], dtype, ["R", *shape])
        return graph

    def _rows(self, graph: Graph) -> Rows:
        size = self.weights.linear(OUTPUT)[0].shape[1]
        rows = graph.input("output_rows", *(("int8", [size, "U"]) if self.int8 else ("float32", ["U", size])))
        bias = graph.input("output_bias", "float32", ["U"])
        scales = graph.input("output_scales", "float32", ["U"]) if self.int8 else ""
        return Rows(rows, bias, scales, graph.input("places", "int32", ["R", "L"]))

    def greedy(self) -> Graph:
        """Encoder and decoder, step after step until every sentence has ended or reached its limit."""
        graph = self.graph("greedy")
        limits = graph.input("limits", "int64", ["B"])
        mask = graph.input("mask", "float32", [self.symbols])
        _, memory, state = self.begin(graph)
        body = Graph("loop", parent=graph)
        steps = body.input("number", "int64", [])
        body.input("going", "bool", [])
        tokens = body.input("tokens", "int64", ["B", 1])
        ended = body.input("ended", "bool", ["B"])
        carried = self.state_inputs(body, "B")
        given = StepInputs(body.op("Shape", tokens), {name: part.value for name, part in memory.items()}, dict(carried))
        outputs: Outputs = self.decoder.step(body, given, body.reshape(tokens, -1))
        dense = log_probabilities(body, given, outputs, self.weights, self.symbols)
        scores, chosen = body.node("TopK", body.op("Add", dense, mask), body.ids(1), outputs=2, axis=1)
        flat = body.reshape(chosen, -1)
        done = body.op("Or", ended, body.op("Or", body.op("Equal", flat, body.constant(END, "int64")),
                                            body.op("GreaterOrEqual", body.op("Add", steps, body.constant(1, "int64")),
                                                    limits)))
        going = body.op("Cast", body.op("ReduceMax", body.op("Cast", body.op("Not", done), to=6), keepdims=0), to=9)
        body.output("still_going", going, "bool", [])
        body.output("next_tokens", chosen, "int64", ["B", 1])
        body.output("now_ended", done, "bool", ["B"])
        ports = self.decoder.state_ports()
        for name, (dtype, shape) in ports.items():
            body.output(NEXT + name, given.after[name], dtype, ["B", *shape])
        body.output("token", flat, "int64", ["B"])
        body.output("score", body.reshape(scores, -1), "float32", ["B"])
        most = graph.op("ReduceMax", limits, keepdims=0)
        size = graph.op("Shape", limits)
        start = graph.op("ConstantOfShape", graph.join(size, graph.ids(1), axis=0), value=np.full(1, START, np.int64))
        found = graph.node("Loop", most, graph.constant(True, "bool"), start, graph.zeros(size, dtype="bool"),
                           *(state[name].value for name in ports), outputs=len(ports) + 4, body=body)
        graph.output("tokens", found[-2], "int64", ["T", "B"])
        graph.output("scores", found[-1], "float32", ["T", "B"])
        return graph
