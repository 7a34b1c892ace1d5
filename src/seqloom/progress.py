"""What long work tells a person: a moving line at a terminal, plain lines elsewhere. Writes to stderr only.

A line that begins with WARNING tells of something that was lost or went wrong: `--quiet` does not silence it.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Literal, TextIO

WARNING = "warning: "
Quiet = bool | Literal["warnings"]  # True: nothing at all; warnings: nothing but these


class Reporter:
    """Says lines and shows progress. The base class says nothing: a library call is silent."""

    def say(self, line: str) -> None:
        """A line that stays."""

    def progress(self, what: str, done: float, total: float | None, note: str = "") -> None:
        """How far something is; called often, shown now and then."""

    def finish(self) -> None:
        """The moving line goes away."""


class PlainReporter(Reporter):
    """One line for each thing said; no moving parts. For logs and pipes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr

    def say(self, line: str) -> None:
        """A line, at once."""
        self.write(line + "\n")

    def write(self, text: str) -> None:
        """Hand it out; that nobody reads it (| head) is no reason to end an hour's training."""
        with suppress(OSError, ValueError):
            self.stream.write(text)
            self.stream.flush()


class WarningReporter(PlainReporter):
    """Warnings and nothing else."""

    def say(self, line: str) -> None:
        """A line, if it is a warning."""
        if line.startswith(WARNING):
            super().say(line)


class TerminalReporter(PlainReporter):
    """A line at the bottom that is rewritten four times a second: share, rate, time left."""

    REDRAW_SECONDS = 0.25

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.width = 0
        self.drawn = 0.0
        self.started: dict[str, tuple[float, float]] = {}

    def say(self, line: str) -> None:
        """A line above the moving one."""
        self.finish()
        super().say(line)

    def progress(self, what: str, done: float, total: float | None, note: str = "") -> None:
        """Redraw when it is time."""
        now = time.monotonic()
        start, first = self.started.setdefault(what, (now, done))
        if now - self.drawn < self.REDRAW_SECONDS or now - start < 2 * self.REDRAW_SECONDS:
            return
        self.drawn = now
        line = f"{what} {done:,.0f}"
        if total:
            pace = (done - first) / (now - start)
            left = f", {duration((total - done) / pace)} left" if pace > 0 else ""
            line = f"{what} {100 * done / total:.0f} % ({done:,.0f} of {total:,.0f}{left})"
        self._draw(f"{line} {note}".rstrip())

    def finish(self) -> None:
        """Wipe the moving line."""
        if self.width:
            self.write("\r" + " " * self.width + "\r")
            self.width = 0

    def _draw(self, line: str) -> None:
        self.write("\r" + line.ljust(self.width))
        self.width = len(line)


def reporter_for(stream: TextIO | None = None, *, quiet: Quiet = False) -> Reporter:
    """The right reporter for a stream."""
    stream = stream or sys.stderr
    if quiet:
        return WarningReporter(stream) if quiet == "warnings" else Reporter()
    return TerminalReporter(stream) if stream.isatty() else PlainReporter(stream)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
