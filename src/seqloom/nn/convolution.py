"""Convolutions: over frames, which become fewer, and over pictures. Masks stay exact: padding never reaches a result.

A row's result is the same alone and beside longer rows, because what lies past its end is zero before every layer.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from seqloom.nn.memory import real_positions


class Frames(NamedTuple):
    """values [B S F], zero from each row's length on; lengths [B]."""

    values: Float[Tensor, "B S F"]
    lengths: Int[Tensor, " B"]


def halved(lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Lengths after a layer of stride 2: half, rounded up."""
    return torch.div(lengths + 1, 2, rounding_mode="floor")


def blanked(values: Float[Tensor, "B S F"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B S F"]:
    """Zeros past the end of every row."""
    return values * real_positions(lengths, values.shape[1]).unsqueeze(2).to(values.dtype)


class TimeConvolutions(nn.Module):
    """Convolutions of width 3 and stride 2 over time, every dimension a channel: for frames without an order of their
    dimensions, such as cepstra. Each halves the number of frames; ReLU after each.
    """

    def __init__(self, size: int, channels: int, count: int) -> None:
        super().__init__()
        sizes = [size] + [channels] * count
        self.layers = nn.ModuleList([nn.Conv1d(before, after, 3, stride=2, padding=1)
                                     for before, after in pairwise(sizes)])
        self.output_size = channels

    def forward(self, frames: Frames) -> Frames:
        values, lengths = frames
        for layer in self.layers:
            values = functional.relu(layer(values.transpose(1, 2))).transpose(1, 2)
            lengths = halved(lengths)
            values = blanked(values, lengths)
        return Frames(values, lengths)


class SpectrumConvolutions(nn.Module):
    """Convolutions of 3 × 3 and stride 2 over time and frequency (as in Hori et al. 2017, §3.3, with strides for
    pooling). Each halves the number of frames and of bands; ReLU after each; channels and bands end side by side.
    """

    def __init__(self, size: int, channels: int, count: int) -> None:
        super().__init__()
        sizes = [1] + [channels] * count
        self.layers = nn.ModuleList([nn.Conv2d(before, after, 3, stride=2, padding=1)
                                     for before, after in pairwise(sizes)])
        for _ in range(count):
            size = (size + 1) // 2
        self.output_size = channels * size

    def forward(self, frames: Frames) -> Frames:
        values, lengths = frames.values.unsqueeze(1), frames.lengths
        for layer in self.layers:
            values = functional.relu(layer(values))
            lengths = halved(lengths)
            mask = real_positions(lengths, values.shape[2])
            values = values * mask[:, None, :, None].to(values.dtype)
        return Frames(values.transpose(1, 2).flatten(2), lengths)


def pairs(values: Float[Tensor, "B S F"]) -> Float[Tensor, "B S2 G"]:
    """Neighbouring positions side by side; an odd last one beside zeros (Chan et al. 2016, eq. 5)."""
    B, S, F = values.shape
    return functional.pad(values, (0, 0, 0, S % 2)).reshape(B, (S + 1) // 2, 2 * F)


class PictureConvolutions(nn.Module):
    """Blocks of a 3 × 3 convolution, group normalisation, ReLU and 2 × 2 pooling of the largest.

    Group normalisation (Wu & He 2018) looks at one picture alone, so that an answer does not depend on the batch, as
    it would with batch normalisation in training. A picture of H × W leaves H/2ⁿ × W/2ⁿ regions, rounded down.
    """

    def __init__(self, inputs: int, channels: list[int]) -> None:
        super().__init__()
        sizes = [inputs, *channels]
        self.convolutions = nn.ModuleList([nn.Conv2d(before, after, 3, padding=1, bias=False)
                                           for before, after in pairwise(sizes)])
        self.norms = nn.ModuleList([nn.GroupNorm(groups_of(size), size) for size in channels])
        self.output_size = channels[-1]

    def forward(self, pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            pictures = functional.max_pool2d(functional.relu(norm(convolution(pictures))), 2)
        return pictures


def groups_of(channels: int) -> int:
    """Groups of a normalisation: 8 where that divides the channels and leaves more than one in each, else 1."""
    return 8 if channels % 8 == 0 and channels > 8 else 1
