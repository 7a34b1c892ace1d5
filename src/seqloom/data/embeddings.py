"""Pretrained word vectors: GloVe text, word2vec text and binary, fastText .vec; plain or gzipped, told by content.

Files are streamed and only the wanted rows are kept, so a file of gigabytes costs the memory of the vocabulary. Numbers
are checked in the rows that are kept, the count of numbers in all rows. Knows no network: rows without a vector are
zero here, and whoever owns the embedding starts them. fastText .bin, with its n-grams, is not read.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from seqloom.data.lines import open_file
from seqloom.errors import DataError
from seqloom.types import Bools, Floats

LARGEST_DIMENSION = 10_000
LARGEST_MATRIX = 2**34     # bytes
LONGEST_LINE = 2**20       # bytes of text for one word and its numbers, or of a word in a binary file
HEAD_LINES = 50            # lines that decide how many numbers a file without a header has in a row
CHUNK = 2**20              # bytes read at once from a binary file
SHOWN = 8                  # missing tokens named in the report
HEADER = re.compile(rb"(\d{1,18}) (\d{1,18})\s*")
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
BINARY = "word2vec binary"
EXPECTED = "expected GloVe text, word2vec text or binary, or fastText .vec, plain or gzipped"
WRONG_FILES = {
    b"PK\x03\x04": ("a zip archive", "unpack it and give the text file inside"),
    b"\xba\x16\x4f\x2f": ("a fastText .bin model", "download the .vec file that belongs to it"),
}


@dataclass(frozen=True, slots=True)
class Vectors:
    """Rows for a list of tokens, and how well the file covers them.

    matrix: Float32 [V E], zero where nothing was found: the caller starts those rows. found: Bool [V].
    lowered: tokens found by their lower-case form only. repeated: further rows for a token in the file, not used.
    counts: how often each token runs in the training text, where the caller knew.
    """

    path: str
    form: str
    available: int
    tokens: Sequence[str]
    matrix: Floats
    found: Bools
    lowered: int = 0
    repeated: int = 0
    counts: Sequence[int] = field(default=())

    def report(self) -> list[str]:
        """Lines for people: the file, the share of types and of running tokens found, the first few missing."""
        V, E = self.matrix.shape
        hits = int(self.found.sum())
        lines = [f"{self.path}: {self.form}, {self.available:,} vectors of {E} numbers",
                 f"found {hits:,} of {V:,} tokens of the vocabulary ({hits / max(V, 1):.1%})"
                 + (f", {self.lowered:,} of them in lower case only" if self.lowered else "")]
        if self.counts:
            counts = np.asarray(self.counts, np.int64)
            lines.append(f"found {counts[self.found].sum() / max(int(counts.sum()), 1):.1%} of the running tokens")
        if missing := [self.tokens[number] for number in np.flatnonzero(~self.found)[:SHOWN]]:
            rest = V - hits - len(missing)
            lines.append(f"not found: {', '.join(missing)}" + (f" and {rest:,} more" if rest else ""))
        if self.repeated:
            lines.append(f"{self.repeated:,} wanted rows stand in the file more than once; the first one counts")
        return lines


class Form(NamedTuple):
    """What the beginning of a file says. promised: number of vectors, None where there is no header."""

    name: str
    dimension: int
    promised: int | None = None


class Row(NamedTuple):
    """One vector as it stands in the file; `numbers` is text or little-endian float32."""

    word: bytes
    numbers: bytes
    where: str


def load_vectors(path: str | Path, tokens: Sequence[str], *, counts: Sequence[int] = (),
                 lowercase: bool = True) -> Vectors:
    """The vectors of these tokens.

    tokens: V strings, for a tokenizer its `symbols` (ids 4 …). counts: [V] for the report, or nothing.
    lowercase: a token that is not in the file takes the vector of its lower-case form. The first row of a word counts.

    Errors: DataError with file:line for a file that is missing, of another format, truncated, or whose rows have a
    wrong number of values or values that are no finite numbers.
    """
    wanted: dict[bytes, list[int]] = {}
    fallback: dict[bytes, list[int]] = {}
    for number, token in enumerate(tokens):
        wanted.setdefault(token.encode(errors="replace"), []).append(number)
        if lowercase and (lower := token.lower()) != token:
            fallback.setdefault(lower.encode(errors="replace"), []).append(number)
    exact, lowered = (np.zeros(len(tokens), np.bool_) for _ in range(2))
    available = repeated = 0
    with ExitStack() as stack:
        form, rows = read_rows(str(path), stack)
        if (size := len(tokens) * form.dimension * 4) > LARGEST_MATRIX:
            raise DataError(f"{len(tokens):,} tokens with {form.dimension:,} numbers each need {size:,} bytes, more "
                            f"than {LARGEST_MATRIX:,}", where=str(path), fix="set vocab_size, or take smaller vectors")
        matrix = np.zeros((len(tokens), form.dimension), np.float32)
        for row in rows:
            available += 1
            numbers = wanted.get(row.word, ())
            lower_numbers = fallback.get(row.word, ())
            if not numbers and not lower_numbers:
                continue
            values = vector(row, form)
            repeated += any(exact[number] for number in numbers)
            for number in numbers:
                if not exact[number]:
                    matrix[number], exact[number] = values, True
            for number in lower_numbers:
                if not (exact[number] or lowered[number]):
                    matrix[number], lowered[number] = values, True
    return Vectors(str(path), form.name, available, tokens, matrix, exact | lowered,
                   int((lowered & ~exact).sum()), repeated, counts)


def vector(row: Row, form: Form) -> Floats:
    """The numbers of a row [E]. Errors: DataError for a value that is not a finite number."""
    if form.name == BINARY:
        values = np.frombuffer(row.numbers, "<f4")
    else:
        fields = row.numbers.split(b" ")
        if wrong := [text for text in fields if not is_number(text)]:
            raise DataError(f"'{shown(wrong[0])}' is not a number, in the vector of '{shown(row.word)}'",
                            where=row.where, fix="download the vectors again")
        values = np.array([float(text) for text in fields], np.float64)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"the vector of '{shown(row.word)}' has a value that is infinite or not a number",
                        where=row.where, fix="remove the row, or download the vectors again")
    return values


def read_rows(path: str, stack: ExitStack) -> tuple[Form, Iterator[Row]]:
    """The format and the streamed rows of a file, which stays open as long as `stack`. Errors: DataError."""
    file = stack.enter_context(open_file(path))
    size: int | None = os.fstat(file.fileno()).st_size
    start = file.peek(4)[:4]
    if start in WRONG_FILES:
        what, fix = WRONG_FILES[start]
        raise DataError(f"this is {what}; {EXPECTED}", where=path, fix=fix)
    if start[:2] == b"\x1f\x8b":
        unzipped = cast("io.RawIOBase", stack.enter_context(gzip.GzipFile(fileobj=file)))
        file, size = stack.enter_context(io.BufferedReader(unzipped)), None
    with readable(path):
        first = file.readline(LONGEST_LINE).removeprefix(codecs.BOM_UTF8)
        if not first:
            raise DataError(f"the file is empty; {EXPECTED}", where=path)
        if not (header := HEADER.fullmatch(first)):
            head = [first, *(line for _ in range(HEAD_LINES - 1) if (line := file.readline(LONGEST_LINE)))]
            form = Form("GloVe text", checked_dimension(common_dimension(head, path), f"{path}:1"))
            return form, guarded(path, text_rows(chain(head, lines_of(file)), form, path, 1))
        count, dimension = int(header[1]), checked_dimension(int(header[2]), f"{path}:1")
        if not is_binary(file.peek(4096), dimension):
            form = Form("word2vec or fastText text", dimension, count)
            return form, guarded(path, text_rows(lines_of(file), form, path, 2))
    form = Form(BINARY, dimension, count)
    least = len(first) + count * (4 * dimension + 1)
    if size is not None and size < least:
        raise DataError(f"truncated: {count:,} vectors of {dimension} numbers need at least {least:,} bytes, the file "
                        f"has {size:,}", where=path, fix="download the vectors again")
    return form, guarded(path, binary_rows(file, form, path))


def text_rows(lines: Iterator[bytes], form: Form, path: str, first: int) -> Iterator[Row]:
    """Rows of text, numbered from line `first`. A word may hold spaces: its numbers are the last E fields."""
    count, blank, E = 0, 0, form.dimension
    for number, line in enumerate(lines, first):
        where = f"{path}:{number}"
        body = line.rstrip(b" \r\n")
        if not body:
            blank = blank or number
            continue
        if blank:
            raise DataError("an empty line between the vectors", where=f"{path}:{blank}", fix="remove it")
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise DataError(f"a line of more than {LONGEST_LINE:,} bytes; {EXPECTED}", where=where)
        if (spaces := body.count(b" ")) == E:
            word, numbers = body.split(b" ", 1)
        else:
            word, *fields = body.rsplit(b" ", E)
            numbers = b" ".join(fields)
            if spaces < E or is_number(word.rpartition(b" ")[2]):
                raise DataError(f"{trailing_numbers(body)} values after the word, expected {E}", where=where,
                                fix="all rows need the same number of values; download the vectors again")
        count += 1
        yield Row(word, numbers, where)
    if form.promised is not None and count != form.promised:
        short = "truncated: " if count < form.promised else ""
        raise DataError(f"{short}the header says {form.promised:,} vectors, the "
                        f"file has {count:,}", where=path, fix="download the vectors again")


def binary_rows(stream: IO[bytes], form: Form, path: str) -> Iterator[Row]:
    """Rows of word2vec's binary format: the word, a space, E little-endian float32, and sometimes a line end."""
    assert form.promised is not None
    size = 4 * form.dimension
    buffer, start = b"", 0
    for number in range(1, form.promised + 1):
        where = f"{path}, vector {number:,}"
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) <= space + size:
            if space < 0 and len(buffer) - start > LONGEST_LINE:
                raise DataError(f"a word of more than {LONGEST_LINE:,} bytes; {EXPECTED}", where=where)
            if not (more := stream.read(CHUNK)):
                raise DataError(f"truncated: the header says {form.promised:,} vectors of {form.dimension} numbers",
                                where=where, fix="download the vectors again")
            buffer, start = buffer[start:] + more, 0
        word, start = buffer[start:space].lstrip(b"\n"), space + 1 + size
        yield Row(word, buffer[space + 1:start], where)
    if (buffer[start:] + stream.read(CHUNK)).strip():
        raise DataError(f"there is more data after the {form.promised:,} vectors of {form.dimension} numbers that the "
                        "header says", where=path, fix="download the vectors again")


