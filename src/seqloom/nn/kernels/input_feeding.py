"""Input-feeding decoders over a whole known history, with a hand-written backward pass.

With input feeding each step needs the result of the one before, so nothing can go through at once but what depends
on the history alone. What is kept is what the backward pass needs; what does not depend on the recurrence leaves the
loop: the embedded history's projection before it, the gradients of weights, keys and memory, each one product, after
it. Not served, and left to `RecurrentDecoder.unroll_stepwise`: coverage, local windows, scores that use the last
weights, additive scores with more than one hidden layer, cells and scores that are not of the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from seqloom.nn.cells import Cell
from seqloom.nn.contexts import AttentionContext, Combined, Context, ContextState, Fed
from seqloom.nn.kernels import loop, loop_backward
from seqloom.nn.kernels.cell_steps import KERNELS
from seqloom.nn.kernels.loop import Inputs, Layer, Plan, Work
from seqloom.nn.kernels.loop_backward import Results
from seqloom.nn.kernels.primitives import refuse_second_order
from seqloom.nn.memory import Memory
from seqloom.nn.recurrent import RecurrentStack
from seqloom.nn.scores import Concat


class Start(NamedTuple):
    """The state before the first step: hidden and cell of each layer, and what is fed (None: query previous)."""

    hidden: Float[Tensor, "B L H"]
    cell: Float[Tensor, "B L H"] | None
    feed: Float[Tensor, "B F"] | None


def _cells(recurrent: RecurrentStack) -> list[Cell]:
    return [layer.cells[0] for layer in recurrent.layers]  # type: ignore[index,misc]


def serves(context: Context, recurrent: RecurrentStack) -> bool:
    """Whether `unroll` computes what steps of this context and these cells do."""
    return not refusal(context, recurrent)


def refusal(context: Context, recurrent: RecurrentStack) -> str:
    """Why it does not, for people; empty where it does."""
    if type(context) is not AttentionContext:
        return "its kernel knows the library's own attention only"
    score = context.attention.score
    reasons = {
        "it is for input feeding": not context.input_feeding,
        "attention.coverage is on": context.coverage,
        "attention.local_window is set": context.attention.window is not None,
        f"the score {type(score).__name__} reads the step before's weights": context.uses_last,
        "attention.score_layers is more than 1": type(score) is Concat and bool(score.deeper),
        f"it does not know the score {type(score).__name__}": not score.bilinear and type(score) is not Concat,
        f"it does not know the cell {type(_cells(recurrent)[0]).__name__}": type(_cells(recurrent)[0]) not in KERNELS}
    return next((reason for reason, applies in reasons.items() if applies), "")


def unroll(context: AttentionContext, recurrent: RecurrentStack, memory: Memory, start: Start,
           embedded: Float[Tensor, "T B E"], cells: list[Cell], between: list[Float[Tensor, "B 1 H"]] | None = None,
           ) -> tuple[Combined, Float[Tensor, "B T H"]]:
    """The context's results at all T positions, and the top states; `embedded` is the history, time first.

    Equal to steps in value and gradient. Under autocast the products of matrices run in its precision, states and
    gradients stay fp32. Dropout between layers is drawn for all positions at once, unless `between` has its factors,
    the same for every position. `cells`: of each layer, with the weights that dropout left.
    """
    assert memory.keys is not None
    score = context.attention.score
    device = embedded.device
    low = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    plan = Plan(KERNELS[type(cells[0])], len(cells), context.query_previous, recurrent.residual, low,
                context.attention.normalization if context.attention.normalization.sparse else None)
    T, B, _ = embedded.shape
    masks = None
    if between:
        masks = torch.stack(between).transpose(1, 2).expand(-1, T, -1, -1)
    elif recurrent.dropout and recurrent.training and len(cells) > 1:
        ones = torch.ones(len(cells) - 1, T, B, cells[0].hidden_size, device=device)
        masks = functional.dropout(ones, recurrent.dropout)
    combination = None if context.query_previous or context.combination is None else context.combination.weight
    additive = (score.query.weight, score.query.bias, score.score.weight) if isinstance(score, Concat) else [None] * 3
    inputs = Inputs(
        embedded, start.hidden, start.cell, start.feed, memory.values, memory.keys, masks, combination, *additive)
    weights = [weight for cell in cells for weight in (
        cell.weight_input, cell.weight_hidden, cell.bias_input, cell.bias_hidden)]
    with torch.autocast(device.type, enabled=False):
        hidden, values, attention_weights, outputs = _Unroll.apply(  # type: ignore[no-untyped-call]
            plan, memory.mask, *inputs, *weights)
    if outputs is not None:
        return Combined(outputs, attention_weights, values, ContextState()), hidden
    attended = Fed(None, (values, attention_weights))
    return context.combine(memory, hidden, hidden, ContextState(), attended), hidden


class _Unroll(torch.autograd.Function):
    """The loop as one node of the graph. Tensors: the fields of Inputs, then those of each Layer."""

    @staticmethod
    def forward(node: Any, plan: Plan, mask: Bool[Tensor, "B S"], *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, layers = loop.prepare(plan, *_arranged(tensors))
        work = loop.forward(plan, inputs, layers, mask)
        node.plan = plan
        node.save_for_backward(*inputs, *(weight for layer in layers for weight in layer), *work)
        node.set_materialize_grads(False)
        return (work.top().transpose(0, 1), work.attended.transpose(0, 1), work.weights.transpose(0, 1),
                None if inputs.combination is None else work.fed[1:].transpose(0, 1))

    @staticmethod
    def backward(node: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_second_order("the input-feeding kernel", "set decoder.use_kernel = False, which gives the same numbers")
        saved = node.saved_tensors
        size = len(saved) - len(Work._fields)
        inputs, layers = _arranged(saved[:size])
        of = Results(*(None if gradient is None else gradient.transpose(0, 1) for gradient in gradients))
        with torch.autocast(saved[0].device.type, enabled=False):
            of_inputs, of_layers = loop_backward.backward(node.plan, inputs, layers, Work(*saved[size:]), of)
        return None, None, *of_inputs, *(weight for layer in of_layers for weight in layer)


def _arranged(tensors: Sequence[Any]) -> tuple[Inputs, list[Layer]]:
    size = len(Inputs._fields)
    return Inputs(*tensors[:size]), [Layer(*tensors[start : start + len(Layer._fields)])
                                     for start in range(size, len(tensors), len(Layer._fields))]
