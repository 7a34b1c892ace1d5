"""Recurrent cells step by step in work buffers, forward and backward, without autograd.

`forward` and `backward` of a kernel do once what all steps share and return the function of one step. The backward
pass of every cell is the gradient of the new state times numbers that are known before the loop: they are made for
all steps at once, so that a step has little left but its products. Notation of `nn/cells.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from seqloom.nn.cells import Cell, GatedRecurrentUnit, LongShortTermMemory, ReluRecurrence, TanhRecurrence
from seqloom.nn.kernels.primitives import (
    add_product,
    copy_to,
    set_product,
    sigmoid_backward,
    tanh_,
    tanh_backward,
    tanh_of_sigmoid_,
)

# One step, by its number.
Step = Callable[[int], None]


class CellWork(NamedTuple):
    """Buffers of one layer over T steps; what starts at the state before the first step has T + 1 rows.

    gates: pre-activations before a step, gate values after; operand: `hidden` as the products read it; cell: c of
    the LSTM; extra: LSTM: tanh(c); GRU: U_n h + b'_n.
    """

    gates: Float[Tensor, "T B G"]
    hidden: Float[Tensor, "T1 B H"]
    operand: Float[Tensor, "T1 B H"]
    cell: Float[Tensor, "T1 B H"] | None
    extra: Float[Tensor, "T B H"] | None
    weight_hidden: Float[Tensor, "G H"]
    bias_hidden: Float[Tensor, " G"]


class CellGradient(NamedTuple):
    """Gradients of one layer. gates [T B D]: of the D pre-activations of each step; operand: as the products read it.

    hidden, cell [B H]: of the state; before step t's function is called of the state after it, afterwards of the one
    before it.
    """

    gates: Float[Tensor, "T B D"]
    operand: Float[Tensor, "T B D"]
    hidden: Float[Tensor, "B H"]
    cell: Float[Tensor, "B H"] | None


class CellKernel:
    """Base of the kernels. `columns`: blocks of size H in the gradient; blocks `below` belong to the input's product.

    Pairs in `recurrent` say which blocks of rows of weight_hidden belong to which blocks of the gradient.
    """

    has_extra: ClassVar[bool] = False
    gates: ClassVar[int] = 1
    columns: ClassVar[int] = 1
    below: ClassVar[tuple[int, int]] = (0, 1)
    recurrent: ClassVar[tuple[tuple[tuple[int, int], tuple[int, int]], ...]] = (((0, 1), (0, 1)),)

    def bias(self, bias_input: Float[Tensor, " G"], bias_hidden: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
        """What the pre-activations hold before anything else."""
        return bias_input + bias_hidden

    def forward(self, work: CellWork) -> Step:
        """Step t: from work.hidden[t] and the input's part, in work.gates[t], to work.hidden[t + 1]."""
        raise NotImplementedError

    def backward(self, work: CellWork, gradient: CellGradient) -> Step:
        """Step t: fills gradient.gates[t]; takes gradient.hidden and .cell from the state after to the one before."""
        raise NotImplementedError


