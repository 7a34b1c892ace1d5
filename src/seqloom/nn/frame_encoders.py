"""Encoders of frames of numbers [B S F]: features and spectra become a Memory, with fewer positions where asked."""

from __future__ import annotations

from math import log2

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqloom.config.media_sections import SpecAugmentConfig, SubsamplingConfig
from seqloom.config.sections import EncoderConfig
from seqloom.nn.augmentation import blank_stretches, change_tempo
from seqloom.nn.cells import CellState
from seqloom.nn.convolution import Frames, SpectrumConvolutions, TimeConvolutions, blanked, halved, pairs
from seqloom.nn.dropout import drop
from seqloom.nn.memory import Memory, real_positions, states_after
from seqloom.nn.recurrent import Recurrent, RecurrentLayer, RecurrentStack
from seqloom.types import Padded


class Pyramid(nn.Module):
    """Recurrent layers of which `reductions` read the one below in pairs (Chan et al. 2016, eq. 5).

    The first layer reads every frame; the next `reductions` layers halve, those above keep the length.
    """

    def __init__(self, input_size: int, config: EncoderConfig, reductions: int) -> None:
        super().__init__()
        self.output_size = config.hidden_size * (1 + config.bidirectional)
        sizes = [input_size] + [self.output_size * (2 if layer <= reductions else 1)
                                for layer in range(1, config.layers)]
        self.layers = nn.ModuleList([RecurrentLayer(
            config.cell, size, config.hidden_size, bidirectional=config.bidirectional,
            weight_dropout=config.weight_dropout) for size in sizes])
        self.reductions = reductions
        self.dropout, self.variational = config.dropout, config.variational_dropout

    def forward(self, frames: Frames) -> tuple[Recurrent, Bool[Tensor, "B S2"]]:
        """Outputs, last states of every layer, and the mask of the positions that are left."""
        values, lengths = frames
        mask = real_positions(lengths, values.shape[1])
        states: list[CellState] = []
        for number, layer in enumerate(self.layers):
            if number:
                values = drop(values, self.dropout, self.training, variational=self.variational)
            if 0 < number <= self.reductions:
                values, lengths = pairs(values), halved(lengths)
                mask = real_positions(lengths, values.shape[1])
            values, last = layer(values, mask)
            states.append(last)
        cells = [state.cell for state in states if state.cell is not None]
        hidden = torch.stack([state.hidden for state in states], 1)
        return Recurrent(values, hidden, torch.stack(cells, 1) if cells else None), mask


class FrameEncoder(nn.Module):
    """Frames [B S F] → convolutions that halve, where asked → recurrent stack, or a pyramid → Memory.

    spectrum: neighbouring dimensions are neighbouring frequencies, so convolutions go over them too.
    """

    def __init__(self, size: int, config: EncoderConfig, subsampling: SubsamplingConfig, *, spectrum: bool = False,
                 augmentation: SpecAugmentConfig | None = None) -> None:
        super().__init__()
        reductions = int(log2(subsampling.factor))
        self.convolutions: TimeConvolutions | SpectrumConvolutions | None = None
        if subsampling.kind == "convolution":
            family = SpectrumConvolutions if spectrum else TimeConvolutions
            self.convolutions = family(size, subsampling.channels, reductions)
            size = self.convolutions.output_size
        self.recurrent: Pyramid | RecurrentStack
        if subsampling.kind == "pyramid":
            self.recurrent = Pyramid(size, config, reductions)
        else:
            self.recurrent = RecurrentStack.configured(config, size)
        self.memory_size = self.recurrent.output_size
        self.augmentation = augmentation
        self.embedding_dropout, self.dropout = config.embedding_dropout, config.dropout
        self.variational = config.variational_dropout

    def forward(self, source: Padded, before: Memory | None = None) -> Memory:
        """`before`: the memory of the frames before these, for frames that come one by one."""
        dtype = next(self.parameters()).dtype
        values: Float[Tensor, "B S F"] = source.main.to(dtype)
        frames = Frames(values, source.lengths)
        if self.training and self.augmentation is not None:
            frames = self._changed(frames, self.augmentation)
        if self.convolutions is not None:
            frames = self.convolutions(frames._replace(values=blanked(*frames)))
        frames = frames._replace(values=drop(frames.values, self.embedding_dropout, self.training,
                                             variational=self.variational))
        if isinstance(self.recurrent, Pyramid):
            found, mask = self.recurrent(frames)
        else:
            mask = real_positions(frames.lengths, frames.values.shape[1])
            found = self.recurrent(frames.values, mask, states_after(before))
        outputs = drop(found.outputs, self.dropout, self.training, variational=self.variational)
        return Memory(outputs, mask, found.hidden, found.cell)

    @staticmethod
    def _changed(frames: Frames, options: SpecAugmentConfig) -> Frames:
        """Another tempo, and blanked stretches."""
        if options.tempo:
            frames = Frames(*change_tempo(*frames, options.tempo))
        return frames._replace(values=blank_stretches(*frames, options))
