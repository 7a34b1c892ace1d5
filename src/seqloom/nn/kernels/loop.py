"""The loop of an input-feeding decoder and its backward pass, on plain tensors: `input_feeding` makes it a function.

Everything lies time first. Sizes beside those of `docs/notation.md`: L layers, E embedding, F what is fed back,
A the keys' size, G gates of a cell together; T1 = T + 1, where a row before the first step stands in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqloom.nn.kernels import attention_steps
from seqloom.nn.kernels.attention_steps import Additive, AttentionWork
from seqloom.nn.kernels.cell_steps import CellKernel, CellWork, Step
from seqloom.nn.kernels.primitives import add_product, operand_of, set_product, tanh_
from seqloom.nn.normalization import Normalization


class Plan(NamedTuple):
    """What is no tensor. low: precision of the products' operands where it is not the state's; sparse: see
    AttentionWork.
    """

    cell: CellKernel
    layers: int
    query_previous: bool
    residual: bool
    low: torch.dtype | None
    sparse: type[Normalization] | None = None

    @property
    def adds_layers(self) -> bool:
        """Whether a residual connection takes part: the first layer has none."""
        return self.residual and self.layers > 1


class Inputs(NamedTuple):
    """masks: factors of the dropout between layers; feed: none where the previous state asks; combination: the weight
    of the tanh layer inside the loop; the last three belong to the additive score.
    """

    embedded: Float[Tensor, "T B E"]
    hidden: Float[Tensor, "B L H"]
    cell: Float[Tensor, "B L H"] | None
    feed: Float[Tensor, "B F"] | None
    values: Float[Tensor, "B S M"]
    keys: Float[Tensor, "B S A"]
    masks: Float[Tensor, "L1 T B H"] | None
    combination: Float[Tensor, "O MH"] | None
    query_weight: Float[Tensor, "A H"] | None
    query_bias: Float[Tensor, " A"] | None
    score: Float[Tensor, "1 A"] | None


class Layer(NamedTuple):
    """Weights of one layer's cell; of the first, the input is the embedded symbol and what is fed, side by side."""

    weight_input: Float[Tensor, "G I"]
    weight_hidden: Float[Tensor, "G H"]
    bias_input: Float[Tensor, " G"]
    bias_hidden: Float[Tensor, " G"]


class Work(NamedTuple):
    """What the steps fill and the backward pass reads. `…_operand`: as the products read it, the same tensor or a copy.

    fed: what joins the input of step t, in row t; below: from layer 1 on each layer's input and, with residual
    connections, the top layer's output, where these are not just the states; bias: 0 or −∞ at padding.
    """

    gates: Float[Tensor, "L T B G"]
    hidden: Float[Tensor, "L T1 B H"]
    hidden_operand: Float[Tensor, "L T1 B H"]
    cell: Float[Tensor, "L T1 B H"] | None
    extra: Float[Tensor, "L T B H"] | None
    below: Float[Tensor, "L2 T B H"] | None
    below_operand: Float[Tensor, "L2 T B H"] | None
    fed: Float[Tensor, "T1 B F"]
    fed_operand: Float[Tensor, "T1 B F"]
    attended: Float[Tensor, "T B M"]
    attended_operand: Float[Tensor, "T B M"]
    weights: Float[Tensor, "T B S"]
    projected: Float[Tensor, "T B A"] | None
    bias: Float[Tensor, "B S"]

    def top(self, *, operand: bool = False) -> Float[Tensor, "T B H"]:
        """Outputs of the top layer."""
        hidden, below = (self.hidden_operand, self.below_operand) if operand else (self.hidden, self.below)
        if below is not None and below.shape[0] == hidden.shape[0]:
            return below[-1]
        return hidden[-1, 1:]

    def inputs_of(self, layer: int) -> Float[Tensor, "T B F"]:
        """Operand of a layer's input that is not the embedded symbol."""
        if layer == 0:
            return self.fed_operand[:-1]
        return self.hidden_operand[layer - 1, 1:] if self.below_operand is None else self.below_operand[layer - 1]


