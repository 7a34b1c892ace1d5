"""Frames from files of numbers: NumPy's .npy and .npz, and Kaldi archives (`archives.py`). Never by pickle.

A reference is a path, with what is needed to find the array in it: `a.npy`, `a.npz#key` (the key may be left out where
there is one array), `a.ark:offset`, `a.scp#utterance`. An array of one axis is one frame; sizes are checked before
anything is allocated.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from seqloom.data.archives import read_archive, script_entry
from seqloom.data.places import find
from seqloom.errors import DataError, counted
from seqloom.types import Floats, Record

MAXIMUM_NUMBERS = 2**28  # of one array: one GiB as float32
NUMBERS = "fiu"  # kinds of NumPy types that are real numbers

_ARCHIVE = re.compile(r"(?P<path>.+):(?P<offset>\d{1,18})")
_KEYED = re.compile(r"(?P<path>.+\.(?:npz|scp))#(?P<key>.*)", re.IGNORECASE)


def read_frames(record: Record, *, stay_inside: bool) -> Floats:
    """The frames [S F] float32 that a record's source names, S ≥ 1.

    Raises DataError at the record's file:line: a missing, damaged, foreign or too large file, a missing key, an array
    of another number of axes or without numbers, and numbers that are not finite.
    """
    name = record.text("source").strip()

    def found(part: str) -> Path:
        return find(part, record, stay_inside=stay_inside, what="array")

    return checked_frames(_read(name, found, record.where), name, record.where)


def _read(name: str, found: Callable[[str], Path], where: str) -> Any:
    keyed, archived = _KEYED.fullmatch(name), _ARCHIVE.fullmatch(name)
    if keyed and keyed["path"].lower().endswith(".scp"):
        entry = script_entry(found(keyed["path"]), keyed["key"], where)
        inner = _ARCHIVE.fullmatch(entry)
        beside = (Path(keyed["path"]).parent / (inner["path"] if inner else entry)).as_posix()
        return read_archive(found(beside), int(inner["offset"]) if inner else 0, MAXIMUM_NUMBERS, where)
    if keyed:
        return _read_packed(found(keyed["path"]), keyed["key"], where)
    if archived:
        return read_archive(found(archived["path"]), int(archived["offset"]), MAXIMUM_NUMBERS, where)
    suffix = Path(name).suffix.lower()
    if suffix == ".npz":
        return _read_packed(found(name), None, where)
    if suffix == ".npy" or not suffix:
        return _read_plain(found(name), where)
    raise DataError(f"{name} is no file of numbers", where=where,
                    fix="give FILE.npy, FILE.npz#key, FILE.ark:offset or FILE.scp#utterance")


def checked_frames(array: Any, name: str, where: str) -> Floats:
    """An array of numbers as frames [S F] float32. Raises DataError."""
    if array.dtype.kind not in NUMBERS:
        raise DataError(f"{name} holds {array.dtype}, expected numbers", where=where, fix="save it as float32")
    if array.ndim not in (1, 2) or not array.size:
        raise DataError(f"{name} has shape {list(array.shape)}, expected [frames, dimensions] or one frame "
                        f"[dimensions]", where=where, fix="save one input's frames, and at least one")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
        frames: Floats = np.array(array.reshape(-1, array.shape[-1]), np.float32)
    bad = ~np.isfinite(frames)
    if bad.any():
        row, column = (int(axis[0]) for axis in np.nonzero(bad))
        raise DataError(f"{name} has {counted(int(bad.sum()), 'number')} not finite, the first is "
                        f"{array.reshape(frames.shape)[row, column]} in frame {row}, dimension {column}", where=where,
                        fix="repair the file, or leave the line out")
    return frames


def _check_size(shape: tuple[int, ...], name: str, where: str) -> None:
    if prod(shape) > MAXIMUM_NUMBERS:
        raise DataError(f"{name} has shape {list(shape)}, more than {MAXIMUM_NUMBERS:,} numbers", where=where,
                        fix="cut it into several inputs")


def _read_plain(path: Path, where: str) -> Any:
    """A .npy file, mapped into memory."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, OverflowError) as error:
        raise DataError(f"{path} cannot be read as .npy: {_line(error)}", where=where,
                        fix="write it with numpy.save, without Python objects") from None
    _check_size(array.shape, str(path), where)
    return array


def _read_packed(path: Path, key: str | None, where: str) -> Any:
    """One array of a .npz file; without a key the only one."""
    try:
        packed = _packed(path, path.stat().st_mtime_ns)
        names = [name.removesuffix(".npy") for name in packed.namelist()] if key is None else []
        if len(names) == 1:
            key = names[0]
        member = f"{key}.npy"
        if key is None or member not in packed.NameToInfo:
            names = [name.removesuffix(".npy") for name in packed.namelist()]
            listing = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
            found = f"{path} has no array {key!r}" if key is not None else \
                f"{path} has {len(names):,} arrays, and none is named"
            raise DataError(found, where=where, fix=f"write {path.name}#KEY; the keys are: {listing}")
        info = packed.getinfo(member)
        with packed.open(info) as file:
            return _read_member(file, info.file_size, f"{path}#{key}", where)
    except DataError:
        raise
    except Exception as error:  # a damaged archive may fail in zipfile, in a decompressor, or in NumPy's header
        raise DataError(f"{path} cannot be read as .npz: {_line(error)}", where=where,
                        fix="write it with numpy.savez, without Python objects") from None


@lru_cache(maxsize=4)
def _packed(path: Path, modified: int) -> zipfile.ZipFile:
    """An archive, kept open: its directory has a line for every input, and is read once."""
    return zipfile.ZipFile(path)


def _read_member(file: Any, size: int, name: str, where: str) -> Any:
    """An array in the .npy format from a stream of `size` bytes."""
    shape, dtype, fortran = _header(file)
    _check_size(shape, name, where)
    expected = prod(shape) * dtype.itemsize
    if dtype.hasobject or size - file.tell() != expected:
        reason = "Python objects" if dtype.hasobject else f"{size - file.tell():,} bytes, expected {expected:,}"
        raise DataError(f"{name} holds {reason}", where=where, fix="write it again, as numbers")
    values = np.frombuffer(file.read(expected), dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format is for arrays with named fields")
    shape, fortran, dtype = readers[version](file)
    return shape, dtype, fortran


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
