"""Recurrent cells, as whole-sequence operations of ONNX and as one step made of products. Mirrors nn/cells.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from seqloom.export.graph import Graph
from seqloom.export.products import linear
from seqloom.export.weights import Weights
from seqloom.types import Floats


class CellWeights(NamedTuple):
    """Weights of one cell, gates stacked in rows: inputs [G·H I], hidden [G·H H], biases [G·H]."""

    inputs: Floats
    hidden: Floats
    bias_input: Floats
    bias_hidden: Floats

    @classmethod
    def of(cls, weights: Weights, name: str) -> CellWeights:
        """The weights of a cell by the name of its module."""
        return cls(*(weights.take(f"{name}.{part}")
                     for part in ("weight_input", "weight_hidden", "bias_input", "bias_hidden")))

    @property
    def hidden_size(self) -> int:
        return int(self.hidden.shape[1])


class CellStep(NamedTuple):
    """States after a step [R H]; cell is "" where there is none."""

    hidden: str
    cell: str


class ExportedCell(NamedTuple):
    """operation: of ONNX, over whole sequences; gates: our gates in its order; attributes: further ones of it;
    step: one step [R …] from inputs, hidden state and cell state.
    """

    operation: str
    gates: tuple[int, ...]
    attributes: dict[str, Any]
    step: Callable[[Graph, str, CellStep, CellWeights], CellStep]
    has_cell_state: bool = False


def lstm_step(graph: Graph, inputs: str, state: CellStep, weights: CellWeights) -> CellStep:
    """See nn.cells.LongShortTermMemory. Both products are one, over input and state side by side."""
    gates = linear(graph, graph.join(inputs, state.hidden, axis=1), np.hstack([weights.inputs, weights.hidden]),
                   weights.bias_input + weights.bias_hidden)
    i, f, g, o = graph.node("Split", gates, outputs=4, axis=1, num_outputs=4)
    kept = graph.op("Mul", graph.op("Sigmoid", f), state.cell)
    cell = graph.op("Add", kept, graph.op("Mul", graph.op("Sigmoid", i), graph.op("Tanh", g)))
    return CellStep(graph.op("Mul", graph.op("Sigmoid", o), graph.op("Tanh", cell)), cell)


def gru_step(graph: Graph, inputs: str, state: CellStep, weights: CellWeights) -> CellStep:
    """See nn.cells.GatedRecurrentUnit."""
    from_inputs = linear(graph, inputs, weights.inputs, weights.bias_input)
    from_state = linear(graph, state.hidden, weights.hidden, weights.bias_hidden)
    x_r, x_z, x_n = graph.node("Split", from_inputs, outputs=3, axis=1, num_outputs=3)
    h_r, h_z, h_n = graph.node("Split", from_state, outputs=3, axis=1, num_outputs=3)
    reset = graph.op("Sigmoid", graph.op("Add", x_r, h_r))
    update = graph.op("Sigmoid", graph.op("Add", x_z, h_z))
    new = graph.op("Tanh", graph.op("Add", x_n, graph.op("Mul", reset, h_n)))
    fresh = graph.op("Mul", graph.op("Sub", graph.number(1.0), update), new)
    return CellStep(graph.op("Add", fresh, graph.op("Mul", update, state.hidden)), "")


def plain_step(nonlinearity: str) -> Callable[[Graph, str, CellStep, CellWeights], CellStep]:
    """See nn.cells.TanhRecurrence and ReluRecurrence."""

    def step(graph: Graph, inputs: str, state: CellStep, weights: CellWeights) -> CellStep:
        both = linear(graph, graph.join(inputs, state.hidden, axis=1), np.hstack([weights.inputs, weights.hidden]),
                      weights.bias_input + weights.bias_hidden)
        return CellStep(graph.op(nonlinearity, both), "")

    return step


def in_order(rows: Floats, gates: tuple[int, ...]) -> Floats:
    """Gates stacked in rows [G·H …], in another order."""
    parts = np.split(rows, len(gates))
    return np.concatenate([parts[gate] for gate in gates])


EXPORTED_CELLS: dict[str, ExportedCell] = {
    "lstm": ExportedCell("LSTM", (0, 3, 1, 2), {}, lstm_step, has_cell_state=True),
    "gru": ExportedCell("GRU", (1, 0, 2), {"linear_before_reset": 1}, gru_step),
    "rnn_tanh": ExportedCell("RNN", (0,), {"activations": ["Tanh"]}, plain_step("Tanh")),
    "rnn_relu": ExportedCell("RNN", (0,), {"activations": ["Relu"]}, plain_step("Relu")),
}
