"""The encoder of characters is torch.nn.LSTM over each symbol alone, whatever else is in the batch."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_layers import torch_layers

from seqloom.config.sections import EncoderConfig
from seqloom.nn.characters import CharacterEncoder, short_and_long
from seqloom.nn.encoders import TextEncoder
from seqloom.nn.kernels.static import static_shapes
from seqloom.types import Padded
from tiny import gradients, randomise

WORDS = [[4, 5, 6, 7, 8, 4, 5], [5], [], [6, 4], [5], [8, 8, 8], [4, 5, 6, 7, 8, 4, 6], [6, 4], [1, 4]]
EXACT = {"rtol": 0, "atol": 1e-12}


def characters_of(words: list[list[int]] = WORDS, rows: int = 3, width: int = 9) -> Tensor:
    """[B S W]"""
    return torch.tensor([word + [0] * (width - len(word)) for word in words]).view(rows, -1, width)


def encoder_of(**options: Any) -> CharacterEncoder:
    encoder = CharacterEncoder(10, 3, 4, **options).double()
    randomise(encoder)
    return encoder


def test_a_symbol_is_the_last_states_of_both_directions() -> None:
    encoder = encoder_of()
    vectors = encoder(characters_of()).view(len(WORDS), -1)
    theirs = torch_layers("lstm", encoder.recurrent, 3)
    assert encoder.output_size == 8
    for word, vector in zip(WORDS, vectors, strict=True):
        if word:
            _, (hidden, _) = theirs(encoder.embedding.weight[torch.tensor([word])])
            torch.testing.assert_close(vector, hidden.reshape(-1), **EXACT)
        else:
            assert not vector.any()


def test_the_plain_way_and_the_static_way_are_the_same() -> None:
    encoder, plain = encoder_of(), encoder_of(plain=True)
    expected = encoder(characters_of())
    torch.testing.assert_close(plain(characters_of()), expected, **EXACT)
    with static_shapes():
        torch.testing.assert_close(encoder(characters_of()), expected, **EXACT)


def test_neighbours_and_padding_do_not_matter() -> None:
    encoder = encoder_of()
    together = encoder(characters_of()).view(len(WORDS), -1)
    for number, word in enumerate(WORDS):
        alone = encoder(characters_of([word], rows=1, width=max(1, len(word))))
        torch.testing.assert_close(alone[0, 0], together[number], **EXACT)


def test_gradients_are_those_of_numbers() -> None:
    encoder = encoder_of()
    rows = characters_of([[4, 5, 6], [5], [], [4, 5, 6]], rows=2, width=4)
    weight = torch.randn(2, 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def total(*parameters: Tensor) -> Tensor:
        names = dict(zip((name for name, _ in encoder.named_parameters()), parameters, strict=True))
        result: Tensor = (torch.func.functional_call(encoder, names, (rows,)) * weight).sum()
        return result

    assert torch.autograd.gradcheck(total, tuple(encoder.parameters()))
    found = gradients(total(*encoder.parameters()), encoder)
    assert all(gradient.any() for gradient in found.values())
    assert not found["embedding.weight"][0].any()


def area(lengths: list[int], parts: list[tuple[int, int]]) -> int:
    return sum((end - begin) * lengths[end - 1] for begin, end in parts)


@pytest.mark.parametrize("lengths", [[0], [3], [1, 1, 1], [0, 1, 2, 3, 30], [2, 2, 2, 9, 9], [1, 2, 3, 4, 5, 6]])
def test_the_cut_leaves_the_least_padding(lengths: list[int]) -> None:
    parts = short_and_long(torch.tensor(lengths))
    assert list(itertools.chain(*(range(*part) for part in parts))) == list(range(len(lengths)))
    best = min(area(lengths, [(0, cut), (cut, len(lengths))]) for cut in range(1, len(lengths))) \
        if len(lengths) > 1 else lengths[0]
    assert area(lengths, parts) == min(best, len(lengths) * lengths[-1])


# --- inside the encoder of a text ------------------------------------------------------------------------------------


def text_encoder() -> tuple[TextEncoder, Padded]:
    encoder = TextEncoder(12, 4, EncoderConfig(hidden_size=3), characters=CharacterEncoder(10, 3, 2)).double()
    randomise(encoder)
    ids = torch.tensor([[4, 5, 6, 3], [7, 3, 0, 0]])
    letters = characters_of([[4, 5], [6], [4, 6, 7], [], [7, 7], [], [], []], rows=2)
    return encoder, Padded({"main": ids, "characters": letters}, torch.tensor([4, 2]))


def test_characters_stand_beside_the_embedding() -> None:
    encoder, source = text_encoder()
    assert encoder.characters is not None
    beside = torch.cat([encoder.embedding(source.main), encoder.characters(source.fields["characters"])], 2)
    theirs = torch_layers("lstm", encoder.recurrent, 8)
    outputs, _ = theirs(beside[:1])
    torch.testing.assert_close(encoder(source).values[:1], outputs, **EXACT)
