"""A text as one long row of ids, and the windows that a language model learns from. Knows no network.

The ids lie in one file, mapped into memory: `</s>` first, which stands for the line end in front of the text, then all
the rest. Training cuts it into so many streams that are read side by side, each in windows that follow one another:
batch n + 1 goes on where batch n ended, row by row, so that the state can be carried over.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from seqloom.data.batching import Planned, Waste
from seqloom.errors import DataError, TrainingError
from seqloom.types import END, Ints, Padded

FILE = "text.ids"
KIND = np.dtype("<i4")
RECORDED = 1000  # lines between two places that are kept: where a position stands is told to within so many lines


class StreamWriter:
    """Writes a text's ids into a folder, piece by piece; `finish` gives them for reading."""

    def __init__(self, folder: Path) -> None:
        """Raises TrainingError where the folder cannot be written."""
        self._path = folder / FILE
        self.count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self._path.open("wb")
        except OSError as error:
            raise self._failure(error) from error
        self.add([END])

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, ids: Sequence[int] | Ints) -> None:
        """The next ids. Raises TrainingError on a full disk."""
        try:
            self._file.write(np.asarray(ids, KIND).tobytes())
        except OSError as error:
            raise self._failure(error) from error
        self.count += len(ids)

    def finish(self) -> NDArray[np.int32]:
        """All ids, mapped into memory."""
        try:
            self._file.close()
            return np.memmap(self._path, KIND, "r")
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> TrainingError:
        return TrainingError(f"the text's ids cannot be written: {error.strerror or error}", where=str(self._path),
                             fix="free disk space there, or choose another --out")


class Windows:
    """B streams of a text [N + 1 ids] in windows of W symbols; what an epoch is made of.

    An example is a position: the one that row b of a batch begins at. Stream b predicts the symbols b·N/B … (b+1)·N/B,
    so every symbol is predicted once in an epoch, whatever B and W are; each from the one before it. In the last batch
    a stream may have ended before: its position is then N, the text's end.
    """

    def __init__(self, ids: NDArray[np.int32], streams: int, window: int) -> None:
        """Raises DataError for a text without symbols."""
        self._ids = ids
        self.symbols = len(ids) - 1
        if self.symbols < 1:
            raise DataError("the text is empty", fix="give a file with some text")
        self.window = window
        self.streams = min(streams, self.symbols)
        self._edges: Ints = np.arange(self.streams + 1, dtype=np.int64) * self.symbols // self.streams
        self._longest = int(np.diff(self._edges).max())

    def __len__(self) -> int:
        return self.symbols

    def count(self, epoch: int = 0) -> int:
        """Batches in an epoch."""
        return -(-self._longest // self.window)

    def plan(self, epoch: int = 0) -> WindowPlan:
        """All batches of an epoch in order: every epoch the same."""
        return WindowPlan(self._edges, self.count(), self.window)

    def largest(self, epoch: int = 0) -> Ints:
        """The first batch: none is larger."""
        return self.plan()[0]

    def waste(self, epoch: int = 0) -> Waste:
        """Share of padding: behind streams that are a symbol shorter than others, and behind the last window."""
        whole = self.streams * self._longest
        share = 1 - self.symbols / whole
        return Waste(0.0, share, share)

    def lengths(self) -> Ints:
        """[N 2] source and target positions of every example at most, without memory for each."""
        most = np.array([[0, min(self.window, self._longest) + 1]], np.int64)
        return np.broadcast_to(most, (self.symbols + 1, 2))

    def padded(self, positions: Ints) -> tuple[None, Padded]:
        """[B W+1] the ids from these positions [B] on: what is read, and one further; padding behind a stream's end."""
        ends = self._edges[np.minimum(np.searchsorted(self._edges, positions, side="right"), self.streams)]
        lengths: Ints = np.minimum(ends - positions, self.window) + 1
        offsets = np.arange(int(lengths.max()))
        real = offsets < lengths[:, None]
        taken = np.where(real, positions[:, None] + offsets, 0)
        return None, Padded({"main": np.where(real, self._ids[taken], 0).astype(np.int64)}, lengths)


class WindowPlan(Planned):
    """The batches of an epoch: the positions [B] that the rows of each begin at."""

    def __init__(self, edges: Ints, count: int, window: int) -> None:
        self._edges, self._count, self._window = edges, count, window

    def __len__(self) -> int:
        return self._count

    def indices(self, number: int) -> Ints:
        begins = self._edges[:-1] + number * self._window
        return np.where(begins < self._edges[1:], begins, self._edges[-1])


class Places:
    """file:line of a position of the text, to within RECORDED lines: a few bytes for so many of them."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._where: list[str] = []
        self._lines = 0

    def add(self, position: int, where: str) -> None:
        """A line begins here."""
        if self._lines % RECORDED == 0:
            self._positions.append(position)
            self._where.append(where)
        self._lines += 1

    def where(self, position: int) -> str:
        """The last place that is known at or before a position."""
        return f"after {self._where[max(0, bisect_right(self._positions, position) - 1)]}"
