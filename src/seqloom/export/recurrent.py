"""Layers over time, in one or both directions, and stacks of them. Mirrors nn/recurrent.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqloom.config.sections import EncoderConfig
from seqloom.export.cells import EXPORTED_CELLS, CellStep, CellWeights, ExportedCell, in_order, project
from seqloom.export.graph import Graph
from seqloom.export.weights import Weights


class Before(NamedTuple):
    """States of every layer [B H] after what stood before, in one direction: where the layers go on from."""

    hidden: list[str]
    cell: list[str]

    def of(self, layer: int, cell: ExportedCell) -> CellStep:
        """The state of one layer."""
        return CellStep(self.hidden[layer], self.cell[layer] if cell.has_cell_state else "")


class Stacked(NamedTuple):
    """outputs [S B O], zero at padding; last states of every layer [B O]; no cells where the cell has none."""

    outputs: str
    hidden: list[str]
    cell: list[str]


def stack(graph: Graph, inputs: str, lengths: str, mask: str, config: EncoderConfig, weights: Weights,
          name: str, before: Before | None = None) -> Stacked:
    """A stack over inputs [S B I] of these lengths [B] int32, with mask [S B 1]; without `before` from zeros."""
    hidden, cells = [], []
    for layer in range(config.layers):
        found = one_layer(graph, inputs, lengths, mask, config, weights, name, layer, before)
        hidden.append(found.hidden[0])
        cells += found.cell
        residual = config.residual and layer > 0
        inputs = graph.op("Add", found.outputs, inputs) if residual else found.outputs
    return Stacked(inputs, hidden, cells)


def one_layer(graph: Graph, inputs: str, lengths: str, mask: str, config: EncoderConfig, weights: Weights, name: str,
              number: int, before: Before | None = None) -> Stacked:
    """Layer `number` of a stack, over inputs as `stack` has them."""
    cell = EXPORTED_CELLS[config.cell]
    directions = [CellWeights.of(weights, f"{name}.layers.{number}.cells.{direction}")
                  for direction in range(1 + config.bidirectional)]
    start = None if before is None else before.of(number, cell)
    return _scan(graph, inputs, mask, cell, directions, f"layer{number}_", start) if graph.int8 else \
        _layer(graph, inputs, lengths, cell, directions, start)


def _layer(graph: Graph, inputs: str, lengths: str, cell: ExportedCell, directions: list[CellWeights],
           start: CellStep | None) -> Stacked:
    ordered = [[in_order(part, cell.gates) for part in one] for one in directions]
    arrays = [np.stack([one[0] for one in ordered]), np.stack([one[1] for one in ordered]),
              np.stack([np.concatenate(one[2:]) for one in ordered])]
    constants = [graph.constant(array, name="weight") for array in arrays]
    size, count = directions[0].hidden_size, len(directions)
    attributes = dict(cell.attributes)
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * count
    first = [] if start is None else [graph.op("Unsqueeze", state, graph.ids(0)) for state in start if state]
    found = graph.node(cell.operation, inputs, *constants, lengths, *first, outputs=3 if cell.has_cell_state else 2,
                       hidden_size=size, direction="bidirectional" if count > 1 else "forward", **attributes)
    outputs, *last = found
    side_by_side = graph.reshape(graph.op("Transpose", outputs, perm=[0, 2, 1, 3]), 0, 0, count * size)
    states = [graph.reshape(graph.op("Transpose", state, perm=[1, 0, 2]), 0, count * size) for state in last]
    return Stacked(side_by_side, states[:1], states[1:])


def _scan(graph: Graph, inputs: str, mask: str, cell: ExportedCell, directions: list[CellWeights],
          prefix: str, start: CellStep | None) -> Stacked:
    """One layer as a loop over time of our own: ONNX has no recurrent operation in whole numbers with a scale a row.

    The inputs' products leave the loop; both directions go through it together. Padding carries the state through.
    """
    size, count = directions[0].hidden_size, len(directions)
    body = Graph(prefix.rstrip("_"), parent=graph)
    prefix = body.prefix
    parts = ("hidden", "cell") if cell.has_cell_state else ("hidden",)
    states = [CellStep(*(body.input(f"{prefix}{part}_{way}", "float32", ["B", size]) for part in parts),
                       *(() if cell.has_cell_state else ("",))) for way in range(count)]
    for state in states:
        body.bound(state.hidden, cell.bounded)
    projected = [body.input(f"{prefix}gates_{way}", "float32", ["B", len(one.inputs)])
                 for way, one in enumerate(directions)]
    real = [body.input(f"{prefix}real_{way}", "bool", ["B", 1]) for way in range(count)]
    outputs = []
    for way, (state, one) in enumerate(zip(states, directions, strict=True)):
        after = cell.advance(body, projected[way], state, one)
        for part, new, old in zip(parts, after, state, strict=False):
            kept = body.op("Where", real[way], new, old)
            body.output(f"{prefix}next_{part}_{way}", kept, "float32", ["B", size])
            outputs += [kept] if part == "hidden" else []
    for way, value in enumerate(outputs):
        body.output(f"{prefix}output_{way}", value, "float32", ["B", size])
    gates = [project(graph, inputs, one, rank=3) for one in directions]
    first = [graph.zeros(graph.sizes(gates[0], 1, 2), size)] * (count * len(parts)) if start is None else \
        [state for state in start if state]
    found = graph.node(
        "Scan", *first, *gates, *[mask] * count, outputs=count * (len(parts) + 1), body=body,
        num_scan_inputs=2 * count, scan_input_directions=[*range(count)] * 2, scan_output_directions=[*range(count)])
    last, steps = found[: count * len(parts)], found[count * len(parts):]
    zero = graph.bound(graph.op("Where", mask, graph.join(*steps, axis=2), graph.number(0.0)), cell.bounded)
    hidden, cells = (graph.join(*last[start::len(parts)], axis=1) if start < len(parts) else "" for start in (0, 1))
    return Stacked(zero, [graph.bound(hidden, cell.bounded)], [cells] if cells else [])
