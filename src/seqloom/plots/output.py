"""Writing a picture in one piece: a temporary file beside the goal, then a rename."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from seqloom.errors import UsageError


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`, or leave what was there before; never half a file.

    Raises UsageError when the path is a folder or lies in a missing one, or the system refuses (rights, full disk).
    """
    try:
        goal = path.resolve()  # a link keeps pointing at the new file
        if goal.is_dir():
            raise UsageError(f"cannot write {path}: it is a folder", fix="name a file in it")
        if not goal.parent.is_dir():
            raise UsageError(f"cannot write {path}: there is no folder {goal.parent}", fix=f"mkdir -p {goal.parent}")
        replace_whole(goal, content)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"cannot write {str(path)!r}: {reason}",
                         fix="choose a place with room that you may write to") from error


def replace_whole(goal: Path, content: bytes) -> None:
    """The rename itself; the temporary file never stays behind. Raises OSError."""
    part = goal.parent / f".seqloom-{secrets.token_hex(8)}.part"
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(goal)
    finally:
        part.unlink(missing_ok=True)
