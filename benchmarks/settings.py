"""How long, how often and on what the suites measure."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from benchmarks.rows import cores
from benchmarks.work import Work


@dataclass(frozen=True)
class Settings:
    """Of one run of the benchmarks.

    seconds: of a window; rounds: windows of each entrant; warm_up: seconds before the first; least: units of work that
    a window and the warm-up have at least. works: W, C or both. pairs: at most so many training pairs. sentences: at
    most so many test sentences, alone: of those, so many one by one; each greedy and with beams. scale: pairs of the
    smaller stream. shrink: divide the sizes of the models by this, which makes the figures worthless and the run short.
    repeats: times of each product of the floor. together: start entrants at once. forms: training with input feeding,
    without, or both. manners: of prediction, as (sentences in a batch, beam size); least_seconds: of a window there;
    engines: ours that take part.
    """

    peers: tuple[str, ...] = ("plain",)
    works: tuple[str, ...] = ("W", "C")
    seconds: float = 10.0
    warm_up: float = 10.0
    least: int = 5
    rounds: int = 5
    pairs: int | None = None
    sentences: tuple[int, int] = (1000, 256)
    alone: tuple[int, int] = (80, 24)
    scale: int = 200_000
    shrink: int = 1
    repeats: int = 20
    together: bool = False
    forms: tuple[bool, ...] = (True, False)
    manners: tuple[tuple[int, int], ...] = ((64, 1), (64, 5), (1, 1), (1, 5))
    least_seconds: float = 0.5
    engines: tuple[str, ...] = ("onnx fp32", "onnx int8", "onnx int8 shortlist", "torch fp32")

    def task(self, work: Work) -> dict[str, Any]:
        """What every entrant of a work is told."""
        task = {**work.task(), "seconds": self.seconds, "warm_up": self.warm_up, "least": self.least,
                "least_seconds": self.least_seconds, "threads": cores(), "repeats": self.repeats}
        sizes = {name: max(4, task[name] // self.shrink) for name in ("embedding", "encoder", "decoder")}
        return {**task, **sizes}


# Tiny sizes and two short rounds: says whether everything works, measures nothing.
QUICK: dict[str, Any] = {"seconds": 0.05, "warm_up": 0.0, "least": 1, "rounds": 2, "pairs": 96,
                         "sentences": (6, 6), "alone": (2, 2), "least_seconds": 0.0, "scale": 200, "shrink": 32,
                         "repeats": 1, "together": True}


def versions() -> dict[str, str]:
    """Versions that decide about speed, besides our own."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in ("torch", "numpy")}}
