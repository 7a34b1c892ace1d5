"""Kaldi archives: one matrix at an offset of a binary archive, and the script files (.scp) that list offsets.

The formats: a matrix begins with "\\0B", a token (FM and DM: float and double matrices; FV, DV: vectors; CM, CM2, CM3:
compressed), the sizes as 4-byte integers behind a byte that says so, and the numbers, little-endian
(https://kaldi-asr.org/doc/io.html; matrix/compressed-matrix.h for the compression). Text archives and commands
("… |") are not read.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from seqloom.errors import DataError

PLAIN = {b"FM": ("<f4", 2), b"DM": ("<f8", 2), b"FV": ("<f4", 1), b"DV": ("<f8", 1)}
COMPRESSED = {b"CM": 1, b"CM2": 2, b"CM3": 1}  # bytes of a number
SCRIPT_LIMIT = 2**28  # bytes of a script file


def read_archive(path: Path, offset: int, most: int, where: str) -> Any:
    """The matrix or vector at an offset, in float32 or float64. `most`: numbers that are allowed.

    Raises DataError for anything else at that place, and for a file that ends too soon.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(offset)
            return _Matrix(file, f"{path}:{offset}", where, size, most).read()
    except (OSError, OverflowError) as error:
        raise DataError(f"{path}:{offset} cannot be read: {error}", where=where, fix="correct the offset") from None


class _Matrix:
    """One matrix while it is read; `size` of the whole file bounds what its header may claim."""

    def __init__(self, file: BinaryIO, name: str, where: str, size: int, most: int) -> None:
        self.file, self.name, self.where, self.size, self.most = file, name, where, size, most

    def read(self) -> Any:
        begin = self.file.read(2)
        if begin != b"\0B":
            raise self._wrong("a binary matrix does not begin there", "the offset is the one that Kaldi wrote into the "
                              ".scp file, behind the colon; text archives are not read")
        token = self.file.read(5).partition(b" ")[0]
        self.file.seek(-5 + len(token) + 1, 1)
        if token in PLAIN:
            dtype, axes = PLAIN[token]
            shape = tuple(self._integer() for _ in range(axes))
            return self._numbers(dtype, shape)
        if token in COMPRESSED:
            return self._compressed(token)
        raise self._wrong(f"what begins there is of type {token[:5]!r}", "matrices and vectors of numbers are read")

    def _compressed(self, token: bytes) -> Any:
        low, span, rows, columns = struct.unpack("<ffii", self._bytes(16))
        self._check(rows, columns)
        unit = span / (65535 if token != b"CM3" else 255)
        if token != b"CM":
            return (low + unit * self._numbers("<u2" if token == b"CM2" else "u1", (rows, columns))).astype(np.float32)
        # Four points of each column's distribution, then one byte a number, column after column.
        points = low + unit * self._numbers("<u2", (columns, 4)).astype(np.float64)
        codes = self._numbers("u1", (columns, rows))
        marks = np.array([0.0, 64.0, 192.0, 255.0])
        values = np.stack([np.interp(column, marks, point) for column, point in zip(codes, points, strict=True)], 1)
        return values.astype(np.float32)

    def _integer(self) -> int:
        width, value = struct.unpack("<bi", self._bytes(5))
        if width != 4:
            raise self._wrong(f"a size is {width} bytes wide, expected 4", "the file is damaged, or the offset wrong")
        return int(value)

    def _numbers(self, dtype: str, shape: tuple[int, ...]) -> Any:
        self._check(*shape)
        kind = np.dtype(dtype)
        return np.frombuffer(self._bytes(int(np.prod(shape)) * kind.itemsize), kind).reshape(shape)

    def _check(self, *shape: int) -> None:
        if min(shape) < 0 or int(np.prod([int(size) for size in shape], dtype=object)) > self.most:
            raise self._wrong(f"a matrix of shape {list(shape)} is not possible, or larger than {self.most:,} numbers",
                              "the file is damaged, or the offset wrong")

    def _bytes(self, count: int) -> bytes:
        left = self.size - self.file.tell()
        if count > left:
            raise self._wrong(f"the file ends too soon: {left:,} bytes left, {count:,} needed",
                              "the archive is truncated, or the offset wrong")
        return self.file.read(count)

    def _wrong(self, reason: str, fix: str) -> DataError:
        return DataError(f"{self.name}: {reason}", where=self.where, fix=fix)


def script_entry(path: Path, key: str, where: str) -> str:
    """What a script file (lines "utterance path:offset") says of an utterance. Raises DataError."""
    try:
        status = path.stat()
        if status.st_size > SCRIPT_LIMIT:
            raise DataError(f"{path} is larger than {SCRIPT_LIMIT:,} bytes", where=where, fix="this is no script file")
        entries = _entries(path, status.st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", where=where, fix="give a text file, UTF-8") from None
    if key not in entries:
        raise DataError(f"{path} has no utterance {key!r}, only {len(entries):,} others", where=where,
                        fix="write FILE.scp#UTTERANCE with a name that stands in its first column")
    entry = entries[key]
    if entry.endswith("|"):
        raise DataError(f"{path}: {key} is a command, which is not run", where=where,
                        fix="write its output into an archive first (copy-feats)")
    return entry


@lru_cache(maxsize=16)
def _entries(path: Path, modified: int) -> dict[str, str]:
    lines = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())
    return {parts[0]: parts[1].strip() for parts in lines if len(parts) == 2}