class LongShortTermMemoryKernel(CellKernel):
    """Gates i, f, g, o."""

    has_extra = True
    gates = columns = 4
    below = (0, 4)
    recurrent = (((0, 4), (0, 4)),)

    def forward(self, work: CellWork) -> Step:
        assert work.cell is not None
        assert work.extra is not None
        weight, one = work.weight_hidden.t(), work.gates.new_full((), -1.0)
        gates, hidden, operand = work.gates.unbind(0), work.hidden.unbind(0), work.operand.unbind(0)
        i, f, g, o = (gate.unbind(0) for gate in work.gates.chunk(4, 2))
        cell, tanh_cell = work.cell.unbind(0), work.extra.unbind(0)
        low = work.operand.dtype != work.hidden.dtype

        def step(t: int) -> None:
            add_product(gates[t], operand[t], weight)
            g[t].mul_(2)  # so that one call of sigmoid serves all gates
            gates[t].sigmoid_()
            tanh_of_sigmoid_(g[t], one)
            torch.mul(f[t], cell[t], out=cell[t + 1])
            cell[t + 1].addcmul_(i[t], g[t])
            torch.mul(cell[t + 1], 2, out=tanh_cell[t])
            tanh_of_sigmoid_(tanh_cell[t].sigmoid_(), one)
            torch.mul(o[t], tanh_cell[t], out=hidden[t + 1])
            if low:
                operand[t + 1].copy_(hidden[t + 1])

        return step

    def backward(self, work: CellWork, gradient: CellGradient) -> Step:
        assert work.cell is not None
        assert work.extra is not None
        assert gradient.cell is not None
        i, f, g, o = work.gates.chunk(4, 2)
        to_cell = torch.empty_like(work.extra)
        of_i, of_f, of_g, of_o = gradient.gates.chunk(4, 2)
        sigmoid_backward(g, i, grad_input=of_i)
        sigmoid_backward(work.cell[:-1], f, grad_input=of_f)
        tanh_backward(i, g, grad_input=of_g)
        sigmoid_backward(work.extra, o, grad_input=of_o)
        tanh_backward(o, work.extra, grad_input=to_cell)
        T, B, H = work.extra.shape
        weight, low = work.weight_hidden, gradient.operand.dtype != gradient.gates.dtype
        from_cell = gradient.gates.view(T, B, 4, H)[:, :, :3].unbind(0)
        gates, operand = gradient.gates.unbind(0), gradient.operand.unbind(0)
        output, forget, through = of_o.unbind(0), f.unbind(0), to_cell.unbind(0)
        of_hidden, of_cell = gradient.hidden, gradient.cell
        of_cell_each = of_cell.unsqueeze(1)

        def step(t: int) -> None:
            of_cell.addcmul_(of_hidden, through[t])
            from_cell[t].mul_(of_cell_each)
            output[t].mul_(of_hidden)
            of_cell.mul_(forget[t])
            if low:
                operand[t].copy_(gates[t])
            set_product(of_hidden, operand[t], weight)

        return step