def lines_of(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines with their ends; one that is too long comes in parts."""
    while line := stream.readline(LONGEST_LINE):
        yield line


def common_dimension(head: Sequence[bytes], path: str) -> int:
    """How many numbers most of the first lines end with; the larger number where two are as common."""
    lengths = Counter(trailing_numbers(line.rstrip(b" \r\n")) for line in head if line.strip())
    dimension = max(lengths, key=lambda length: (lengths[length], length), default=0)
    if dimension == 0 or CONTROL.search(head[0]):
        raise DataError(f"no word with numbers behind it; {EXPECTED}", where=f"{path}:1",
                        fix="give a file of word vectors")
    return dimension


def trailing_numbers(body: bytes) -> int:
    """Fields at the end of a line that are numbers; the first field is the word even if it is a number."""
    count = 0
    for text in reversed(body.split(b" ")[1:]):
        if not is_number(text):
            break
        count += 1
    return count


def checked_dimension(dimension: int, where: str) -> int:
    """Errors: DataError for a size that no vectors have, before anything is allocated by it."""
    if not 1 <= dimension <= LARGEST_DIMENSION:
        raise DataError(f"vectors of {dimension:,} numbers, expected 1 to {LARGEST_DIMENSION:,}; {EXPECTED}",
                        where=where)
    return dimension


def is_binary(sample: bytes, dimension: int) -> bool:
    """Whether what follows a header is binary: not a row of text, and with bytes that text does not have."""
    line = sample.partition(b"\n")[0]
    if trailing_numbers(line.rstrip(b" \r\n")) == dimension:
        return False
    try:
        sample[:-3].decode()
    except UnicodeDecodeError as error:
        return error.reason != "unexpected end of data"
    return CONTROL.search(sample) is not None


def is_number(text: bytes) -> bool:
    """Whether a field reads as a decimal number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def shown(word: bytes) -> str:
    """A word for a message."""
    return word.decode(errors="replace")[:60]


def guarded(path: str, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, with errors of reading as DataError."""
    with readable(path):
        yield from rows


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turns what a damaged or truncated file raises into a DataError."""
    try:
        yield
    except EOFError:
        raise DataError("truncated: the gzip data ends too early", where=path, fix="download it again") from None
    except (OSError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", where=path, fix="check the disk, or download it again") from None
