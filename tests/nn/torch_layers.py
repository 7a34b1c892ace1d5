"""torch.nn's recurrent layers with the weights of ours: the truth from outside for cells and layers over time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seqloom.nn.cells import Cell, CellState
from seqloom.nn.recurrent import RecurrentStack

CELL_MODULES: dict[str, Any] = {
    "lstm": nn.LSTMCell,
    "gru": nn.GRUCell,
    "rnn_tanh": nn.RNNCell,
    "rnn_relu": lambda *sizes, **options: nn.RNNCell(*sizes, nonlinearity="relu", **options),
}
LAYER_MODULES: dict[str, Any] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn_tanh": nn.RNN,
    "rnn_relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
NAMES = {"weight_input": "weight_ih", "weight_hidden": "weight_hh", "bias_input": "bias_ih", "bias_hidden": "bias_hh"}


def torch_cell(name: str, cell: Cell) -> nn.Module:
    """torch.nn's cell with the weights of `cell`."""
    theirs: nn.Module = CELL_MODULES[name](cell.input_size, cell.hidden_size, dtype=torch.float64)
    with torch.no_grad():
        for ours, other in NAMES.items():
            getattr(theirs, other).copy_(getattr(cell, ours))
    return theirs


def torch_step(name: str, theirs: nn.Module, inputs: Tensor, state: CellState) -> CellState:
    """One step of torch.nn's cell."""
    if name == "lstm":
        return CellState(*theirs(inputs, (state.hidden, state.cell)))
    return CellState(theirs(inputs, state.hidden), None)


def torch_layers(name: str, stack: RecurrentStack, input_size: int) -> nn.Module:
    """torch.nn's stack of layers with the weights of `stack`."""
    first = stack.layers[0].cells[0]
    theirs: nn.Module = LAYER_MODULES[name](
        input_size, first.hidden_size, num_layers=len(stack.layers), bidirectional=len(stack.layers[0].cells) == 2,
        batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for other, ours in shared_weights(stack).items():
            getattr(theirs, other).copy_(ours)
    return theirs


def shared_weights(stack: RecurrentStack) -> dict[str, Tensor]:
    """Our weights by torch.nn's names: weight_ih_l0, weight_ih_l0_reverse, …"""
    return {f"{other}_l{number}{'_reverse' if direction else ''}": getattr(cell, ours)
            for number, layer in enumerate(stack.layers)
            for direction, cell in enumerate(layer.cells)
            for ours, other in NAMES.items()}
