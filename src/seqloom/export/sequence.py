"""The graphs of head.kind sequence: an encoder with the decoder's first state, steps of the decoder, a whole search."""

from __future__ import annotations

import numpy as np

from seqloom.config.sections import Config
from seqloom.export.builder import NEXT, check_part
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.contexts import Part, StepInputs
from seqloom.export.decoders import InStepDecoder, Outputs, RecurrentDecoder
from seqloom.export.encoders import Encoded
from seqloom.export.graph import Array, Graph
from seqloom.export.normalization import EXPORTED_NORMALIZATIONS
from seqloom.export.output import listed_log_probabilities, log_probabilities, normalization_of
from seqloom.export.products import quantised
from seqloom.export.scores import EXPORTED_SCORES
from seqloom.export.stepping import SteppingBuilder
from seqloom.export.weights import OUTPUT, Weights
from seqloom.types import END, START


class SequenceBuilder(SteppingBuilder):
    """encoder, best, step; and listed, greedy, greedy_listed where the symbols are the same for all sentences."""

    decoder: RecurrentDecoder | InStepDecoder

    def __init__(self, config: Config, weights: Weights, symbols: int, *, int8: bool = False) -> None:
        super().__init__(config, weights, symbols, int8=int8)
        kind = InStepDecoder if config.decoder.context == "in_step" else RecurrentDecoder
        self.decoder = kind(config, weights, symbols)

    @classmethod
    def check(cls, config: Config) -> None:
        super().check(config)
        check_part("cell", config.decoder.cell, EXPORTED_CELLS, "cells")
        check_part("score", config.decoder.attention.score, EXPORTED_SCORES, "scores")
        for kind in (config.decoder.attention.normalization, normalization_of(config)):
            check_part("normalization", kind, EXPORTED_NORMALIZATIONS, "normalization")

    def graphs(self) -> dict[str, Graph]:
        graph = self.graph("encoder")
        made = {"encoder": self.encoder(graph, *self.begin(graph)), "best": self.step("best"),
                "step": self.step("step")}
        # With copying the symbols are not the same for all sentences.
        return made if self.config.decoder.copy_source else {
            **made, "listed": self.step("listed"), "greedy": self.greedy("greedy"),
            "greedy_listed": self.greedy("greedy_listed")}

    def shared(self) -> dict[str, str]:
        """The output layer: matrix, bias, and scales of whole numbers. A shortlist takes rows of it."""
        weight, bias = self.weights.linear(OUTPUT)
        assert bias is not None
        parts: dict[str, Array] = {"output_bias": bias}
        if self.int8:
            matrix = quantised(weight.T)
            parts |= {"output_rows": matrix.values, "output_scales": matrix.scales}
        else:
            parts["output_rows"] = weight
        return {name: self.store.add(part, "output") for name, part in parts.items()}

    # --- parts ---

    def begin(self, graph: Graph) -> tuple[Encoded, dict[str, Part], dict[str, Part]]:
        """The encoder with its inputs; memory and first state of the decoder."""
        encoded = self.encoded(graph)
        return encoded, *self.decoder.begin(graph, encoded)

    # --- graphs ---

    def greedy(self, name: str) -> Graph:
        """Encoder and decoder, step after step until every sentence has ended or reached its limit."""
        graph = self.graph(name)
        limits = graph.input("limits", "int64", ["B"])
        listed = name == "greedy_listed"
        mask = graph.input("mask", "float32", ["B", "L"] if listed else [self.symbols])
        rows, ids = (self.rows(graph, "B"), graph.input("ids", "int64", ["B", "L"])) if listed else (None, "")
        encoded, memory, state = self.begin(graph)
        body = Graph("loop", parent=graph)
        steps = body.input("number", "int64", [])
        body.input("going", "bool", [])
        tokens = body.input("tokens", "int64", ["B", 1])
        ended = body.input("ended", "bool", ["B"])
        carried = self.state_inputs(body, "B")
        given = StepInputs(body.op("Shape", tokens), {name: part.value for name, part in memory.items()}, dict(carried))
        outputs: Outputs = self.decoder.step(body, given, body.reshape(tokens, -1))
        kind = normalization_of(self.config)
        dense = log_probabilities(body, given, outputs, self.weights, self.symbols, kind) if rows is None else \
            listed_log_probabilities(body, outputs, rows, kind)
        scores, chosen = body.node("TopK", body.op("Add", dense, mask), body.ids(1), outputs=2, axis=1)
        chosen = body.op("GatherElements", ids, chosen, axis=1) if listed else chosen
        flat = body.reshape(chosen, -1)
        done = body.op("Or", ended, body.op("Or", body.op("Equal", flat, body.constant(END, "int64")),
                                            body.op("GreaterOrEqual", body.op("Add", steps, body.constant(1, "int64")),
                                                    limits)))
        going = body.op("Cast", body.op("ReduceMax", body.op("Cast", body.op("Not", done), to=6), keepdims=0), to=9)
        body.output("still_going", going, "bool", [])
        body.output("next_tokens", chosen, "int64", ["B", 1])
        body.output("now_ended", done, "bool", ["B"])
        ports = self.decoder.state_ports()
        for part, (dtype, shape) in ports.items():
            body.output(NEXT + part, given.after[part], dtype, ["B", *shape])
        body.output("token", flat, "int64", ["B"])
        body.output("score", body.reshape(scores, -1), "float32", ["B"])
        if outputs.weights:
            body.output("weight", outputs.weights, "float32", ["B", 1, "S"])
        most = graph.op("ReduceMax", limits, keepdims=0)
        size = graph.op("Shape", limits)
        start = graph.op("ConstantOfShape", graph.join(size, graph.ids(1), axis=0), value=np.full(1, START, np.int64))
        found = graph.node("Loop", most, graph.constant(True, "bool"), start, graph.zeros(size, dtype="bool"),
                           *(state[part].value for part in ports), outputs=len(body.outputs) - 1, body=body)
        for port, value in zip(body.outputs[3 + len(ports):], found[2 + len(ports):], strict=True):
            graph.output(f"{port.name}s", value, port.dtype, ["T", *port.shape])
        if self.config.source.kind != "text":
            graph.output("positions", encoded.lengths, "int64", ["B"])
        return graph
