"""Sections of sources that read files: features, audio, image, frames."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from seqloom.config.base import Fraction, Positive, Section, SourceSection, text

Channels = Annotated[list[Positive], Field(min_length=1, max_length=8)]
NormalizationName = Literal["none", "dimension", "item"]
STAY_INSIDE = "Refuse paths that lead out of the folder of the file that names them."


class SubsamplingConfig(Section):
    kind: Literal["none", "convolution", "pyramid"] = text(
        "none", "How frames become fewer: convolutions with stride 2; or a pyramid, in which a recurrent layer reads "
                "the one below in pairs (Chan et al. 2016, eq. 5).")
    factor: Literal[2, 4, 8] = text(4, "Frames for each position of the memory.")
    channels: Positive = text(32, "convolution: channels of each layer.")


class SpecAugmentConfig(Section):
    """Changes of frames in training."""

    tempo: Fraction = text(0.0, "Slower or faster by up to this part: the number of frames changes, by interpolation, "
                                "and the pitch does not (compare Ko et al. 2015).")
    time_masks: int = text(0, "Stretches of frames that are blanked in training (Park et al. 2019, §2).", ge=0)
    time_width: Positive = text(40, "Longest stretch, in frames.")
    time_fraction: Fraction = text(0.2, "No stretch is longer than this part of the input.")
    frequency_masks: int = text(0, "Bands of dimensions that are blanked in training.", ge=0)
    frequency_width: Positive = text(15, "Widest band, in dimensions.")


class FeaturesSourceConfig(SourceSection):
    """Frames of numbers."""

    kind: Literal["features"] = "features"
    normalization: NormalizationName = text(
        "dimension", "dimension: mean 0 and variance 1 of each dimension over the training data; item: within each "
                     "input; none: as they are.")
    subsampling: SubsamplingConfig = text(SubsamplingConfig(), "Fewer memory positions than frames.")
    augmentation: SpecAugmentConfig = text(
        SpecAugmentConfig(), "SpecAugment, for frames that are speech; in training only.")
    stay_inside: bool = text(False, STAY_INSIDE)


class AudioSourceConfig(SourceSection):
    """Sound, as log-mel frames."""

    kind: Literal["audio"] = "audio"
    sample_rate: int = text(16000, "Sound is resampled to this rate, in Hz.", ge=1000, le=192000)
    filters: Positive = text(80, "Mel filters, the dimensions of a frame.", le=256)
    window_milliseconds: float = text(25.0, "Length of a frame.", gt=0, le=1000)
    hop_milliseconds: float = text(10.0, "From one frame to the next.", gt=0, le=1000)
    low_frequency: float = text(20.0, "Lower edge of the first filter, in Hz.", ge=0)
    high_frequency: float | None = text(None, "Upper edge of the last filter, in Hz; empty: half the sample rate.",
                                        gt=0)
    max_seconds: float = text(60.0, "Longer sound is set aside, before it is decoded.", gt=0)
    normalization: NormalizationName = text(
        "dimension", "dimension: mean 0 and variance 1 of each filter over the training data; item: within each "
                     "input; none: as they are.")
    subsampling: SubsamplingConfig = text(
        SubsamplingConfig(kind="convolution"), "Fewer memory positions than frames.")
    augmentation: SpecAugmentConfig = text(SpecAugmentConfig(), "SpecAugment; in training only.")
    stay_inside: bool = text(False, STAY_INSIDE)


class PictureAugmentationConfig(Section):
    shift: int = text(0, "Moved by up to this many pixels in each direction.", ge=0)
    brightness: Fraction = text(0.0, "Lighter or darker by up to this part of the whole range.")
    contrast: Fraction = text(0.0, "Contrast times 1 ± up to this.")
    flip: bool = text(False, "Left and right exchanged in half of the cases; not where the answer says left or right.")


class PictureSection(SourceSection):
    """What images and frames have in common."""

    height: Positive = text(64, "Every picture is resized to this height, in pixels, …", le=4096)
    width: Positive = text(64, "… and this width.", le=4096)
    resize: Literal["stretch", "pad"] = text(
        "stretch", "stretch: sides change independently; pad: they keep their ratio, and the rest is filled with the "
                   "colour of the picture's corner.")
    colour: Literal["colour", "grey"] = text("colour", "Three channels, or one.")
    channels: Channels = text(
        [32, 64, 128, 128], "Channels of each convolution block; each block halves height and width.")
    max_pixels: Positive = text(50_000_000, "Larger pictures are set aside, before they are decoded.")
    augmentation: PictureAugmentationConfig = text(PictureAugmentationConfig(), "Light changes; in training only.")
    stay_inside: bool = text(False, STAY_INSIDE)

    @property
    def depth(self) -> int:
        """Channels of a picture as it is read."""
        return 3 if self.colour == "colour" else 1

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of regions that our own convolutions leave."""
        halvings = 2 ** len(self.channels)
        return self.height // halvings, self.width // halvings


class ImageSourceConfig(PictureSection):
    """One picture."""

    kind: Literal["image"] = "image"
    backbone: str | None = text(
        None, "A pretrained network of transformers instead of our own convolutions, by the path of its folder or its "
              "name on the Hugging Face hub. Height and width should be what it was trained on.")
    freeze_backbone: bool = text(True, "Keep the backbone as it is.")
    regions: Literal["affine", "rows"] = text(
        "affine", "What attention reads for each region: an affine map of its channels, or an encoder that reads the "
                  "rows one by one (Deng et al. 2017, §3).")
    summary: Literal["flatten", "mean"] = text(
        "flatten", "The whole image for the decoder: all regions through one affine layer, or their mean.")


class FramesSourceConfig(PictureSection):
    """The frames of a video."""

    kind: Literal["frames"] = "frames"
    frame_size: Positive = text(128, "Size of the vector that the encoder reads for each frame.")
    max_frames: Positive = text(10_000, "Inputs with more frames are set aside, before they are decoded.")
