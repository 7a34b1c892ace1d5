"""Dropout of sequences, recurrent weights and symbols: what falls together, what expectations and gradients are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqloom.config.media_sections import FramesSourceConfig, ImageSourceConfig, SubsamplingConfig
from seqloom.config.sections import EncoderConfig
from seqloom.nn.cells import CELLS
from seqloom.nn.convolution import PictureConvolutions
from seqloom.nn.decoders import RecurrentDecoder
from seqloom.nn.dropout import drop, drop_symbols, drop_weights, symbol_factors
from seqloom.nn.encoders import TextEncoder
from seqloom.nn.frame_encoders import FrameEncoder
from seqloom.nn.language import LanguageModule
from seqloom.nn.memory import Memory, real_positions
from seqloom.nn.picture_encoders import FramesEncoder, ImageEncoder
from seqloom.nn.recurrent import RecurrentLayer
from seqloom.types import Padded
from tiny import config_of, normal, randomise, settings

RATE = 0.4
LENGTHS = torch.tensor([4, 1, 6])
MASK = real_positions(LENGTHS, 6)
TOKENS = torch.tensor([[2, 5, 4, 7, 6], [2, 8, 8, 4, 1], [2, 4, 6, 5, 8]])
EXACT = {"rtol": 0, "atol": 1e-12}
ALL: dict[str, Any] = {"dropout": 0.3, "embedding_dropout": 0.2, "variational_dropout": True, "weight_dropout": 0.5}


def seeded(run: Any) -> Any:
    torch.manual_seed(7)
    return run()


# --- parts -----------------------------------------------------------------------------------------------------------


def test_one_mask_for_all_positions_and_another_for_each_sequence() -> None:
    values = torch.ones(50, 8, 10, dtype=torch.float64)
    dropped = seeded(lambda: drop(values, RATE, True, variational=True))
    assert set(dropped.unique().tolist()) == {0.0, 1 / (1 - RATE)}
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert not torch.equal(dropped[0], dropped[1])
    plain = seeded(lambda: drop(values, RATE, True))
    assert not torch.equal(plain, plain[:, :1].expand_as(plain))
    for share in (dropped, plain):  # of 500 and 4,000 draws: within four standard deviations
        assert abs(float((share == 0).double().mean()) - RATE) < 4 * (RATE * (1 - RATE) / 500) ** 0.5


@pytest.mark.parametrize(("training", "rate"), [(False, RATE), (True, 0.0)])
def test_nothing_is_dropped_nor_drawn_in_evaluation_or_at_rate_zero(training: bool, rate: float) -> None:
    values, cell = normal(2, 3, 4), CELLS["lstm"](3, 4)
    before = torch.get_rng_state()
    assert torch.equal(drop(values, rate, training, variational=True), values)
    assert drop_weights(cell, rate, training) is cell
    assert symbol_factors(values, 5, rate, training) is None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", CELLS)
def test_recurrent_weights_alone_are_dropped_and_gradients_reach_the_cell(name: str) -> None:
    cell = CELLS[name](30, 40).double()
    dropped = seeded(lambda: drop_weights(cell, RATE, True))
    ratio = dropped.weight_hidden / cell.weight_hidden
    torch.testing.assert_close(ratio, (ratio > 0.5).double() / (1 - RATE), **EXACT)
    draws = ratio.numel()
    assert abs(float((ratio == 0).double().mean()) - RATE) < 4 * (RATE * (1 - RATE) / draws) ** 0.5
    for other in ("weight_input", "bias_input", "bias_hidden"):
        assert getattr(dropped, other) is getattr(cell, other)
    assert len(list(cell.parameters())) == 4  # the cell itself is as it was
    dropped.weight_hidden.sum().backward()
    torch.testing.assert_close(cell.weight_hidden.grad, ratio, **EXACT)


def test_a_symbol_is_dropped_at_all_of_its_places() -> None:
    ids = torch.randint(0, 30, (40, 9), generator=torch.Generator().manual_seed(1))
    embedded = torch.ones(40, 9, 2, dtype=torch.float64)
    found = drop_symbols(embedded, ids, seeded(lambda: symbol_factors(embedded, 30, RATE, True)))
    kept = {number: set(found[ids == number].flatten().tolist()) for number in range(30)}
    assert all(len(values) == 1 for values in kept.values())
    assert {value for values in kept.values() for value in values} == {0.0, 1 / (1 - RATE)}


# --- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_the_same_weights_at_every_step_in_both_ways_of_going_over_time(name: str, bidirectional: bool) -> None:
    """The loop reads the weights at each step, the kernel once: equal numbers need one draw for the sequence."""
    layers = [RecurrentLayer(name, 3, 4, bidirectional=bidirectional, plain=plain, weight_dropout=RATE).double()
              for plain in (True, False)]
    randomise(layers[0])
    layers[1].load_state_dict(layers[0].state_dict())
    results = [seeded(lambda layer=layer: layer(normal(3, 6, 3), MASK)[0]) for layer in layers]
    torch.testing.assert_close(*results, rtol=0, atol=1e-11)
    assert not torch.equal(results[0], layers[0].eval()(normal(3, 6, 3), MASK)[0])


@pytest.mark.parametrize("name", CELLS)
def test_gradients_through_dropped_weights(name: str) -> None:
    layer = RecurrentLayer(name, 2, 2, bidirectional=True, weight_dropout=RATE).double()
    randomise(layer)
    mask = torch.tensor([[True, True, True], [True, False, False]])

    def run(inputs: Tensor, *weights: Tensor) -> Tensor:
        for parameter, weight in zip(layer.parameters(), weights, strict=True):
            assert parameter.shape == weight.shape
        named = dict(zip((name for name, _ in layer.named_parameters()), weights, strict=True))
        return seeded(lambda: torch.func.functional_call(layer, named, (inputs, mask))[0])

    values = [normal(2, 3, 2), *layer.parameters()]
    assert torch.autograd.gradcheck(run, [value.detach().requires_grad_() for value in values])


# --- decoders --------------------------------------------------------------------------------------------------------


def decoder_of(layers: int, options: dict[str, Any], **others: Any) -> RecurrentDecoder:
    config = config_of(settings(layers=layers, decoder=options, **others))
    decoder = RecurrentDecoder(9, 8, True, config).double()
    randomise(decoder)
    return decoder.train()


def begun(decoder: RecurrentDecoder, layers: int) -> Any:
    return decoder.begin(Memory(normal(3, 6, 8), MASK, normal(3, layers, 8, seed=2), normal(3, layers, 8, seed=3)))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_kernel_and_the_steps_drop_the_same(layers: int, cell: str) -> None:
    decoder = decoder_of(layers, {**ALL, "symbol_dropout": 0.2}, decoder_cell=cell)
    ready, state = begun(decoder, layers)
    assert decoder.is_sequential()
    fast = seeded(lambda: decoder.unroll(ready, state, TOKENS))
    steps = seeded(lambda: decoder.unroll_stepwise(ready, state, TOKENS))
    torch.testing.assert_close(fast.values, steps.values, **EXACT)
    other = decoder.unroll(ready, state, TOKENS)
    assert not torch.equal(fast.values, other.values)
    decoder.eval()
    torch.testing.assert_close(decoder.unroll(ready, state, TOKENS).values,
                               decoder.unroll_stepwise(ready, state, TOKENS).values, **EXACT)


@pytest.mark.parametrize("options", [{"weight_dropout": 0.5}, {"dropout": 0.3, "embedding_dropout": 0.2,
                                                                "variational_dropout": True}], ids=["weights", "masks"])
def test_the_whole_sequence_at_once_and_the_steps_drop_the_same(options: dict[str, Any]) -> None:
    decoder = decoder_of(1, options, feeding=False)
    ready, state = begun(decoder, 1)
    assert not decoder.is_sequential()
    at_once = seeded(lambda: decoder.unroll(ready, state, TOKENS))
    steps = seeded(lambda: decoder.unroll_stepwise(ready, state, TOKENS))
    torch.testing.assert_close(at_once.values, steps.values, **EXACT)


def test_the_own_history_is_dropped_as_the_gold_one() -> None:
    """Tokens that come one by one get the masks of the whole sequence."""
    decoder = decoder_of(2, {**ALL, "symbol_dropout": 0.3})
    ready, state = begun(decoder, 2)
    gold = seeded(lambda: decoder.unroll_stepwise(ready, state, TOKENS))
    coming = iter(TOKENS.t()[1:].unsqueeze(2))
    own = seeded(lambda: decoder.unroll_stepwise(ready, state, TOKENS, torch.ones_like(TOKENS, dtype=torch.bool),
                                                 lambda outputs: next(coming)))
    torch.testing.assert_close(gold.values, own.values, **EXACT)


# --- from the configuration to the network ---------------------------------------------------------------------------


def text_encoder(options: dict[str, Any], symbol_dropout: float = 0.0) -> tuple[nn.Module, Padded]:
    encoder = TextEncoder(9, 5, EncoderConfig(hidden_size=4, layers=2, **options), symbol_dropout=symbol_dropout)
    return encoder, Padded({"main": torch.where(MASK, 5, 0)}, LENGTHS)


def language_model(options: dict[str, Any]) -> tuple[nn.Module, Padded]:
    decoder = config_of(settings(decoder={"layers": 2, **options})).decoder
    return LanguageModule(9, decoder, one_hot=False, label_smoothing=0.0), Padded({"main": TOKENS},
                                                                                  torch.full((3,), 5))


def frames(kind: str) -> Any:
    def build(options: dict[str, Any]) -> tuple[nn.Module, Padded]:
        encoder = FrameEncoder(3, EncoderConfig(hidden_size=4, layers=2, **options), SubsamplingConfig(kind=kind))
        return encoder, Padded({"main": normal(3, 6, 3)}, LENGTHS)
    return build


def picture(options: dict[str, Any]) -> tuple[nn.Module, Padded]:
    config = ImageSourceConfig(height=9, width=12, channels=[4, 5], regions="rows")
    encoder = ImageEncoder(PictureConvolutions(3, config.channels), 5, 2, 3, config,
                           EncoderConfig(hidden_size=4, layers=2, **options))
    return encoder, Padded({"main": (normal(3, 9, 12, 3) * 50).to(torch.uint8)}, torch.full((3,), 9))


def video(options: dict[str, Any]) -> tuple[nn.Module, Padded]:
    config = FramesSourceConfig(height=8, width=8, channels=[3, 4], frame_size=5, colour="grey")
    return (FramesEncoder(config, EncoderConfig(hidden_size=4, layers=2, **options)),
            Padded({"main": (normal(3, 6, 8, 8, 1) * 50).to(torch.uint8)}, LENGTHS))


BUILDERS = {"text": text_encoder, "language": language_model, "frames": frames("none"), "pyramid": frames("pyramid"),
            "picture": picture, "video": video}


def outputs_of(module: nn.Module, given: Padded) -> Tensor:
    memory = module.encode(given) if isinstance(module, LanguageModule) else module(given)
    return memory.values


VARIATIONAL = {"embedding_dropout": 0.5, "variational_dropout": True}


@pytest.mark.parametrize("options", [VARIATIONAL, {"dropout": 0.5, "variational_dropout": True},
                                     {"weight_dropout": 0.5}], ids=["embedded", "between", "weights"])
@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_every_key_reaches_the_network_in_training_alone(build: Any, options: dict[str, Any]) -> None:
    module, given = build(options)
    plain, _ = build({})
    plain.load_state_dict(module.state_dict())
    module.train()
    assert not torch.equal(seeded(lambda: outputs_of(module, given)), outputs_of(plain, given))
    torch.testing.assert_close(outputs_of(module.eval(), given), outputs_of(plain, given))


def test_symbol_dropout_of_a_source_and_of_a_language_model() -> None:
    encoder, given = text_encoder({}, symbol_dropout=0.5)
    found = [seeded_with(seed, lambda: encoder.train().embed(given)) for seed in range(8)]
    whole = encoder.eval().embed(given)
    assert all(torch.equal(one, 2 * whole) or not one.any() for one in found)  # it is one symbol everywhere
    assert any(not one.any() for one in found)
    assert any(one.any() for one in found)
    model, text = language_model({"symbol_dropout": 0.5})
    assert not torch.equal(seeded(lambda: outputs_of(model.train(), text)), outputs_of(model.eval(), text))


def seeded_with(seed: int, run: Any) -> Any:
    torch.manual_seed(seed)
    return run()
