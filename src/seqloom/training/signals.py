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
    """Context in which SIGINT and SIGTERM set `received`; a second one raises Interrupted where it comes.

    With `at_once` the first one does. Does nothing outside the main thread, where Python hands out no signals.
    """

    def __init__(self, folder: Path, *, at_once: bool = False) -> None:
        self.folder, self.at_once = folder, at_once
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
        before, self.received = self.received, number
        if self.at_once:
            raise self._error("stopped by", "training has not begun, so nothing is kept", "")
        if before:
            raise self._error("stopped at once by a second", f"{self.folder} is as it was saved last", self._command())

    def interruption(self) -> Interrupted:
        """What to raise once everything is saved."""
        return self._error("stopped by", f"everything up to the last update is saved in {self.folder}", self._command())

    def _command(self) -> str:
        return f"go on with: seqloom train --resume --out {shlex.quote(str(self.folder))}"

    def _error(self, how: str, result: str, fix: str) -> Interrupted:
        error = Interrupted(f"{how} {signal.Signals(self.received).name}: {result}", fix=fix)
        error.exit_code = 128 + self.received
        return error
