"""One streaming pass over training and validation data: hands on what is usable, and remembers what is wrong.

Keeps hashes and lengths (20 bytes a record), never texts. `seqloom doctor` and `train` both use it.
Repairs nothing, and decides nothing but what is unusable. The findings are `report.py`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from math import log
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from seqloom.config.sections import Column, CorpusConfig
from seqloom.data.files import read_records
from seqloom.data.fingerprints import Fingerprints, Marks, first_marked, first_places, of_several, outside, repeated
from seqloom.data.origins import Origins
from seqloom.data.report import Finding, Lengths, Report, SplitReport, Unknown
from seqloom.errors import TrainingError
from seqloom.types import UNKNOWN, BadRecord, Ints, Record

Split = Literal["train", "valid"]
KEPT = 20  # places kept of every finding
SIDES = ("source", "target")
UNITS: dict[str, Callable[[str], int]] = {"words": lambda text: len(text.split()), "characters": len}
# A ratio is unusual beyond Tukey's outer fences (Exploratory Data Analysis, 1977, §2D): three quartile distances
# outside the quartiles, of its logarithm; but never within a factor of two of them, where data is very regular.
FENCE, LEAST_FENCE = 3.0, log(2)


def fingerprint(*texts: str) -> int:
    """An 8-byte hash of texts in order, the same in every process."""
    digest = blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little")


def source_fingerprint(record: Record) -> int:
    """A hash of all that the model reads: every column but the target; the target where there is nothing else.

    A split that goes by it never has one source on both sides.
    """
    roles = [role for role in sorted(record.fields) if role != "target"] or ["target"]
    return fingerprint(*(text for role in roles for text in record.texts(role)))


class Quarantine:
    """A TSV file of bad training pairs: file:line, reason, text. Made with its first line, complete after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: IO[str] | None = None

    def add(self, bad: BadRecord) -> None:
        """Append a line; tabs and line ends are written as \\t, \\n, \\r. Raises TrainingError when that fails."""
        cells = (_escape(cell) for cell in (bad.where, bad.reason, bad.text))
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
            self._file.write("\t".join(cells) + "\n")
            self._file.flush()
        except OSError as error:
            self.close()
            raise TrainingError(f"the list of bad lines cannot be written: {error.strerror or error}",
                                where=str(self.path), fix="free disk space there, or correct the data") from error
        self.count += 1

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # every line was flushed: there is nothing left to lose
                self._file.close()

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


class Examination:
    """Takes every record of the training and validation files, hands on the usable ones, and makes the report.

    `quarantine` gets the bad training lines as they come. `answers_steps`: each symbol of the source has a tag.
    """

    def __init__(self, *, quarantine: Quarantine | None = None, answers_steps: bool = False) -> None:
        self._quarantine = quarantine
        self._answers_steps = answers_steps
        self._splits: dict[Split, _Notes] = {"train": _Notes(), "valid": _Notes()}
        self._unknown: dict[str, _UnknownNotes] = {}

    def take(self, record: Record | BadRecord, split: Split = "train") -> Record | None:
        """Note one record; the record when it is usable, None when it is not."""
        notes = self._splits[split]
        if isinstance(record, BadRecord):
            notes.add_bad(record)
            self._put_aside(record, split)
            return None
        notes.add(record)
        notes.usable += 1
        return record

    def train(self, records: Iterable[Record | BadRecord]) -> Iterator[Record]:
        """The usable records of training files."""
        return (taken for record in records if (taken := self.take(record, "train")) is not None)

    def valid(self, records: Iterable[Record | BadRecord]) -> Iterator[Record]:
        """The usable records of validation files."""
        return (taken for record in records if (taken := self.take(record, "valid")) is not None)

    def leave_out_duplicates(self) -> Marks:
        """[N] True for each training record so far, bad ones apart, that equals an earlier one; not usable any more.

        To be asked once, when all of them have been taken. `fingerprints.py` says how sure it is.
        """
        notes = self._splits["train"]
        marks = repeated(np.asarray(notes.pairs, np.uint64))
        notes.usable -= int(marks.sum())
        return marks

    def set_aside(self, record: Record, reason: str, split: Split = "train") -> BadRecord:
        """Count a record that was handed on as bad after all, such as "too long: 1,200 source tokens, …"."""
        text = "\t".join(one for role in record.fields for one in record.texts(role))
        bad = BadRecord(reason, record.path, record.line, text)
        notes = self._splits[split]
        notes.usable -= 1
        notes.lines -= 1  # add_bad counts it again
        notes.add_bad(bad)
        self._put_aside(bad, split)
        return bad

    def add_encoded(self, side: str, ids: Sequence[int] | Ints, where: str) -> None:
        """Note the symbols of one validation text for the rate of unknown ones."""
        self._unknown.setdefault(side, _UnknownNotes()).add(np.asarray(ids), where)

    def add_unknown(self, records: Iterable[Record], encoders: Mapping[str, Callable[[str], Sequence[int]]]) -> None:
        """Encode each side of validation records that has an encoder, and note the symbols."""
        for record in records:
            for side, encode in encoders.items():
                for text in record.texts(side):
                    self.add_encoded(side, encode(text), record.where)

    def report(self) -> Report:
        """What was found so far."""
        train, valid = self._splits["train"], self._splits["valid"]
        return Report(
            train=train.report("train"),
            valid=valid.report("valid") if valid.lines else None,
            overlapping_pairs=_overlap(train, valid, train.pairs, valid.pairs),
            overlapping_sources=_overlap(train, valid, train.sources, valid.sources),
            unknown={side: notes.result() for side, notes in self._unknown.items()},
            quarantine=str(self._quarantine.path) if self._quarantine and self._quarantine.count else "",
            answers_steps=self._answers_steps)

    def _put_aside(self, bad: BadRecord, split: Split) -> None:
        if self._quarantine is not None and split == "train":
            self._quarantine.add(bad)


