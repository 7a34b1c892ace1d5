"""Convolutions and the pyramid: values against sums written out, lengths, and padding that never reaches a result."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from seqloom.config.base import Section
from seqloom.config.media_sections import (
    FramesSourceConfig,
    ImageSourceConfig,
    PictureAugmentationConfig,
    SpecAugmentConfig,
    SubsamplingConfig,
)
from seqloom.config.sections import EncoderConfig
from seqloom.nn.augmentation import blank_stretches, change_pictures, change_tempo
from seqloom.nn.convolution import (
    Frames,
    PictureConvolutions,
    SpectrumConvolutions,
    TimeConvolutions,
    groups_of,
    halved,
    pairs,
)
from seqloom.nn.frame_encoders import FrameEncoder, Pyramid
from seqloom.nn.picture_encoders import FramesEncoder, ImageEncoder
from seqloom.nn.recurrent import RecurrentStack
from seqloom.types import Padded
from tiny import gradients, normal, randomise

LENGTHS = torch.tensor([9, 1, 4, 7])
S, F = 9, 6


def frames(seed: int = 1) -> Frames:
    """Rows of different length, with numbers behind their end that must not matter."""
    return Frames(normal(len(LENGTHS), S, F, seed=seed), LENGTHS)


def clean(given: Frames) -> Frames:
    real = torch.arange(given.values.shape[1]) < given.lengths[:, None]
    return given._replace(values=given.values * real.unsqueeze(2))


# --- values ----------------------------------------------------------------------------------------------------------


def test_time_convolution_is_the_sum_over_neighbours() -> None:
    layer = TimeConvolutions(F, 5, 1).double()
    values = normal(1, 5, F)
    found = layer(Frames(values, torch.tensor([5])))
    weight, bias = layer.layers[0].weight, layer.layers[0].bias  # type: ignore[union-attr]
    assert found.lengths.tolist() == [3]
    for place in range(3):
        total = bias.clone()  # type: ignore[operator, union-attr]
        for shift in range(3):
            if 0 <= (at := 2 * place + shift - 1) < 5:
                total = total + weight[:, :, shift] @ values[0, at]  # type: ignore[index]
        torch.testing.assert_close(found.values[0, place], total.clamp(min=0))


def test_spectrum_convolution_is_the_sum_over_time_and_frequency() -> None:
    layer = SpectrumConvolutions(F, 2, 1).double()
    values = normal(1, 5, F)
    found = layer(Frames(values, torch.tensor([5]))).values.reshape(3, 2, 3)  # time, channel, band
    weight, bias = layer.layers[0].weight, layer.layers[0].bias  # type: ignore[union-attr]
    for place in range(3):
        for band in range(3):
            total = bias.clone()  # type: ignore[operator, union-attr]
            for shift in range(3):
                for move in range(3):
                    at, low = 2 * place + shift - 1, 2 * band + move - 1
                    if 0 <= at < 5 and 0 <= low < F:
                        total = total + weight[:, 0, shift, move] * values[0, at, low]  # type: ignore[index]
            torch.testing.assert_close(found[place, :, band], total.clamp(min=0))


def test_pairs_stand_side_by_side() -> None:
    values = torch.arange(10.0).view(1, 5, 2)
    assert pairs(values).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]]]
    assert pairs(values[:, :4]).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]]]


def test_halves_are_rounded_up() -> None:
    assert halved(torch.tensor([1, 2, 3, 8, 9])).tolist() == [1, 1, 2, 4, 5]


def test_a_pyramid_is_its_layers_on_pairs() -> None:
    config = EncoderConfig(layers=4, hidden_size=3)
    pyramid = Pyramid(F, config, 2).double()
    randomise(pyramid)
    values = normal(1, 7, F)
    found, mask = pyramid(Frames(values, torch.tensor([7])))
    first, second, third, fourth = pyramid.layers
    everywhere = [torch.ones(1, count, dtype=torch.bool) for count in (7, 4, 2)]
    one, _ = first(values, everywhere[0])
    two, _ = second(torch.cat([one, one.new_zeros(1, 1, 6)], 1).reshape(1, 4, 12), everywhere[1])
    three, _ = third(two.reshape(1, 2, 12), everywhere[2])
    four, last = fourth(three, everywhere[2])
    torch.testing.assert_close(found.outputs, four)
    torch.testing.assert_close(found.hidden[:, -1], last.hidden)
    assert mask.tolist() == [[True, True]]


def test_pictures_are_convolved_normalised_and_pooled() -> None:
    block = PictureConvolutions(2, [3]).double()
    randomise(block)
    pictures = normal(2, 2, 5, 4)
    padded = torch.nn.functional.pad(pictures, (1, 1, 1, 1))
    weight = block.convolutions[0].weight
    convolved = torch.zeros(2, 3, 5, 4, dtype=torch.float64)
    for row in range(5):
        for column in range(4):
            window = padded[:, :, row:row + 3, column:column + 3]
            convolved[:, :, row, column] = torch.einsum("bchw,dchw->bd", window, weight)  # type: ignore[arg-type]
    mean = convolved.mean((1, 2, 3), keepdim=True)
    variance = convolved.var((1, 2, 3), keepdim=True, unbiased=False)
    norm = block.norms[0]
    scaled = (convolved - mean) / (variance + 1e-5).sqrt() * norm.weight.view(1, 3, 1, 1) + norm.bias.view(1, 3, 1, 1)  # type: ignore[operator, union-attr]
    expected = torch.stack([torch.stack([scaled[:, :, 2 * row:2 * row + 2, 2 * column:2 * column + 2].amax((2, 3))
                                         for column in range(2)], 2) for row in range(2)], 2).clamp(min=0)
    torch.testing.assert_close(block(pictures), expected)


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (8, 1), (12, 1), (16, 8), (128, 8)])
def test_groups(channels: int, groups: int) -> None:
    assert groups_of(channels) == groups


# --- encoders --------------------------------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "plain": {}, "time": {"subsampling": SubsamplingConfig(kind="convolution", factor=4, channels=3)},
    "spectrum": {"subsampling": SubsamplingConfig(kind="convolution", factor=2, channels=3), "spectrum": True},
    "pyramid": {"subsampling": SubsamplingConfig(kind="pyramid", factor=4), "layers": 3},
    "gru": {"cell": "gru", "layers": 2, "residual": True}, "pyramid-rnn":
        {"subsampling": SubsamplingConfig(kind="pyramid", factor=2), "layers": 2, "cell": "rnn_tanh"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
FACTORS = {"plain": 1, "time": 4, "spectrum": 2, "pyramid": 4, "gru": 1, "pyramid-rnn": 2}


def frame_encoder(kind: str, **options: Any) -> FrameEncoder:
    given = {**KINDS[kind], **options}
    subsampling = given.pop("subsampling", SubsamplingConfig())
    spectrum = given.pop("spectrum", False)
    augmentation = given.pop("augmentation", None)
    config = EncoderConfig(**{"hidden_size": 3, **given})
    encoder = FrameEncoder(F, config, subsampling, spectrum=spectrum, augmentation=augmentation).double()
    randomise(encoder)
    return encoder


@every_kind
def test_a_row_is_the_same_alone_and_beside_others(kind: str) -> None:
    encoder = frame_encoder(kind).eval()
    together = encoder(Padded({"main": frames().values}, LENGTHS))
    assert together.values.shape[2] == encoder.memory_size
    assert together.mask.sum(1).tolist() == [-(-int(length) // FACTORS[kind]) for length in LENGTHS]
    for row, length in enumerate(LENGTHS.tolist()):
        alone = encoder(Padded({"main": frames().values[row:row + 1, :length]}, LENGTHS[row:row + 1]))
        count = alone.values.shape[1]
        assert alone.mask.all()
        torch.testing.assert_close(together.values[row:row + 1, :count], alone.values, rtol=0, atol=1e-12)
        torch.testing.assert_close(together.hidden[row:row + 1], alone.hidden, rtol=0, atol=1e-12)
        if alone.cell is not None:
            torch.testing.assert_close(together.cell[row:row + 1], alone.cell, rtol=0, atol=1e-12)


@every_kind
def test_every_parameter_gets_the_numeric_gradient(kind: str) -> None:
    encoder = frame_encoder(kind, hidden_size=2)
    source = Padded({"main": frames().values}, LENGTHS)

    def total() -> Tensor:
        memory = encoder(source)
        return (memory.values * normal(*memory.values.shape, seed=5)).sum() + \
            (memory.hidden * normal(*memory.hidden.shape, seed=6)).sum()

    for name, gradient in gradients(total(), encoder).items():
        assert gradient.any(), name
        parameter = dict(encoder.named_parameters())[name]
        place = tuple(int(index) for index in (gradient.abs() == gradient.abs().max()).nonzero()[0])
        with torch.no_grad():
            sides = []
            for step in (1e-6, -2e-6):
                parameter[place] += step
                sides.append(total())
            parameter[place] += 1e-6
        assert float((sides[0] - sides[1]) / 2e-6) == pytest.approx(float(gradient[place]), rel=1e-5, abs=1e-7)


def test_frames_one_by_one_are_frames_together() -> None:
    encoder = frame_encoder("gru", bidirectional=False).eval()
    values = normal(2, 5, F)
    whole = encoder(Padded({"main": values}, torch.tensor([5, 5])))
    memory, outputs = None, []
    for step in range(5):
        memory = encoder(Padded({"main": values[:, step:step + 1]}, torch.tensor([1, 1])), memory)
        outputs.append(memory.values)
    torch.testing.assert_close(torch.cat(outputs, 1), whole.values, rtol=0, atol=1e-12)


# --- pictures --------------------------------------------------------------------------------------------------------


def image_encoder(**options: Any) -> ImageEncoder:
    config = ImageSourceConfig(height=9, width=12, channels=[4, 5], **options)
    encoder = EncoderConfig(hidden_size=3, layers=2 if options.get("regions") == "rows" else 1)
    made = ImageEncoder(PictureConvolutions(3, config.channels), 5, 2, 3, config, encoder).double()
    randomise(made)
    return made


def bytes_of(*shape: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def image_source(rows: int = 3) -> Padded:
    return Padded({"main": bytes_of(rows, 9, 12, 3)}, torch.full((rows,), 9))


@pytest.mark.parametrize("regions", ["affine", "rows"])
@pytest.mark.parametrize("summary", ["flatten", "mean"])
def test_images(regions: str, summary: str) -> None:
    encoder = image_encoder(regions=regions, summary=summary).eval()
    memory = encoder(image_source())
    assert memory.values.shape == (3, 6, encoder.memory_size)
    assert memory.mask.all()
    assert memory.summary.shape == (3, encoder.memory_size)
    assert memory.cell is None
    alone = encoder(Padded({"main": bytes_of(3, 9, 12, 3)[1:2]}, torch.tensor([9])))
    torch.testing.assert_close(memory.values[1:2], alone.values, rtol=0, atol=1e-12)
    torch.testing.assert_close(memory.hidden[1:2], alone.hidden, rtol=0, atol=1e-12)
    total = (memory.values * normal(*memory.values.shape)).sum() + (memory.hidden * normal(*memory.hidden.shape)).sum()
    for name, gradient in gradients(total, encoder).items():
        assert gradient.any(), name


def test_a_mean_summary_is_the_mean() -> None:
    memory = image_encoder(summary="mean").eval()(image_source())
    torch.testing.assert_close(memory.summary, memory.values.mean(1))


def test_rows_do_not_meet() -> None:
    """A change in the last rows of pixels reaches the last row of regions, and the first only by normalisation."""
    encoder = image_encoder(regions="rows").eval()
    regions = torch.zeros(2, 5, 2, 3, dtype=torch.float64)
    regions[1, :, 1] = 1.0

    class Given(torch.nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return regions

    encoder.pictures = Given()
    values = encoder(image_source(2)).values.view(2, 2, 3, -1)
    assert torch.equal(values[0, 0], values[1, 0])
    assert not torch.isclose(values[0, 1], values[1, 1]).any(1).all()


def test_frames_of_a_video_pass_one_by_one_through_the_same_convolutions() -> None:
    config = FramesSourceConfig(height=8, width=8, channels=[3, 4], frame_size=5, colour="grey")
    encoder = FramesEncoder(config, EncoderConfig(hidden_size=3, cell="gru")).double().eval()
    randomise(encoder)
    values = bytes_of(2, 4, 8, 8, 1)
    memory = encoder(Padded({"main": values}, torch.tensor([4, 2])))
    for row, length in enumerate([4, 2]):
        alone = encoder(Padded({"main": values[row:row + 1, :length]}, torch.tensor([length])))
        torch.testing.assert_close(memory.values[row:row + 1, :length], alone.values, rtol=0, atol=1e-12)
        torch.testing.assert_close(memory.hidden[row:row + 1], alone.hidden, rtol=0, atol=1e-12)
    vectors = [torch.relu(encoder.affine(encoder.pictures(
        (frame.double() / 127.5 - 1).permute(2, 0, 1).unsqueeze(0)).flatten(1))) for frame in values[0]]
    stack = encoder.recurrent
    assert isinstance(stack, RecurrentStack)
    expected = stack(torch.stack(vectors, 1), torch.ones(1, 4, dtype=torch.bool)).outputs
    torch.testing.assert_close(memory.values[:1], expected, rtol=0, atol=1e-12)
    for name, gradient in gradients((memory.values * normal(*memory.values.shape)).sum(), encoder).items():
        assert gradient.any(), name


# --- augmentation ----------------------------------------------------------------------------------------------------


def test_blanked_stretches_have_the_sizes_that_were_asked_for() -> None:
    torch.manual_seed(1)
    options = SpecAugmentConfig(time_masks=1, time_width=5, time_fraction=0.5, frequency_masks=1, frequency_width=2)
    lengths = torch.tensor([40, 8] * 300)
    found = blank_stretches(torch.ones(600, 40, 6), lengths, options) == 0
    times, bands = found.all(2), found.all(1)
    assert times.sum(1)[0::2].bincount().nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert times.sum(1)[1::2].bincount().nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
    assert not times[1::2, 8:].any()
    assert bands.sum(1).bincount().nonzero().flatten().tolist() == [0, 1, 2]
    assert torch.equal(found, times.unsqueeze(2) | bands.unsqueeze(1))
    edges = times[0::2].long().diff(dim=1).abs().sum(1)
    assert int(edges.max()) <= 2  # one stretch, not several
    assert bool(times[0::2, 0].any())
    assert bool(times[0::2, -1].any())


def test_another_tempo_is_the_same_melody() -> None:
    """Frames lie on a straight line, so interpolation gives the same line with another number of points."""
    torch.manual_seed(1)
    lengths = torch.tensor([40, 8, 1] * 200)
    ramp = torch.linspace(0, 1, 40, dtype=torch.float64).view(1, 40, 1).repeat(600, 1, 2)
    ramp[1::3] = torch.cat([torch.linspace(0, 1, 8, dtype=torch.float64), torch.full((32,), 9.0)]).view(1, 40, 1)
    values, changed = change_tempo(ramp, lengths, 0.25)
    assert sorted(set(changed[0::3].tolist())) == list(range(30, 51))
    assert sorted(set(changed[1::3].tolist())) == [6, 7, 8, 9, 10]
    assert set(changed[2::3].tolist()) == {1}
    assert values.shape == (600, int(changed.max()), 2)
    for row in (0, 1, 3, 4, 6, 7):
        count = int(changed[row])
        assert values[row, :count, 0].tolist() == pytest.approx(torch.linspace(0, 1, count).tolist(), abs=1e-6)
        assert not values[row, count:].any()
    same, kept = change_tempo(ramp, lengths, 0.0)
    assert torch.equal(kept, lengths)
    assert torch.allclose(same[0::3], ramp[0::3], atol=1e-12)


def test_pictures_are_moved_turned_and_lit_as_asked() -> None:
    torch.manual_seed(1)
    picture = torch.linspace(-1, 1, 60).view(1, 1, 1, 6, 10).expand(400, 2, 1, 6, 10)
    moved = change_pictures(picture, PictureAugmentationConfig(shift=2))
    assert torch.equal(moved[:, 0], moved[:, 1])  # the frames of a video move together
    tops = {round(float(value), 6) for value in moved[:, 0, 0, 0, 0]}
    grid = picture[0, 0, 0]
    assert tops == {round(float(grid[row, column]), 6) for row in range(3) for column in range(3)}
    flipped = change_pictures(picture, PictureAugmentationConfig(flip=True))
    same = (flipped == picture).flatten(1).all(1)
    turned = (flipped == picture.flip(4)).flatten(1).all(1)
    assert (same | turned).all()
    assert 150 < int(same.sum()) < 250
    lit = change_pictures(picture, PictureAugmentationConfig(brightness=0.1, contrast=0.2))
    slope = (lit[:, 0, 0, -1, -1] - lit[:, 0, 0, 0, 0]) / 2
    centre = (lit[:, 0, 0, -1, -1] + lit[:, 0, 0, 0, 0]) / 2
    assert 0.8 <= float(slope.min()) < 0.85
    assert 1.15 < float(slope.max()) <= 1.2
    assert 0.15 < float(centre.abs().max()) <= 0.2 + 1e-6
    assert torch.equal(change_pictures(picture, PictureAugmentationConfig()), picture)


@pytest.mark.parametrize("options", [
    SpecAugmentConfig(time_masks=2), SpecAugmentConfig(frequency_masks=2)])
def test_sound_changes_in_training_only(options: Section) -> None:
    encoder = frame_encoder("plain", augmentation=options)
    source = Padded({"main": frames().values + 3}, LENGTHS)
    torch.manual_seed(1)
    assert not torch.equal(encoder.train()(source).values, encoder.eval()(source).values)
    assert torch.equal(encoder.eval()(source).values, encoder.eval()(source).values)


@pytest.mark.parametrize("kind", ["plain", "time", "spectrum", "pyramid"])
def test_another_tempo_changes_the_memory_in_training_only(kind: str) -> None:
    """The mask of the memory follows the new lengths."""
    encoder = frame_encoder(kind, augmentation=SpecAugmentConfig(tempo=0.5))
    source = Padded({"main": frames().values}, LENGTHS)
    torch.manual_seed(1)
    sizes = {tuple(encoder.train()(source).mask.sum(1).tolist()) for _ in range(8)}
    assert len(sizes) > 1
    first = encoder.eval()(source)
    assert torch.equal(first.values, encoder.eval()(source).values)
    assert tuple(first.mask.sum(1).tolist()) == tuple(encoder.eval()(source).mask.sum(1).tolist())


def test_pictures_change_in_training_only() -> None:
    encoder = image_encoder(augmentation=PictureAugmentationConfig(shift=2, brightness=0.2))
    torch.manual_seed(1)
    assert not torch.equal(encoder.train()(image_source()).values, encoder.eval()(image_source()).values)
    assert torch.equal(encoder.eval()(image_source()).values, encoder.eval()(image_source()).values)
