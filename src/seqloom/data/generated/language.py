"""A text to go on with: lines of a nursery rhyme by a small grammar, in which words far apart must agree.

"the cat that chases the dogs sleeps": the last verb has the number of the first noun, not of the one before it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqloom.data.generated import pick

NOUNS = ("cat", "dog", "owl", "fox", "hen", "goat", "duck", "lamb", "bee", "crow")
CHASES = ("chase", "see", "follow", "hear", "know", "greet")
SLEEPS = ("sleep", "sing", "jump", "run", "wait", "swim")
WHEN = ("in the morning", "at noon", "in the evening", "at night", "all day", "for once")


def draw(generator: np.random.Generator) -> str:
    """One line."""
    many, others = bool(generator.integers(2)), bool(generator.integers(2))
    subject = f"the {pick(generator, NOUNS)}{'s' if many else ''}"
    if generator.integers(2):
        verb = f"{pick(generator, CHASES)}{'' if many else 's'}"
        subject += f" that {verb} the {pick(generator, NOUNS)}{'s' if others else ''}"
    return f"{subject} {pick(generator, SLEEPS)}{'' if many else 's'} {pick(generator, WHEN)}"


def write(folder: str | Path, train: int = 4000, valid: int = 300, test: int = 300, seed: int = 1) -> dict[str, Path]:
    """Write train.txt, valid.txt and test.txt, so many lines each; their paths by split."""
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    paths = {}
    for split, count in (("train", train), ("valid", valid), ("test", test)):
        paths[split] = base / f"{split}.txt"
        lines = [f"{draw(generator)}\n" for _ in range(count)]
        paths[split].write_text("".join(lines), encoding="utf-8", newline="\n")
    return paths
