"""Images → captions: drawn shapes, and what a small grammar says of them.

    caption → object | object "left of" object | object "above" object
    object  → "a" size colour shape

Which of two objects is named first, and the relation, follow from the picture: the left one when they stand side by
side, the upper one when they stand above each other. So every picture has one right caption.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqloom.data.generated import write_splits
from seqloom.errors import MissingExtraError

SIDE = 64  # pixels of a picture
SIZES = {"small": 6, "big": 12}  # half of a shape's width, in pixels
COLOURS = {"red": (210, 40, 40), "green": (30, 150, 60), "blue": (40, 70, 210), "yellow": (235, 200, 30),
           "purple": (140, 50, 160)}
FORMS = ("circle", "square", "triangle")
JITTER = 1  # pixels that a shape is larger or smaller


class Shape(NamedTuple):
    """One drawn object; its centre in pixels."""

    size: str
    colour: str
    form: str
    x: int
    y: int

    @property
    def words(self) -> str:
        """As the grammar names it."""
        return f"a {self.size} {self.colour} {self.form}"


def draw_scene(generator: np.random.Generator) -> tuple[list[Shape], str]:
    """One or two shapes that do not touch, and their caption."""
    if generator.random() < 0.2:
        shape = _shape(generator, (16, SIDE - 16), (16, SIDE - 16))
        return [shape], shape.words
    beside = bool(generator.random() < 0.5)
    near, far, along = (15, 18), (SIDE - 18, SIDE - 15), (18, SIDE - 18)
    middle = int(generator.integers(*along))
    across = (middle - 3, middle + 4)  # nearly in one line, so that the relation is plain
    first = _shape(generator, near, across) if beside else _shape(generator, across, near)
    second = _shape(generator, far, across) if beside else _shape(generator, across, far)
    return [first, second], f"{first.words} {'left of' if beside else 'above'} {second.words}"


def _shape(generator: np.random.Generator, x: tuple[int, int], y: tuple[int, int]) -> Shape:
    def one(names: Any) -> str:
        return str(generator.choice(list(names)))

    return Shape(one(SIZES), one(COLOURS), one(FORMS), int(generator.integers(*x)), int(generator.integers(*y)))


def paint(scene: list[Shape], generator: np.random.Generator) -> Any:
    """The picture (PIL) of a scene, with slightly different grounds, colours and sizes. Raises MissingExtraError."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtraError("pillow", "image", "drawing the built-in pictures") from None
    ground = int(generator.integers(225, 256))
    picture = Image.new("RGB", (SIDE, SIDE), (ground, ground, ground))
    pen = ImageDraw.Draw(picture)
    for shape in scene:
        colour = tuple(int(value) for value in np.clip(
            np.array(COLOURS[shape.colour]) + generator.integers(-15, 16, 3), 0, 255))
        half = SIZES[shape.size] + int(generator.integers(-JITTER, JITTER + 1))
        left, top, right, bottom = shape.x - half, shape.y - half, shape.x + half, shape.y + half
        if shape.form == "circle":
            pen.ellipse((left, top, right, bottom), fill=colour)
        elif shape.form == "square":
            pen.rectangle((left, top, right, bottom), fill=colour)
        else:
            pen.polygon([(shape.x, top), (right, bottom), (left, bottom)], fill=colour)
    return picture


def write(folder: str | Path, train: int = 6000, valid: int = 300, test: int = 500,
          seed: int = 1) -> dict[str, Path]:
    """Write pictures into <split>/ and <split>.tsv (path, tab, caption); the manifests by split."""
    generator = np.random.default_rng(seed)

    def picture(base: Path, stem: str) -> tuple[str, str]:
        scene, caption = draw_scene(generator)
        paint(scene, generator).save(base / f"{stem}.png")
        return f"{stem}.png", caption

    return write_splits(folder, {"train": train, "valid": valid, "test": test}, picture)