class GatedRecurrentUnitKernel(CellKernel):
    """Gates r, z, n; the gradient's blocks are U_n h + b'_n, r, z, n."""

    has_extra = True
    gates = 3
    columns = 4
    below = (1, 4)
    recurrent = (((0, 2), (1, 3)), ((2, 3), (0, 1)))

    def bias(self, bias_input: Float[Tensor, " G"], bias_hidden: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
        bias = bias_input + bias_hidden
        candidate = bias.shape[0] // 3 * 2
        bias[candidate:] = bias_input[candidate:]  # r ⊙ stands before the hidden one
        return bias

    def forward(self, work: CellWork) -> Step:
        assert work.extra is not None
        H = work.hidden.shape[2]
        to_gates, to_candidate = work.weight_hidden[: 2 * H].t(), work.weight_hidden[2 * H :].t()
        bias, one = work.bias_hidden[2 * H :].expand_as(work.extra[0]), work.gates.new_full((), -1.0)
        gates, candidate = work.gates[:, :, : 2 * H].unbind(0), work.gates[:, :, 2 * H :].unbind(0)
        reset, update = (gate.unbind(0) for gate in work.gates[:, :, : 2 * H].chunk(2, 2))
        hidden, operand, from_hidden = work.hidden.unbind(0), work.operand.unbind(0), work.extra.unbind(0)
        low = work.operand.dtype != work.hidden.dtype

        def step(t: int) -> None:
            add_product(gates[t], operand[t], to_gates)
            from_hidden[t].copy_(bias)
            add_product(from_hidden[t], operand[t], to_candidate)
            gates[t].sigmoid_()
            candidate[t].addcmul_(reset[t], from_hidden[t])
            tanh_(candidate[t], one)
            torch.lerp(candidate[t], hidden[t], update[t], out=hidden[t + 1])  # n + z (h − n)
            if low:
                operand[t + 1].copy_(hidden[t + 1])

        return step

    def backward(self, work: CellWork, gradient: CellGradient) -> Step:
        assert work.extra is not None
        reset, update, candidate = work.gates.chunk(3, 2)
        of_hidden_part, of_reset, of_update, of_candidate = gradient.gates.chunk(4, 2)
        tanh_backward(1 - update, candidate, grad_input=of_candidate)
        sigmoid_backward(work.hidden[:-1] - candidate, update, grad_input=of_update)
        sigmoid_backward(of_candidate * work.extra, reset, grad_input=of_reset)
        torch.mul(of_candidate, reset, out=of_hidden_part)
        T, B, H = work.extra.shape
        from_gates, from_candidate = work.weight_hidden[: 2 * H], work.weight_hidden[2 * H :]
        blocks, low = gradient.gates.view(T, B, 4, H).unbind(0), gradient.operand.dtype != gradient.gates.dtype
        gates, operand, keep = gradient.gates.unbind(0), gradient.operand.unbind(0), update.unbind(0)
        operand_candidate = gradient.operand[:, :, :H].unbind(0)
        operand_gates = gradient.operand[:, :, H : 3 * H].unbind(0)
        of_hidden = gradient.hidden
        of_hidden_each = of_hidden.unsqueeze(1)

        def step(t: int) -> None:
            blocks[t].mul_(of_hidden_each)
            of_hidden.mul_(keep[t])
            if low:
                operand[t].copy_(gates[t])
            add_product(of_hidden, operand_gates[t], from_gates)
            add_product(of_hidden, operand_candidate[t], from_candidate)

        return step


class TanhRecurrenceKernel(CellKernel):
    """h' = tanh(pre-activation)."""

    def activate(self, pre_activation: Tensor, hidden: Tensor, minus_one: Tensor) -> None:
        torch.mul(pre_activation, 2, out=hidden)
        tanh_of_sigmoid_(hidden.sigmoid_(), minus_one)

    def derivative(self, hidden: Tensor) -> Tensor:
        return torch.addcmul(hidden.new_ones(()), hidden, hidden, value=-1)

    def forward(self, work: CellWork) -> Step:
        weight, one = work.weight_hidden.t(), work.gates.new_full((), -1.0)
        gates, hidden, operand = work.gates.unbind(0), work.hidden.unbind(0), work.operand.unbind(0)

        def step(t: int) -> None:
            add_product(gates[t], operand[t], weight)
            self.activate(gates[t], hidden[t + 1], one)
            copy_to(operand[t + 1], hidden[t + 1])

        return step

    def backward(self, work: CellWork, gradient: CellGradient) -> Step:
        slopes = self.derivative(work.hidden[1:]).unbind(0)
        gates, operand = gradient.gates.unbind(0), gradient.operand.unbind(0)

        def step(t: int) -> None:
            torch.mul(gradient.hidden, slopes[t], out=gates[t])
            copy_to(operand[t], gates[t])
            set_product(gradient.hidden, operand[t], work.weight_hidden)

        return step


class ReluRecurrenceKernel(TanhRecurrenceKernel):
    """h' = max(0, pre-activation)."""

    def activate(self, pre_activation: Tensor, hidden: Tensor, minus_one: Tensor) -> None:
        torch.clamp(pre_activation, min=0, out=hidden)

    def derivative(self, hidden: Tensor) -> Tensor:
        return (hidden > 0).to(hidden.dtype)


KERNELS: dict[type[Cell], CellKernel] = {
    LongShortTermMemory: LongShortTermMemoryKernel(),
    GatedRecurrentUnit: GatedRecurrentUnitKernel(),
    TanhRecurrence: TanhRecurrenceKernel(),
    ReluRecurrence: ReluRecurrenceKernel(),
}
