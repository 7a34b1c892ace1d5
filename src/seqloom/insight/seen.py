"""What the positions of a memory stand for where the input is no text: regions of a picture, moments of sound, frames.

NumPy alone. Knows nothing of drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seqloom.config.media_sections import AudioSourceConfig, FeaturesSourceConfig
from seqloom.insight import Replay
from seqloom.types import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An input as the model read it. One of these arrays is there:

    picture: uint8 [H W 3], of whose regions `grid` (rows, columns) are the positions, row by row;
    frames: float32 [N F], normalised; pages: uint8 [N H W 3]; every `step` of the N frames are one position.
    seconds: from one frame to the next; None where frames are not in time.
    """

    kind: str
    picture: Ints | None = None
    grid: tuple[int, int] = (0, 0)
    frames: Floats | None = None
    pages: Ints | None = None
    step: int = 1
    seconds: float | None = None

    @property
    def length(self) -> int:
        """Frames N; 0 for a picture."""
        array = self.frames if self.frames is not None else self.pages
        return 0 if array is None else len(array)

    def centres(self, positions: int) -> Floats:
        """Where the middle of each of the first positions lies, as a share of the whole input: 0 left, 1 right."""
        begin = np.arange(positions) * self.step
        found: Floats = (begin + np.minimum(begin + self.step, self.length)) / 2 / max(1, self.length)
        return found

    def described(self) -> dict[str, Any]:
        """The same as numbers for JSON, without the input itself."""
        if self.picture is not None:
            return {"kind": self.kind, "height": self.picture.shape[0], "width": self.picture.shape[1],
                    "rows": self.grid[0], "columns": self.grid[1]}
        return {"kind": self.kind, "frames": self.length, "frames_per_position": self.step,
                "seconds_per_frame": self.seconds}


def seen_of(replay: Replay | None) -> Seen | None:
    """What an answer's input was; None for text, and for an answer that does not say."""
    if replay is None or replay.run.source.kind not in ("image", "audio", "features", "frames"):
        return None
    source, main = replay.run.source, replay.item.fields["main"]
    if source.kind == "image":
        return Seen("image", picture=_coloured(main), grid=source.grid)
    if source.kind == "frames":
        return Seen("frames", pages=_coloured(main))
    options: AudioSourceConfig | FeaturesSourceConfig = source.config
    step = 1 if options.subsampling.kind == "none" else options.subsampling.factor
    seconds = options.hop_milliseconds / 1000 if isinstance(options, AudioSourceConfig) else None
    return Seen(source.kind, frames=main, step=step, seconds=seconds)


def _coloured(pixels: Ints) -> Ints:
    """[… 1] grey or [… 3] as [… 3]."""
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
