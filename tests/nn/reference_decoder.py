"""A decoder written from the papers: one sentence, no padding, one step after another, with torch.nn's cells.

Bahdanau et al. 2015 (query previous), Luong et al. 2015 (query current), Cho et al. 2014 (every step), Sutskever et al.
2014 (initial), See et al. 2017 (coverage, copy gate); sparse weights by the package entmax, local-p attention by Luong
et al. 2015, §3.2. It takes weights by name and none of our code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import entmax
import torch
from torch import Tensor, nn

NORMALIZATIONS: dict[str, Any] = {"sparsemax": entmax.sparsemax, "entmax15": entmax.entmax15, "softmax": lambda scores,
                                  dim: scores.exp() / scores.exp().sum(dim)}
CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn_tanh": nn.RNNCell}


@dataclass
class Trace:
    """What happened at each step: outputs [O], weights [S], copy gate, coverage loss."""

    outputs: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    gates: list[Tensor] = field(default_factory=list)
    coverage_losses: list[Tensor] = field(default_factory=list)


class ReferenceDecoder:
    """`weights`: a decoder's state_dict; `options`: its section of the configuration."""

    def __init__(self, weights: dict[str, Tensor], options: Any) -> None:
        self.weights, self.options, self.attention = weights, options, options.attention
        self.cells = [self.cell(layer) for layer in range(options.layers)]

    def cell(self, layer: int) -> nn.Module:
        prefix = f"recurrent.layers.{layer}.cells.0"
        inputs = self.weights[f"{prefix}.weight_input"].shape[1]
        cell: nn.Module = CELLS[self.options.cell](inputs, self.options.hidden_size, dtype=torch.float64)
        cell.load_state_dict({name: self.weights[f"{prefix}.{ours}"] for name, ours in (
            ("weight_ih", "weight_input"), ("weight_hh", "weight_hidden"),
            ("bias_ih", "bias_input"), ("bias_hh", "bias_hidden"))})
        return cell

    def score(self, query: Tensor, state: Tensor) -> Tensor:
        """Luong et al. 2015, eq. 8 "general"; Bahdanau et al. 2015, A.1.2."""
        name = "context.attention.score"
        if self.attention.score == "general":
            return query @ self.weights[f"{name}.weight"] @ state
        hidden = torch.tanh(self.weights[f"{name}.query.weight"] @ query + self.weights[f"{name}.query.bias"]
                            + self.weights[f"{name}.key.weight"] @ state)
        return self.weights[f"{name}.score.weight"][0] @ hidden

    def attend(self, query: Tensor, memory: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
        """Attention value [M] and weights [S] (Bahdanau et al. 2015, eqs. 5-6)."""
        scores = torch.stack([self.score(query, state) for state in memory])
        if self.attention.coverage:
            scores = scores + self.weights["context.attention.coverage_weight"] * covered
        normalise = NORMALIZATIONS[self.attention.normalization]
        if self.attention.local_window is None:
            weights = normalise(scores, dim=0)
        else:
            D, name = self.attention.local_window, "context.attention.window"
            hidden = torch.tanh(self.weights[f"{name}.transform.weight"] @ query)
            p = len(memory) / (1 + torch.exp(-(self.weights[f"{name}.vector.weight"][0] @ hidden)))
            window = [s for s in range(len(memory)) if p - D <= s <= p + D]
            weights = torch.zeros(len(memory), dtype=torch.float64)
            weights[window] = normalise(scores[window], dim=0)
            for s in window:
                weights[s] = weights[s] * torch.exp(-((s - p) ** 2) / (2 * (D / 2) ** 2))
        return sum((weight * state for weight, state in zip(weights, memory, strict=True)),
                   torch.zeros(memory.shape[1], dtype=torch.float64)), weights

    def step(self, inputs: Tensor, states: list[tuple[Tensor, ...]]) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """One step of all layers: the top layer's result, and every layer's new (hidden[, cell])."""
        after = []
        for layer, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            result = cell(inputs, state if len(state) == 2 else state[0])
            after.append(result if isinstance(result, tuple) else (result,))
            inputs = after[-1][0] + inputs if self.options.residual and layer else after[-1][0]
        return inputs, after

    def run(self, tokens: list[int], memory: Tensor, summary: Tensor, states: list[tuple[Tensor, ...]]) -> Trace:
        """`tokens`: the history, <s> first; memory [S M]; states: the first (hidden[, cell]) of each layer."""
        trace = Trace()
        attends = self.options.context == "attention"
        feeds_result = attends and self.attention.input_feeding and self.attention.query == "current"
        feeds_value = attends and self.attention.input_feeding and self.attention.query == "previous"
        covered = torch.zeros(len(memory), dtype=torch.float64)
        fed = torch.zeros(self.options.hidden_size if self.attention.combination == "tanh" else memory.shape[1],
                          dtype=torch.float64)
        for token in tokens:
            embedded = self.weights["embedding.weight"][token]
            value, weights = self.attend(states[-1][0], memory, covered) if attends else (summary, summary)
            inputs = embedded
            if self.options.context == "every_step":
                inputs = torch.cat([embedded, summary])  # Cho et al. 2014, eq. 3
            elif feeds_value:
                inputs = torch.cat([embedded, value])  # Bahdanau et al. 2015, A.2.2
            elif feeds_result:
                inputs = torch.cat([embedded, fed])  # Luong et al. 2015, section 3.3
            top, states = self.step(inputs, states)
            if attends and self.attention.query == "current":
                value, weights = self.attend(top, memory, covered)
            output = top if self.options.context == "initial" else torch.cat([value, top])
            if self.options.context == "every_step":
                output = torch.cat([top, summary])
            fed = value
            if attends and self.attention.combination == "tanh":
                output = fed = torch.tanh(self.weights["context.combination.weight"] @ output)  # Luong, eq. 5
            trace.outputs.append(output)
            if attends:
                trace.weights.append(weights)
                trace.coverage_losses.append(torch.minimum(weights, covered).sum())  # See et al. 2017, eq. 12
                covered = covered + weights
            if self.options.copy_source:  # ibid., eq. 8
                read = torch.cat([value, top, embedded])
                gate = self.weights["copy_gate.weight"][0] @ read + self.weights["copy_gate.bias"][0]
                trace.gates.append(1 / (1 + (-gate).exp()))
        return trace
