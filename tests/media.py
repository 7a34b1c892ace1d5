"""Tiny files of every kind of source, for the tests of all."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from seqloom.types import Record

LENGTHS = (7, 1, 4, 9, 2)


class Media(NamedTuple):
    """How a source is tried: options of its section, and what writes file number n; its name."""

    options: dict[str, Any]
    write: Callable[[Path, int], str]


def write_features(folder: Path, number: int) -> str:
    values = np.random.default_rng(number).normal(2, 3, (LENGTHS[number % len(LENGTHS)], 5))
    np.save(folder / f"{number}.npy", values.astype(np.float32))
    return f"{number}.npy"


def write_sound(folder: Path, number: int) -> str:
    values = np.random.default_rng(number).normal(0, 3000, 80 * (LENGTHS[number % len(LENGTHS)] + 1))
    with wave.open(str(folder / f"{number}.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(values.astype("<i2").tobytes())
    return f"{number}.wav"


def write_image(folder: Path, number: int) -> str:
    pixels = np.random.default_rng(number).integers(0, 256, (11, 14, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / f"{number}.png")
    return f"{number}.png"


def write_frames(folder: Path, number: int) -> str:
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 256, (LENGTHS[number % len(LENGTHS)], 8, 8)).astype(np.uint8)
    first, *others = [Image.fromarray(page) for page in pixels]
    first.save(folder / f"{number}.tiff", save_all=True, append_images=others)
    return f"{number}.tiff"


PICTURE = {"height": 8, "width": 8, "channels": [4, 5]}
SOUND = {"sample_rate": 8000, "filters": 6, "hop_milliseconds": 10.0, "window_milliseconds": 20.0}
CONVOLUTION = {"kind": "convolution", "factor": 2, "channels": 3}
MEDIA: dict[str, Media] = {
    "features": Media({"kind": "features"}, write_features),
    "features-convolution": Media({"kind": "features", "subsampling": CONVOLUTION}, write_features),
    "features-pyramid": Media({"kind": "features", "subsampling": {"kind": "pyramid", "factor": 2}}, write_features),
    "audio": Media({"kind": "audio", **SOUND, "subsampling": CONVOLUTION}, write_sound),
    "audio-pyramid": Media({"kind": "audio", **SOUND, "subsampling": {"kind": "pyramid", "factor": 2}}, write_sound),
    "image": Media({"kind": "image", **PICTURE}, write_image),
    "image-rows": Media({"kind": "image", **PICTURE, "regions": "rows", "summary": "mean"}, write_image),
    "frames": Media({"kind": "frames", **PICTURE, "colour": "grey", "frame_size": 6}, write_frames),
}


def records(folder: Path, name: str, targets: list[str]) -> list[Record]:
    """One record for each target, with its file."""
    names = [MEDIA[name].write(folder, number) for number in range(len(targets))]
    return [Record({"source": file, "target": target}, str(folder / "list.tsv"), line)
            for line, (file, target) in enumerate(zip(names, targets, strict=True), 1)]
