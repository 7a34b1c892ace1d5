"""Layers over time: the plain loop, the fused kernel and torch.nn on packed sequences are the same, with padding."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch_layers import LAYER_MODULES, shared_weights, torch_layers

from seqloom.nn.cells import CELLS, Cell, CellState
from seqloom.nn.memory import real_positions
from seqloom.nn.recurrent import Recurrent, RecurrentLayer, RecurrentStack, scan
from tiny import normal, randomise

LENGTHS = torch.tensor([4, 1, 6, 3])
SIZE = 7  # one more than the longest: the whole batch has padding at its end
EXACT = {"rtol": 0, "atol": 1e-11}

every_cell = pytest.mark.parametrize("name", CELLS)
torch_cells = pytest.mark.parametrize("name", LAYER_MODULES)
both_ways = pytest.mark.parametrize("plain", [True, False], ids=["scan", "fused"])


def stack_of(name: str, *, plain: bool = False, layers: int = 1, bidirectional: bool = False,
             residual: bool = False) -> RecurrentStack:
    stack = RecurrentStack(name, 3, 4, layers=layers, bidirectional=bidirectional, residual=residual,
                           plain=plain).double()
    randomise(stack)
    return stack


def mask_of(lengths: Tensor = LENGTHS, size: int = SIZE) -> Tensor:
    return real_positions(lengths, size)


def first_states(stack: RecurrentStack) -> list[CellState]:
    """An initial state for every layer of one direction."""
    cell: Cell = stack.layers[0].cells[0]
    return [CellState(normal(4, 4, seed=20 + layer), normal(4, 4, seed=30 + layer) if cell.has_cell_state else None)
            for layer in range(len(stack.layers))]


def run_torch(theirs: nn.Module, inputs: Tensor, states: list[CellState] | None, directions: int) -> Recurrent:
    """torch.nn's layers on the packed batch, in our layout."""
    packed = nn.utils.rnn.pack_padded_sequence(inputs, LENGTHS, batch_first=True, enforce_sorted=False)
    start = None
    if states is not None:
        hidden = torch.stack([state.hidden for state in states])
        cells = [state.cell for state in states if state.cell is not None]
        start = (hidden, torch.stack(cells)) if cells else hidden
    outputs, last = theirs(packed, start)
    outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=SIZE)
    parts = [part.unflatten(0, (-1, directions)).permute(2, 0, 1, 3).flatten(2)
             for part in (last if isinstance(last, tuple) else (last,))]
    return Recurrent(outputs, parts[0], parts[1] if len(parts) > 1 else None)


def close(ours: Recurrent, theirs: Recurrent) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            torch.testing.assert_close(mine, other, **EXACT)


def total(result: Recurrent) -> Tensor:
    """A number that depends on every result, each in its own way."""
    parts = [part for part in result if part is not None]
    return sum(((part * normal(*part.shape, seed=40 + index)).sum() for index, part in enumerate(parts)),
               torch.zeros((), dtype=torch.float64))


# --- torch.nn --------------------------------------------------------------------------------------------------------


@torch_cells
@both_ways
@pytest.mark.parametrize("layers", [1, 2], ids=["one layer", "two layers"])
@pytest.mark.parametrize("form", ["forward", "bidirectional", "from a state"])
def test_layers_equal_torch_on_packed_sequences(name: str, plain: bool, layers: int, form: str) -> None:
    stack = stack_of(name, plain=plain, layers=layers, bidirectional=form == "bidirectional")
    theirs = torch_layers(name, stack, 3)
    states = first_states(stack) if form == "from a state" else None
    inputs = normal(4, SIZE, 3).requires_grad_()
    starts = [part.requires_grad_() for state in states or [] for part in state if part is not None]
    ours = stack(inputs, mask_of(), states)
    others = run_torch(theirs, inputs, states, 1 + (form == "bidirectional"))
    close(ours, others)
    names = shared_weights(stack)
    found = torch.autograd.grad(total(ours), [inputs, *starts, *names.values()])
    expected = torch.autograd.grad(total(others), [inputs, *starts, *(getattr(theirs, name) for name in names)])
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, **EXACT)


@torch_cells
@both_ways
def test_residual_layers_add_their_input(name: str, plain: bool) -> None:
    """From the second layer on; against one-layer modules of torch.nn with the sums written out."""
    stack = stack_of(name, plain=plain, layers=3, bidirectional=True, residual=True)
    inputs = normal(4, SIZE, 3)
    below = inputs
    for number, layer in enumerate(stack.layers):
        one = stack_of(name, bidirectional=True)
        one.layers = nn.ModuleList([layer])
        found = run_torch(torch_layers(name, one, below.shape[2]), below, None, 2)
        below = found.outputs + below if number else found.outputs
    ours = stack(inputs, mask_of())
    torch.testing.assert_close(ours.outputs, below, **EXACT)
    torch.testing.assert_close(ours.hidden[:, 2], found.hidden[:, 0], **EXACT)


@every_cell
@both_ways
def test_without_padding_nothing_is_packed_or_held(name: str, plain: bool) -> None:
    """A full batch takes another way than a padded one; both give the same where both are real."""
    stack = stack_of(name, plain=plain, bidirectional=True)
    inputs = normal(4, SIZE, 3)
    full = stack(inputs, mask_of(torch.full((4,), SIZE)))
    wider = stack(torch.cat([inputs, normal(4, 2, 3, seed=2)], 1), mask_of(torch.full((4,), SIZE), SIZE + 2))
    torch.testing.assert_close(wider.outputs[:, :SIZE], full.outputs, **EXACT)
    torch.testing.assert_close(wider.hidden, full.hidden, **EXACT)


