"""Ctrl-C and SIGTERM: while data is prepared they end it at once; during training the update in progress ends,
everything is saved, and the message says how to go on. A second signal stops at once."""

from __future__ import annotations

import shlex
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from seqloom.errors import Interrupted


class StopSignals:
    """Context that decides what SIGINT and SIGTERM do: `stop` raises Interrupted where they come, `wait` only notes
    the first one in `received`.

    Does nothing outside the main thread, where Python hands out no signals.
    """

    def __init__(self, result: str) -> None:
        """result: what is left when a signal comes, for the message."""
        self.received = 0
        self.waiting = False
        self.result, self.command = result, ""
        self.previous: dict[int, Any] = {}

    def stop(self, result: str, folder: Path) -> None:
        """From now on a signal stops at once."""
        self.waiting, self.result, self.command = False, result, resume_command(folder)

    def wait(self, folder: Path) -> None:
        """From now on the first signal is noted, for `interruption` to be raised when all is saved."""
        self.waiting, self.command = True, resume_command(folder)
        self.result = f"everything up to the last update is saved in {folder}"

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        second, self.received = bool(self.received), number
        if second:
            self.result = "what was saved last is whole"
        if second or not self.waiting:
            raise self.interruption("a second " if second else "")

    def interruption(self, which: str = "") -> Interrupted:
        """What to raise."""
        error = Interrupted(f"stopped by {which}{signal.Signals(self.received).name}: {self.result}", fix=self.command)
        error.exit_code = 128 + self.received
        return error


def resume_command(folder: Path) -> str:
    """How to go on with a run, for people."""
    return f"go on with: seqloom train --resume --out {shlex.quote(str(folder))}"
