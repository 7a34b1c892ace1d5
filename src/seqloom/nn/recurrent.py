"""Cells over time: a layer, in one or both directions, and a stack of layers.

Padding carries the state through: at a position past a row's end the state stays what it was, so the last state of a
row is the state after its last real position, and the backward direction starts there. `scan` is the plain
reference; `fused` gives the same numbers through torch's whole-sequence kernels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqloom.config.sections import DecoderConfig, EncoderConfig
from seqloom.nn.cells import CELLS, Cell, CellState
from seqloom.nn.dropout import drop, drop_weights
from seqloom.nn.kernels.static import is_static


class Recurrent(NamedTuple):
    """outputs [B S D·H], zero at padding; hidden and cell: last states, directions side by side [B L D·H]."""

    outputs: Float[Tensor, "B S O"]
    hidden: Float[Tensor, "B L O"]
    cell: Float[Tensor, "B L O"] | None


def scan(cell: Cell, inputs: Float[Tensor, "B S I"], mask: Bool[Tensor, "B S"], state: CellState,
         *, backward: bool = False) -> tuple[Float[Tensor, "B S H"], CellState]:
    """The reference: one cell step after another; where the mask is False the state is carried through."""
    projected = cell.project(inputs)
    outputs: list[Tensor] = [inputs.new_empty(0)] * inputs.shape[1]
    for s in reversed(range(inputs.shape[1])) if backward else range(inputs.shape[1]):
        stepped = cell.advance(projected[:, s], state)
        real = mask[:, s, None]
        state = CellState(
            torch.where(real, stepped.hidden, state.hidden),
            None if stepped.cell is None or state.cell is None else torch.where(real, stepped.cell, state.cell))
        outputs[s] = state.hidden
    return torch.stack(outputs, 1), state


_FUSED = {"LongShortTermMemory": torch.lstm, "GatedRecurrentUnit": torch.gru,
          "TanhRecurrence": torch.rnn_tanh, "ReluRecurrence": torch.rnn_relu}


def whole_sequence_refusal(layer: RecurrentLayer) -> str:
    """Why a layer goes step by step, for people; empty where one call serves."""
    cell = type(layer.cells[0]).__name__
    if layer.plain:
        return "built with plain=True"
    return "" if cell in _FUSED else f"there is no kernel for the cell {cell}"


def _flat_weights(cell: Cell, padded: bool) -> list[Tensor]:
    """Weights in the order of torch's kernels; with a further input column that holds the state at padding."""
    weight_input: Tensor = cell.weight_input
    if padded:
        column = weight_input.new_zeros(len(cell.gate_names), cell.hidden_size)
        for name, value in cell.hold.items():
            column[cell.gate_names.index(name)].fill_(value)
        weight_input = torch.cat([weight_input, column.view(-1, 1)], 1)
    return [weight_input, cell.weight_hidden, cell.bias_input, cell.bias_hidden]


def fused(cells: list[Cell], inputs: Float[Tensor, "B S I"], mask: Bool[Tensor, "B S"],
          state: CellState | None = None) -> tuple[Float[Tensor, "B S O"], CellState]:
    """Both directions in one call over the whole sequence; last states [B D·H].

    A gated cell reads one more input that is 1 at padding, with a fixed weight that shuts the input gate and opens
    the forget gate (LSTM) or opens the update gate (GRU): the state is then carried through, exactly for the LSTM's
    cell and to rounding for the GRU, without packing. Plain recurrent cells have no such gate and are packed.
    An initial `state` [B H] is possible in one direction only.
    """
    B, bidirectional = inputs.shape[0], len(cells) == 2
    padded = is_static() or not bool(mask.all())
    kernel: Any = _FUSED[type(cells[0]).__name__]  # four overloaded functions with one order of arguments
    first = cells[0]
    zeros = inputs.new_zeros(len(cells), B, first.hidden_size)
    initial = [zeros] if state is None else [state.hidden.unsqueeze(0)]
    if first.has_cell_state:
        initial.append(zeros if state is None or state.cell is None else state.cell.unsqueeze(0))
    start: Any = tuple(initial) if first.has_cell_state else initial[0]
    lengths = mask.sum(1)
    if padded and not first.hold:
        weights = [w for cell in cells for w in _flat_weights(cell, False)]
        packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        start = start.index_select(1, packed.sorted_indices)
        data, hidden = kernel(packed.data, packed.batch_sizes, start, weights, True, 1, 0.0, False, bidirectional)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(
            nn.utils.rnn.PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices),
            batch_first=True, total_length=inputs.shape[1])
        return outputs, CellState(_side_by_side(hidden.index_select(1, packed.unsorted_indices)), None)
    weights = [w for cell in cells for w in _flat_weights(cell, padded)]
    if padded:
        inputs = torch.cat([inputs, (~mask).to(inputs.dtype).unsqueeze(2)], 2)
    # Without the flag for training the CPU kernel keeps nothing for the backward pass.
    result = kernel(inputs, start, weights, True, 1, 0.0, torch.is_grad_enabled(), bidirectional, True)
    outputs, last = result[0], result[1]
    if padded:  # the hidden state of the LSTM is o ⊙ tanh(c), so its last one is read where the row ends
        end = (lengths - 1).clamp(min=0).view(B, 1, 1).expand(B, 1, first.hidden_size)
        forward_last = outputs[..., : first.hidden_size].gather(1, end).squeeze(1)
        last = torch.cat([forward_last.unsqueeze(0), last[1:]], 0)
        outputs = outputs * mask.unsqueeze(2).to(outputs.dtype)
    return outputs, CellState(_side_by_side(last), _side_by_side(result[2]) if first.has_cell_state else None)


