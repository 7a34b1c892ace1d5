"""Decoders: the first state in the encoder graph, and one step. Mirrors nn/decoders.py."""

from __future__ import annotations

from typing import NamedTuple

from seqloom.config.sections import Config
from seqloom.export.bridge import EXPORTED_BRIDGES
from seqloom.export.cells import EXPORTED_CELLS, CellStep, CellWeights
from seqloom.export.contexts import CONTEXTS, Part, StepInputs
from seqloom.export.encoders import Encoded
from seqloom.export.graph import Graph
from seqloom.export.products import embedding, linear
from seqloom.export.weights import DECODER, Weights

Ports = dict[str, tuple[str, list[str | int]]]


class Outputs(NamedTuple):
    """What the output layer reads: values [R O]; weights [B K S] or ""; copy_gate [R 1] or ""."""

    values: str
    weights: str = ""
    copy_gate: str = ""


class RecurrentDecoder:
    """Recurrent decoder with one of three contexts."""

    def __init__(self, config: Config, weights: Weights, symbols: int) -> None:
        self.options = config.decoder
        self.config = config
        self.weights = weights
        self.symbols = symbols
        self.cell = EXPORTED_CELLS[self.options.cell]
        self.context = CONTEXTS[self.options.context](config, weights)

    def memory_ports(self) -> Ports:
        """Parts of memory: number types and shapes."""
        copying: Ports = {"copy": ("int64", ["B", "S"])} if self.options.copy_source else {}
        return {**self.context.memory_ports(), **copying}

    def state_ports(self) -> Ports:
        """Parts of the state: number types and shapes, the first axis left out."""
        ports: Ports = {}
        for layer in range(self.options.layers):
            ports[f"hidden.{layer}"] = ("float32", [self.options.hidden_size])
            if self.cell.has_cell_state:
                ports[f"cell.{layer}"] = ("float32", [self.options.hidden_size])
        return {**ports, **self.context.state_ports()}

    def begin(self, graph: Graph, encoded: Encoded) -> tuple[dict[str, Part], dict[str, Part]]:
        """Memory and first state; see nn.decoders.RecurrentDecoder.begin."""
        memory, state = self.context.prepare(graph, encoded)
        if self.options.copy_source:
            memory["copy"] = Part(encoded.copy, "int64", ["S"])
        hidden, cells = EXPORTED_BRIDGES[self.config.bridge.kind](graph, encoded, self.config, self.weights)
        for name, values in (("hidden", hidden), ("cell", cells)):
            for layer, value in enumerate(values):
                state[f"{name}.{layer}"] = Part(value, "float32", [self.options.hidden_size])
        return memory, state

    def step(self, graph: Graph, given: StepInputs, tokens: str) -> Outputs:
        """One token [R] of each hypothesis."""
        if self.options.copy_source:  # a copied symbol has no embedding of its own
            known = graph.op("Less", tokens, graph.constant(self.symbols, "int64"))
            tokens = graph.op("Where", known, tokens, graph.constant(1, "int64"))
        embedded = embedding(graph, tokens, self.weights.take(f"{DECODER}.embedding.weight"))
        previous = given.state[f"hidden.{self.options.layers - 1}"]
        fed = self.context.feed(graph, given, previous)
        below = graph.join(embedded, fed.addition, axis=1) if fed.addition else embedded
        for layer in range(self.options.layers):
            weights = CellWeights.of(self.weights, f"{DECODER}.recurrent.layers.{layer}.cells.0")
            before = CellStep(given.state[f"hidden.{layer}"], given.state.get(f"cell.{layer}", ""))
            after = self.cell.step(graph, below, before, weights)
            given.after[f"hidden.{layer}"] = after.hidden
            if after.cell:
                given.after[f"cell.{layer}"] = after.cell
            below = graph.op("Add", after.hidden, below) if self.options.residual and layer else after.hidden
        combined = self.context.combine(graph, given, below, previous, fed)
        gate = ""
        if self.options.copy_source:
            assert combined.attended is not None
            inputs = graph.join(combined.attended.values, below, embedded, axis=1)
            asked = linear(graph, inputs, *self.weights.linear(f"{DECODER}.copy_gate"))
            # The runtime's Sigmoid ends at σ(−18): too early for a probability whose logarithm counts.
            gate = graph.op("Reciprocal", graph.op("Add", graph.op("Exp", graph.op("Neg", asked)), graph.number(1.0)))
        return Outputs(combined.outputs, "" if combined.attended is None else combined.attended.weights, gate)


class InStepDecoder:
    """No decoder: step t reads the encoder at position t; see nn.decoders.InStepDecoder."""

    def __init__(self, config: Config, weights: Weights, symbols: int) -> None:
        self.memory_size = config.encoder.hidden_size

    def memory_ports(self) -> Ports:
        """Parts of memory: number types and shapes."""
        return {"values": ("float32", ["B", "S", self.memory_size]), "last": ("int64", ["B"])}

    def state_ports(self) -> Ports:
        """Parts of the state: number types and shapes, the first axis left out."""
        return {"position": ("int64", [])}

    def begin(self, graph: Graph, encoded: Encoded) -> tuple[dict[str, Part], dict[str, Part]]:
        """Memory, its last positions, and position 0."""
        last = graph.op("Sub", encoded.lengths, graph.constant(1, "int64"))
        zeros = graph.zeros(graph.sizes(encoded.lengths, 0, 1), dtype="int64")
        return ({"values": Part(encoded.values, "float32", ["S", self.memory_size]), "last": Part(last, "int64", [])},
                {"position": Part(zeros, "int64", [])})

    def step(self, graph: Graph, given: StepInputs, tokens: str) -> Outputs:
        """The encoder at each hypothesis's position; the token is not read."""
        position = given.state["position"]
        given.after["position"] = graph.op("Add", position, graph.constant(1, "int64"))
        last = graph.op("Unsqueeze", given.memory["last"], graph.ids(1))
        places = graph.op("Unsqueeze", graph.op("Min", graph.op("Reshape", position, given.sizes), last), graph.ids(2))
        values = graph.op("GatherND", given.memory["values"], places, batch_dims=1)
        size = graph.op("Squeeze", graph.sizes(given.memory["values"], 1, 2))
        every = graph.op("Range", graph.constant(0, "int64"), size, graph.constant(1, "int64"))
        weights = graph.op("Cast", graph.op("Equal", every, places), to=1)
        return Outputs(graph.reshape(values, -1, self.memory_size), weights)
