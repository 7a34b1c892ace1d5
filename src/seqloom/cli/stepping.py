"""`seqloom predict --stream`: each answer as soon as its step is read, from a pipe or a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

from seqloom.cli.inputs import STDIN, check_streams
from seqloom.cli.streams import open_output, warn
from seqloom.data.lines import Line, open_file, read_lines
from seqloom.data.live import open_live
from seqloom.errors import DataError
from seqloom.predictor import Predictor, Stepper, failed
from seqloom.types import Prediction, Record


def step_through(predictor: Predictor, file: str | None, output: str | None,
                 line: Callable[[int, Prediction], str]) -> int:
    """Answer steps, one a line; an empty line ends an input. The exit code: 1 when every step was bad.

    A step that cannot be read gives an empty line and a warning; the input goes on behind it. Raises UsageError for a
    run whose answers need what follows.
    """
    check_streams(file, output)
    stepper = Stepper(predictor)
    name = STDIN if file in (None, "-") else str(file)
    answered = bad = 0
    with ExitStack() as stack:
        stream = stack.enter_context(open_output(output))
        for given in _lines(file, name):
            if not given.problem and not given.text.strip():
                stepper.restart()
                stream.write("\n")
            else:
                prediction = _answer(stepper, given, name)
                answered += 1
                bad += prediction.stopped == "error"
                if prediction.stopped == "error":
                    warn(f"warning: {prediction.where}: {prediction.error}")
                stream.write(line(given.number, prediction))
            stream.flush()
    return 1 if answered and bad == answered else 0


def _lines(file: str | None, name: str) -> Iterator[Line]:
    """Lines as they come."""
    if file is not None and Path(file).is_file():
        yield from read_lines(file)
        return
    with nullcontext(sys.stdin.buffer) if file in (None, "-") else open_file(str(file)) as stream:
        yield from read_lines(open_live(stream) or stream, name)


def _answer(stepper: Stepper, given: Line, name: str) -> Prediction:
    record = Record({stepper.role: given.text}, name, given.number)
    if given.problem:
        return failed(given.problem, record.where)
    try:
        return stepper.step(record)
    except DataError as error:
        return failed(error.message, record.where)
