"""`seqloom predict RUN` at a terminal: a prompt, an answer, until Ctrl-D."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

from seqloom.cli.options import is_foreign
from seqloom.cli.streams import warn
from seqloom.config.sections import DecodingConfig
from seqloom.errors import counted
from seqloom.predictor import Predictor
from seqloom.types import Prediction, Record

PROMPT = "> "


def converse(predictor: Predictor, options: DecodingConfig, *, line: Callable[[int, Prediction], str],
             prefix: str | None, attention: bool, alternatives: int) -> int:
    """Answer what is typed, line by line; `line` turns an answer into text. A line that cannot be read is named."""
    with suppress(ImportError):  # arrow keys and history, where the system has them
        import readline  # noqa: F401
    roles = predictor.source.roles
    warn("Type an input and Enter; Ctrl-D ends.")
    if len(roles) > 1:
        warn(f"An input is {' <tab> '.join(roles)}.")
    number = 0
    while True:
        number += 1
        try:
            typed = input(PROMPT)
        except EOFError:
            warn("")
            return 0
        except UnicodeDecodeError:
            typed = "\udcff"
        if is_foreign(typed):
            warn("what was typed is not UTF-8")
            continue
        cells = typed.split("\t") if len(roles) > 1 else [typed]
        if len(cells) != len(roles):
            warn(f"{counted(len(cells), 'column')}, expected {len(roles)}: {' <tab> '.join(roles)}")
            continue
        record = Record(dict(zip(roles, cells, strict=True)), "<terminal>", number)
        prediction = next(predictor.predict_records(
            [record], options, attention=attention, alternatives=alternatives,
            prefixes=None if prefix is None else [prefix]))
        if prediction.stopped == "error":
            warn(prediction.error)
        else:
            sys.stdout.write(line(number, prediction))
            sys.stdout.flush()
