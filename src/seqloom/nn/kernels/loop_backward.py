"""The backward pass of `loop`: from the last step to the first, then what the steps only add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from seqloom.nn.kernels import attention_steps
from seqloom.nn.kernels.attention_steps import AttentionGradient, AttentionGradients
from seqloom.nn.kernels.cell_steps import CellGradient, Step
from seqloom.nn.kernels.loop import Inputs, Layer, Plan, Work, attention_work, cell_work
from seqloom.nn.kernels.primitives import add_product, operand_of, set_product


class Results(NamedTuple):
    """What the loop gives, or the gradients of that; None: it has none. outputs: of the tanh layer inside the loop."""

    hidden: Float[Tensor, "T B H"] | None
    values: Float[Tensor, "T B M"] | None
    weights: Float[Tensor, "T B S"] | None
    outputs: Float[Tensor, "T B O"] | None


class Gradient(NamedTuple):
    """Buffers of the backward pass.

    gates: of the pre-activations; hidden, cell: of the states, running; top: of the top layer's output, running (the
    top state's own row where there is no residual connection); fed: row t what is fed to step t, the tanh layer's
    pre-activation of step t − 1 after that step; attended: of the attention values.
    """

    gates: Float[Tensor, "L T B D"]
    gates_operand: Float[Tensor, "L T B D"]
    hidden: Float[Tensor, "L B H"]
    cell: Float[Tensor, "L B H"] | None
    top: Float[Tensor, "B H"]
    fed: Float[Tensor, "T1 B F"]
    fed_operand: Float[Tensor, "T1 B F"]
    attended: Float[Tensor, "T B M"]
    attention: AttentionGradient


def _new_gradient(plan: Plan, inputs: Inputs, work: Work, of: Results) -> Gradient:
    L, T, B, H = plan.layers, *work.top().shape
    gates = work.gates.new_empty(L, T, B, plan.cell.columns * H)
    hidden = work.hidden.new_zeros(L, B, H)
    fed = torch.empty_like(work.fed)
    rows, given = (slice(None, -1), of.values) if plan.query_previous else (slice(1, None), of.values)
    if inputs.combination is not None:
        given = of.outputs
    fed[0] = 0
    if given is None:
        fed[rows] = 0
    else:
        fed[rows] = given
    return Gradient(
        gates, operand_of(gates, plan.low), hidden, None if work.cell is None else torch.zeros_like(hidden),
        torch.zeros_like(hidden[0]) if plan.adds_layers else hidden[-1], fed, operand_of(fed, plan.low),
        fed[rows] if inputs.combination is None else torch.empty_like(work.attended),
        attention_steps.new_gradient(attention_work(plan, inputs, work)))


def _leave(plan: Plan, inputs: Inputs, work: Work, gradient: Gradient, of: Results) -> Step:
    """From what is fed to the top layer's output, or to the previous state."""
    attend = attention_steps.backward(attention_work(plan, inputs, work), gradient.attention, of.weights)
    attended, fed, operand = gradient.attended.unbind(0), gradient.fed.unbind(0), gradient.fed_operand.unbind(0)
    query = gradient.hidden[-1] if plan.query_previous else gradient.top
    if inputs.combination is None:
        return lambda t: attend(t, attended[t], query)
    M, low = inputs.values.shape[2], plan.low is not None
    from_attended, from_top = inputs.combination[:, :M], inputs.combination[:, M:]
    slopes = torch.addcmul(work.fed.new_ones(()), work.fed, work.fed, value=-1).unbind(0)
    direct = None if of.values is None else of.values.unbind(0)

    def leave(t: int) -> None:
        fed[t + 1].mul_(slopes[t + 1])
        if low:
            operand[t + 1].copy_(fed[t + 1])
        set_product(attended[t], operand[t + 1], from_attended)
        if direct is not None:
            attended[t].add_(direct[t])
        add_product(gradient.top, operand[t + 1], from_top)
        attend(t, attended[t], query)

    return leave


