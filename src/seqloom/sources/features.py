"""kind: features — frames of numbers in, from .npy, .npz or Kaldi archives: spectra, video features, a plain vector."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqloom.config.media_sections import FeaturesSourceConfig
from seqloom.config.sections import Config
from seqloom.data.arrays import checked_frames, read_frames
from seqloom.data.statistics import FrameScaler
from seqloom.data.storage import write_json
from seqloom.errors import DataError, UsageError
from seqloom.sources.base import SourceBase
from seqloom.types import Item, Record

if TYPE_CHECKING:
    from seqloom.nn.frame_encoders import FrameEncoder


class Source(SourceBase):
    """Reads frames [S F] and brings every dimension to one scale."""

    kind = "features"
    window = 1000
    config: FeaturesSourceConfig

    def __init__(self, config: FeaturesSourceConfig, scaler: FrameScaler) -> None:
        self.config = config
        self.scaler = scaler

    # --- reading ---

    @classmethod
    def fit(cls, config: FeaturesSourceConfig, records: Iterable[Record], shared: Any = None) -> Source:
        """Learn the number of dimensions and their scale. Raises DataError when no record can be read."""
        return cls(config, FrameScaler.fit(config.normalization, records, lambda record: read_frames(
            record, stay_inside=config.stay_inside)))

    @property
    def size(self) -> int:
        """Dimensions of a frame."""
        return self.scaler.size

    def read(self, record: Record) -> Item:
        """Frames [S F] float32. Raises DataError: see data.arrays.read_frames; and for other dimensions."""
        return self.item(read_frames(record, stay_inside=self.config.stay_inside), record.text("source"), record.where)

    def read_step(self, record: Record) -> Item:
        """One frame of an input that goes on: its numbers with spaces between them, or a file that holds it.

        Raises UsageError where frames are normalised within an input, which is not there yet; DataError for a file that
        holds several.
        """
        if self.config.normalization == "item":
            raise UsageError("source.normalization is item: an input that is still to come cannot be normalised",
                             fix="train with source.normalization: dimension")
        text = record.text("source")
        try:
            numbers = np.array([float(part) for part in text.split()], np.float64)
        except ValueError:
            item = self.read(record)
            if item.length != 1:
                raise DataError(f"a step of {item.length} frames, expected one", where=record.where, fix=(
                    "give one frame a line, and an empty line behind the last one of an input")) from None
            return item
        return self.item(numbers, "the line", record.where)

    def item(self, frames: Any, name: str = "the array", where: str = "<input>") -> Item:
        """The same from an array [S F], or [F] for one frame."""
        scaled = self.scaler(checked_frames(frames, name, where), name, where)
        return Item({"main": scaled}, [])

    @property
    def reads_steps(self) -> bool:
        return self.config.subsampling.kind == "none"

    def memory_tokens(self, item: Item, record: Record) -> list[str]:
        """The number of the first frame, from 0, of every position of the memory."""
        step = 1 if self.config.subsampling.kind == "none" else self.config.subsampling.factor
        return [str(frame) for frame in range(0, item.length, step)]

    @property
    def reading(self) -> list[Any]:
        return [*super().reading, self.scaler.to_json()]

    def describe(self) -> str:
        return f"frames of {self.size:,} numbers"

    # --- the network ---

    def build(self, config: Config) -> FrameEncoder:
        """Subsampling and recurrent layers over frames."""
        from seqloom.nn.frame_encoders import FrameEncoder

        return FrameEncoder(self.size, config.encoder, self.config.subsampling, augmentation=self.config.augmentation)

    # --- storage ---

    def save(self, folder: Path) -> None:
        """Write source.json, with the statistics."""
        write_json(folder / "source.json", {"kind": self.kind, "roles": list(self.roles), **self.scaler.to_json()})

    @classmethod
    def load(cls, folder: Path, config: FeaturesSourceConfig) -> Source:
        """Read what `save` wrote. Raises RunFolderError."""
        return cls(config, FrameScaler.load(config.normalization, folder / "source.json"))
