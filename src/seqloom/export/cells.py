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
    step: one step from parts of the input, side by side [R I], and state; advance: the same from inputs that `project`
    made gates of [R G·H]; bounded: hidden states lie between −1 and 1 where the first one does.
    """

    operation: str
    gates: tuple[int, ...]
    attributes: dict[str, Any]
    step: Callable[[Graph, list[str], CellStep, CellWeights], CellStep]
    advance: Callable[[Graph, str, CellStep, CellWeights], CellStep]
    has_cell_state: bool = False
    bounded: bool = True


def _together(graph: Graph, inputs: list[str], state: CellStep, weights: CellWeights) -> str:
    """All gates [R G·H]: both products are one, over input and state side by side."""
    return linear(graph, [*inputs, state.hidden], np.hstack([weights.inputs, weights.hidden]),
                  weights.bias_input + weights.bias_hidden)


def _added(graph: Graph, projected: str, state: CellStep, weights: CellWeights) -> str:
    """All gates [R G·H] from the input's part."""
    return graph.op("Add", projected, linear(graph, state.hidden, weights.hidden, weights.bias_hidden))


def _lstm(graph: Graph, gates: str, state: CellStep) -> CellStep:
    """See nn.cells.LongShortTermMemory."""
    i, f, g, o = graph.node("Split", gates, outputs=4, axis=1, num_outputs=4)
    kept = graph.op("Mul", graph.op("Sigmoid", f), state.cell)
    cell = graph.op("Add", kept, graph.op("Mul", graph.op("Sigmoid", i), graph.op("Tanh", g)))
    return CellStep(graph.bound(graph.op("Mul", graph.op("Sigmoid", o), graph.op("Tanh", cell))), cell)


def lstm_step(graph: Graph, inputs: list[str], state: CellStep, weights: CellWeights) -> CellStep:
    """A step from the inputs."""
    return _lstm(graph, _together(graph, inputs, state, weights), state)


def lstm_advance(graph: Graph, projected: str, state: CellStep, weights: CellWeights) -> CellStep:
    """A step from projected inputs."""
    return _lstm(graph, _added(graph, projected, state, weights), state)


def gru_step(graph: Graph, inputs: list[str], state: CellStep, weights: CellWeights) -> CellStep:
    """A step from the inputs."""
    return gru_advance(graph, project(graph, inputs, weights), state, weights)


def gru_advance(graph: Graph, projected: str, state: CellStep, weights: CellWeights) -> CellStep:
    """A step from projected inputs; see nn.cells.GatedRecurrentUnit."""
    from_state = linear(graph, state.hidden, weights.hidden, weights.bias_hidden)
    x_r, x_z, x_n = graph.node("Split", projected, outputs=3, axis=1, num_outputs=3)
    h_r, h_z, h_n = graph.node("Split", from_state, outputs=3, axis=1, num_outputs=3)
    reset = graph.op("Sigmoid", graph.op("Add", x_r, h_r))
    update = graph.op("Sigmoid", graph.op("Add", x_z, h_z))
    new = graph.op("Tanh", graph.op("Add", x_n, graph.op("Mul", reset, h_n)))
    fresh = graph.op("Mul", graph.op("Sub", graph.number(1.0), update), new)
    hidden = graph.op("Add", fresh, graph.op("Mul", update, state.hidden))
    return CellStep(graph.bound(hidden, state.hidden in graph.bounded), "")


def plain(operation: str) -> ExportedCell:
    """See nn.cells.TanhRecurrence and ReluRecurrence."""

    bounded = operation == "Tanh"

    def step(graph: Graph, inputs: list[str], state: CellStep, weights: CellWeights) -> CellStep:
        return CellStep(graph.bound(graph.op(operation, _together(graph, inputs, state, weights)), bounded), "")

    def advance(graph: Graph, projected: str, state: CellStep, weights: CellWeights) -> CellStep:
        return CellStep(graph.bound(graph.op(operation, _added(graph, projected, state, weights)), bounded), "")

    return ExportedCell("RNN", (0,), {"activations": [operation]}, step, advance, bounded=bounded)


def project(graph: Graph, inputs: str | list[str], weights: CellWeights, *, rank: int = 2) -> str:
    """The input's part of every gate."""
    return linear(graph, inputs, weights.inputs, weights.bias_input, rank=rank)


def in_order(rows: Floats, gates: tuple[int, ...]) -> Floats:
    """Gates stacked in rows [G·H …], in another order."""
    parts = np.split(rows, len(gates))
    return np.concatenate([parts[gate] for gate in gates])


EXPORTED_CELLS: dict[str, ExportedCell] = {
    "lstm": ExportedCell("LSTM", (0, 3, 1, 2), {}, lstm_step, lstm_advance, has_cell_state=True),
    "gru": ExportedCell("GRU", (1, 0, 2), {"linear_before_reset": 1}, gru_step, gru_advance),
    "rnn_tanh": plain("Tanh"),
    "rnn_relu": plain("Relu"),
}
