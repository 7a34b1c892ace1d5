"""The graphs of head.kind language: what has read a prompt, steps behind it, and a whole text at once. Mirrors
nn/language.py.
"""

from __future__ import annotations

from seqloom.config.sections import Config, EncoderConfig, LanguageHeadConfig
from seqloom.export.builder import NEXT, check_part
from seqloom.export.cells import EXPORTED_CELLS, CellStep, CellWeights
from seqloom.export.contexts import MEMORY, STATE, StepInputs
from seqloom.export.decoders import Outputs, Ports
from seqloom.export.encoders import real_positions
from seqloom.export.graph import Graph
from seqloom.export.products import embedding, linear
from seqloom.export.recurrent import Before, Stacked, stack
from seqloom.export.stepping import SteppingBuilder
from seqloom.export.weights import EMBEDDING, OUTPUT, Weights
from seqloom.types import START

RECURRENT = "head.recurrent"


class LanguageNetwork:
    """Symbols as vectors and the recurrent stack: one symbol at a time, or a text at once."""

    def __init__(self, config: Config, weights: Weights, symbols: int) -> None:
        assert isinstance(config.head, LanguageHeadConfig)
        self.options = config.decoder
        self.one_hot = config.head.one_hot
        self.weights = weights
        self.symbols = symbols
        self.cell = EXPORTED_CELLS[self.options.cell]
        # Sums of layers may be larger than a state is.
        self.is_bounded = self.cell.bounded and not (self.options.residual and self.options.layers > 1)

    # --- one symbol at a time ---

    def memory_ports(self) -> Ports:
        """The last symbol of each prompt, which is not read yet."""
        return {"last": ("int64", ["B"])}

    def state_ports(self) -> Ports:
        """States of every layer, the first axis left out."""
        parts = ("hidden", "cell") if self.cell.has_cell_state else ("hidden",)
        return {f"{part}.{layer}": ("float32", [self.options.hidden_size])
                for part in parts for layer in range(self.options.layers)}

    def step(self, graph: Graph, given: StepInputs, tokens: str) -> Outputs:
        """One symbol [R] of each hypothesis; in place of <s> the last one of its prompt."""
        each = graph.op("Expand", graph.op("Unsqueeze", given.memory["last"], graph.ids(1)), given.sizes)
        first = graph.op("Equal", tokens, graph.constant(START, "int64"))
        below = self.vectors(graph, graph.op("Where", first, graph.reshape(each, -1), tokens))
        for layer in range(self.options.layers):
            before = CellStep(graph.bound(given.state[f"hidden.{layer}"], self.cell.bounded),
                              given.state.get(f"cell.{layer}", ""))
            cell = CellWeights.of(self.weights, f"{RECURRENT}.layers.{layer}.cells.0")
            after = self.cell.step(graph, [below], before, cell)
            given.after[f"hidden.{layer}"] = after.hidden
            if after.cell:
                given.after[f"cell.{layer}"] = after.cell
            residual = self.options.residual and layer > 0
            below = graph.op("Add", after.hidden, below) if residual else after.hidden
        return Outputs(below)

    # --- a text at once ---

    def vectors(self, graph: Graph, ids: str) -> str:
        """Symbols of any shape as vectors, in one more axis."""
        if not self.one_hot:
            return embedding(graph, ids, self.weights.take(f"{EMBEDDING}.weight"))
        return graph.bound(graph.op("OneHot", ids, graph.ids(self.symbols), graph.constant([0.0, 1.0], "float32")))

    def read(self, graph: Graph, ids: str, lengths: str, before: Before | None = None) -> Stacked:
        """The stack over ids [B T], of which so many [B] are read, at least one."""
        options = self.options
        shape = EncoderConfig(cell=options.cell, layers=options.layers, hidden_size=options.hidden_size,
                              bidirectional=False, residual=options.residual)
        mask = real_positions(graph, lengths, graph.sizes(ids, 1, 2))
        turned = graph.op("Unsqueeze", graph.op("Transpose", mask, perm=[1, 0]), graph.ids(2))
        vectors = self.vectors(graph, graph.op("Transpose", ids, perm=[1, 0]))
        return stack(graph, vectors, graph.op("Cast", lengths, to=6), turned, shape, self.weights, RECURRENT, before)


class LanguageBuilder(SteppingBuilder):
    """encoder, best, step, answer."""

    decoder: LanguageNetwork

    def __init__(self, config: Config, weights: Weights, symbols: int, *, int8: bool = False) -> None:
        super().__init__(config, weights, symbols, int8=int8)
        self.decoder = LanguageNetwork(config, weights, symbols)

    @classmethod
    def check(cls, config: Config) -> None:
        """There is no encoder whose cell could be in question."""
        check_part("cell", config.decoder.cell, EXPORTED_CELLS, "cells")

    def graphs(self) -> dict[str, Graph]:
        return {"encoder": self.begin(), "best": self.step("best"), "step": self.step("step"), "answer": self.answer()}

    def begin(self) -> Graph:
        """A prompt → its last symbol, and the state behind all others: nothing is read of what has one symbol alone."""
        graph = self.graph("encoder")
        ids = graph.input("main", "int64", ["B", "S"])
        lengths = graph.input("lengths", "int64", ["B"])
        one = graph.constant(1, "int64")
        ahead = graph.op("Sub", lengths, one)
        last = graph.op("GatherElements", ids, graph.op("Unsqueeze", ahead, graph.ids(1)), axis=1)
        graph.output(f"{MEMORY}last", graph.reshape(last, -1), "int64", ["B"])
        found = self.decoder.read(graph, ids, graph.op("Max", ahead, one))
        begun = graph.op("Unsqueeze", graph.op("Greater", lengths, one), graph.ids(1))
        for name, values in (("hidden", found.hidden), ("cell", found.cell)):
            for layer, value in enumerate(values):
                graph.output(f"{STATE}{name}.{layer}", graph.op("Where", begun, value, graph.number(0.0)), "float32",
                             ["B", self.config.decoder.hidden_size])
        return graph

    def answer(self) -> Graph:
        """A text, and the state of what stood before it → log-probabilities of the symbol behind every position, the
        states, and the last ones, to go on from."""
        graph = self.graph("answer")
        ids = graph.input("main", "int64", ["B", "S"])
        lengths = graph.input("lengths", "int64", ["B"])
        states = {name: graph.input(STATE + name, dtype, ["B", *shape])
                  for name, (dtype, shape) in self.decoder.state_ports().items()}
        before = Before(*([value for name, value in states.items() if name.startswith(part)]
                          for part in ("hidden", "cell")))
        found = self.decoder.read(graph, ids, lengths, before)
        values = graph.bound(graph.op("Transpose", found.outputs, perm=[1, 0, 2]), self.decoder.is_bounded)
        logits = linear(graph, values, *self.weights.linear(OUTPUT), rank=3)
        graph.output("answer", graph.op("LogSoftmax", logits, axis=2), "float32", ["B", "S", self.symbols])
        size = self.config.decoder.hidden_size
        graph.output("states", values, "float32", ["B", "S", size])
        for name, lasts in (("hidden", found.hidden), ("cell", found.cell)):
            for layer, value in enumerate(lasts):
                graph.output(f"{NEXT}{name}.{layer}", value, "float32", ["B", size])
        return graph
