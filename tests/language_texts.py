"""A short text for language models, and the options of a small one that reads it."""

from __future__ import annotations

import random
from pathlib import Path

SMALL = ["decoder.layers=1", "decoder.hidden_size=12", "decoder.embedding_size=6", "training.max_steps=12",
         "training.batch_size=3", "training.threads=1", "head.window=7", "training.average=none",
         "decoding.max_length=9", "training.schedule.warmup_steps=0"]


def write_text(folder: Path) -> Path:
    """Forty lines, some empty, with a tab and a letter of two bytes among their symbols."""
    path, draw = folder / "text.txt", random.Random(2)
    lines = ["".join(draw.choice("ab cd\té") for _ in range(draw.randint(0, 12))) for _ in range(40)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
