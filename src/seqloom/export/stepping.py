"""The graphs that make one step of every hypothesis, whatever makes it: a decoder, or a language model."""

from __future__ import annotations

from abc import ABC
from typing import Protocol

from seqloom.export.builder import NEXT, Builder
from seqloom.export.contexts import MEMORY, STATE, StepInputs
from seqloom.export.decoders import Outputs, Ports
from seqloom.export.graph import Graph
from seqloom.export.output import Rows, best, listed_log_probabilities, log_probabilities, normalization_of
from seqloom.export.weights import OUTPUT


class Decoder(Protocol):
    """What makes a step."""

    def memory_ports(self) -> Ports:
        """Parts of memory: number types and shapes."""

    def state_ports(self) -> Ports:
        """Parts of the state: number types and shapes, the first axis left out."""

    def step(self, graph: Graph, given: StepInputs, tokens: str) -> Outputs:
        """One token [R] of each hypothesis; the new state goes into `given.after`."""


class SteppingBuilder(Builder, ABC):
    """best and step, and listed where there is an output layer that rows may be taken of."""

    decoder: Decoder

    def state_inputs(self, graph: Graph, first_axis: str) -> dict[str, str]:
        """Inputs for every part of the state."""
        return {name: graph.input(STATE + name, dtype, [first_axis, *shape])
                for name, (dtype, shape) in self.decoder.state_ports().items()}

    def step(self, name: str) -> Graph:
        """State and token of each hypothesis → next tokens and state; graphs.py tells the three kinds."""
        graph = self.graph(name)
        tokens = graph.input("tokens", "int64", ["B", "K"])
        rows = graph.input("rows", "int64", ["R"])
        candidates = graph.input("candidates", "int64", [1])
        ports: Ports = self.decoder.memory_ports()
        memory = {part: graph.input(MEMORY + part, dtype, shape) for part, (dtype, shape) in ports.items()}
        state = {part: graph.op("Gather", value, rows) for part, value in self.state_inputs(graph, "P").items()}
        given = StepInputs(graph.op("Shape", tokens), memory, state)
        outputs = self.decoder.step(graph, given, graph.reshape(tokens, -1))
        kind = normalization_of(self.config)
        if name == "listed":
            dense = listed_log_probabilities(graph, outputs, self.rows(graph, "R"), kind)
        else:
            dense = log_probabilities(graph, given, outputs, self.weights, self.symbols, kind)
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

    def rows(self, graph: Graph, rows: str) -> Rows:
        """What a shortlist leaves of the output layer, as inputs; `rows` names the axis of `places`."""
        size = self.weights.linear(OUTPUT)[0].shape[1]
        matrix = graph.input("output_rows", *(("int8", [size, "U"]) if self.int8 else ("float32", ["U", size])))
        bias = graph.input("output_bias", "float32", ["U"])
        scales = graph.input("output_scales", "float32", ["U"]) if self.int8 else ""
        return Rows(matrix, bias, scales, graph.input("places", "int32", [rows, "L"]))
