"""Where a record's file is: paths relative to the file that names them, kept inside its folder where that is asked."""

from __future__ import annotations

import os
from pathlib import Path

from seqloom.errors import DataError
from seqloom.types import Record


def folder_of(record: Record) -> Path:
    """The folder of the file that the record came from; the working directory for standard input and Python code."""
    return Path(record.path).parent


def find(name: str, record: Record, *, stay_inside: bool, what: str, folder: bool = False) -> Path:
    """The path of a file that a record names.

    Args:
        name: a path, relative to the folder of the record's file, or absolute.
        stay_inside: refuse paths that leave that folder, through `..`, links, or because they are absolute.
        what: for messages: "image", "sound".
        folder: a folder will do too.

    Raises:
        DataError: at the record's file:line; there is no such file, it is not readable, or it lies outside.
    """
    where = record.where
    if not name.strip():
        raise DataError(f"no {what} is named", where=where, fix=f"give the path of a file, relative to {where}")
    if "\0" in name:
        raise DataError(f"{name!r} is no path", where=where, fix="correct the line")
    base = folder_of(record)
    path = base / name
    try:
        if stay_inside and not path.resolve().is_relative_to(base.resolve()):
            raise DataError(f"{name} leads out of the folder of {record.path}", where=where,
                            fix="move the file into that folder, or set source.stay_inside to false")
        if path.is_dir() and not folder:
            raise DataError(f"{path} is a folder, expected a file", where=where, fix="name the file")
        if not path.exists():
            raise DataError(f"there is no {what} {path}", where=where,
                            fix="correct the path: it is relative to the folder of the file that names it")
        if not os.access(path, os.R_OK):
            raise DataError(f"{path} is not readable", where=where, fix="change its permissions")
    except (OSError, RuntimeError) as error:  # a name that is too long, a loop of links
        raise DataError(f"{name[:200]} is no usable path: {error}", where=where, fix="correct the line") from None
    return path