def prepare(plan: Plan, inputs: Inputs, layers: Sequence[Layer]) -> tuple[Inputs, list[Layer]]:
    """Operands of products in their precision, everything else in the state's: fp32, or float64 for float64 weights."""
    state = torch.float64 if inputs.values.dtype == torch.float64 else torch.float32
    low = plan.low or state
    operands = ("embedded", "combination", "query_weight")
    converted: dict[str, Any] = {
        name: None if tensor is None else tensor.to(low if name in operands else state)
        for name, tensor in inputs._asdict().items()}
    return Inputs(**converted), [Layer(layer.weight_input.to(low), layer.weight_hidden.to(low),
                                       layer.bias_input.to(state), layer.bias_hidden.to(state)) for layer in layers]


def _new_work(plan: Plan, inputs: Inputs, layers: Sequence[Layer], mask: Bool[Tensor, "B S"]) -> Work:
    T, B, E = inputs.embedded.shape
    L, S, M = plan.layers, *inputs.values.shape[1:]
    G, H = layers[0].weight_hidden.shape
    new = inputs.values.new_empty
    hidden, fed = new(L, T + 1, B, H), new(T + 1, B, layers[0].weight_input.shape[1] - E)
    hidden_operand, fed_operand = operand_of(hidden, plan.low), operand_of(fed, plan.low)
    spread = plan.adds_layers or inputs.masks is not None
    below = new(L - 1 + plan.residual, T, B, H) if spread else None
    attended, attended_operand = new(T, B, M), None
    if inputs.combination is None:  # what is fed is the attention value, of this step or for the next
        rows = slice(None, -1) if plan.query_previous else slice(1, None)
        attended, attended_operand = fed[rows], fed_operand[rows]
    return Work(
        new(L, T, B, G), hidden, hidden_operand,
        None if inputs.cell is None else new(L, T + 1, B, H),
        new(L, T, B, H) if plan.cell.has_extra else None,
        below, None if below is None else operand_of(below, plan.low),
        fed, fed_operand, attended,
        operand_of(attended, plan.low) if attended_operand is None else attended_operand,
        new(T, B, S), None if inputs.query_bias is None else new(T, B, inputs.query_bias.shape[0]),
        torch.zeros_like(mask, dtype=hidden.dtype).masked_fill_(~mask, -torch.inf))


def cell_work(work: Work, layers: Sequence[Layer], layer: int) -> CellWork:
    """One layer's part of the work, as a cell's kernel reads and fills it."""
    return CellWork(
        work.gates[layer], work.hidden[layer], work.hidden_operand[layer],
        None if work.cell is None else work.cell[layer], None if work.extra is None else work.extra[layer],
        layers[layer].weight_hidden, layers[layer].bias_hidden)


def attention_work(plan: Plan, inputs: Inputs, work: Work) -> AttentionWork:
    """The attention's part of the work, as its kernel reads and fills it."""
    additive = None
    if inputs.query_weight is not None and inputs.query_bias is not None and inputs.score is not None:
        additive = Additive(inputs.query_weight, inputs.query_bias, inputs.score[0])
    if plan.query_previous:
        queries, operand = work.hidden[-1, :-1], work.hidden_operand[-1, :-1]
    else:
        queries, operand = work.top(), work.top(operand=True)
    return AttentionWork(inputs.values, inputs.keys, work.bias, queries, operand, work.weights, work.attended,
                         additive, work.projected, plan.sparse)


# --- forward ---------------------------------------------------------------------------------------------------------


