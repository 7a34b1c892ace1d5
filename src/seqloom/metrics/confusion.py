"""Which class was answered where which was right: counts for a table of labels or tags. `plots.confusion` draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from seqloom.types import Ints

MOST_STORED = 200  # classes in JSON; what is rarer is one class together


@dataclass(frozen=True)
class Confusion:
    """labels: sorted names, `gathered` of the rarest of them as one more at the end (none: all are there);
    counts [L L]: rows are what is right, columns what was answered."""

    labels: list[str]
    counts: Ints
    gathered: int = 0

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]], most: int = MOST_STORED) -> Self:
        """From (right, answered) pairs. The `most` classes with most cases stay, the others become one."""
        found = Counter(pairs)
        cases: Counter[str] = Counter()
        for (right, answered), count in found.items():
            cases[right] += count
            cases[answered] += 0  # a class that is only answered has a place too
        ordered = sorted(cases, key=lambda name: (-cases[name], name))
        kept = sorted(ordered if len(ordered) <= most else ordered[:most - 1])
        gathered = len(ordered) - len(kept)
        places = {name: place for place, name in enumerate(kept)}
        counts = np.zeros((len(kept) + (gathered > 0),) * 2, np.int64)
        for (right, answered), count in found.items():
            counts[places.get(right, len(kept)), places.get(answered, len(kept))] += count
        names = [*kept, f"{gathered:,} others"] if gathered else kept
        return cls(names, counts, gathered)

    def reduced(self, most: int) -> Confusion:
        """The same with at most so many classes, those gathered already among the others."""
        if len(self.labels) <= most:
            return self
        cases = self.counts.sum(1)
        named = range(len(self.labels) - (self.gathered > 0))
        kept = sorted(sorted(named, key=lambda place: -int(cases[place]))[:most - 1])
        others = [place for place in range(len(self.labels)) if place not in set(kept)]
        groups = [[place] for place in kept] + [others]
        counts = np.array([[self.counts[np.ix_(rows, columns)].sum() for columns in groups] for rows in groups])
        gathered = len(others) - (self.gathered > 0) + self.gathered
        return Confusion([*(self.labels[place] for place in kept), f"{gathered:,} others"], counts, gathered)

    @property
    def shares(self) -> list[list[float]]:
        """Each count's share of its row, [L L]; zeros in the row of a class without a case."""
        return [[int(count) / max(int(row.sum()), 1) for count in row] for row in self.counts]

    def worst(self, most: int = 3) -> list[tuple[str, str, int, float]]:
        """The most frequent mistakes: right, answered, how often, share of the cases of what is right."""
        shares = self.shares
        wrong = [(-int(self.counts[row, column]), row, column) for row, column in np.argwhere(self.counts)
                 if row != column]
        return [(self.labels[row], self.labels[column], -count, shares[row][column])
                for count, row, column in sorted(wrong)[:most]]

    def to_json(self) -> dict[str, Any]:
        """For `evaluate --json` and .json files: rows are what is right."""
        return {"labels": self.labels, "counts": self.counts.tolist(),
                "row_shares": [[round(share, 6) for share in row] for row in self.shares], "gathered": self.gathered}
