"""The command line: `seqloom VERB …`. Each verb only reads its options and calls `seqloom.api` or a leaf.

Exit codes: 0 done, 1 the run failed, 2 bad usage, config or data; 128 + n after signal n. Results go to standard output
and nothing else does.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from seqloom.cli.failures import outcome_of
from seqloom.cli.streams import flush_output, prepare_streams, silence_output, stop_on_termination, write_error
from seqloom.errors import SeqloomError

ANSWERING = ("predict", "translate", "score", "encode", "explain", "evaluate")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    before_dashes = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in before_dashes
    if debug:
        given.remove("--debug")
    prepare_streams()
    with stop_on_termination(), _patient_collector(given):
        code = _code_of(given, debug)
    sys.exit(code)


@contextmanager
def _patient_collector(arguments: Sequence[str]) -> Iterator[None]:
    """Look for cyclic garbage seldom in verbs that answer: what start-up makes stays, and looking through it time and
    again takes a tenth of it. Not in training, whose garbage is large."""
    before = gc.get_threshold()
    if arguments and arguments[0] in ANSWERING:
        gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _code_of(arguments: list[str], debug: bool) -> int:
    """The exit code of a command, whatever happens in it; says what happened."""
    try:
        code = _run(arguments)
        flush_output()
        return code
    except BaseException as error:
        outcome = outcome_of(error, next((word for word in arguments if not word.startswith("-")), ""))
        if debug and not isinstance(error, SystemExit):
            import traceback

            write_error(traceback.format_exc())
    try:
        flush_output()  # whole lines that are ready are handed out even so
    except (SeqloomError, OSError):
        silence_output()
    if outcome.message:
        write_error(f"{outcome.message}\n")
    return outcome.code


def _run(arguments: list[str]) -> int:
    from seqloom.cli.app import command

    program = command(next(iter(arguments), ""))
    if not arguments:
        write_error(program.make_context("seqloom", ["--help"], resilient_parsing=True).get_help() + "\n")
        return 2
    with program.make_context("seqloom", arguments) as context:
        result = program.invoke(context)
    return result if isinstance(result, int) else 0
