"""What `seqloom predict` and `score` do once their options are read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

from seqloom.cli.lines import FORMATS, scored_line
from seqloom.cli.options import decoding_options, unicode_text, whole_number
from seqloom.cli.streams import note, open_output, refuse_input_as_output
from seqloom.data.files import read_inputs
from seqloom.data.lines import open_file
from seqloom.errors import DataError, UsageError
from seqloom.predictor import Predictor
from seqloom.progress import Reporter, reporter_for
from seqloom.types import UNKNOWN, BadRecord, Prediction, Record

SHOWN_WARNINGS = 20
STDIN = "<stdin>"


@dataclass(frozen=True)
class Request:
    """The options of `seqloom predict`, as given."""

    runs: list[str]
    file: str | None
    output: str | None
    format: str
    input_format: str | None
    changes: dict[str, Any]
    set_options: list[str]
    prefix: str | None
    attention: bool
    alternatives: str | None
    engine: str
    device: str
    threads: str | None


def run_prediction(request: Request) -> int:
    """Predict a file, a pipe, or in a dialogue; the exit code: 1 when every line was bad."""
    if request.format not in FORMATS:
        raise UsageError(f"unknown format '{request.format}'", fix=f"choose one of: {', '.join(FORMATS)}")
    check_streams(request.file, request.output)
    alternatives = whole_number("--alternatives", request.alternatives, 1) or 0
    if request.format != "jsonl" and (request.attention or alternatives):
        raise UsageError("--attention and --alternatives do not fit into lines of text", fix="add --format jsonl")
    prefix = None if request.prefix is None else unicode_text("--prefix", request.prefix)
    changes = decoding_options(request.set_options, **request.changes)
    predictor = open_predictor(request.runs, request.engine, request.device, request.threads)
    options = predictor.options(changes)
    if request.format == "text" and options.n_best > 1:
        raise UsageError(f"{options.n_best} answers for each input do not fit into one line of text",
                         fix="add --format tsv or --format jsonl")
    if talks_to_a_person(request.file, request.output):
        from seqloom.cli.dialogue import converse

        return converse(predictor, options, line=FORMATS[request.format], prefix=prefix, attention=request.attention,
                        alternatives=alternatives)
    reporter = reporter_for()
    reporter.say(f"engine: {predictor.engine.name}")
    inputs = Inputs(predictor, request.file, request.input_format)
    predictions = predictor.predict_records(
        inputs.records(), options, attention=request.attention, alternatives=alternatives,
        prefixes=None if prefix is None else repeat(prefix))
    return write(predictions, request.output, FORMATS[request.format], inputs, reporter)


def run_scoring(runs: list[str], file: str | None, output: str | None, input_format: str | None, engine: str,
                device: str, threads: str | None) -> int:
    """Score given targets; the exit code."""
    check_streams(file, output)
    predictor = open_predictor(runs, engine, device, threads)
    inputs = Inputs(predictor, file, input_format, targets=True)
    return write(predictor.score_records(inputs.records()), output, scored_line, inputs, reporter_for())


def check_streams(file: str | None, output: str | None) -> None:
    """Raise DataError or UsageError, before a model is loaded, for what cannot be read or written."""
    refuse_input_as_output(output, [file])
    if output in (None, "-") and sys.__stdout__ is None:
        raise UsageError("standard output is closed", fix="write to a file: -o FILE")
    if file is None or file == "-":
        if sys.__stdin__ is None:
            raise UsageError("standard input is closed", fix="name a file with the inputs")
    elif not Path(file).is_fifo():  # a pipe that is closed again would break
        open_file(file).close()


def open_predictor(runs: list[str], engine: str, device: str, threads: str | None) -> Predictor:
    """The run, or the ensemble of several."""
    from seqloom.api import load

    count = whole_number("--threads", threads, 1)
    return load(runs if len(runs) > 1 else runs[0], engine=engine, device=device, threads=count)


def talks_to_a_person(file: str | None, output: str | None) -> bool:
    """Whether inputs are typed and answers read at a terminal."""
    return file is None and output is None and sys.__stdin__ is not None and sys.stdin.isatty() and sys.stdout.isatty()


@dataclass
class Inputs:
    """What is to be answered, and what was noticed while it was read.

    unknown: lines with a symbol that the run has never seen; first_unknown: where the first of them is.
    """

    predictor: Predictor
    file: str | None
    input_format: str | None
    targets: bool = False
    unknown: int = 0
    first_unknown: str = ""
    read: int = 0
    notes: list[str] = field(default_factory=list)

    def records(self) -> Iterator[Record | BadRecord]:
        """Inputs from the file or standard input, read as the run's own data was. Raises DataError, UsageError."""
        for record in self._stream():
            self.read += 1
            if isinstance(record, Record):
                self._notice(record)
            yield record

    def _stream(self) -> Iterator[Record | BadRecord]:
        config = self.predictor.run.config if self.predictor.run is not None else None
        columns = {**((config.data.columns or {}) if config else {}), **self.predictor.source.columns}
        head_roles = self.predictor.head.roles if self.targets else ()
        roles = (*self.predictor.source.roles, *head_roles)
        if self.file is None or self.file == "-":
            return read_inputs(sys.stdin.buffer, STDIN, columns, roles, self.input_format or "tsv", ignored=note)
        return read_inputs(self.file, self.file, columns, roles, self.input_format, ignored=note)

    def _notice(self, record: Record) -> None:
        try:
            item = self.predictor.source.read(record)
        except DataError:
            return  # the predictor says so in its answer
        if any((numbers == UNKNOWN).any() for numbers in item.fields.values()):
            self.unknown += 1
            self.first_unknown = self.first_unknown or record.where

    def remark(self) -> str:
        """What a person should know about the inputs; "" when there is nothing."""
        if not self.unknown:
            return ""
        return (f"{self.unknown:,} of {self.read:,} lines hold symbols that the run has not seen in training (first: "
                f"{self.first_unknown})")

    def expected(self) -> int | None:
        """Number of input lines, where it is known beforehand."""
        if self.file is None or self.file == "-" or self.file.endswith(".gz"):
            return None
        path = Path(self.file)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) or None


def write(predictions: Iterable[Prediction], output: str | None, line: Callable[[int, Prediction], str],
          inputs: Inputs, reporter: Reporter) -> int:
    """Write every prediction and warn of the bad ones; the exit code."""
    total = bad = 0
    expected = inputs.expected()
    with open_output(output) as stream:
        for total, prediction in enumerate(predictions, 1):
            if prediction.stopped == "error":
                bad += 1
                if bad <= SHOWN_WARNINGS:
                    reporter.say(f"warning: {prediction.where}: {prediction.error}")
                if bad == SHOWN_WARNINGS:
                    reporter.say("warning: further lines that cannot be read are only counted")
            stream.write(line(total, prediction))
            reporter.progress("answered", total, expected)
    reporter.finish()
    if inputs.remark():
        note(inputs.remark())
    if bad:
        reporter.say(f"warning: {bad:,} of {total:,} lines could not be read; their output lines are empty")
    return 1 if total and bad == total else 0
