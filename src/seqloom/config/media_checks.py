"""What options of features, sound, images and frames rule out."""

from __future__ import annotations

from collections.abc import Callable
from math import log, log2

from seqloom.config.media_sections import (
    AudioSourceConfig,
    FeaturesSourceConfig,
    FramesSourceConfig,
    ImageSourceConfig,
)
from seqloom.config.problems import Problem, Problems
from seqloom.config.sections import Config, SequenceHeadConfig


def subsampling(config: Config) -> Problems:
    """A pyramid has a layer for each halving above the first, and a tag belongs to every frame."""
    source = config.source
    if not isinstance(source, FeaturesSourceConfig | AudioSourceConfig) or source.subsampling.kind == "none":
        return
    options = source.subsampling
    if config.head.kind == "tags":
        yield Problem(f"head.kind is tags and source.subsampling.kind is {options.kind}: there would be one tag for "
                      f"{options.factor} frames", "set source.subsampling.kind to none")
    if options.kind != "pyramid":
        return
    layers, needed = config.encoder.layers, int(log2(options.factor)) + 1
    if layers < needed:
        yield Problem(f"source.subsampling.kind is pyramid with source.subsampling.factor {options.factor}, but "
                      f"encoder.layers is {layers}, expected {needed} or more: one below, and one for each halving",
                      f"set encoder.layers to {needed}, or source.subsampling.factor lower")
    if config.encoder.residual:
        yield Problem("source.subsampling.kind is pyramid, but encoder.residual is true: a layer's input has other "
                      "positions than its output", "set encoder.residual to false")


def tempo(config: Config) -> Problems:
    """A tag belongs to every frame, so their number stays."""
    source = config.source
    if isinstance(source, FeaturesSourceConfig | AudioSourceConfig) and source.augmentation.tempo \
            and config.head.kind == "tags":
        yield Problem(f"head.kind is tags and source.augmentation.tempo is {source.augmentation.tempo:g}: there would "
                      "be more or fewer frames than tags", "set source.augmentation.tempo to 0")


def spectrum(config: Config) -> Problems:
    """Filters lie below half the sample rate, and each has something to hear."""
    source = config.source
    if not isinstance(source, AudioSourceConfig):
        return
    half = source.sample_rate / 2
    high = source.high_frequency or half
    if high > half:
        yield Problem(f"source.high_frequency is {high:g}, but source.sample_rate is {source.sample_rate}, which holds "
                      f"frequencies up to {half:g} Hz", f"set source.high_frequency to {half:g}, or leave it out")
        return
    if source.low_frequency >= high:
        yield Problem(f"source.low_frequency is {source.low_frequency:g}, expected less than the upper edge {high:g}",
                      "set source.low_frequency lower")
        return
    if source.window_milliseconds < source.hop_milliseconds:
        yield Problem(f"source.window_milliseconds is {source.window_milliseconds:g}, but source.hop_milliseconds is "
                      f"{source.hop_milliseconds:g}: sound between the frames would be lost",
                      "set source.window_milliseconds to source.hop_milliseconds or more")
    if source.sample_rate * source.hop_milliseconds < 1000:
        yield Problem(f"source.hop_milliseconds is {source.hop_milliseconds:g}, less than one sample at "
                      f"source.sample_rate {source.sample_rate}",
                      f"set source.hop_milliseconds to {1000 / source.sample_rate:g} or more")
        return
    deaf = _empty_filter(source, high)
    if deaf is not None:
        yield Problem(f"source.filters is {source.filters}, but with source.window_milliseconds "
                      f"{source.window_milliseconds:g} at source.sample_rate {source.sample_rate} no frequency of the "
                      f"spectrum lies in filter {deaf}",
                      "set source.filters lower, or source.window_milliseconds higher")


def _empty_filter(source: AudioSourceConfig, high: float) -> int | None:
    """The first filter, from 1, between whose edges no frequency of the spectrum lies."""
    def mel(frequency: float) -> float:
        return 1127 * log(1 + frequency / 700)

    window = max(2, int(source.sample_rate * source.window_milliseconds / 1000))
    length = 1 << (window - 1).bit_length()
    low, width = mel(source.low_frequency), (mel(high) - mel(source.low_frequency)) / (source.filters + 1)
    places = [(mel(number * source.sample_rate / length) - low) / width for number in range(length // 2)]
    heard = {filter for place in places for filter in (int(place), int(place) - 1)
             if place > 0 and 0 <= filter < source.filters and filter < place < filter + 2}
    return next((number + 1 for number in range(source.filters) if number not in heard), None)


def picture_size(config: Config) -> Problems:
    """Something of the picture is left after the halvings."""
    source = config.source
    if not isinstance(source, ImageSourceConfig | FramesSourceConfig):
        return
    if isinstance(source, ImageSourceConfig) and source.backbone is not None:
        if source.colour == "grey":
            yield Problem("source.colour is grey, but source.backbone is given: it reads three channels",
                          "set source.colour to colour")
        return
    least = 2 ** len(source.channels)
    for name, size in (("height", source.height), ("width", source.width)):
        if size < least:
            yield Problem(f"source.{name} is {size}, but source.channels has {len(source.channels)} blocks, which "
                          f"halve it to nothing, expected {least} or more",
                          f"set source.{name} to {least}, or give source.channels fewer blocks")


def alignment(config: Config) -> Problems:
    """What is aligned is a sequence, and has ids of the target alone."""
    head = config.head
    if not isinstance(head, SequenceHeadConfig) or not head.alignment_loss:
        return
    name = f"head.alignment_loss is {head.alignment_loss:g}"
    if isinstance(config.source, ImageSourceConfig):
        yield Problem(f"{name}, but source.kind is image, whose regions have no order", "set head.alignment_loss to 0")
    if config.decoder.copy_source:
        yield Problem(f"{name}, but decoder.copy_source is true: copied symbols are none of the target's",
                      "set head.alignment_loss to 0, or decoder.copy_source to false")


MEDIA_CHECKS: tuple[Callable[[Config], Problems], ...] = (subsampling, tempo, spectrum, picture_size, alignment)
