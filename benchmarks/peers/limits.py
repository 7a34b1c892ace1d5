"""Answers of given lengths from a rival that knows no length of its own for each sentence: through its end symbol.

Where a sentence's answer is to end, its end symbol is made certain; before, impossible. The rival then does all it
does with an answer that ended. Rivals reorder and drop rows as they like, and hand the encoder's output along: a row
is known by the first position of that. A sentence that stands in a batch twice has one limit for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CERTAIN = 1e4  # added to a logit


class Limits:
    """Limits of the sentences that are being answered. `end`: id of the end symbol."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.step = 0
        self.marks: Any = None
        self.limits: Any = None

    def begin(self, encoded: Tensor, limits: Sequence[int]) -> None:
        """A batch begins, with the encoder's output [B S M]; its answers have `limits` [B] steps, the end included."""
        import torch

        self.step, self.marks, self.limits = 0, encoded[:, 0, :8].clone(), torch.tensor(limits)

    def apply(self, logits: Tensor, encoded: Tensor) -> None:
        """The next step's logits [R … V] of rows whose encoder's output is `encoded` [R S M], changed in place."""
        self.step += 1
        same = (encoded[:, 0, None, :8] == self.marks).all(2)
        reached = self.limits[same.float().argmax(1)] <= self.step
        logits[..., self.end] = (2.0 * reached - 1.0).view(-1, *[1] * (logits.dim() - 2)) * CERTAIN


def lines_of(task: dict[str, Any], side: str) -> list[str]:
    """The test sentences of a task: symbols with spaces between them."""
    path = Path(task["data"]) / f"test.{side}"
    return path.read_text(encoding="utf-8").splitlines()[: task["sentences"]]


def steps_of(task: dict[str, Any]) -> list[int]:
    """How many steps each answer has: as many as its reference, and the end."""
    return [len(line.split()) + 1 for line in lines_of(task, "target")]
