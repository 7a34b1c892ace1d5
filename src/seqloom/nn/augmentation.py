"""Random changes of inputs, in training only: another tempo, blanked stretches, shifted and re-lit pictures."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqloom.config.media_sections import PictureAugmentationConfig, SpecAugmentConfig


def change_tempo(values: Float[Tensor, "B S F"], lengths: Int[Tensor, " B"],
                 most: float) -> tuple[Float[Tensor, "B S2 F"], Int[Tensor, " B"]]:
    """Each row as if spoken slower or faster by up to `most`: L frames become round(L · U[1 − most, 1 + most]).

    The new frames lie evenly between the first and the last one, interpolated linearly; behind them are zeros. The
    second result are the new lengths, 1 at least.
    """
    B, F = values.shape[0], values.shape[2]
    factors = 1 + most * (2 * torch.rand(B, device=values.device) - 1)
    changed = (lengths * factors).round().long().clamp(min=1)
    S2 = int(changed.max())
    steps = torch.arange(S2, device=values.device)
    last = (lengths - 1).clamp(min=0).unsqueeze(1)
    places = (steps * last / (changed - 1).clamp(min=1).unsqueeze(1)).minimum(last)
    left = places.floor().long()
    right = (left + 1).minimum(last)
    share = (places - left).to(values.dtype).unsqueeze(2)

    def rows(index: Tensor) -> Tensor:
        return values.gather(1, index.unsqueeze(2).expand(B, S2, F))

    mixed = rows(left) * (1 - share) + rows(right) * share
    return mixed.masked_fill((steps >= changed.unsqueeze(1)).unsqueeze(2), 0.0), changed


def blank_stretches(values: Float[Tensor, "B S F"], lengths: Int[Tensor, " B"],
                    options: SpecAugmentConfig) -> Float[Tensor, "B S F"]:
    """SpecAugment without its time warping (Park et al. 2019, §2): zeros, the mean of normalised frames.

    Each stretch has t ~ U[0, T] frames, at most `time_fraction` of the row, and starts anywhere it fits; each band
    f ~ U[0, F] filters.
    """
    S, F = values.shape[1:]
    for _ in range(options.time_masks):
        most = torch.minimum(lengths * options.time_fraction, torch.full_like(lengths, options.time_width))
        values = values.masked_fill(_stretch(most, lengths, S).unsqueeze(2), 0.0)
    for _ in range(options.frequency_masks):
        bands = torch.full_like(lengths, F)
        most = torch.full_like(lengths, min(options.frequency_width, F))
        values = values.masked_fill(_stretch(most, bands, F).unsqueeze(1), 0.0)
    return values


def _stretch(most: Tensor, sizes: Tensor, count: int) -> Tensor:
    """[B count] bool: for each row one stretch of at most `most` [B] positions inside its `sizes` [B]."""
    device = sizes.device
    width = (torch.rand(len(sizes), device=device) * (most + 1)).floor()
    begin = (torch.rand(len(sizes), device=device) * (sizes - width + 1)).floor()
    places = torch.arange(count, device=device).unsqueeze(0)
    return (places >= begin.unsqueeze(1)) & (places < (begin + width).unsqueeze(1))


def change_pictures(pictures: Float[Tensor, "B S C H W"],
                    options: PictureAugmentationConfig) -> Float[Tensor, "B S C H W"]:
    """Shift, flip, brightness and contrast, drawn once for each row: the frames of a video change together.

    Values are −1 (black) to 1 (white). A shift repeats the edge.
    """
    B, H, W = pictures.shape[0], pictures.shape[3], pictures.shape[4]
    device, dtype = pictures.device, pictures.dtype
    if options.shift or options.flip:
        rows = _places(B, H, options.shift, device)
        columns = _places(B, W, options.shift, device)
        if options.flip:
            turned = torch.rand(B, 1, device=device) < 0.5
            columns = torch.where(turned, W - 1 - columns, columns)
        pictures = pictures.gather(3, rows[:, None, None, :, None].expand_as(pictures))
        pictures = pictures.gather(4, columns[:, None, None, None, :].expand_as(pictures))
    if options.contrast or options.brightness:
        size = (B, 1, 1, 1, 1)
        factor = 1 + options.contrast * (2 * torch.rand(size, device=device, dtype=dtype) - 1)
        added = 2 * options.brightness * (2 * torch.rand(size, device=device, dtype=dtype) - 1)
        pictures = pictures * factor + added
    return pictures


def _places(count: int, size: int, shift: int, device: torch.device) -> Tensor:
    """[B size]: the position that each pixel of a side comes from."""
    moved = torch.randint(-shift, shift + 1, (count, 1), device=device)
    return (torch.arange(size, device=device).unsqueeze(0) + moved).clamp(0, size - 1)
