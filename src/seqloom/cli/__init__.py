"""The command line: `seqloom VERB …`. Each verb only reads its options and calls `seqloom.api` or a leaf.

Exit codes: 0 done, 1 the run failed, 2 bad usage, config or data; 128 + n after signal n.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from seqloom.errors import SeqloomError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    if debug:
        given.remove("--debug")
    try:
        code = _run(given)
        sys.stdout.flush()
    except SeqloomError as error:
        if debug:
            raise
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    except KeyboardInterrupt:
        if debug:
            raise
        sys.stderr.write("interrupted\n")
        code = 130
    except BrokenPipeError:
        # The reader has gone (| head): there is nobody to tell. Python must not flush into the pipe at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except MemoryError:
        sys.stderr.write("error: out of memory\n  fix: lower training.batch_size, or decoding.batch_tokens\n")
        code = 1
    except OSError as error:
        if debug:
            raise
        sys.stderr.write(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}\n")
        code = 1
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    import click
    import typer.main

    from seqloom.cli.app import app

    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name="seqloom", standalone_mode=False)
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return result if isinstance(result, int) else 0
