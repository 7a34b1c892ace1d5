"""Numbers of a claim, the checks that judge them, and the verdict. Knows nothing of models.

A claim has one table; each of its numbers was measured once for each seed. A check is a sentence with its margin, so
the rule can be read without the numbers. All checks met: the claim holds; none: it does not; some: it depends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

HOLDS, DEPENDS, FAILS = "holds", "depends", "does not hold"

Cell = tuple[str, str]


@dataclass(frozen=True)
class Table:
    """Numbers by (row, column), a list with one of each seed; `corner` says what the rows and columns are."""

    corner: str
    rows: list[str]
    columns: list[str]
    values: dict[Cell, list[float]] = field(default_factory=dict)

    def add(self, row: str, column: str, value: float) -> None:
        """A further seed's number; rows and columns keep the order in which they came first."""
        if row not in self.rows:
            self.rows.append(row)
        if column not in self.columns:
            self.columns.append(column)
        self.values.setdefault((row, column), []).append(float(value))

    def mean(self, row: str, column: str) -> float:
        """Mean over the seeds."""
        return fmean(self.values[row, column])


@dataclass(frozen=True)
class Check:
    """A sentence that the numbers bear out or not, and these numbers."""

    statement: str
    met: bool
    numbers: str


@dataclass(frozen=True)
class Verdict:
    """The word, and the checks it comes from."""

    word: str
    checks: list[Check]


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """All checks met: holds; none: does not hold; some: depends."""
    met = [check.met for check in checks]
    return Verdict(HOLDS if all(met) else DEPENDS if any(met) else FAILS, list(checks))


def more(statement: str, table: Table, high: Cell, low: Cell, margin: float) -> Check:
    """`high` exceeds `low` by `margin` on average over the seeds, and with each single seed by more than nothing."""
    differences = [one - other for one, other in zip(table.values[high], table.values[low], strict=True)]
    met = fmean(differences) >= margin and min(differences) > 0
    return Check(statement, met, _compared(table, high, low))


def alike(statement: str, table: Table, one: Cell, other: Cell, margin: float) -> Check:
    """The means over the seeds differ by less than `margin`."""
    return Check(statement, abs(table.mean(*one) - table.mean(*other)) < margin, _compared(table, one, other))


def at_least(statement: str, table: Table, cell: Cell, least: float) -> Check:
    """The mean over the seeds is at least this."""
    return Check(statement, table.mean(*cell) >= least, shown(table.mean(*cell)))


def _compared(table: Table, one: Cell, other: Cell) -> str:
    return f"{shown(table.mean(*one))} and {shown(table.mean(*other))}"


def shown(value: float) -> str:
    """A number for people: shares with two places, counts whole."""
    return f"{value:.2f}" if abs(value) <= 2 else f"{value:,.0f}"


def spread(values: Sequence[float]) -> str:
    """The mean, with the least and the largest where there are several that differ."""
    mean, low, high = shown(fmean(values)), shown(min(values)), shown(max(values))
    return mean if low == high else f"{mean} ({low} to {high})"
