"""Files that are whole or not there: atomic writing, and JSON read with errors a user can act on."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from seqloom.errors import RunFolderError, UsageError

JSON_LIMIT = 512 * 2**20  # bytes; a tokenizer of a million symbols is far below this


@contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write beside `path` and rename: a reader sees the old file or the new one, never a half.

    Raises UsageError when the folder cannot be written or the disk is full.
    """
    binary = "b" in mode
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        # What open() would have given: mkstemp is for the owner only.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        text = {"encoding": None, "newline": None} if binary else {"encoding": "utf-8", "newline": "\n"}
        with os.fdopen(handle, mode, encoding=text["encoding"], newline=text["newline"]) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}",
                         fix="choose a folder you may write to, on a disk with free space") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()


def write_json(path: Path, value: Any) -> None:
    """Atomic, UTF-8, readable by people."""
    with atomic_file(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=1, sort_keys=False)
        file.write("\n")


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON object that has at least `keys`. Raises RunFolderError with the file and what is wrong."""
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise RunFolderError(f"larger than {JSON_LIMIT} bytes", where=str(path), fix="this is not a seqloom file")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError("the file is missing", where=str(path),
                             fix="copy the whole run folder, or train again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"not readable as JSON: {error}", where=str(path),
                             fix="the file is truncated or damaged: copy the run folder again") from None
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing or not isinstance(value, dict):
        raise RunFolderError(f"lacks {', '.join(missing) or 'a JSON object'}", where=str(path),
                             fix="the file was not written by this version of seqloom, or it is damaged")
    return value
