"""Decoders: the first state in the encoder graph, and one step. Mirrors nn/decoders.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqloom.config.sections import Config
from seqloom.export.bridge import EXPORTED_BRIDGES
from seqloom.export.cells import EXPORTED_CELLS, CellStep, CellWeights
from seqloom.export.contexts import CONTEXTS, Part, StepInputs
from seqloom.export.encoders import Encoded, states_are_bounded
from seqloom.export.graph import Graph
from seqloom.export.products import embedding, linear
from seqloom.export.weights import DECODER, Weights

Ports = dict[str, tuple[str, list[str | int]]]


class Outputs(NamedTuple):
    """What the output layer reads: values [R O]; weights [B K S] or ""; copy_gate [R 1] or ""; log_probabilities [R V]
    of the next token where the decoder made them itself, or "".
    """

    values: str
    weights: str = ""
    copy_gate: str = ""
    log_probabilities: str = ""


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
        if self.options.first_input:
            shown = linear(graph, encoded.summary, *self.weights.linear(f"{DECODER}.first_input"))
            _, after = self._recur(graph, {name: part.value for name, part in state.items()}, [shown])
            state.update({name: state[name]._replace(value=value) for name, value in after.items()})
        return memory, state

    def _recur(self, graph: Graph, state: dict[str, str], inputs: list[str]) -> tuple[str, dict[str, str]]:
        """One step of every layer: the top layer's output, and the new states by name.

        Inputs that are the beginning of what the first layer reads leave the rest at zero.
        """
        found: dict[str, str] = {}
        for layer in range(self.options.layers):
            weights = CellWeights.of(self.weights, f"{DECODER}.recurrent.layers.{layer}.cells.0")
            if len(inputs) == 1 and not layer:
                weights = weights._replace(inputs=np.ascontiguousarray(
                    weights.inputs[:, : self.options.embedding_size]))
            before = CellStep(state[f"hidden.{layer}"], state.get(f"cell.{layer}", ""))
            after = self.cell.step(graph, inputs, before, weights)
            found[f"hidden.{layer}"] = after.hidden
            if after.cell:
                found[f"cell.{layer}"] = after.cell
            residual = self.options.residual and layer > 0
            inputs = [graph.op("Add", after.hidden, *inputs) if residual else after.hidden]
        return inputs[0], found

    def note_bounds(self, graph: Graph, given: StepInputs) -> None:
        """Which states lie between −1 and 1."""
        for layer in range(self.options.layers):
            graph.bound(given.state[f"hidden.{layer}"], self.cell.bounded and states_are_bounded(self.config))

    def step(self, graph: Graph, given: StepInputs, tokens: str) -> Outputs:
        """One token [R] of each hypothesis."""
        if self.options.copy_source:  # a copied symbol has no embedding of its own
            known = graph.op("Less", tokens, graph.constant(self.symbols, "int64"))
            tokens = graph.op("Where", known, tokens, graph.constant(1, "int64"))
        embedded = embedding(graph, tokens, self.weights.take(f"{DECODER}.embedding.weight"))
        previous = given.state[f"hidden.{self.options.layers - 1}"]
        self.note_bounds(graph, given)
        fed = self.context.feed(graph, given, previous)
        inputs = [embedded, fed.addition] if fed.addition else [embedded]
        below, after = self._recur(graph, given.state, inputs)
        given.after.update(after)
        combined = self.context.combine(graph, given, below, previous, fed)
        gate = ""
        if self.options.copy_source:
            assert combined.attended is not None
            parts = [combined.attended.values, below, embedded]
            asked = linear(graph, parts, *self.weights.linear(f"{DECODER}.copy_gate"))
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
