"""What a source leaves for a head to read, and the network form of padding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqloom.nn.cells import CellState


class Memory(NamedTuple):
    """The encoded source, held once per sentence.

    values: what attention reads; mask: True at real positions; hidden and cell: the encoder's last states, one per
    layer, directions side by side; copy_ids: for a pointer-generator the target id of each source symbol (≥ V: a
    symbol of this sentence only; −1: cannot be copied); keys: what an attention score needs of the values, filled
    in by `Decoder.begin`.
    """

    values: Float[Tensor, "B S M"]
    mask: Bool[Tensor, "B S"]
    hidden: Float[Tensor, "B L N"]
    cell: Float[Tensor, "B L N"] | None = None
    copy_ids: Int[Tensor, "B S"] | None = None
    keys: Float[Tensor, "B S H"] | None = None

    @property
    def summary(self) -> Float[Tensor, "B N"]:
        """The top layer's last state."""
        return self.hidden[:, -1]

    def keep(self, sentences: Int[Tensor, " B2"]) -> Memory:
        """The memory of these sentences only."""
        return Memory._make(None if part is None else part.index_select(0, sentences) for part in self)


def real_positions(lengths: Int[Tensor, " B"], size: int) -> Bool[Tensor, "B S"]:
    """The mask of a padded batch: True where position < length. The only place where masks are made."""
    return torch.arange(size, device=lengths.device).unsqueeze(0) < lengths.unsqueeze(1)


def states_after(memory: Memory | None) -> list[CellState] | None:
    """The states of every layer at the end of a memory, to go on from; None at the beginning."""
    if memory is None:
        return None
    return [CellState(memory.hidden[:, layer].contiguous(),
                      None if memory.cell is None else memory.cell[:, layer].contiguous())
            for layer in range(memory.hidden.shape[1])]