def _start(plan: Plan, inputs: Inputs, layers: Sequence[Layer], work: Work) -> None:
    """The state before the first step, and in the gates what does not depend on the loop."""
    work.hidden[:, 0] = inputs.hidden.transpose(0, 1)
    if work.cell is not None and inputs.cell is not None:
        work.cell[:, 0] = inputs.cell.transpose(0, 1)
    if inputs.feed is not None:
        work.fed[0] = inputs.feed
    if plan.low is not None:
        work.hidden_operand[:, 0] = work.hidden[:, 0]
        work.fed_operand[0] = work.fed[0]
    for gates, layer in zip(work.gates, layers, strict=True):
        gates.copy_(plan.cell.bias(layer.bias_input, layer.bias_hidden))
    embedded = inputs.embedded.flatten(0, 1)
    add_product(work.gates[0].flatten(0, 1), embedded, layers[0].weight_input[:, : embedded.shape[1]].t())


def _rise(plan: Plan, inputs: Inputs, work: Work, layer: int) -> Step | None:
    """From the states of layer − 1 to the input of `layer` (the number of layers: to the output); None: they are it."""
    if work.below is None or layer > work.below.shape[0]:
        return None
    hidden, out = work.hidden[layer - 1, 1:].unbind(0), work.below[layer - 1].unbind(0)
    operand = None if plan.low is None or work.below_operand is None else work.below_operand[layer - 1].unbind(0)
    lower = work.below[layer - 2].unbind(0) if plan.adds_layers and layer > 1 else None
    masks = inputs.masks[layer - 1].unbind(0) if inputs.masks is not None and layer < plan.layers else None

    def rise(t: int) -> None:
        if lower is None:
            out[t].copy_(hidden[t])
        else:
            torch.add(hidden[t], lower[t], out=out[t])
        if masks is not None:
            out[t].mul_(masks[t])
        if operand is not None:
            operand[t].copy_(out[t])

    return rise


def _enter(plan: Plan, inputs: Inputs, layers: Sequence[Layer], work: Work, layer: int) -> Step:
    """One layer's step."""
    skipped = inputs.embedded.shape[2] if layer == 0 else 0
    weight, below = layers[layer].weight_input[:, skipped:].t(), work.inputs_of(layer).unbind(0)
    gates, advance = work.gates[layer].unbind(0), plan.cell.forward(cell_work(work, layers, layer))
    rise = _rise(plan, inputs, work, layer + 1)

    def enter(t: int) -> None:
        add_product(gates[t], below[t], weight)
        advance(t)
        if rise is not None:
            rise(t)

    return enter


def _leave(plan: Plan, inputs: Inputs, work: Work) -> Step:
    """From the top layer's output or, before the layers, from the previous state, to what is fed."""
    attend = attention_steps.forward(attention_work(plan, inputs, work))
    attended, attended_operand = work.attended.unbind(0), work.attended_operand.unbind(0)
    fed, fed_operand, top = work.fed.unbind(0), work.fed_operand.unbind(0), work.top(operand=True).unbind(0)
    M, low, one = inputs.values.shape[2], plan.low is not None, work.fed.new_full((), -1.0)
    weight = inputs.combination
    of_attended, of_top = (None, None) if weight is None else (weight[:, :M].t(), weight[:, M:].t())

    def leave(t: int) -> None:
        attend(t)
        if low:
            attended_operand[t].copy_(attended[t])
        if of_attended is not None and of_top is not None:
            set_product(fed[t + 1], attended_operand[t], of_attended)
            add_product(fed[t + 1], top[t], of_top)
            tanh_(fed[t + 1], one)
            if low:
                fed_operand[t + 1].copy_(fed[t + 1])

    return leave


def forward(plan: Plan, inputs: Inputs, layers: Sequence[Layer], mask: Bool[Tensor, "B S"]) -> Work:
    """All steps; `inputs` and `layers` as `prepare` made them."""
    work = _new_work(plan, inputs, layers, mask)
    _start(plan, inputs, layers, work)
    enter = [_enter(plan, inputs, layers, work, layer) for layer in range(plan.layers)]
    leave = _leave(plan, inputs, work)
    for t in range(inputs.embedded.shape[0]):
        if plan.query_previous:
            leave(t)
        for step in enter:
            step(t)
        if not plan.query_previous:
            leave(t)
    return work
