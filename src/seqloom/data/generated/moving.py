"""Frames → one tag a frame: where a shape moves, seen from the frame before.

A disc, square or cross moves over a noisy ground, some frames in one direction, then in another. The tag of a frame
says how the shape has come there: left, right, up, down or still; the first frame is still. A frame alone does not
tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seqloom.data.generated import write_splits
from seqloom.errors import MissingExtraError
from seqloom.types import Ints

SIDE = 32  # pixels of a frame
MOVES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}
STEP = (2, 4)  # pixels from frame to frame, from and up to
FRAMES = (8, 20)
HALF = 4  # half of the shape's width
EDGE = HALF + 1


def draw(generator: np.random.Generator) -> tuple[Ints, list[str]]:
    """Frames [S 32 32] uint8 and their tags."""
    count = int(generator.integers(*FRAMES))
    form = str(generator.choice(["disc", "square", "cross"]))
    ground, light = int(generator.integers(20, 90)), int(generator.integers(160, 250))
    place = generator.integers(EDGE, SIDE - EDGE, 2)
    frames, tags = [_frame(form, place, ground, light, generator)], ["still"]
    move, left = "still", 0
    while len(frames) < count:
        if not left:
            move, left = str(generator.choice(list(MOVES))), int(generator.integers(1, 5))
        after = place + int(generator.integers(STEP[0], STEP[1] + 1)) * np.array(MOVES[move])
        if (after < EDGE).any() or (after >= SIDE - EDGE).any():
            left = 0  # at the edge: another direction
            continue
        place, left = after, left - 1
        frames.append(_frame(form, place, ground, light, generator))
        tags.append(move)
    return np.stack(frames), tags


def _frame(form: str, place: Any, ground: int, light: int, generator: np.random.Generator) -> Ints:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    x, y = np.abs(columns - place[0]), np.abs(rows - place[1])
    inside = {"disc": x * x + y * y <= HALF * HALF, "square": np.maximum(x, y) < HALF,
              "cross": (np.minimum(x, y) < 2) & (np.maximum(x, y) <= HALF)}[form]
    values = np.where(inside, light, ground) + generator.normal(0, 5, (SIDE, SIDE))
    return np.clip(values, 0, 255).astype(np.uint8)


def write(folder: str | Path, train: int = 1000, valid: int = 100, test: int = 200,
          seed: int = 1) -> dict[str, Path]:
    """Write videos as <split>/N.tiff with one page a frame, and <split>.tsv (path, tab, tags); the manifests by split.

    Raises MissingExtraError without Pillow.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("pillow", "image", "writing the built-in frames") from None
    generator = np.random.default_rng(seed)

    def video(base: Path, stem: str) -> tuple[str, str]:
        frames, tags = draw(generator)
        first, *others = [Image.fromarray(frame) for frame in frames]
        first.save(base / f"{stem}.tiff", save_all=True, append_images=others)
        return f"{stem}.tiff", " ".join(tags)

    return write_splits(folder, {"train": train, "valid": valid, "test": test}, video)
