"""Tokenised examples on disk: flat arrays, written once and mapped into memory for reading. No pickle.

A folder holds `store.json` and, for field number n of a side, `source.n.values` (all rows, one example after the
other) and `source.n.ends` (int64, where each example ends). Memory stays constant while writing; reading costs what the
operating system keeps of the mapped files. Keeps no tokens and no text, and knows nothing of batches.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from seqloom.data.batching import OWN_LENGTH
from seqloom.errors import DataError, TrainingError
from seqloom.types import Ints, Item, Padded

FORMAT, VERSION = "seqloom examples", 1
HEADER = "store.json"
HEADER_LIMIT = 2**20  # bytes; a real one has a few hundred
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in ("uint8", "int32", "int64", "float32")}
ENDS = np.dtype("<i8")
MAXIMUM_AXES, MAXIMUM_ROW = 4, 2**31  # axes behind the first, and numbers in one row
BUFFER = 2**18  # bytes held back for each file while writing
# Pages that were read count as this process's memory, up to sixteen around each example, until they are let go: after
# so many examples. The operating system keeps what it has room for.
LET_GO = 2048


@dataclass(slots=True)
class _Field:
    """One named array of one side: its kind, and (while writing) its open files."""

    side: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    rows: int = 0
    files: list[IO[bytes]] = field(default_factory=list)


class ExampleWriter:
    """Writes a store, example by example; `finish` gives it for reading. Closes its files when used with `with`."""

    def __init__(self, folder: Path) -> None:
        """Start a store in a folder, which is made when it is missing. Raises TrainingError when that fails."""
        self._folder = folder
        self._fields: list[_Field] | None = None
        self._count = 0
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / HEADER).unlink(missing_ok=True)  # a store that was broken off must not look finished

    def __enter__(self) -> ExampleWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for one in self._fields or []:
            for file in one.files:
                with suppress(OSError):  # a full disk has been reported, or another error is on its way
                    file.close()

    def add(self, source: Item | None, target: Item) -> None:
        """Append an example. Its fields must be like those of the first example; tokens are not kept.

        Raises:
            DataError: a field appears, is missing, or differs in type or in its shape behind the first axis.
            TrainingError: the disk is full, or the folder cannot be written.
        """
        sides: dict[str, Mapping[str, NDArray[Any]]] = {"target": target.fields}
        if source is not None:
            sides["source"] = source.fields
        arrays = [(side, name, array) for side in sorted(sides) for name, array in sorted(sides[side].items())]
        given = [(side, name, _name(array.dtype), array.shape[1:]) for side, name, array in arrays]
        if self._fields is None:
            self._fields = self._open([_Field(*one) for one in given])
        if given != [(one.side, one.name, one.dtype, one.shape) for one in self._fields]:
            found = [_Field(*one) for one in given]
            raise DataError(f"example {self._count + 1} has {_listing(found)}; the first one had "
                            f"{_listing(self._fields)}", fix="every example must have the same fields")
        with _writing(self._folder):
            for one, (_, _, array) in zip(self._fields, arrays, strict=True):
                one.rows += len(array)
                one.files[0].write(np.ascontiguousarray(array, DTYPES[one.dtype]).tobytes())
                one.files[1].write(one.rows.to_bytes(ENDS.itemsize, "little"))
        self._count += 1

    def finish(self) -> ExampleStore:
        """Write what is held back and the header, and open the store for reading."""
        fields = self._fields or []
        header = {"format": FORMAT, "version": VERSION, "count": self._count,
                  "fields": [{"side": one.side, "name": one.name, "dtype": one.dtype, "shape": list(one.shape),
                              "rows": one.rows} for one in fields]}
        with _writing(self._folder):
            for one in fields:
                for file in one.files:
                    file.close()
            (self._folder / HEADER).write_text(json.dumps(header), encoding="utf-8")
        return ExampleStore(self._folder)

    def _open(self, fields: list[_Field]) -> list[_Field]:
        for one in fields:
            if one.dtype not in DTYPES:
                raise DataError(f"field '{one.name}' has type {one.dtype}, expected one of {', '.join(DTYPES)}",
                                fix="convert it")
        with _writing(self._folder):
            for number, one in enumerate(fields):
                one.files = [path.open("wb", BUFFER) for path in _paths(self._folder, one.side, number)]
        return fields


class ExampleStore:
    """The examples of a folder, mapped into memory: `len`, `lengths()`, `get(i)`, `padded(indices)`."""

    def __init__(self, folder: Path) -> None:
        """Open a finished store. Raises DataError when it is missing, unfinished, damaged or cut off."""
        self._folder = folder
        header = _read_header(folder)
        self._count: int = header["count"]
        self._values: dict[str, dict[str, NDArray[Any]]] = {}
        self._ends: dict[str, dict[str, NDArray[np.int64]]] = {}
        self._mapped: list[mmap.mmap] = []
        self._read = 0  # examples since pages were let go
        for number, entry in enumerate(header["fields"]):
            values, ends = _paths(folder, entry["side"], number)
            rows = self._map(values, (entry["rows"], *entry["shape"]), DTYPES[entry["dtype"]])
            marks = self._map(ends, (self._count,), ENDS)
            if self._count and (marks[-1] != entry["rows"] or marks[0] < 0 or np.any(np.diff(marks) < 0)):
                raise _damaged(ends, "its positions are out of order")
            self._values.setdefault(entry["side"], {})[entry["name"]] = rows
            self._ends.setdefault(entry["side"], {})[entry["name"]] = marks
        self.let_go()

    def _map(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Map a file read-only, once its size is what the header says."""
        expected = prod(shape) * dtype.itemsize
        try:
            size = path.stat().st_size
            if size != expected:
                raise _damaged(path, f"{size:,} bytes, expected {expected:,}")
            if not expected:
                return np.zeros(shape, dtype)  # nothing can be mapped of an empty file
            with path.open("rb") as file:
                self._mapped.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise _damaged(path, error.strerror or str(error)) from error
        return np.frombuffer(self._mapped[-1], dtype).reshape(shape)

    def __len__(self) -> int:
        return self._count

    def lengths(self) -> Ints:
        """[N 2] int32: lengths of `main` of source and target; source 0 where examples have none."""
        result = np.zeros((self._count, 2), np.int32)
        for column, side in enumerate(("source", "target")):
            if side in self._ends:
                result[:, column] = np.diff(self._ends[side]["main"], prepend=0)
        self.let_go()
        return result

    def get(self, index: int) -> tuple[Item | None, Item]:
        """Example `index` (from 0) as (source, target); the arrays are read-only views. Raises IndexError."""
        if not 0 <= index < self._count:
            raise IndexError(f"example {index} of {self._count}")
        return (self._item("source", index) if "source" in self._values else None), self._item("target", index)

    def padded(self, indices: Ints) -> tuple[Padded | None, Padded]:
        """These examples [B] as `batching.pad` puts them together, (source, target); without a step for each example.

        Raises IndexError for numbers that are none of an example, ValueError without any.
        """
        if not len(indices):
            raise ValueError("a batch needs at least one example")
        if indices.min() < 0 or indices.max() >= self._count:
            raise IndexError(f"examples {indices.min()} to {indices.max()} of {self._count}")
        self._read += len(indices)
        if self._read >= LET_GO:
            self.let_go()
        return (self._padded("source", indices) if "source" in self._values else None), self._padded("target", indices)

    def _padded(self, side: str, indices: Ints) -> Padded:
        gathered = {name: _gather(values, self._ends[side][name], indices)
                    for name, values in self._values[side].items()}
        fields, lengths = {}, gathered["main"][1]
        for name, (rows, own) in gathered.items():
            fields[name] = rows
            if name != "main" and (name in OWN_LENGTH or not np.array_equal(own, lengths)):
                fields[f"{name}_lengths"] = own
        return Padded(fields, lengths)

    def let_go(self) -> None:
        """Let go the pages that were read."""
        self._read = 0
        for mapped in self._mapped if hasattr(mmap, "MADV_DONTNEED") else ():
            mapped.madvise(mmap.MADV_DONTNEED)

    def _item(self, side: str, index: int) -> Item:
        fields = {}
        for name, values in self._values[side].items():
            ends = self._ends[side][name]
            fields[name] = values[int(ends[index - 1]) if index else 0:int(ends[index])]
        return Item(fields)


