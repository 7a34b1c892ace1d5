"""Encoders: a memory is embedding and layers of torch.nn, row by row; features stand behind the text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch_layers import torch_layers

from seqloom.config.sections import EncoderConfig
from seqloom.nn.encoders import TextEncoder
from seqloom.nn.memory import Memory, real_positions
from seqloom.types import Padded
from tiny import randomise

IDS = torch.tensor([[4, 5, 6, 7, 3], [8, 3, 0, 0, 0], [5, 5, 3, 0, 0]])
LENGTHS = torch.tensor([5, 2, 3])
FEATURES = torch.tensor([[9, 10, 0], [0, 0, 0], [11, 9, 10]])
FEATURE_LENGTHS = torch.tensor([2, 0, 3])
COPIES = torch.tensor([[4, 12, 13, 7, 3], [12, 3, 0, 0, 0], [5, 5, 3, 0, 0]])
EXACT = {"rtol": 0, "atol": 1e-12}


def source_of(**fields: torch.Tensor) -> Padded:
    return Padded({"main": IDS, **fields}, LENGTHS)


def encoder_of(features: bool = False, **options: Any) -> TextEncoder:
    config = EncoderConfig(**{"hidden_size": 3, "layers": 2, **options})
    encoder = TextEncoder(12, 4, config, features=features).double()
    randomise(encoder)
    return encoder


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_memory_is_what_torch_computes_for_each_row(cell: str, bidirectional: bool) -> None:
    encoder = encoder_of(cell=cell, bidirectional=bidirectional)
    memory: Memory = encoder(source_of(copy=COPIES))
    theirs = torch_layers(cell, encoder.recurrent, 4)
    directions = 1 + bidirectional
    assert encoder.memory_size == 3 * directions
    for row, length in enumerate(LENGTHS.tolist()):
        outputs, last = theirs(encoder.embedding.weight[IDS[row : row + 1, :length]])
        hidden = last[0] if cell == "lstm" else last
        torch.testing.assert_close(memory.values[row, :length], outputs[0], **EXACT)
        torch.testing.assert_close(memory.hidden[row], hidden.view(2, 3 * directions), **EXACT)
        if memory.cell is not None:
            torch.testing.assert_close(memory.cell[row], last[1].view(2, 3 * directions), **EXACT)
        assert not memory.values[row, length:].any()
    assert (memory.cell is not None) == (cell == "lstm")
    assert torch.equal(memory.mask, real_positions(LENGTHS, 5))
    assert torch.equal(memory.summary, memory.hidden[:, 1])
    assert torch.equal(memory.copy_ids, COPIES)
    assert encoder(source_of()).copy_ids is None


def test_features_stand_right_behind_the_text() -> None:
    """tanh of an affine layer of each feature's embedding; their mean joins every last state."""
    encoder = encoder_of(features=True)
    assert encoder.features is not None
    given = {"features": FEATURES, "features_lengths": FEATURE_LENGTHS, "copy": COPIES}
    memory: Memory = encoder(source_of(**given))
    read = encoder.features
    encoder.features = None
    bare: Memory = encoder(source_of(copy=COPIES))
    assert bare.copy_ids is not None
    assert memory.copy_ids is not None
    assert memory.values.shape[:2] == memory.mask.shape == memory.copy_ids.shape == (3, 8)
    for row, (length, count) in enumerate(zip(LENGTHS.tolist(), FEATURE_LENGTHS.tolist(), strict=True)):
        made = [torch.tanh(read.transform.weight @ read.embedding.weight[number] + read.transform.bias)
                for number in FEATURES[row, :count]]
        for place, feature in enumerate(made):
            torch.testing.assert_close(memory.values[row, length + place], feature, **EXACT)
        torch.testing.assert_close(memory.values[row, :length], bare.values[row, :length], **EXACT)
        assert not memory.values[row, length + count :].any()
        assert memory.mask[row].tolist() == [True] * (length + count) + [False] * (8 - length - count)
        mean = sum(made, torch.zeros(6, dtype=torch.float64)) / max(count, 1)
        torch.testing.assert_close(memory.hidden[row], bare.hidden[row] + mean, **EXACT)
        assert memory.cell is not None
        assert bare.cell is not None
        torch.testing.assert_close(memory.cell[row], bare.cell[row], **EXACT)
        assert torch.equal(memory.copy_ids[row, :length], bare.copy_ids[row, :length])
        assert (memory.copy_ids[row, length : length + count] == -1).all()


def test_ids_at_padding_do_not_matter() -> None:
    encoder = encoder_of(features=True)
    given = {"features": FEATURES, "features_lengths": FEATURE_LENGTHS}
    first = encoder(source_of(**given))
    other_ids = torch.where(real_positions(LENGTHS, 5), IDS, 7)
    other_features = torch.where(real_positions(FEATURE_LENGTHS, 3), FEATURES, 9)
    second = encoder(Padded({**given, "main": other_ids, "features": other_features}, LENGTHS))
    for mine, theirs in zip(first, second, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or torch.equal(mine, theirs)


def test_what_is_added_is_added_to_every_symbol() -> None:
    """The sum of the embeddings of a row's features; what stands behind them in a batch does not matter."""
    encoder = encoder_of()
    expected = encoder.embed(source_of())
    for row, count in enumerate(FEATURE_LENGTHS.tolist()):
        for number in FEATURES[row, :count]:
            expected[row] = expected[row] + encoder.embedding.weight[number]
    other = torch.where(real_positions(FEATURE_LENGTHS, 3), FEATURES, 9)
    for ids in (FEATURES, other):
        found = encoder.embed(source_of(added=ids, added_lengths=FEATURE_LENGTHS))
        torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("options", [{"embedding_dropout": 0.5}, {"dropout": 0.5}, {"layers": 1, "dropout": 0.5}])
def test_dropout_is_for_training_only(options: dict[str, Any]) -> None:
    encoder, bare = encoder_of(**options), encoder_of(**{"layers": options.get("layers", 2)})
    torch.manual_seed(1)
    assert not torch.equal(encoder.train()(source_of()).values, encoder(source_of()).values)
    torch.testing.assert_close(encoder.eval()(source_of()).values, bare(source_of()).values, **EXACT)


def test_masks_are_true_at_real_positions() -> None:
    assert real_positions(torch.tensor([3, 0, 1]), 3).tolist() == [[True] * 3, [False] * 3, [True, False, False]]
    assert real_positions(LENGTHS, 5).sum(1).tolist() == LENGTHS.tolist()
