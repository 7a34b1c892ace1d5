"""kind: audio — sound files in, as log-mel frames."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqloom.config.media_sections import AudioSourceConfig
from seqloom.config.sections import Config
from seqloom.data.places import find
from seqloom.data.sounds import FilterBank, log_mel, read_sound
from seqloom.data.statistics import FrameScaler
from seqloom.data.storage import write_json
from seqloom.errors import DataError
from seqloom.sources.base import SourceBase
from seqloom.types import Floats, Item, Record

if TYPE_CHECKING:
    from seqloom.nn.frame_encoders import FrameEncoder


class Source(SourceBase):
    """Reads sound into frames [S F], one every `hop_milliseconds`."""

    kind = "audio"
    window = 1000
    config: AudioSourceConfig

    def __init__(self, config: AudioSourceConfig, scaler: FrameScaler) -> None:
        self.config = config
        self.scaler = scaler

    # --- reading ---

    @classmethod
    def fit(cls, config: AudioSourceConfig, records: Iterable[Record], shared: Any = None) -> Source:
        """Learn the scale of every filter. Raises DataError when no record can be read."""
        return cls(config, FrameScaler.fit(config.normalization, records, lambda record: read_spectrum(record, config)))

    @property
    def size(self) -> int:
        """Filters of a frame."""
        return self.scaler.size

    def read(self, record: Record) -> Item:
        """Frames [S F] float32. Raises DataError at the record's file:line: see data.sounds."""
        frames = read_spectrum(record, self.config)
        return Item({"main": self.scaler(frames, record.text("source"), record.where)}, [])

    def item(self, samples: Floats, where: str = "<input>") -> Item:
        """The same from samples [N], −1 to 1, at the configured rate."""
        return Item({"main": self.scaler(spectrum(samples, self.config, "the sound", where), "the sound", where)}, [])

    def memory_tokens(self, item: Item, record: Record) -> list[str]:
        """The time, in seconds, at which every position of the memory begins."""
        step = 1 if self.config.subsampling.kind == "none" else self.config.subsampling.factor
        return [f"{frame * self.config.hop_milliseconds / 1000:.2f}s" for frame in range(0, item.length, step)]

    @property
    def reading(self) -> list[Any]:
        return [*super().reading, self.scaler.to_json()]

    def describe(self) -> str:
        return f"sound, {self.size:,} mel filters"

    # --- the network ---

    def build(self, config: Config) -> FrameEncoder:
        """Subsampling and recurrent layers over frames."""
        from seqloom.nn.frame_encoders import FrameEncoder

        return FrameEncoder(self.size, config.encoder, self.config.subsampling, spectrum=True,
                            augmentation=self.config.augmentation)

    # --- storage ---

    def save(self, folder: Path) -> None:
        """Write source.json, with the filter bank and the statistics."""
        write_json(folder / "source.json", {"kind": self.kind, "roles": list(self.roles), **self.scaler.to_json(),
                                            "filter_bank": filter_bank(self.config)._asdict()})

    @classmethod
    def load(cls, folder: Path, config: AudioSourceConfig) -> Source:
        """Read what `save` wrote. Raises RunFolderError."""
        return cls(config, FrameScaler.load(config.normalization, folder / "source.json"))


def filter_bank(config: AudioSourceConfig) -> FilterBank:
    """The options of the frames."""
    return FilterBank(config.sample_rate, config.filters, config.window_milliseconds, config.hop_milliseconds,
                      config.low_frequency, config.high_frequency or 0.0)


def spectrum(samples: Floats, config: AudioSourceConfig, name: str, where: str) -> Floats:
    """Log-mel frames [S F] of samples. Raises DataError for a sound shorter than one frame, or louder than a number."""
    frames = log_mel(samples, filter_bank(config))
    if not len(frames):
        raise DataError(f"{name} is shorter than one frame: {len(samples)} samples at {config.sample_rate:,} Hz",
                        where=where, fix="leave the line out")
    if not np.isfinite(frames).all():
        raise DataError(f"{name} has samples as large as {np.abs(samples).max():.3g}, expected −1 to 1: its energy is "
                        "not finite", where=where, fix="write it again")
    return frames


def read_spectrum(record: Record, config: AudioSourceConfig) -> Floats:
    """Log-mel frames of the sound that a record names. Raises DataError."""
    path = find(record.text("source").strip(), record, stay_inside=config.stay_inside, what="sound")
    samples = read_sound(path, config.sample_rate, max_seconds=config.max_seconds, where=record.where)
    return spectrum(samples, config, str(path), record.where)
