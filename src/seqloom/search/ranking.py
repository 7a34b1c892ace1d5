"""What hypotheses are ordered by when they end: log-probability after length and coverage penalties.

Inside the beam, hypotheses of equal length compete by cumulative score alone; the penalties act on ended ones, as in
Wu et al. 2016, §7. Lengths count the end symbol.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seqloom.config.sections import DecodingConfig
from seqloom.types import Bools, Floats, Ints

# A source position that got no weight at all counts as this much, so that its logarithm is finite.
SMALLEST_COVERAGE = 1e-10


class Ranking:
    """ranking = score / lp(length) + β · cp(coverage), with lp = length^α or ((5 + length) / 6)^α.

    Wu et al. 2016, "Google's Neural Machine Translation System", eq. 14, and the plain average for α = 1.
    """

    def __init__(self, options: DecodingConfig) -> None:
        self.alpha = options.length_penalty
        self.kind = options.length_penalty_kind
        self.beta = options.coverage_penalty

    def divisor(self, length: int | Ints) -> Any:
        """lp(length), a positive number for each length."""
        base = np.asarray(length, np.float64) if self.kind == "average" else (5.0 + np.asarray(length)) / 6.0
        return base ** self.alpha

    def rank(self, cumulative: Floats, length: int | Ints, coverage: Floats | None = None) -> Floats:
        """Ranking scores of hypotheses; `coverage` is Σ log min(coverage, 1) of each (see `Coverage.penalty`)."""
        length = np.maximum(length, 1)  # an answer that could not even begin has score 0
        ranked: Floats = cumulative / self.divisor(length)
        return ranked if coverage is None else ranked + self.beta * coverage

    def bound(self, cumulative: Floats, length: int, limits: Ints) -> Floats:
        """The highest ranking that an open hypothesis can still reach [B].

        Its cumulative score, at `length` tokens, can only fall. lp is monotonic in the length, so a negative score is
        divided by the largest lp either at the longest possible length (α > 0) or at the shortest (α < 0). cp ≤ 0.
        """
        shortest = cumulative / self.divisor(length + 1)
        longest = cumulative / self.divisor(np.maximum(limits, length + 1))
        highest: Floats = np.maximum(shortest, longest)
        return highest


class Coverage:
    """The sum over steps of every hypothesis's attention weights [B K S], in step with the beam."""

    def __init__(self, positions: Ints, width: int) -> None:
        """positions: [B] real ones of each sentence, of `width` in the weights."""
        self.total: Floats = np.zeros((len(positions), 1, width))
        self.before: Floats = self.total
        self.real: Bools = np.arange(width) < positions[:, None]

    def add(self, weights: Floats) -> None:
        """Count one step's weights [B K S]; an engine may have dropped padding that no open sentence needs."""
        width = weights.shape[2]
        self.before = self.total[:, :, :width]
        self.total = self.before + weights
        self.real = self.real[:, :width]

    def penalty(self, rows: Ints, slots: Ints, *, before: bool = False) -> Floats:
        """Σ over real source positions of log min(coverage, 1) for the hypotheses (rows[i], slots[i]).

        before: without the weights of the last step.
        """
        covered = np.clip((self.before if before else self.total)[rows, slots], SMALLEST_COVERAGE, 1.0)
        penalty: Floats = np.where(self.real[rows], np.log(covered), 0.0).sum(axis=1)
        return penalty

    def follow(self, rows: Ints, parents: Ints) -> None:
        """Reorder by back-pointers: rows [B 1], parents [B K]."""
        self.total = self.total[rows, parents]

    def keep(self, rows: Ints) -> None:
        """Drop every sentence whose row is not listed."""
        self.total, self.real = self.total[rows], self.real[rows]
