"""From files to what a language model reads: one text in one row, cut into streams; see data/streams.py.

Without validation files the last lines are held out, so that what is validated on is a text too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from seqloom.config.sections import Config
from seqloom.data.doctor import Examination, Quarantine
from seqloom.data.files import read_records
from seqloom.data.report import Finding, Report
from seqloom.data.streams import Places, StreamWriter, Windows
from seqloom.errors import DataError, counted
from seqloom.heads import head_class
from seqloom.metrics.likelihood import likelihood_of
from seqloom.progress import Reporter
from seqloom.run import QUARANTINE, Run
from seqloom.sources import source_class
from seqloom.types import Batch, Ints, Item, Record

# Validation in training reads so many streams side by side, each from the empty state, of at least so many symbols.
VALID_STREAMS, VALID_SYMBOLS = 16, 4000
VALID_WINDOW = 500


@dataclass
class PreparedStream:
    """Data as training reads it, with what the loop asks of `prepare.Prepared`.

    store, batches: the same windows; lengths [N+1 2]; valid_windows: of the validation text, which has so many
    characters, line ends among them.
    """

    source: Any
    head: Any
    store: Windows
    lengths: Ints
    batches: Windows
    valid_records: list[Record]
    valid_items: list[tuple[Item | None, Item]]
    valid_windows: Windows
    valid_characters: int
    report: Report
    metric: str
    fingerprint: str
    places: Places

    carries_state: ClassVar[bool] = True

    def batch(self, indices: Ints) -> Batch:
        """The windows that begin at these positions (NumPy)."""
        return Batch(*self.store.padded(indices), indices)

    def where(self, index: int) -> str:
        """About which file:line a position is."""
        return self.places.where(index)

    def is_first(self, indices: Ints) -> bool:
        """Whether these windows begin an epoch, where nothing is carried over."""
        return int(indices[0]) == 0

    def valid(self) -> Iterator[Batch]:
        """Validation batches in order; the state goes on from each to the next."""
        for indices in self.valid_windows.plan():
            yield Batch(*self.valid_windows.padded(indices), indices)

    def likelihood(self, loss: float, count: float) -> dict[str, float]:
        """Perplexity for each symbol and bits for each character, from a loss in nats over `count` symbols."""
        return likelihood_of(-loss, int(count), self.valid_characters)

    def describe_plan(self, config: Config) -> str:
        """How much is read in an epoch."""
        return (f"{counted(self.store.symbols, 'symbol')} in {counted(self.store.streams, 'stream')}, "
                f"{counted(self.store.count(), 'window')} of {counted(self.store.window, 'symbol')}")


class _Texts:
    """The lines of the configured files, readable again and again, and which of them are held out."""

    def __init__(self, config: Config) -> None:
        self.data = config.data
        if not self.data.train:
            raise DataError("no training data is given", fix="name a file, or give data.train in the configuration")
        self.kept: int | None = None  # lines that are trained on; the others are held out
        if not self.data.valid:
            usable = sum(isinstance(record, Record) for record in self.read("train"))
            if usable < 2:
                raise DataError(f"only {usable} usable {'line' if usable == 1 else 'lines'}, too few to hold out a "
                                "part for validation", fix="give more text, or validation files with --valid")
            self.kept = usable - max(1, min(self.data.valid_limit, round(usable * self.data.valid_fraction)))

    def read(self, part: str) -> Iterator[Any]:
        return read_records(self.data.train if part == "train" else self.data.valid, None, ("text",))

    def train(self) -> Iterator[Any]:
        """Lines that are trained on, and bad ones."""
        number = 0
        for record in self.read("train"):
            if isinstance(record, Record):
                number += 1
                if self.kept is not None and number > self.kept:
                    return
            yield record

    def valid(self) -> Iterator[Any]:
        """Lines of the validation text."""
        if self.kept is None:
            yield from self.read("valid")
            return
        number = 0
        for record in self.read("train"):
            number += isinstance(record, Record)
            if number > self.kept:
                yield record


def prepare_stream(config: Config, folder: Path, reporter: Reporter, *, run: Run | None = None) -> PreparedStream:
    """Read, examine, tokenise. `run`: a run to go on with, whose tokenizer serves unchanged.

    Raises DataError when files cannot be read or nothing usable is left.
    """
    texts = _Texts(config)
    digest = blake2b(digest_size=16)
    with Quarantine(folder / QUARANTINE) as quarantine:
        examination = Examination(quarantine=quarantine)
        source, head = (run.source, run.head) if run is not None else (
            source_class(config.source.kind).fit(config.source, ()),
            head_class(config.head.kind).fit(config, (one for one in texts.train() if isinstance(one, Record))))
        places = Places()
        with StreamWriter(folder / "cache") as writer:
            for number, record in enumerate(examination.train(texts.train())):
                reporter.progress("encoding", number, None)
                places.add(writer.count, record.where)
                writer.add(head.ids_of(record.text("text")))
            ids = writer.finish()
        digest.update(ids.tobytes())
        records, held = [], [np.zeros(0, np.int32)]
        for record in examination.valid(texts.valid()):
            line = head.ids_of(record.text("text"))
            examination.add_encoded("target", line, record.where)
            records.append(record)
            held.append(np.asarray(line, np.int32))
        if not records:
            raise DataError("no validation line is usable", fix="see what is wrong with the data: seqloom doctor")
        report = of_a_text(examination.report())
    valid = np.concatenate([ids[:1], *held])
    digest.update(valid.tobytes())
    training = config.training
    windows = Windows(ids, training.batch_size, config.head.window)  # type: ignore[union-attr]
    streams = max(1, min(VALID_STREAMS, len(valid) // VALID_SYMBOLS))
    metric = str(head.metric) if training.metric == "auto" else training.metric
    return PreparedStream(
        source, head, windows, windows.lengths(), windows, records, [], Windows(valid, streams, VALID_WINDOW),
        sum(len(record.text("text")) + 1 for record in records), report, metric, digest.hexdigest(), places)


def of_a_text(report: Report) -> Report:
    """The same without what is no fault of a text: lines that stand in it more than once."""
    nothing = Finding()
    parts = [None if part is None else replace(part, duplicates=nothing, ambiguous_sources=nothing)
             for part in (report.train, report.valid)]
    assert parts[0] is not None
    return replace(report, train=parts[0], valid=parts[1], overlapping_pairs=nothing, overlapping_sources=nothing)
