"""Standard streams that survive what a shell does to them: closed, full, broken, of any encoding."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from seqloom.errors import SeqloomError, UsageError, counted

STDOUT = "standard output"
BLOCK = 1 << 20  # bytes read at a time


class Terminated(BaseException):
    """SIGTERM came. Raised where the program stands, so that open files are closed and whole lines written."""


@contextmanager
def stop_on_termination() -> Iterator[None]:
    """Let SIGTERM raise Terminated; training, which saves first, puts its own handler in its place meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _raise_terminated(number: int, frame: Any) -> None:
    raise Terminated


def prepare_streams() -> None:
    """Put something where a stream is closed, and make standard output UTF-8.

    A closed descriptor would be given to the next file that is opened, which then gets what libraries print. At a
    terminal the encoding stays the terminal's, and characters that it lacks are escaped.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for good
    if hasattr(sys.stderr, "reconfigure"):
        sys.stderr.reconfigure(errors="backslashreplace")
    if not hasattr(sys.stdout, "reconfigure"):
        return
    if sys.stdout.isatty():
        sys.stdout.reconfigure(errors="backslashreplace")
    else:
        # File names that are not UTF-8 come back as the bytes they were.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")


def flush_output() -> None:
    """Hand out what was written. Raises SeqloomError, BrokenPipeError."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise write_failure(error, STDOUT) from None


def write_failure(error: OSError, name: str) -> Exception:
    """What to raise when writing failed."""
    if isinstance(error, BrokenPipeError):
        return error
    return SeqloomError(f"writing {name} failed: {error.strerror or error}",
                        fix="free some space, or write to another disk; what is there is not complete")


def silence_output() -> None:
    """Nobody reads standard output any more, or it is full: Python must not try again when it ends."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def say(result: object) -> None:
    """A result and a line end on standard output. Raises SeqloomError, BrokenPipeError."""
    Writer(sys.stdout, STDOUT).write(f"{result}\n")


def write_error(text: str) -> None:
    """Write to standard error; that nobody reads it is no reason to stop."""
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def warn(line: str) -> None:
    """A line on standard error."""
    write_error(f"{line}\n")


def note(sentence: str) -> None:
    """A remark on standard error."""
    warn(f"note: {sentence}")


@contextmanager
def open_output(path: str | None, *, keep: int = 0) -> Iterator[Writer]:
    """A text stream to a file (UTF-8, \\n), or to standard output when there is no path or it is "-".

    keep: so many bytes of the file stay, and what is written comes after them; without, a warning says that an older
    file is written over. Whatever happens, a regular file ends with a whole line. Raises UsageError when the file
    cannot be opened or its folder is not there, SeqloomError when writing fails (full disk).
    """
    if path is None or path == "-":
        yield Writer(sys.stdout, STDOUT)
        return
    target = Path(path)
    try:
        refuse_missing_folder(path)
        if not keep and target.is_file() and (size := target.stat().st_size):
            warn(f"warning: {path} was there already ({counted(size, 'byte')}) and is written over")
        if keep:
            os.truncate(target, keep)
        file = target.open("a" if keep else "w", encoding="utf-8", errors="surrogateescape", newline="\n")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UsageError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}",
                         fix="name a file in a folder you may write to") from None
    writer = Writer(file, path)
    try:
        yield writer
        writer.close()
    except BaseException:
        with suppress(SeqloomError):
            writer.close()
        cut_to_whole_lines(target)
        raise


def cut_to_whole_lines(path: Path) -> None:
    """Take a last line without an end off a regular file, as a full disk leaves it."""
    if not path.is_file():
        return
    with suppress(OSError), path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - BLOCK)
            file.seek(begin)
            at = file.read(end - begin).rfind(b"\n")
            if at >= 0:
                file.truncate(begin + at + 1)
                return
            end = begin
        file.truncate(0)


def refuse_missing_folder(path: str | None) -> None:
    """Raise UsageError for an output file whose folder is not there: a slip in a name makes no folders."""
    if path is None or path == "-" or "\0" in path:
        return
    folder = Path(path).parent
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {folder}", fix=f"mkdir -p {folder}")


def refuse_input_as_output(path: str | None, inputs: Iterable[str | None]) -> None:
    """Raise UsageError when a file that is read would be written over."""
    for name in inputs:
        if name is not None and path is not None and _same_file(name, path):
            raise UsageError(f"{path} is also read: its content would be lost", fix="give -o another name")


class Writer:
    """A file whose faults in writing are told from faults of everything else."""

    def __init__(self, file: IO[str], path: str) -> None:
        self.file, self.path = file, path

    def write(self, text: str) -> int:
        """As a file's. Raises SeqloomError."""
        try:
            return self.file.write(text)
        except OSError as error:
            raise write_failure(error, self.path) from None

    def flush(self) -> None:
        """As a file's. Raises SeqloomError."""
        try:
            self.file.flush()
        except OSError as error:
            raise write_failure(error, self.path) from None

    def close(self) -> None:
        """As a file's. Raises SeqloomError."""
        try:
            self.file.close()
        except OSError as error:
            raise write_failure(error, self.path) from None


def _same_file(first: str, second: str) -> bool:
    try:
        one, other = Path(first), Path(second)
        return one.is_file() and other.is_file() and one.samefile(other)
    except (OSError, ValueError):
        return False
