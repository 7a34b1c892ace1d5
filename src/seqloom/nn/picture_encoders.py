"""Encoders of pictures: regions of one image, or a recurrent stack over the frames of a video, become a Memory."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from seqloom.config.media_sections import FramesSourceConfig, ImageSourceConfig, PictureAugmentationConfig
from seqloom.config.sections import EncoderConfig
from seqloom.nn.augmentation import change_pictures
from seqloom.nn.convolution import PictureConvolutions
from seqloom.nn.dropout import drop
from seqloom.nn.memory import Memory, real_positions, states_after
from seqloom.nn.recurrent import RecurrentStack
from seqloom.types import Padded


def as_pictures(values: Tensor, dtype: torch.dtype, options: PictureAugmentationConfig | None,
                ) -> Float[Tensor, "B S C H W"]:
    """Bytes [B S H W C] as numbers from −1 (black) to 1 (white), channels first, changed at random with `options`."""
    pictures = values.to(dtype).permute(0, 1, 4, 2, 3) / 127.5 - 1
    return pictures if options is None else change_pictures(pictures, options)


class ImageEncoder(nn.Module):
    """Regions of one image, row by row, as memory; the whole image as summary.

    Regions are read by `pictures` [B C H W] → [B D h w], each gets an affine map and the learned places of its row and
    column, and is attended to (Xu et al. 2015, §3.1.1); with `regions: rows` a recurrent stack reads each row. The
    summary is all regions through an affine layer, or their mean (ibid., §3.1.2).
    """

    def __init__(self, pictures: nn.Module, size: int, height: int, width: int, config: ImageSourceConfig,
                 encoder: EncoderConfig, *, summary_read: bool = True) -> None:
        super().__init__()
        self.pictures = pictures
        self.memory_size = encoder.hidden_size * (1 + encoder.bidirectional)
        self.rows = nn.Parameter(torch.empty(height, size))
        self.columns = nn.Parameter(torch.empty(width, size))
        nn.init.normal_(self.rows, std=0.1)
        nn.init.normal_(self.columns, std=0.1)
        self.recurrent: RecurrentStack | None = None
        self.affine: nn.Linear | None = None
        if config.regions == "rows":
            self.recurrent = RecurrentStack.configured(encoder, size)
        else:
            self.affine = nn.Linear(size, self.memory_size)
        # Where nobody reads the summary, it has no weights that would wait for a gradient.
        self.flatten = nn.Linear(height * width * self.memory_size, self.memory_size) \
            if config.summary == "flatten" and summary_read else None
        self.augmentation = config.augmentation
        self.embedding_dropout, self.dropout = encoder.embedding_dropout, encoder.dropout
        self.variational = encoder.variational_dropout

    def forward(self, source: Padded) -> Memory:
        dtype = self.rows.dtype
        given = as_pictures(source.main.unsqueeze(1), dtype, self.augmentation if self.training else None)
        read: Float[Tensor, "B D h w"] = self.pictures(given.squeeze(1))
        B, D, height, width = read.shape
        places = self.rows.unsqueeze(1) + self.columns.unsqueeze(0)
        regions: Float[Tensor, "B h w D"] = read.permute(0, 2, 3, 1).to(dtype) + places
        regions = drop(regions.flatten(1, 2), self.embedding_dropout, self.training,
                       variational=self.variational).view_as(regions)
        if self.affine is not None:
            values = self.affine(regions).reshape(B, height * width, self.memory_size)
        else:
            assert self.recurrent is not None
            everywhere = torch.ones(B * height, width, dtype=torch.bool, device=read.device)
            outputs = self.recurrent(regions.reshape(B * height, width, D), everywhere).outputs
            values = outputs.reshape(B, height * width, self.memory_size)
        summary = values.mean(1) if self.flatten is None else self.flatten(values.flatten(1))
        mask = torch.ones(B, height * width, dtype=torch.bool, device=read.device)
        values = drop(values, self.dropout, self.training, variational=self.variational)
        return Memory(values, mask, summary.unsqueeze(1))


class FramesEncoder(nn.Module):
    """Each frame through the same convolutions and one affine layer, then a recurrent stack over frames."""

    def __init__(self, config: FramesSourceConfig, encoder: EncoderConfig) -> None:
        super().__init__()
        self.pictures = PictureConvolutions(config.depth, config.channels)
        rows, columns = config.grid
        self.affine = nn.Linear(rows * columns * self.pictures.output_size, config.frame_size)
        self.recurrent = RecurrentStack.configured(encoder, config.frame_size)
        self.memory_size = self.recurrent.output_size
        self.augmentation = config.augmentation
        self.embedding_dropout, self.dropout = encoder.embedding_dropout, encoder.dropout
        self.variational = encoder.variational_dropout

    def forward(self, source: Padded, before: Memory | None = None) -> Memory:
        """`before`: the memory of the frames before these, for frames that come one by one."""
        given = as_pictures(source.main, self.affine.weight.dtype, self.augmentation if self.training else None)
        B, S = given.shape[:2]
        mask = real_positions(source.lengths, S)
        read = self.pictures(given.flatten(0, 1)).reshape(B, S, -1)
        vectors = functional.relu(self.affine(read))
        vectors = drop(vectors, self.embedding_dropout, self.training, variational=self.variational)
        found = self.recurrent(vectors, mask, states_after(before))
        outputs = drop(found.outputs, self.dropout, self.training, variational=self.variational)
        return Memory(outputs, mask, found.hidden, found.cell)
