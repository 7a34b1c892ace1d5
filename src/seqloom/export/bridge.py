"""Bridges: from the encoder's last states to the decoder's first. Mirrors nn/bridge.py."""

from __future__ import annotations

from collections.abc import Callable

from seqloom.config.sections import Config
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.encoders import Encoded
from seqloom.export.graph import Graph
from seqloom.export.products import linear
from seqloom.export.weights import DECODER, Weights

# States of every decoder layer [B H]; no cells where the cell has none.
Bridged = tuple[list[str], list[str]]


def _aligned(states: list[str], layers: int) -> list[str]:
    return [states[min(layer, len(states) - 1)] for layer in range(layers)]


def _cell_source(memory: Encoded, config: Config) -> list[str]:
    """The encoder's cell states; its hidden states where it has no cell; nothing where the decoder has none."""
    if not EXPORTED_CELLS[config.decoder.cell].has_cell_state:
        return []
    return memory.cell or memory.hidden


def affine(graph: Graph, memory: Encoded, config: Config, weights: Weights) -> Bridged:
    """See nn.bridge.AffineBridge."""

    def transformed(states: list[str], name: str) -> list[str]:
        if not states:
            return []
        matrix, bias = weights.linear(f"{DECODER}.bridge.{name}")
        known: dict[str, str] = {}
        for state in _aligned(states, config.decoder.layers):
            if state not in known:
                known[state] = graph.bound(graph.op("Tanh", linear(graph, state, matrix, bias)))
        return [known[state] for state in _aligned(states, config.decoder.layers)]

    return transformed(memory.hidden, "hidden"), transformed(_cell_source(memory, config), "cell")


def copy(graph: Graph, memory: Encoded, config: Config, weights: Weights) -> Bridged:
    """See nn.bridge.CopyBridge."""
    cells = _cell_source(memory, config)
    return _aligned(memory.hidden, config.decoder.layers), _aligned(cells, config.decoder.layers) if cells else []


def zero(graph: Graph, memory: Encoded, config: Config, weights: Weights) -> Bridged:
    """See nn.bridge.ZeroBridge."""
    zeros = [graph.zeros(graph.sizes(memory.summary, 0, 1), config.decoder.hidden_size)] * config.decoder.layers
    return zeros, zeros if EXPORTED_CELLS[config.decoder.cell].has_cell_state else []


EXPORTED_BRIDGES: dict[str, Callable[[Graph, Encoded, Config, Weights], Bridged]] = {
    "affine": affine,
    "copy": copy,
    "zero": zero,
}