def _side_by_side(states: Float[Tensor, "D B H"]) -> Float[Tensor, "B O"]:
    return states.transpose(0, 1).reshape(states.shape[1], -1)


class RecurrentLayer(nn.Module):
    """One layer over time, in one or both directions. `plain` runs the reference instead of the fused kernel."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, *, bidirectional: bool,
                 plain: bool = False, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.cells = nn.ModuleList([CELLS[cell](input_size, hidden_size) for _ in range(1 + bidirectional)])
        self.output_size = hidden_size * len(self.cells)
        self.plain = plain
        self.weight_dropout = weight_dropout

    def drawn(self) -> list[Cell]:
        """The cell of each direction; in training with the recurrent weights that dropout leaves."""
        cells: list[Cell] = list(self.cells)  # type: ignore[arg-type]
        return [drop_weights(cell, self.weight_dropout, self.training) for cell in cells]

    def forward(self, inputs: Float[Tensor, "B S I"], mask: Bool[Tensor, "B S"],
                state: CellState | None = None) -> tuple[Float[Tensor, "B S O"], CellState]:
        cells = self.drawn()
        if not whole_sequence_refusal(self):
            return fused(cells, inputs, mask, state)
        results = [scan(cell, inputs, mask, state or cell.initial_state(inputs.shape[0]), backward=backward)
                   for cell, backward in zip(cells, (False, True), strict=False)]
        outputs = torch.cat([outputs for outputs, _ in results], 2) * mask.unsqueeze(2).to(inputs.dtype)
        cell_states = [last.cell for _, last in results if last.cell is not None]
        return outputs, CellState(torch.cat([last.hidden for _, last in results], 1),
                                  torch.cat(cell_states, 1) if cell_states else None)


class RecurrentStack(nn.Module):
    """Layers on top of each other, with dropout between them and, from the second on, residual connections."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, *, layers: int = 1, bidirectional: bool = False,
                 dropout: float = 0.0, residual: bool = False, plain: bool = False, variational: bool = False,
                 weight_dropout: float = 0.0) -> None:
        """variational, weight_dropout: see nn/dropout.py."""
        super().__init__()
        directions = 1 + bidirectional
        sizes = [input_size] + [hidden_size * directions] * (layers - 1)
        self.layers = nn.ModuleList(
            [RecurrentLayer(cell, size, hidden_size, bidirectional=bidirectional, plain=plain,
                            weight_dropout=weight_dropout) for size in sizes])
        self.output_size = hidden_size * directions
        self.dropout = dropout
        self.variational = variational
        self.residual = residual

    @classmethod
    def configured(cls, options: EncoderConfig | DecoderConfig, input_size: int, *, plain: bool = False
                   ) -> RecurrentStack:
        """The stack of an encoder or decoder."""
        return cls(options.cell, input_size, options.hidden_size, layers=options.layers,
                   bidirectional=isinstance(options, EncoderConfig) and options.bidirectional, dropout=options.dropout,
                   residual=options.residual, plain=plain, variational=options.variational_dropout,
                   weight_dropout=options.weight_dropout)

    def forward(self, inputs: Float[Tensor, "B S I"], mask: Bool[Tensor, "B S"],
                states: list[CellState] | None = None) -> Recurrent:
        """`states`: the initial state of each layer [B H]; zeros when None."""
        hidden, cells = [], []
        for index, layer in enumerate(self.layers):
            if index:
                inputs = drop(inputs, self.dropout, self.training, variational=self.variational)
            outputs, last = layer(inputs, mask, states[index] if states else None)
            hidden.append(last.hidden)
            cells.append(last.cell)
            inputs = outputs + inputs if self.residual and index else outputs
        kept = [cell for cell in cells if cell is not None]
        return Recurrent(inputs, torch.stack(hidden, 1), torch.stack(kept, 1) if kept else None)
