"""The labels of a run: names with numbers from 0, learned by counting, stored as part of target.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from seqloom.errors import DataError, RunFolderError

MOST_LABELS = 100_000
SHOWN = 10


class Labels:
    """names: sorted; counts: how often each was seen in training."""

    def __init__(self, names: Sequence[str], counts: Sequence[int]) -> None:
        self.names, self.counts = list(names), list(counts)
        self._numbers = {name: number for number, name in enumerate(names)}

    @classmethod
    def of(cls, given: Iterable[str], what: str) -> Self:
        """Count them; `what`: what they are called in errors. Raises DataError for fewer than two, or far too many."""
        counts: Counter[str] = Counter()
        for name in given:
            counts[name] += 1
            if len(counts) > MOST_LABELS:
                raise DataError(f"the training data has more than {MOST_LABELS:,} different {what}s",
                                fix=f"check that the right column is read: a {what} is one of a few words")
        if len(counts) < 2:
            raise DataError(f"the training data has {len(counts)} {what} ({', '.join(counts) or 'none'}), expected two "
                            "or more", fix="check that the right column is read")
        names = sorted(counts)
        return cls(names, [counts[name] for name in names])

    def number(self, name: str, what: str, where: str = "") -> int:
        """The number of a name. Raises DataError for one that training data had not."""
        try:
            return self._numbers[name]
        except KeyError:
            known = ", ".join(self.names[:SHOWN]) + (", …" if len(self.names) > SHOWN else "")
            raise DataError(f"unknown {what}: '{name}' is not in the training data, which has {known}", where=where,
                            fix="correct it, or train with examples of it") from None

    def balanced(self) -> list[float]:
        """Weights by which every label counts alike: examples / (labels · its examples)."""
        total = sum(self.counts)
        return [total / (len(self.names) * count) for count in self.counts]

    def to_json(self) -> dict[str, Any]:
        """For target.json."""
        return {"labels": self.names, "counts": self.counts}

    @classmethod
    def stored(cls, described: Mapping[str, Any], where: str) -> Self:
        """What `to_json` gave. Raises RunFolderError."""
        names, counts = described["labels"], described["counts"]
        whole = (isinstance(names, list) and isinstance(counts, list) and len(names) == len(counts) >= 2
                 and all(isinstance(name, str) for name in names) and names == sorted(set(names))
                 and all(type(count) is int and count > 0 for count in counts))
        if not whole:
            raise RunFolderError("labels and counts are not two lists that belong together", where=where,
                                 fix="the file is damaged: copy the run folder again")
        return cls(names, counts)