def _enter(plan: Plan, inputs: Inputs, layers: Sequence[Layer], work: Work, gradient: Gradient, layer: int) -> Step:
    """From the gradient of a layer's output to those of its input and of its state before."""
    back = plan.cell.backward(cell_work(work, layers, layer), CellGradient(
        gradient.gates[layer], gradient.gates_operand[layer], gradient.hidden[layer],
        None if gradient.cell is None else gradient.cell[layer]))
    first, last = (block * work.hidden.shape[3] for block in plan.cell.below)
    gates = gradient.gates_operand[layer][:, :, first:last].unbind(0)
    if layer == 0:
        weight, fed = layers[0].weight_input[:, inputs.embedded.shape[2] :], gradient.fed.unbind(0)

        def enter_first(t: int) -> None:
            if plan.adds_layers:
                gradient.hidden[0].add_(gradient.top)
            back(t)
            add_product(fed[t], gates[t], weight)

        return enter_first
    weight, lower = layers[layer].weight_input, gradient.hidden[layer - 1]
    masks = None if inputs.masks is None else inputs.masks[layer - 1].unbind(0)
    product = torch.empty_like(gradient.top)

    def enter(t: int) -> None:
        if plan.adds_layers:
            gradient.hidden[layer].add_(gradient.top)
        back(t)
        if work.below is None:
            add_product(lower, gates[t], weight)
            return
        set_product(product, gates[t], weight)
        if plan.adds_layers:
            product.add_(gradient.top)
        if masks is not None:
            product.mul_(masks[t])
        if plan.adds_layers:
            gradient.top.copy_(product)  # which is now the output of the layer below
        else:
            lower.add_(product)

    return enter


def backward(plan: Plan, inputs: Inputs, layers: Sequence[Layer], work: Work,
             of: Results) -> tuple[Inputs, list[Layer]]:
    """Gradients of `inputs` (None where there is none) and `layers`, in the state's precision."""
    gradient = _new_gradient(plan, inputs, work, of)
    enter = [_enter(plan, inputs, layers, work, gradient, layer) for layer in reversed(range(plan.layers))]
    leave = _leave(plan, inputs, work, gradient, of)
    for t in reversed(range(inputs.embedded.shape[0])):
        if plan.adds_layers:
            gradient.top.zero_()
        if of.hidden is not None:
            gradient.top.add_(of.hidden[t])
        if not plan.query_previous:
            leave(t)
        for step in enter:
            step(t)
        if plan.query_previous:
            leave(t)
    attention = attention_steps.finish(attention_work(plan, inputs, work), gradient.attention, gradient.attended)
    return (_of_inputs(plan, inputs, layers, work, gradient, attention),
            [_of_layer(plan, inputs, layers, work, gradient, layer) for layer in range(plan.layers)])


def _of_inputs(plan: Plan, inputs: Inputs, layers: Sequence[Layer], work: Work, gradient: Gradient,
               attention: AttentionGradients) -> Inputs:
    new = gradient.fed.new_empty
    first, last = (block * work.hidden.shape[3] for block in plan.cell.below)
    embedded = new(inputs.embedded.shape)
    set_product(embedded.flatten(0, 1), gradient.gates_operand[0].flatten(0, 1)[:, first:last],
                layers[0].weight_input[:, : embedded.shape[2]])
    combination = None
    if inputs.combination is not None:
        M, combination = inputs.values.shape[2], new(inputs.combination.shape)
        outputs = gradient.fed_operand[1:].flatten(0, 1).t()
        set_product(combination[:, :M], outputs, work.attended_operand.flatten(0, 1))
        set_product(combination[:, M:], outputs, work.top(operand=True).flatten(0, 1))
    query_weight, query_bias, score = attention.additive or (None, None, None)
    return Inputs(
        embedded, gradient.hidden.transpose(0, 1), None if gradient.cell is None else gradient.cell.transpose(0, 1),
        None if inputs.feed is None else gradient.fed[0], attention.values, attention.keys, None, combination,
        query_weight, query_bias, None if score is None else score.unsqueeze(0))


def _of_layer(plan: Plan, inputs: Inputs, layers: Sequence[Layer], work: Work, gradient: Gradient,
              layer: int) -> Layer:
    """One product for each weight, over all steps."""
    H = work.hidden.shape[3]
    rows, full = gradient.gates_operand[layer].flatten(0, 1), gradient.gates[layer].flatten(0, 1)
    sums = full.sum(0)
    weight_input, weight_hidden, bias_input, bias_hidden = (
        sums.new_empty(weight.shape) for weight in layers[layer])
    first, last = (block * H for block in plan.cell.below)
    bias_input.copy_(sums[first:last])
    skipped = inputs.embedded.shape[2] if layer == 0 else 0
    if skipped:
        set_product(weight_input[:, :skipped], rows[:, first:last].t(), inputs.embedded.flatten(0, 1))
    set_product(weight_input[:, skipped:], rows[:, first:last].t(), work.inputs_of(layer).flatten(0, 1))
    hidden = work.hidden_operand[layer, :-1].flatten(0, 1)
    for (start, stop), (left, right) in plan.cell.recurrent:
        set_product(weight_hidden[start * H : stop * H], rows[:, left * H : right * H].t(), hidden)
        bias_hidden[start * H : stop * H] = sums[left * H : right * H]
    return Layer(weight_input, weight_hidden, bias_input, bias_hidden)
