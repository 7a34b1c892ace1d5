"""decoder.first_input: the summary as an input before <s> (Vinyals et al. 2015, eq. 10), against torch's own cells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqloom.nn.decoders import RecurrentDecoder
from seqloom.nn.memory import Memory
from tiny import config_of, gradients, normal, randomise, settings

SYMBOLS, B, S = 9, 3, 4


def decoder_of(**options: Any) -> RecurrentDecoder:
    config = config_of(settings(**{"decoder": {"first_input": True}, **options}))
    decoder = RecurrentDecoder(SYMBOLS, 8, False, config).double().eval()
    randomise(decoder)
    return decoder


def memory() -> Memory:
    return Memory(normal(B, S, 8), torch.ones(B, S, dtype=torch.bool), normal(B, 1, 8, seed=2))


def torch_cell(decoder: RecurrentDecoder, inputs: int) -> Any:
    """torch.nn's cell with our weights, of which it reads the first `inputs` columns."""
    ours = decoder.cells()[0]
    theirs = (nn.LSTMCell if ours.has_cell_state else nn.GRUCell)(inputs, ours.hidden_size).double()
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.weight_input[:, :inputs])
        theirs.weight_hh.copy_(ours.weight_hidden)
        theirs.bias_ih.copy_(ours.bias_input)
        theirs.bias_hh.copy_(ours.bias_hidden)
    return theirs


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("context", ["initial", "every_step", "attention"])
@pytest.mark.parametrize("bridge", ["affine", "zero"])
def test_the_first_state_has_read_the_summary(cell: str, context: str, bridge: str) -> None:
    decoder = decoder_of(cell=cell, context=context, bridge=bridge)
    hidden, cell_state = decoder.bridge(memory())
    assert decoder.first_input is not None
    shown = decoder.first_input(memory().summary)
    expected = torch_cell(decoder, shown.shape[1])(
        shown, (hidden[:, 0], cell_state[:, 0]) if cell == "lstm" else hidden[:, 0])
    _, state = decoder.begin(memory())
    torch.testing.assert_close(state.hidden[:, 0, 0], expected[0] if cell == "lstm" else expected)
    if cell == "lstm":
        assert state.cell is not None
        torch.testing.assert_close(state.cell[:, 0, 0], expected[1])


@pytest.mark.parametrize("context", ["initial", "every_step", "attention"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_known_history_gives_the_same_at_once_and_step_by_step(context: str, layers: int) -> None:
    decoder = decoder_of(context=context, layers=layers)
    tokens = torch.tensor([[2, 5, 6], [2, 7, 8], [2, 4, 4]])
    prepared, state = decoder.begin(memory())
    at_once = decoder.unroll(prepared, state, tokens)
    stepwise = decoder.unroll_stepwise(prepared, state, tokens)
    torch.testing.assert_close(at_once.values, stepwise.values)


def test_it_gets_a_gradient() -> None:
    decoder = decoder_of(context="initial", bridge="zero")

    def total() -> Tensor:
        prepared, state = decoder.begin(memory())
        return decoder.unroll(prepared, state, torch.tensor([[2], [2], [2]])).values.sum()

    found = gradients(total(), decoder)
    assert found["first_input.weight"].any()
    assert found["first_input.bias"].any()
