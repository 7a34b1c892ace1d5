"""Input that comes while it is read: a pipe, a socket, a terminal, which can be asked whether a line is there already.

Not for regular files, which are always there, nor for systems without `select` on pipes (Windows): `open_live` gives
None for these.
"""

from __future__ import annotations

import io
import os
import select
import stat
from collections.abc import Callable
from typing import Any

BUFFER = 1 << 16  # bytes; what a pipe of Linux holds
# Seconds that a group of lines waits for more: a small one gains nothing from waiting, and its sender may be waiting
# for the answer; a sender of many lines needs a moment to fill the pipe again.
FEW_LINES, PATIENCE = 64, 0.02


class LiveReader(io.BufferedReader):
    """A buffered reader that knows whether reading on would wait; `before_waiting` is called when it does."""

    def __init__(self, descriptor: int) -> None:
        self._stream = _LiveStream(descriptor)
        super().__init__(self._stream, BUFFER)

    def ready(self, held: int) -> bool:
        """Whether more can be read at once (the input's end too), for one who holds `held` lines not yet answered."""
        self._stream.asking = True
        try:
            found = b"\n" in self.peek()
        finally:
            self._stream.asking = False
        return found or self._stream.readable_within(PATIENCE if held >= FEW_LINES else 0.0)

    def call_before_waiting(self, call: Callable[[], None]) -> None:
        """From now on `call` is called whenever reading has to wait for input."""
        self._stream.before_waiting = call


class _LiveStream(io.RawIOBase):
    """Bytes of a descriptor, which stays open. While `asking`, reading gives nothing instead of waiting."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.asking = False
        self.ended = False  # a terminal says so once, and would wait for more afterwards
        self.before_waiting: Callable[[], None] = lambda: None

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def readable_within(self, seconds: float) -> bool:
        return self.ended or bool(select.select([self.descriptor], [], [], seconds)[0])

    def readinto(self, buffer: Any) -> int | None:
        if not self.readable_within(0.0):
            if self.asking:
                return None
            self.before_waiting()
        count = 0 if self.ended else os.readv(self.descriptor, [buffer])
        self.ended = not count
        return count


def open_live(stream: Any) -> LiveReader | None:
    """A live reader of an open stream's descriptor; None where it is a regular file, has none, or cannot be asked."""
    try:
        descriptor = stream.fileno()
        if os.name != "posix" or stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        select.select([descriptor], [], [], 0.0)
    except (AttributeError, OSError, ValueError):  # ValueError: a closed stream, or a number beyond what select takes
        return None
    return LiveReader(descriptor)
