"""The configured files as a stream that can be read again and again, without what is held out for validation."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np

from seqloom.config.sections import Column, Config, CorpusConfig
from seqloom.data.doctor import source_fingerprint
from seqloom.data.files import header_notes, read_records
from seqloom.data.origins import Origins
from seqloom.errors import DataError
from seqloom.types import BadRecord, Floats, Record


class Locations:
    """Where each example came from, and how often it is to be seen."""

    def __init__(self) -> None:
        self._origins = Origins()
        self.where = self._origins.where  # file:line of an example
        self._begins: list[int] = []      # the example from which on …
        self._weights: list[float] = []   # … this is the weight, which is that of a whole corpus

    def add(self, record: Record, weight: float) -> None:
        """The next example's place."""
        if not self._weights or self._weights[-1] != weight:
            self._begins.append(len(self._origins))
            self._weights.append(weight)
        self._origins.add(record.path, record.line)

    def weights(self) -> Floats | None:
        """[N] float32: how often each is to be seen in an epoch; None where that is once."""
        if all(weight == 1 for weight in self._weights):
            return None
        counts = np.diff([*self._begins, len(self._origins)])
        return np.repeat(np.asarray(self._weights, np.float32), counts)


# Not training.seed: runs of several seeds then learn the same vocabularies, so that they can answer together, and are
# compared on the same examples.
HOLD_OUT_SEED = 1


class Corpora:
    """The records of the configured files, readable as often as needed, with the hold-out taken away."""

    def __init__(self, config: Config, roles: Sequence[str], columns: dict[str, Column], *,
                 hold_out: bool = True) -> None:
        self.data = config.data
        self.roles = roles
        self.columns = {**(config.data.columns or {}), **columns}
        if not self.data.train:
            raise DataError("no training data is given", fix="name a file, or give data.train in the configuration")
        self.held_out: frozenset[int] = frozenset()
        if hold_out and not self.data.valid:
            self.held_out = choose_held_out(map(source_fingerprint, self._usable()),
                                            fraction=self.data.valid_fraction, limit=self.data.valid_limit,
                                            seed=HOLD_OUT_SEED)

    def _usable(self) -> Iterator[Record]:
        """The training records that are not bad. Raises DataError at the first bad one where all of them are."""
        first: BadRecord | None = None
        found = False
        for record in self.read(self.data.train):
            if isinstance(record, Record):
                found = True
                yield record
            else:
                first = first or record
        if first is not None and not found:
            raise DataError(f"not one line can be used; the first: {first.reason}", where=first.where,
                            fix="see what is wrong with the data: seqloom doctor")

    def read(self, corpora: Sequence[CorpusConfig]) -> Iterator[Record | BadRecord]:
        """Everything in these files."""
        return read_records(corpora, self.columns, self.roles)

    def notes(self) -> list[str]:
        """What a person should know of how these files are read."""
        return header_notes([*self.data.train, *self.data.valid], self.columns, self.roles)

    def is_held_out(self, record: Record) -> bool:
        """Whether a training record belongs to the held-out part."""
        return bool(self.held_out) and source_fingerprint(record) in self.held_out

    def train(self) -> Iterator[tuple[Record | BadRecord, float]]:
        """Training records, the bad ones too, with their corpus's weight."""
        for corpus in self.data.train:
            for record in self.read([corpus]):
                if isinstance(record, BadRecord) or not self.is_held_out(record):
                    yield record, corpus.weight

    def valid(self) -> Iterator[Record | BadRecord]:
        """Validation records: the files', or the held-out part."""
        if self.data.valid:
            yield from self.read(self.data.valid)
            return
        for record in self.read(self.data.train):
            if isinstance(record, Record) and self.is_held_out(record):
                yield record


def choose_held_out(sources: Iterable[int], *, fraction: float, limit: int, seed: int) -> frozenset[int]:
    """Fingerprints of the sources to hold out: those whose seeded hash is smallest, with all of their records.

    One source never falls into both parts, adding data moves few examples, and memory is bounded by `limit`: only the
    limit + 1 smallest hashes are kept while reading. A source with more records than fit stays in training.

    Args:
        sources: fingerprint of each record's source.
        fraction, limit: at most this share, and this number, of the records.

    Raises:
        DataError: fewer than two different sources.
    """
    counts: dict[int, int] = {}  # seeded hash → records with that source
    marks: dict[int, int] = {}   # seeded hash → fingerprint
    largest: list[int] = []      # heap of the negated hashes kept
    total = 0
    for mark in sources:
        total += 1
        key = seeded_hash(mark, seed)
        if key in counts:
            counts[key] += 1
        elif len(largest) <= limit or key < -largest[0]:
            counts[key], marks[key] = 1, mark
            heapq.heappush(largest, -key)
            if len(largest) > limit + 1:
                dropped = -heapq.heappop(largest)
                del counts[dropped], marks[dropped]
    if len(marks) < 2:
        raise DataError(f"only {len(marks)} usable {'source' if len(marks) == 1 else 'sources'}, too few to hold out a "
                        "part for validation", fix="give more data, or validation files with --valid")
    room = min(limit, max(1, round(total * fraction)))
    chosen: list[int] = []
    for key in sorted(counts)[: len(counts) - 1]:
        if counts[key] <= room:
            chosen.append(marks[key])
            room -= counts[key]
    return frozenset(chosen or [marks[min(counts, key=lambda key: (counts[key], key))]])


def seeded_hash(mark: int, seed: int) -> int:
    """A hash of a fingerprint that another seed orders otherwise."""
    return int.from_bytes(blake2b(mark.to_bytes(8, "little"), digest_size=8, key=seed.to_bytes(8, "little")).digest(),
                          "little")
