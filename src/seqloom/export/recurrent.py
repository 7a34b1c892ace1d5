"""Layers over time, in one or both directions, and stacks of them. Mirrors nn/recurrent.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqloom.config.sections import EncoderConfig
from seqloom.export.cells import EXPORTED_CELLS, CellWeights, ExportedCell, in_order
from seqloom.export.graph import Graph
from seqloom.export.weights import Weights


class Stacked(NamedTuple):
    """outputs [S B O], zero at padding; last states of every layer [B O]; no cells where the cell has none."""

    outputs: str
    hidden: list[str]
    cell: list[str]


def stack(graph: Graph, inputs: str, lengths: str, config: EncoderConfig, weights: Weights, name: str) -> Stacked:
    """A stack over inputs [S B I] of these lengths [B] int32."""
    cell = EXPORTED_CELLS[config.cell]
    hidden, cells = [], []
    for layer in range(config.layers):
        directions = [CellWeights.of(weights, f"{name}.layers.{layer}.cells.{direction}")
                      for direction in range(1 + config.bidirectional)]
        found = _layer(graph, inputs, lengths, cell, directions)
        hidden.append(found.hidden[0])
        cells += found.cell
        residual = config.residual and layer > 0
        inputs = graph.op("Add", found.outputs, inputs) if residual else found.outputs
    return Stacked(inputs, hidden, cells)


def _layer(graph: Graph, inputs: str, lengths: str, cell: ExportedCell, directions: list[CellWeights]) -> Stacked:
    ordered = [[in_order(part, cell.gates) for part in one] for one in directions]
    arrays = [np.stack([one[0] for one in ordered]), np.stack([one[1] for one in ordered]),
              np.stack([np.concatenate(one[2:]) for one in ordered])]
    constants = [graph.constant(array, name="weight") for array in arrays]
    size, count = directions[0].hidden_size, len(directions)
    attributes = dict(cell.attributes)
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * count
    found = graph.node(cell.operation, inputs, *constants, lengths, outputs=3 if cell.has_cell_state else 2,
                       hidden_size=size, direction="bidirectional" if count > 1 else "forward", **attributes)
    outputs, *last = found
    side_by_side = graph.reshape(graph.op("Transpose", outputs, perm=[0, 2, 1, 3]), 0, 0, count * size)
    states = [graph.reshape(graph.op("Transpose", state, perm=[1, 0, 2]), 0, count * size) for state in last]
    return Stacked(side_by_side, states[:1], states[1:])
