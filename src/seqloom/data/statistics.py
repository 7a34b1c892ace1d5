"""Mean and standard deviation of each dimension, gathered in one pass over training data of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from seqloom.data.storage import read_json
from seqloom.errors import DataError, RunFolderError
from seqloom.types import Floats, Record

MOST_SIZES = 16  # different numbers of dimensions that statistics are gathered for
SMALLEST = 1e-5  # a standard deviation below this is a constant dimension, which is only centred


class Moments:
    """Running count, mean [F] and sum of squared deviations [F], joined without cancellation (Chan et al. 1983,
    eq. 2.1).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, frames: Floats) -> None:
        """Take in frames [S F]."""
        count = len(frames)
        if not count:
            return
        values = frames.astype(np.float64)
        mean = values.mean(0)
        squares = np.square(values - mean).sum(0)
        total = self.count + count
        difference = mean - self.mean
        self.squares = self.squares + squares + np.square(difference) * (self.count * count / total)
        self.mean = self.mean + difference * (count / total)
        self.count = total

    def normalization(self) -> Normalization:
        """What brings these frames to mean 0 and variance 1."""
        deviation = np.sqrt(self.squares / max(self.count, 1))
        return Normalization(np.asarray(self.mean, np.float32), _scale(deviation))


def _scale(deviation: Floats) -> Floats:
    return np.where(deviation > SMALLEST, 1 / np.maximum(deviation, SMALLEST), 1.0).astype(np.float32)


class Normalization:
    """(frames − mean) · scale, each [F] float32."""

    def __init__(self, mean: Floats, scale: Floats) -> None:
        self.mean, self.scale = mean, scale

    def __call__(self, frames: Floats) -> Floats:
        """[S F] → [S F] float32."""
        result: Floats = (frames.astype(np.float32) - self.mean) * self.scale
        return result

    def to_json(self) -> dict[str, list[float]]:
        """Numbers as JSON has them, without loss."""
        return {"mean": [float(value) for value in self.mean], "scale": [float(value) for value in self.scale]}

    @classmethod
    def from_json(cls, stored: Any, size: int, where: str) -> Normalization:
        """Read what `to_json` wrote. Raises RunFolderError."""
        parts = []
        for name in ("mean", "scale"):
            values = stored.get(name) if isinstance(stored, dict) else None
            good = isinstance(values, list) and len(values) == size and all(
                isinstance(value, float | int) and np.isfinite(value) for value in values)
            if not good:
                raise RunFolderError(f"normalization.{name} is not {size} finite numbers", where=where,
                                     fix="the file is damaged: copy the run folder again")
            parts.append(np.asarray(values, np.float32))
        return cls(*parts)


def within_item(frames: Floats) -> Floats:
    """Frames [S F] with mean 0 and variance 1 in each dimension of this input alone."""
    values = frames.astype(np.float64)
    centred = values - values.mean(0)
    result: Floats = (centred * _scale(values.std(0))).astype(np.float32)
    return result


class FrameScaler:
    """Brings frames of `size` dimensions to the scale that the network reads, as a run keeps it.

    kind: "dimension" (learned), "item" (each input by itself) or "none".
    """

    def __init__(self, kind: str, size: int, learned: Normalization | None = None) -> None:
        self.kind, self.size, self.learned = kind, size, learned

    @classmethod
    def fit(cls, kind: str, records: Iterable[Record], read: Callable[[Record], Floats]) -> FrameScaler:
        """From training records; those that cannot be read, or have other than the usual dimensions, do not count.

        Raises DataError when not one can be read.
        """
        found: dict[int, Moments] = {}
        counts: dict[int, int] = {}
        first: DataError | None = None
        for record in records:
            try:
                frames = read(record)
            except DataError as error:
                first = first or error
                continue
            size = frames.shape[1]
            counts[size] = counts.get(size, 0) + 1
            if kind == "dimension" and (size in found or len(found) < MOST_SIZES):
                found.setdefault(size, Moments()).add(frames)
        if not counts:
            raise DataError("not one input can be read" + (f"; the first: {first.message}" if first else ""),
                            where=first.where if first else "", fix=first.fix if first else "give training data")
        usual = max(counts, key=lambda size: counts[size])
        return cls(kind, usual, found[usual].normalization() if kind == "dimension" else None)

    def __call__(self, frames: Floats, name: str, where: str) -> Floats:
        """[S F] → [S F] float32. Raises DataError for another number of dimensions."""
        if frames.shape[1] != self.size:
            raise DataError(f"{name} has {frames.shape[1]:,} dimensions, expected {self.size:,}", where=where,
                            fix="all inputs of a run need the same number of dimensions")
        if self.kind == "item":
            return within_item(frames)
        return frames.astype(np.float32) if self.learned is None else self.learned(frames)

    def to_json(self) -> dict[str, Any]:
        """What source.json keeps."""
        return {"size": self.size, "normalization": None if self.learned is None else self.learned.to_json()}

    @classmethod
    def load(cls, kind: str, path: Path) -> FrameScaler:
        """Read what `to_json` gave from a source.json. Raises RunFolderError."""
        stored = read_json(path, "kind", "size", "normalization")
        size = stored["size"]
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise RunFolderError(f"size is {size!r}, expected a number of dimensions", where=str(path),
                                 fix="the file is damaged: copy the run folder again")
        learned = Normalization.from_json(stored["normalization"], size, str(path)) if kind == "dimension" else None
        return cls(kind, size, learned)