def examine(train: Sequence[CorpusConfig], valid: Sequence[CorpusConfig], columns: Mapping[str, Column] | None,
            roles: Sequence[str], quarantine: Quarantine | None = None) -> Report:
    """Read all files once and say what is in them: the whole of `seqloom doctor`. Raises what `read_records` does."""
    examination = Examination(quarantine=quarantine)
    splits: list[tuple[Split, Sequence[CorpusConfig]]] = [("train", train), ("valid", valid)]
    for split, corpora in splits:
        for record in read_records(corpora, columns, roles):
            examination.take(record, split)
    return examination.report()


class _Notes:
    """What is remembered of one split: for record i its hashes, place and log length ratio; and counts."""

    def __init__(self) -> None:
        self.lines = 0
        self.usable = 0
        self.bad: dict[str, Finding] = {}
        self.lengths: dict[str, dict[str, Counter[int]]] = {}
        self.languages: Counter[str] = Counter()
        self.pairs, self.sources, self._ratios = array("Q"), array("Q"), array("f")
        self._origins = Origins()
        self.where = self._origins.where

    def add_bad(self, bad: BadRecord) -> None:
        self.lines += 1
        kind = bad.reason.partition(":")[0]
        finding = self.bad[kind] if kind in self.bad else Finding(example=bad.reason)
        where = [*finding.where, bad.where] if finding.count < KEPT else finding.where
        self.bad[kind] = Finding(finding.count + 1, where, finding.example)

    def add(self, record: Record) -> None:
        """Note a record."""
        self.lines += 1
        if "language" in record.fields:
            self.languages[record.text("language").strip()] += 1
        source = source_fingerprint(record)
        targets = record.texts("target") if "target" in record.fields else []
        pair = fingerprint(f"{source:016x}", *targets)
        sizes = {}
        for side in SIDES:
            if side in record.fields:
                if side not in self.lengths:
                    self.lengths[side] = {unit: Counter() for unit in UNITS}
                counters = self.lengths[side]
                for text in record.texts(side):
                    for unit, measure in UNITS.items():
                        counters[unit][measure(text)] += 1
                sizes[side] = len(record.text(side))
        self.sources.append(source)
        self.pairs.append(pair)
        self._origins.add(record.path, record.line)
        both = len(sizes) == len(SIDES)
        self._ratios.append(log((sizes["source"] + 1) / (sizes["target"] + 1)) if both else 0.0)

    def finding(self, marks: Marks) -> Finding:
        """How many are marked, and the places of the first."""
        return Finding(int(marks.sum()), [self.where(index) for index in first_marked(marks, KEPT)])

    def report(self, name: str) -> SplitReport:
        lengths = {side: {unit: Lengths.of(counts) for unit, counts in units.items()}
                   for side, units in self.lengths.items()}
        pairs, sources = np.asarray(self.pairs, np.uint64), np.asarray(self.sources, np.uint64)
        return SplitReport(name, self.lines, self.usable, dict(self.bad), lengths, self._duplicates(pairs),
                           self.finding(of_several(sources, pairs)),
                           self.finding(_outliers(np.asarray(self._ratios, np.float32))),
                           dict(sorted(self.languages.items())))

    def _duplicates(self, pairs: Fingerprints) -> Finding:
        marks = repeated(pairs)
        shown = first_marked(marks, KEPT)
        earlier = first_places(pairs, pairs[shown])
        return Finding(int(marks.sum()), [_same(self.where(index), self.where(int(first)))
                                          for index, first in zip(shown, earlier, strict=True)])


class _UnknownNotes:
    """Running counts of the symbols of one side."""

    def __init__(self) -> None:
        self._symbols = self._unknown = self._texts = 0
        self._where: list[str] = []

    def add(self, ids: Ints, where: str) -> None:
        unknown = int(np.count_nonzero(ids == UNKNOWN))
        self._symbols += len(ids)
        self._unknown += unknown
        if unknown:
            self._texts += 1
            self._where += [where] if self._texts <= KEPT else []

    def result(self) -> Unknown:
        return Unknown(self._symbols, self._unknown, Finding(self._texts, list(self._where)))


def _overlap(train: _Notes, valid: _Notes, known: array[int], asked: array[int]) -> Finding:
    """Validation records whose hash also stands in the training data, each with the first place there."""
    first = first_places(np.asarray(known, np.uint64), np.asarray(asked, np.uint64))
    found = np.flatnonzero(first >= 0)
    return Finding(len(found), [_same(valid.where(index), train.where(int(first[index])))
                                for index in found[:KEPT].tolist()])


def _outliers(ratios: NDArray[np.float32]) -> Marks:
    """Beyond the outer fences."""
    if not len(ratios):
        return np.zeros(0, np.bool_)
    low, high = map(float, np.percentile(ratios, (25, 75)))
    fence = max(FENCE * (high - low), LEAST_FENCE)
    return outside(ratios, low - fence, high + fence)


def _same(here: str, there: str) -> str:
    """Two places in one; the second without its file where that is the same."""
    file, _, line = there.rpartition(":")
    return f"{here} = line {line}" if here.rpartition(":")[0] == file else f"{here} = {there}"


def _escape(text: str) -> str:
    return text.replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n")
