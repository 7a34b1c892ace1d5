"""What `predict`, `score` and `encode` answer: records from a file, a pipe or standard input, as the run reads them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqloom.cli.streams import note, refuse_input_as_output, refuse_missing_folder
from seqloom.data.files import read_inputs
from seqloom.data.lines import open_file
from seqloom.data.live import LiveReader, open_live
from seqloom.errors import UsageError
from seqloom.predictor import Predictor
from seqloom.types import UNKNOWN, BadRecord, Item, Record

STDIN = "<stdin>"


def check_streams(file: str | None, output: str | None) -> None:
    """Raise DataError or UsageError, before a model is loaded, for what cannot be read or written."""
    refuse_input_as_output(output, [file])
    refuse_missing_folder(output)
    if output in (None, "-") and sys.__stdout__ is None:
        raise UsageError("standard output is closed", fix="write to a file: -o FILE")
    if file is None or file == "-":
        if sys.__stdin__ is None:
            raise UsageError("standard input is closed", fix="name a file with the inputs")
    elif not Path(file).is_fifo():  # a pipe that is closed again would break
        open_file(file).close()


def lines_of(file: str | None) -> int | None:
    """Number of input lines, where it is known beforehand."""
    if file is None or file == "-" or file.endswith(".gz") or not Path(file).is_file():
        return None
    with Path(file).open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b"")) or None


@dataclass
class Inputs:
    """What is to be answered, and what was noticed while it was read.

    read: records so far; unknown: lines with a symbol that the run has never seen, first_unknown: where the first is.
    """

    predictor: Predictor
    file: str | None
    input_format: str | None
    targets: bool = False
    quiet: bool = False
    read: int = 0
    unknown: int = 0
    first_unknown: str = ""
    before_waiting: Callable[[], None] = lambda: None
    _live: LiveReader | None = field(default=None, init=False)

    def records(self) -> Iterator[Record | BadRecord]:
        """Inputs from the file or standard input, read as the run's own data was. Raises DataError, UsageError."""
        with ExitStack() as stack:
            for record in self._stream(stack):
                self.read += 1
                yield record

    def ready(self, held: int) -> bool:
        """Whether the next line can be had at once; see Predictor.predict_records."""
        return self._live is None or self._live.ready(held)

    def notice(self, record: Record, item: Item) -> None:
        """Count a record with symbols that the run does not know."""
        has_symbols = self.predictor.source.has_symbols or self.predictor.head.is_stream  # not the bytes of a picture
        if has_symbols and any((numbers == UNKNOWN).any() for numbers in item.fields.values()):
            self.unknown += 1
            self.first_unknown = self.first_unknown or record.where

    def remark(self) -> str:
        """What a person should know about the inputs; "" when there is nothing."""
        if not self.unknown:
            return ""
        return (f"{self.unknown:,} of {self.read:,} lines hold symbols that the run has not seen in training (first: "
                f"{self.first_unknown})")

    def _stream(self, stack: ExitStack) -> Iterator[Record | BadRecord]:
        config = self.predictor.run.config if self.predictor.run is not None else None
        columns = {**((config.data.columns or {}) if config else {}), **self.predictor.source.columns}
        roles = (*self.predictor.source.roles, *(self.predictor.head.roles if self.targets else ()))
        if self.file is None or self.file == "-":
            stream: Any = self._opened_live(sys.stdin) or sys.stdin.buffer
            return read_inputs(stream, STDIN, columns, roles, self.input_format or "tsv", ignored=self._ignored)
        if Path(self.file).is_file():
            return read_inputs(self.file, self.file, columns, roles, self.input_format, ignored=self._ignored)
        file = stack.enter_context(open_file(self.file))
        return read_inputs(self._opened_live(file) or file, self.file, columns, roles, self.input_format,
                           ignored=self._ignored)

    def _opened_live(self, stream: Any) -> LiveReader | None:
        self._live = open_live(stream)
        if self._live is not None:
            self._live.call_before_waiting(self._waits)
        return self._live

    def _waits(self) -> None:
        self.before_waiting()

    def _ignored(self, sentence: str) -> None:
        if not self.quiet:
            note(sentence)
