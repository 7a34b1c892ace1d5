"""Ctrl-C and SIGTERM during training: the update in progress ends, everything is saved, and the message says how to go
on. A second Ctrl-C stops at once."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from seqloom.errors import Interrupted


class StopSignals:
    """Context in which SIGINT and SIGTERM set `received`. Does nothing outside the main thread."""

    def __init__(self) -> None:
        self.received = 0
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = number

    def interruption(self, folder: Path) -> Interrupted:
        """What to raise once everything is saved."""
        name = signal.Signals(self.received).name
        error = Interrupted(f"stopped by {name}; everything up to the last update is saved in {folder}",
                            fix=f"go on with: seqloom train --resume --out {folder}")
        error.exit_code = 128 + self.received
        return error
