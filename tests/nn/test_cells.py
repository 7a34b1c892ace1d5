"""The contract of CELLS, equality with torch.nn, gates by name, and numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch_layers import CELL_MODULES, NAMES, torch_cell, torch_step

from seqloom.nn.cells import CELLS, Cell, CellState
from tiny import normal, randomise

every_cell = pytest.mark.parametrize("name", CELLS)
torch_cells = pytest.mark.parametrize("name", CELL_MODULES)


def cell_of(name: str, input_size: int = 3, hidden_size: int = 4, seed: int = 1) -> Cell:
    cell = CELLS[name](input_size, hidden_size).double()
    randomise(cell, seed)
    return cell


def state_of(cell: Cell, rows: int, seed: int = 5) -> CellState:
    hidden = normal(rows, cell.hidden_size, seed=seed)
    return CellState(hidden, normal(rows, cell.hidden_size, seed=seed + 1) if cell.has_cell_state else None)


def one_unit(name: str, **weights: list[float]) -> Cell:
    """A cell of one input and one unit with these weights, one number a gate; the others are 0."""
    cell = CELLS[name](1, 1).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        for weight, values in weights.items():
            parameter = getattr(cell, weight)
            parameter.copy_(torch.tensor(values).view(parameter.shape))
    return cell


def number(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


# --- every entry -----------------------------------------------------------------------------------------------------


@every_cell
def test_step_keeps_shapes_for_any_rows(name: str) -> None:
    cell = cell_of(name)
    state = cell.initial_state(2, 5)
    assert state.hidden.shape == (2, 5, 4)
    assert not state.hidden.any()
    assert (state.cell is not None) == cell.has_cell_state
    inputs = normal(2, 5, 3)
    after = cell(inputs, state)
    flat = cell(inputs.view(10, 3), cell.initial_state(10))
    assert torch.equal(after.hidden.view(10, 4), flat.hidden)
    assert (after.cell is not None) == cell.has_cell_state


@every_cell
def test_gates_have_names_and_shapes(name: str) -> None:
    cell = cell_of(name)
    gates = cell.gates(cell.project(normal(5, 3)), state_of(cell, 5))
    assert tuple(gates) == cell.gate_names
    for gate, value in gates.items():
        assert value.shape == (5, 4), gate
        assert gate == "candidate" or (value.min() > 0 and value.max() < 1), gate
    assert cell.weight_input.shape[0] == cell.weight_hidden.shape[0] == 4 * len(gates)


@every_cell
def test_gradient_is_the_numeric_gradient(name: str) -> None:
    cell = cell_of(name, 2, 3)
    state = state_of(cell, 2)
    tensors = [normal(2, 2, seed=7), *(part for part in state if part is not None), *cell.parameters()]
    weights = [weight for weight, _ in cell.named_parameters()]

    def step(inputs: Tensor, hidden: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        before = CellState(hidden, others[0] if cell.has_cell_state else None)
        values = dict(zip(weights, others[cell.has_cell_state:], strict=True))
        after: CellState = torch.func.functional_call(cell, values, (inputs, before))
        return tuple(part for part in after if part is not None)

    assert torch.autograd.gradcheck(step, [tensor.detach().requires_grad_() for tensor in tensors])


@every_cell
def test_every_parameter_gets_a_gradient(name: str) -> None:
    cell = cell_of(name)
    after = cell(normal(5, 3), state_of(cell, 5))
    sum(part.sum() for part in after if part is not None).backward()
    for weight, parameter in cell.named_parameters():
        assert parameter.grad is not None, weight
        assert (parameter.grad != 0).any(), weight


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if cell.hold])
def test_holding_gates_carry_the_state_through(name: str) -> None:
    """What a layer adds at padding makes the step keep the LSTM's cell, the GRU's state."""
    cell = cell_of(name)
    before = state_of(cell, 5)
    hold = torch.tensor([cell.hold.get(gate, 0.0) for gate in cell.gate_names]).repeat_interleave(4)
    after = cell.advance(cell.project(normal(5, 3) * 10) + hold, before)
    if cell.has_cell_state:
        assert torch.equal(after.cell, before.cell)
    else:
        assert torch.equal(after.hidden, before.hidden)


# --- torch.nn --------------------------------------------------------------------------------------------------------


@torch_cells
def test_three_steps_equal_torch_in_value_and_gradient(name: str) -> None:
    cell = cell_of(name, 3, 4)
    theirs = torch_cell(name, cell)
    inputs, direction = normal(3, 5, 3), normal(2, 5, 4)
    state, other = state_of(cell, 5), state_of(cell, 5)
    for t in range(3):
        state, other = cell(inputs[t], state), torch_step(name, theirs, inputs[t], other)
        torch.testing.assert_close(state.hidden, other.hidden, rtol=0, atol=1e-12)
        if cell.has_cell_state:
            torch.testing.assert_close(state.cell, other.cell, rtol=0, atol=1e-12)
    for end in (state, other):
        sum((part * way).sum() for part, way in zip(end, direction, strict=True) if part is not None).backward()
    for ours, name_there in NAMES.items():
        torch.testing.assert_close(getattr(cell, ours).grad, getattr(theirs, name_there).grad, rtol=0, atol=1e-11)


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_cell_state_is_forget_times_before_plus_input_times_candidate() -> None:
    """Gates set by their biases alone: i = 1/2, f = 3/4, g = 1/2, o = 4/5; c = 3/4 · 2 + 1/2 · 1/2 = 7/4."""
    cell = one_unit("lstm", bias_input=[0.0, math.log(3), 0.5 * math.log(3), math.log(4)])
    before = CellState(number(9.0), number(2.0))
    gates = cell.gates(cell.project(number(7.0)), before)
    found = {name: value.item() for name, value in gates.items()}
    assert found == pytest.approx({"input": 0.5, "forget": 0.75, "candidate": 0.5, "output": 0.8})
    after = cell(number(7.0), before)
    assert after.cell is not None
    assert after.cell.item() == pytest.approx(1.75)
    assert after.hidden.item() == pytest.approx(0.8 * 0.9413755, abs=1e-6)  # tanh(1.75)


def test_lstm_step_worked_by_hand() -> None:
    """x = 2, h = -1, c = 0.5; i: σ(2 + 1), f: σ(-1 - 1), g: tanh(1 - 0.5), o: σ(1)."""
    cell = one_unit("lstm", weight_input=[1.0, -0.5, 0.5, 0.0], weight_hidden=[-1.0, 1.0, 0.5, -1.0])
    after = cell(number(2.0), CellState(number(-1.0), number(0.5)))
    assert after.cell is not None
    # 0.1192029 · 0.5 + 0.9525741 · 0.4621172
    assert after.cell.item() == pytest.approx(0.4998021, abs=1e-6)
    # 0.7310586 · tanh(0.4998021)
    assert after.hidden.item() == pytest.approx(0.7310586 * 0.4619615, abs=1e-6)


def test_gru_update_gate_keeps_the_past() -> None:
    """r = 1/2, z = 3/4, n = tanh(0.2 + 1/2 · 0.6) = 0.4621172; h' = 1/4 · n + 3/4 · 2."""
    cell = one_unit("gru", bias_input=[0.0, math.log(3), 0.2], bias_hidden=[0.0, 0.0, 0.6])
    before = CellState(number(2.0), None)
    gates = {name: value.item() for name, value in cell.gates(cell.project(number(7.0)), before).items()}
    assert gates == pytest.approx({"reset": 0.5, "update": 0.75, "candidate": 0.4621172}, abs=1e-6)
    assert cell(number(7.0), before).hidden.item() == pytest.approx(1.6155293, abs=1e-6)


@pytest.mark.parametrize(("name", "x", "expected"), [
    ("rnn_tanh", 2.0, 0.7615942),  # tanh(2 · 1 - 1 · 0.5 - 0.5)
    ("rnn_relu", 2.0, 1.0),
    ("rnn_relu", 0.5, 0.0),  # 0.5 - 0.5 - 0.5 is below 0
])
def test_plain_recurrences_worked_by_hand(name: str, x: float, expected: float) -> None:
    cell = one_unit(name, weight_input=[1.0], weight_hidden=[-1.0], bias_input=[-0.75], bias_hidden=[0.25])
    assert cell(number(x), CellState(number(0.5), None)).hidden.item() == pytest.approx(expected, abs=1e-6)


def test_only_the_lstm_has_a_cell_state() -> None:
    assert [name for name, cell in CELLS.items() if cell.has_cell_state and name in CELL_MODULES] == ["lstm"]
