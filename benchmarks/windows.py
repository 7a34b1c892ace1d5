"""The measured process's side of a contest: it works in windows, when it is told to, and says how long each took.

Everything is counted and timed here, in the process that works. Standard library only, and any Python from 3.9 on:
rivals' environments import this too.

The talk is lines of JSON. The process writes {"ready": true, …facts}; for every line it then reads it does a window
of work and writes {"amount": …, "seconds": …, "memory": …}. A closed input ends it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO


class Windows:
    """Windows of at least `seconds`, after a warm-up of at least `warm_up` seconds and `least` units of work."""

    def __init__(self, seconds: float, *, warm_up: float | None = None, least: int = 3) -> None:
        self.seconds = seconds
        self.warm_up = seconds if warm_up is None else warm_up
        self.least = least
        self.facts: dict[str, Any] = {}
        self.answers = _take_standard_output()
        self._ready = False
        self._begin(0.0)

    def done(self, amount: float) -> None:
        """One more unit of work is done; `amount`: tokens, sentences, … since the beginning of the process.

        Returns when work is to go on: at the end of a window it waits.
        """
        self._units += 1
        seconds = time.perf_counter() - self._started
        if self._units < self.least or seconds < (self.seconds if self._ready else self.warm_up):
            return
        if self._ready:
            self._say({"amount": amount - self._amount, "seconds": seconds, "units": self._units,
                       "memory": peak_memory()})
        else:
            self._ready = True
            self._say({"ready": True, **self.facts})
        self._wait()
        self._begin(amount)

    def serve(self, work: Callable[[], float], *, least: float = 0.0) -> None:
        """Do `work`, which says its amount, once to warm up and then for each window; never returns.

        least: seconds of a window: what takes a few hundredths of a second is done several times in it.
        """
        work()
        self._say({"ready": True, **self.facts})
        while True:
            self._wait()
            started, amount, units, seconds = time.perf_counter(), 0.0, 0, 0.0
            while not units or seconds < least:
                amount, units = amount + work(), units + 1
                seconds = time.perf_counter() - started
            self._say({"amount": amount, "seconds": seconds, "units": units, "memory": peak_memory()})

    def _begin(self, amount: float) -> None:
        self._amount, self._units, self._started = amount, 0, time.perf_counter()

    def _say(self, answer: dict[str, Any]) -> None:
        self.answers.write(json.dumps(answer) + "\n")
        self.answers.flush()

    def _wait(self) -> None:
        if not sys.stdin.readline():
            # Not an exception: trainers catch those, save checkpoints, or validate first.
            os._exit(0)


def _take_standard_output() -> TextIO:
    """The standard output for answers alone; what else is printed goes to standard error."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def peak_memory() -> float:
    """Highest resident memory of this process in MiB.

    Not getrusage's: on Linux that starts with what the process that started this one had (a fork shares its pages
    until exec).
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def task_of(arguments: list[str]) -> dict[str, Any]:
    """The task that the contest gave to this process: the JSON file named on its command line."""
    task: dict[str, Any] = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
    return task


def windows_of(task: dict[str, Any]) -> Windows:
    """The windows that a task asks for."""
    return Windows(task["seconds"], warm_up=task["warm_up"], least=task["least"])