def _paths(folder: Path, side: str, number: int) -> tuple[Path, Path]:
    """Files of a field. Named by number: a field's own name comes from outside and might be no file name."""
    return folder / f"{side}.{number}.values", folder / f"{side}.{number}.ends"


@cache
def _name(dtype: np.dtype[Any]) -> str:
    """NumPy puts it together anew every time, which takes longer than writing an example."""
    return dtype.name


def _listing(fields: list[_Field]) -> str:
    return ", ".join(f"{one.side}.{one.name} {one.dtype}{list(one.shape)}" for one in fields)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(f"the tokenised examples cannot be written: {error.strerror or error}", where=str(folder),
                            fix="free disk space there, or choose another folder (TMPDIR)") from error


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"the store of examples is damaged: {reason}", where=str(path),
                     fix="delete its folder; it is made again from the data")


def _gather(values: NDArray[Any], ends: NDArray[np.int64], indices: Ints) -> tuple[NDArray[Any], Ints]:
    """Rows of these examples, zeros behind their end [B longest …], and their lengths [B]."""
    begins = np.where(indices > 0, ends[indices - 1], 0)
    lengths: Ints = (ends[indices] - begins).astype(np.int64)
    offsets = np.arange(lengths.max())
    real = offsets < lengths[:, None]
    padded = np.zeros((*real.shape, *values.shape[1:]), np.int64 if values.dtype.kind == "i" else values.dtype)
    padded[real] = values[(begins[:, None] + offsets)[real]]
    return padded, lengths


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    try:
        with path.open("rb") as file:
            text = file.read(HEADER_LIMIT)
        header = json.loads(text)
    except FileNotFoundError as error:
        raise _damaged(path, "it was never finished, or the header is missing") from error
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"the header is not JSON ({error})") from error
    if not _is_header(header):
        raise _damaged(path, f"the header is not that of format version {VERSION}")
    return dict(header)


def _is_header(header: object) -> bool:
    """Whether every value has its type and range, before any of them is used as a size."""
    if not isinstance(header, dict) or (header.get("format"), header.get("version")) != (FORMAT, VERSION):
        return False
    fields, count = header.get("fields"), header.get("count")
    if not isinstance(fields, list) or not _is_size(count) or (count and not fields):
        return False
    return all(isinstance(entry, dict) and entry.get("side") in ("source", "target")
               and isinstance(entry.get("name"), str) and entry.get("dtype") in tuple(DTYPES)
               and _is_size(entry.get("rows")) and _is_shape(entry.get("shape"))
               for entry in fields) and _has_mains(fields)


def _has_mains(fields: list[dict[str, Any]]) -> bool:
    """Every side has `main`, and the target side is there unless the store is empty."""
    sides = {entry["side"] for entry in fields}
    mains = {entry["side"] for entry in fields if entry["name"] == "main"}
    return sides == mains and (not fields or "target" in sides)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_shape(value: object) -> bool:
    return (isinstance(value, list) and len(value) <= MAXIMUM_AXES and all(_is_size(size) and size for size in value)
            and prod(value) <= MAXIMUM_ROW)