@both_ways
def test_evaluation_without_gradients_gives_the_same(plain: bool) -> None:
    stack = stack_of("lstm", plain=plain, layers=2, bidirectional=True)
    inputs = normal(4, SIZE, 3)
    trained = stack(inputs, mask_of())
    with torch.inference_mode():
        close(stack.eval()(inputs, mask_of()), Recurrent(*(part.detach() for part in trained)))


# --- padding ---------------------------------------------------------------------------------------------------------


@every_cell
@both_ways
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "both directions"])
def test_padding_is_as_if_it_were_not_there(name: str, plain: bool, bidirectional: bool) -> None:
    """Each row alone and unpadded has the same outputs and last states: the state was carried through."""
    stack = stack_of(name, plain=plain, layers=2, bidirectional=bidirectional)
    inputs = normal(4, SIZE, 3)
    together = stack(inputs, mask_of())
    for row, length in enumerate(LENGTHS.tolist()):
        alone = stack(inputs[row : row + 1, :length], mask_of(LENGTHS[row : row + 1], length))
        torch.testing.assert_close(together.outputs[row, :length], alone.outputs[0], **EXACT)
        torch.testing.assert_close(together.hidden[row], alone.hidden[0], **EXACT)
        if alone.cell is not None and together.cell is not None:
            torch.testing.assert_close(together.cell[row], alone.cell[0], **EXACT)
    assert not together.outputs[~mask_of()].any()


@every_cell
@both_ways
def test_last_state_is_the_one_after_the_last_real_position(name: str, plain: bool) -> None:
    """Hidden states are outputs at the end (forward) and at the start (backward)."""
    result = stack_of(name, plain=plain, bidirectional=True)(normal(4, SIZE, 3), mask_of())
    ends = result.outputs[torch.arange(4), LENGTHS - 1]
    torch.testing.assert_close(result.hidden[:, 0, :4], ends[:, :4], rtol=0, atol=0)
    torch.testing.assert_close(result.hidden[:, 0, 4:], result.outputs[:, 0, 4:], rtol=0, atol=0)


@both_ways
def test_more_padding_leaves_the_cell_of_an_lstm_exactly_as_it_was(plain: bool) -> None:
    """In float32, over 200 padded positions: nothing leaks into the cell or out of it."""
    stack = stack_of("lstm", plain=plain).float()
    inputs = normal(4, 206, 3).float()
    cells = [stack(inputs[:, :size], mask_of(size=size)).cell for size in (SIZE, 206)]
    torch.testing.assert_close(cells[0], cells[1], rtol=0, atol=1e-7)
    layer = stack.layers[0].cells[0]
    state = CellState(normal(4, 4).float(), normal(4, 4, seed=2).float())
    _, held = scan(layer, inputs, torch.zeros(4, 206, dtype=torch.bool), state)
    assert all(torch.equal(after, before) for after, before in zip(held, state, strict=True))


@every_cell
@both_ways
def test_content_of_padding_does_not_matter(name: str, plain: bool) -> None:
    stack = stack_of(name, plain=plain, layers=2, bidirectional=True)
    inputs = normal(4, SIZE, 3).requires_grad_()
    other = torch.where(mask_of().unsqueeze(2), inputs, normal(4, SIZE, 3, seed=9) * 50)
    first, second = stack(inputs, mask_of()), stack(other, mask_of())
    for mine, their in zip(first, second, strict=True):
        assert mine is None or torch.equal(mine, their)
    gradient, = torch.autograd.grad(total(second), inputs)
    assert not gradient[~mask_of()].any()
    assert gradient[mask_of()].all()


# --- the rest --------------------------------------------------------------------------------------------------------


@every_cell
@both_ways
def test_gradient_is_the_numeric_gradient_with_padding(name: str, plain: bool) -> None:
    layer = RecurrentLayer(name, 2, 2, bidirectional=True, plain=plain).double()
    randomise(layer, 3)
    mask = mask_of(torch.tensor([3, 1]), 4)
    weights = [weight for weight, _ in layer.named_parameters()]

    def run(inputs: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        outputs, last = torch.func.functional_call(layer, dict(zip(weights, values, strict=True)), (inputs, mask))
        return (outputs, *(part for part in last if part is not None))

    values = [normal(2, 4, 2), *layer.parameters()]
    assert torch.autograd.gradcheck(run, [value.detach().requires_grad_() for value in values])


@every_cell
def test_dropout_stands_between_layers_only(name: str) -> None:
    """The first layer's input and the last layer's output keep all their numbers; evaluation drops nothing."""
    inputs, mask = normal(4, SIZE, 3), mask_of()
    one = RecurrentStack(name, 3, 4, dropout=0.9).double()
    close(one.train()(inputs, mask), one.eval()(inputs, mask))
    two = RecurrentStack(name, 3, 4, layers=2, dropout=0.9).double()
    randomise(two)
    evaluated = two.eval()(inputs, mask)
    trained = [two.train()(inputs, mask) for _ in range(3)]
    for result in trained:
        torch.testing.assert_close(result.hidden[:, 0], evaluated.hidden[:, 0], **EXACT)
    assert not any(torch.equal(a.outputs, b.outputs) for a, b in pairwise([evaluated, *trained]))
