"""Bytes → numbered lines of checked text: gzip, strict UTF-8, line ends, length limit. Streamed, one line at a time.

Knows neither formats nor columns (`files.py`), and never guesses an encoding. A fault of one line travels with the
line (`Line.problem`); a fault of the whole file is a DataError.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from seqloom.errors import DataError

MAXIMUM_LINE = 100_000  # characters of a line, or of a CSV record that spans lines
# Bytes that are read before a line is called too long: four for each character, a byte order mark, CR and LF.
LONGEST = 4 * MAXIMUM_LINE + len(codecs.BOM_UTF8) + 2
TOO_LONG = f"line too long: more than {MAXIMUM_LINE:,} characters"
SHOWN = 200  # characters kept of a line that is too long
GZIP_MAGIC = b"\x1f\x8b"
READABLE_FIX = "give UTF-8 text, plain or gzipped"


class Line(NamedTuple):
    """One line without its end. `problem` is "kind: detail" where it cannot be used; wrong bytes stand as \\xNN."""

    number: int
    text: str
    problem: str = ""


def read_lines(source: str | Path | BinaryIO, name: str | None = None) -> Iterator[Line]:
    """The lines of a file or of an open binary stream, plain or gzipped (told by content, not by name).

    Args:
        source: a path, or a stream that stays open afterwards.
        name: how the input is called in messages; the path when not given.

    Yields:
        Every line, numbered from 1. The end may be LF or CRLF; a byte order mark at the start is left out.

    Raises:
        DataError: the file is missing, a directory, not readable, binary, or its gzip data is damaged or cut off.
    """
    label = name or (str(source) if isinstance(source, str | Path) else "<input>")
    with ExitStack() as stack:
        stream = _buffered(source, stack)
        number = 0
        try:
            if stream.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)] == GZIP_MAGIC:
                stream = io.BufferedReader(cast("io.RawIOBase", stack.enter_context(gzip.GzipFile(fileobj=stream))))
            _check_head(stream.peek(1), label)
            while raw := stream.readline(LONGEST):
                if number == 0 and raw == codecs.BOM_UTF8:
                    return  # an empty file, as some editors save it
                number += 1
                if len(raw) == LONGEST and not raw.endswith(b"\n"):
                    while (rest := stream.readline(LONGEST)) and not rest.endswith(b"\n"):
                        pass
                yield _decode(number, raw)
        except (EOFError, OSError, zlib.error) as error:
            raise _reading_error(error, f"{label}:{number + 1}") from error


def open_file(path: str | Path) -> io.BufferedReader[Any]:
    """Open a file for reading bytes, or raise a DataError that says why it cannot be."""
    file = Path(path)
    try:
        return file.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'", fix=_nearest_file(file)) from error
    except IsADirectoryError as error:
        raise DataError(f"'{path}' is a directory, expected a file", fix="name a file inside it") from error
    except PermissionError as error:
        raise DataError(f"no permission to read '{path}'", fix="change its permissions, or copy it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot open '{path}': {reason}", fix="check the path") from error


def _buffered(source: str | Path | BinaryIO, stack: ExitStack) -> io.BufferedReader[Any]:
    if isinstance(source, str | Path):
        return stack.enter_context(open_file(source))
    if isinstance(source, io.BufferedReader):
        return source
    wrapper: io.BufferedReader[Any] = io.BufferedReader(cast("io.RawIOBase", source))
    stack.callback(wrapper.detach)  # a wrapper that is thrown away would close the caller's stream
    return wrapper


def _nearest_file(file: Path) -> str:
    try:
        # Not an empty one: a shell makes that of "> out.txt" before the program runs.
        names = [entry.name for entry in file.parent.iterdir() if entry.is_dir() or entry.stat().st_size]
    except OSError:
        return f"the folder '{file.parent}' cannot be read either; check the path"
    near = get_close_matches(file.name, names, 1)
    return f"did you mean '{file.with_name(near[0])}'?" if near else "check the path"


def _check_head(head: bytes, label: str) -> None:
    """Refuse what is no text at all, by its first few thousand bytes, before thousands of lines are called bad."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError("the file is UTF-16, expected UTF-8", where=label,
                        fix="convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW")
    if b"\0" in head:
        raise DataError("looks like a binary file: it has NUL bytes", where=label,
                        fix=f"{READABLE_FIX}; a picture or a recording is given by its path, one in each line")
    if b"\n" not in head and head.rstrip(b"\r").count(b"\r") > 1:
        raise DataError("lines end in a carriage return alone, expected LF or CRLF", where=label,
                        fix="convert it: tr '\\r' '\\n' < OLD > NEW")


def _reading_error(error: Exception, where: str) -> DataError:
    if isinstance(error, EOFError):
        return DataError("the gzip data is cut off before its end", where=where, fix="copy or download the file again")
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return DataError(f"the gzip data is damaged ({error})", where=where, fix="copy or download the file again")
    return DataError(f"reading failed: {getattr(error, 'strerror', None) or error}", where=where,
                     fix="check the disk, or copy the file")


def _decode(number: int, raw: bytes) -> Line:
    mark = len(codecs.BOM_UTF8) if number == 1 and raw.startswith(codecs.BOM_UTF8) else 0
    body = raw[mark:].removesuffix(b"\n").removesuffix(b"\r")
    if len(raw) == LONGEST and not raw.endswith(b"\n"):
        return Line(number, _beginning(body.decode("utf-8", "replace")), TOO_LONG)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"not UTF-8: byte 0x{body[error.start]:02X} at byte {error.start + mark + 1} of the line"
        return Line(number, body.decode("utf-8", "backslashreplace"), problem)
    if len(text) > MAXIMUM_LINE:
        return Line(number, _beginning(text), TOO_LONG)
    if "\0" in text:
        return Line(number, text, f"NUL byte: at character {text.index(chr(0)) + 1} of the line")
    return Line(number, text)


def _beginning(text: str) -> str:
    return text[:SHOWN] + "…"
