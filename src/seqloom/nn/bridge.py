"""Bridges: from the encoder's last states to the decoder's first."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqloom.nn.memory import Memory

BridgedStates = tuple[Float[Tensor, "B L H"], Float[Tensor, "B L H"] | None]


class Bridge(nn.Module):
    """Layer l of the decoder starts from layer l of the encoder, or from its top layer where it has fewer."""

    def __init__(self, memory_size: int, hidden_size: int, layers: int, *, cell_state: bool, memory_cell: bool) -> None:
        super().__init__()
        self.hidden_size, self.layers = hidden_size, layers
        self.cell_state, self.memory_cell = cell_state, memory_cell

    def aligned(self, states: Float[Tensor, "B L N"]) -> Float[Tensor, "B L2 N"]:
        top = states.shape[1] - 1
        return states[:, [min(layer, top) for layer in range(self.layers)]]

    def cell_source(self, memory: Memory) -> Float[Tensor, "B L N"]:
        """The encoder's cell states; its hidden states where it has no cell."""
        return memory.cell if self.memory_cell and memory.cell is not None else memory.hidden


class AffineBridge(Bridge):
    """tanh(W s + b) for the hidden state and, with weights of its own, for the cell (Bahdanau et al. 2015, A.2.2)."""

    def __init__(self, memory_size: int, hidden_size: int, layers: int, *, cell_state: bool, memory_cell: bool) -> None:
        super().__init__(memory_size, hidden_size, layers, cell_state=cell_state, memory_cell=memory_cell)
        self.hidden = nn.Linear(memory_size, hidden_size)
        self.cell = nn.Linear(memory_size, hidden_size) if cell_state else None

    def forward(self, memory: Memory) -> BridgedStates:
        hidden = torch.tanh(self.hidden(self.aligned(memory.hidden)))
        cell = None if self.cell is None else torch.tanh(self.cell(self.aligned(self.cell_source(memory))))
        return hidden, cell


class CopyBridge(Bridge):
    """The states as they are (Sutskever et al. 2014, §2); both sides must have the same size."""

    def forward(self, memory: Memory) -> BridgedStates:
        return self.aligned(memory.hidden), self.aligned(self.cell_source(memory)) if self.cell_state else None


class ZeroBridge(Bridge):
    """Zeros: everything must come through the context."""

    def forward(self, memory: Memory) -> BridgedStates:
        zeros = memory.hidden.new_zeros(memory.hidden.shape[0], self.layers, self.hidden_size)
        return zeros, zeros if self.cell_state else None


BRIDGES: dict[str, type[Bridge]] = {"affine": AffineBridge, "copy": CopyBridge, "zero": ZeroBridge}
