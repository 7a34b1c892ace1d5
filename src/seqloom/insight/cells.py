"""Recurrent cells in NumPy, one step of one sentence, with every gate kept; and a layer of them over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqloom.insight.weights import Weights
from seqloom.types import Floats


class CellStep(NamedTuple):
    """Gates by name, hidden state and, for the LSTM, cell state after one step, each [H]."""

    gates: dict[str, Floats]
    hidden: Floats
    cell: Floats | None


class Layer(NamedTuple):
    """A layer over S positions: gates by name [S H], hidden [S H], cell [S H]; past the end the state is carried."""

    gates: dict[str, Floats]
    hidden: Floats
    cell: Floats | None


# (the input's part [G·H], the state's part [G·H], hidden [H], cell [H]) → step
Rule = Callable[[Floats, Floats, Floats, Floats | None], CellStep]


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(−x)), written so that exp cannot overflow."""
    result: Floats = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result


def long_short_term_memory(x: Floats, h: Floats, hidden: Floats, cell: Floats | None) -> CellStep:
    """Hochreiter & Schmidhuber 1997; Gers et al. 2000, eqs. 3-8: c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c')."""
    assert cell is not None
    i, f, g, o = np.split(x + h, 4)
    gates = {"input": sigmoid(i), "forget": sigmoid(f), "candidate": np.tanh(g), "output": sigmoid(o)}
    after = gates["forget"] * cell + gates["input"] * gates["candidate"]
    return CellStep(gates, gates["output"] * np.tanh(after), after)


def gated_recurrent_unit(x: Floats, h: Floats, hidden: Floats, cell: Floats | None) -> CellStep:
    """Cho et al. 2014, eqs. 5-8, reset after the product: h' = (1 − z) ⊙ n + z ⊙ h."""
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(x, 3), np.split(h, 3)
    reset, update = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    candidate = np.tanh(x_n + reset * h_n)
    gates = {"reset": reset, "update": update, "candidate": candidate}
    return CellStep(gates, (1 - update) * candidate + update * hidden, None)


def tanh_recurrence(x: Floats, h: Floats, hidden: Floats, cell: Floats | None) -> CellStep:
    """Elman 1990: h' = tanh(W x + U h + b)."""
    after = np.tanh(x + h)
    return CellStep({"candidate": after}, after, None)


def relu_recurrence(x: Floats, h: Floats, hidden: Floats, cell: Floats | None) -> CellStep:
    """Le et al. 2015, §2: h' = max(0, W x + U h + b)."""
    after = np.maximum(x + h, 0.0)
    return CellStep({"candidate": after}, after, None)


RULES: dict[str, Rule] = {
    "lstm": long_short_term_memory,
    "gru": gated_recurrent_unit,
    "rnn_tanh": tanh_recurrence,
    "rnn_relu": relu_recurrence,
}


def advance(weights: Weights, name: str, kind: str, inputs: Floats, hidden: Floats, cell: Floats | None) -> CellStep:
    """One step of the cell whose weights begin with `name`."""
    x = weights.take(f"{name}.weight_input") @ inputs + weights.take(f"{name}.bias_input")
    h = weights.take(f"{name}.weight_hidden") @ hidden + weights.take(f"{name}.bias_hidden")
    return RULES[kind](x, h, hidden, cell)


def scan(weights: Weights, name: str, kind: str, inputs: Floats, length: int, *, backward: bool = False) -> Layer:
    """A cell over inputs [S I], of which `length` are real; at padding the state is carried through unchanged."""
    x = inputs @ weights.take(f"{name}.weight_input").T + weights.take(f"{name}.bias_input")
    recurrent, bias = weights.take(f"{name}.weight_hidden"), weights.take(f"{name}.bias_hidden")
    size, S = recurrent.shape[1], len(inputs)
    hidden: Floats = np.zeros(size)
    cell: Floats | None = np.zeros(size) if kind == "lstm" else None
    states, cells = np.zeros((S, size)), np.zeros((S, size))
    gates: dict[str, Floats] = {}
    for s in reversed(range(S)) if backward else range(S):
        if s < length:
            step = RULES[kind](x[s], recurrent @ hidden + bias, hidden, cell)
            hidden, cell = step.hidden, step.cell
            for gate, values in step.gates.items():
                gates.setdefault(gate, np.full((S, size), np.nan))[s] = values
        states[s] = hidden
        if cell is not None:
            cells[s] = cell
    return Layer(gates, states, None if cell is None else cells)
