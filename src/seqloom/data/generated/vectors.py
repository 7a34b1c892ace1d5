"""Vectors → class, one to one: which of three shells around the origin a point lies in.

A point of four dimensions has a direction at random and a length near 1, 2 or 3 (the class), and stands beside four
dimensions of noise. Every class has the same mean, so a linear classifier is at chance (one in three).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqloom.types import Floats

CLASSES = ("inner", "middle", "outer")
DIMENSIONS, NOISE = 4, 4
SPREAD = 0.1  # standard deviation of a shell's radius


def draw(generator: np.random.Generator, count: int) -> tuple[Floats, list[str]]:
    """Points [N 8] float32 and their classes."""
    labels = generator.integers(0, len(CLASSES), count)
    directions = generator.normal(size=(count, DIMENSIONS))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = labels + 1 + SPREAD * generator.normal(size=count)
    noise = generator.normal(size=(count, NOISE))
    points = np.concatenate([directions * radii[:, None], noise], 1).astype(np.float32)
    return points, [CLASSES[label] for label in labels]


def write(folder: str | Path, train: int = 4000, valid: int = 500, test: int = 1000,
          seed: int = 1) -> dict[str, Path]:
    """Write train, valid and test as <split>.npz with one vector a key, and <split>.tsv; the manifests by split."""
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    paths = {}
    for split, count in (("train", train), ("valid", valid), ("test", test)):
        points, labels = draw(generator, count)
        np.savez(base / f"{split}.npz", **{str(number): point for number, point in enumerate(points)})
        paths[split] = base / f"{split}.tsv"
        lines = [f"{split}.npz#{number}\t{label}\n" for number, label in enumerate(labels)]
        paths[split].write_text("".join(lines), encoding="utf-8", newline="\n")
    return paths
