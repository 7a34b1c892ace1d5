"""Recurrent cells: one step, written like the papers. Knows nothing of time, layers, or padding.

A cell splits its step in two. `project` is the part that depends on the input alone, so it can leave the loop over
time; `advance` is the rest. Weights have torch.nn's layout and gate order, hence the same numbers as torch.nn.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class CellState(NamedTuple):
    """State of one cell: hidden [… H], and for the LSTM cell [… H]."""

    hidden: Float[Tensor, "*rows H"]
    cell: Float[Tensor, "*rows H"] | None


class Cell(nn.Module):
    """One step of a recurrent network. G gates stacked in rows, in the order of `gate_names`.

    weight_input [G·H, I], weight_hidden [G·H, H], bias_input [G·H], bias_hidden [G·H].
    """

    gate_names: ClassVar[tuple[str, ...]]
    has_cell_state: ClassVar[bool] = False
    # Added to a gate's pre-activation at a padded position, this makes the step the identity, in value and in
    # gradient (the sigmoid is exactly 0 or 1 there). Empty: the cell has no gate that can hold its state.
    hold: ClassVar[dict[str, float]] = {}

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        rows = len(self.gate_names) * hidden_size
        self.weight_input = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hidden = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_input = nn.Parameter(torch.zeros(rows))
        self.bias_hidden = nn.Parameter(torch.zeros(rows))
        bound = hidden_size**-0.5
        nn.init.uniform_(self.weight_input, -bound, bound)
        nn.init.uniform_(self.weight_hidden, -bound, bound)

    def initial_state(self, *rows: int) -> CellState:
        """Zeros of shape [*rows, H]."""
        zeros = self.weight_hidden.new_zeros(*rows, self.hidden_size)
        return CellState(zeros, zeros if self.has_cell_state else None)

    def project(self, inputs: Float[Tensor, "*rows I"]) -> Float[Tensor, "*rows G"]:
        """The input's part of every gate's pre-activation, input bias included."""
        return functional.linear(inputs, self.weight_input, self.bias_input)

    def gates(self, projected: Float[Tensor, "*rows G"], state: CellState) -> dict[str, Tensor]:
        """Gate values by name, each [*rows, H], after their nonlinearity."""
        raise NotImplementedError

    def advance(self, projected: Float[Tensor, "*rows G"], state: CellState) -> CellState:
        """The next state, given the projected input."""
        raise NotImplementedError

    def forward(self, inputs: Float[Tensor, "*rows I"], state: CellState) -> CellState:
        return self.advance(self.project(inputs), state)

    def hidden_part(self, hidden: Float[Tensor, "*rows H"]) -> Float[Tensor, "*rows G"]:
        """The state's part of every gate's pre-activation, hidden bias included."""
        return functional.linear(hidden, self.weight_hidden, self.bias_hidden)


class LongShortTermMemory(Cell):
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000, eqs. 3-8).

    i = σ(W_i x + U_i h + b_i)    f = σ(W_f x + U_f h + b_f)    g = tanh(W_g x + U_g h + b_g)
    o = σ(W_o x + U_o h + b_o)    c' = f ⊙ c + i ⊙ g            h' = o ⊙ tanh(c')
    """

    gate_names = ("input", "forget", "candidate", "output")
    has_cell_state = True
    hold: ClassVar[dict[str, float]] = {"input": -1e4, "forget": 1e4}

    def gates(self, projected: Float[Tensor, "*rows G"], state: CellState) -> dict[str, Tensor]:
        i, f, g, o = (projected + self.hidden_part(state.hidden)).chunk(4, -1)
        return {"input": i.sigmoid(), "forget": f.sigmoid(), "candidate": g.tanh(), "output": o.sigmoid()}

    def advance(self, projected: Float[Tensor, "*rows G"], state: CellState) -> CellState:
        gate = self.gates(projected, state)
        assert state.cell is not None
        cell = gate["forget"] * state.cell + gate["input"] * gate["candidate"]
        return CellState(gate["output"] * cell.tanh(), cell)


class GatedRecurrentUnit(Cell):
    """Gated recurrent unit (Cho et al. 2014, eqs. 5-8), with the reset gate after the product, as in cuDNN.

    r = σ(W_r x + U_r h + b_r)    z = σ(W_z x + U_z h + b_z)
    n = tanh(W_n x + b_n + r ⊙ (U_n h + b'_n))    h' = (1 − z) ⊙ n + z ⊙ h
    """

    gate_names = ("reset", "update", "candidate")
    hold: ClassVar[dict[str, float]] = {"update": 1e4}

    def gates(self, projected: Float[Tensor, "*rows G"], state: CellState) -> dict[str, Tensor]:
        x_r, x_z, x_n = projected.chunk(3, -1)
        h_r, h_z, h_n = self.hidden_part(state.hidden).chunk(3, -1)
        reset = (x_r + h_r).sigmoid()
        return {"reset": reset, "update": (x_z + h_z).sigmoid(), "candidate": (x_n + reset * h_n).tanh()}

    def advance(self, projected: Float[Tensor, "*rows G"], state: CellState) -> CellState:
        gate = self.gates(projected, state)
        return CellState((1 - gate["update"]) * gate["candidate"] + gate["update"] * state.hidden, None)


class TanhRecurrence(Cell):
    """Simple recurrent network (Elman 1990): h' = tanh(W x + U h + b)."""

    gate_names = ("candidate",)

    def gates(self, projected: Float[Tensor, "*rows G"], state: CellState) -> dict[str, Tensor]:
        return {"candidate": (projected + self.hidden_part(state.hidden)).tanh()}

    def advance(self, projected: Float[Tensor, "*rows G"], state: CellState) -> CellState:
        return CellState(self.gates(projected, state)["candidate"], None)


class ReluRecurrence(TanhRecurrence):
    """Simple recurrent network of rectified linear units (Le et al. 2015, §2): h' = max(0, W x + U h + b)."""

    def gates(self, projected: Float[Tensor, "*rows G"], state: CellState) -> dict[str, Tensor]:
        return {"candidate": (projected + self.hidden_part(state.hidden)).relu()}


CELLS: dict[str, type[Cell]] = {
    "lstm": LongShortTermMemory,
    "gru": GatedRecurrentUnit,
    "rnn_tanh": TanhRecurrence,
    "rnn_relu": ReluRecurrence,
}
