"""Processes that take turns: each works one window, then the next one does, for several rounds.

What drifts (clocks, neighbours, temperature) then drifts for all. Every entrant is a fresh process that stays alive
and idle between its windows, so start-up is in no window, and its peak memory is that of this work alone.
"""

from __future__ import annotations

import json
import os
import selectors
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.rows import ROOT, cores

START_SECONDS = 1200.0  # a rival may build vocabularies and compile before it is ready
WINDOW_SECONDS = 900.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Entrant:
    """A program that is measured: `python -m module task.json`, in its environment. `remark`: for its rows."""

    name: str
    version: str
    module: str
    task: Mapping[str, Any]
    python: str
    variables: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""


@dataclass
class Outcome:
    """What an entrant did. `failure` says why there is less than asked for."""

    facts: dict[str, Any] = field(default_factory=dict)
    windows: list[dict[str, float]] = field(default_factory=list)
    failure: str = ""

    @property
    def rates(self) -> list[float]:
        """Amount of work in a second, of each window."""
        return [window["amount"] / window["seconds"] for window in self.windows]

    @property
    def seconds_each(self) -> list[float]:
        """Seconds of a unit of work, of each window."""
        return [window["seconds"] / window["units"] for window in self.windows]

    @property
    def memory(self) -> float:
        """Peak memory in MiB at the end."""
        return max(window["memory"] for window in self.windows)

    @property
    def amount_each(self) -> float:
        """Work of a unit, such as tokens of an update."""
        return statistics.mean(window["amount"] / window["units"] for window in self.windows)


class EntrantError(Exception):
    """An entrant did not do what was asked."""


class Worker:
    """A started entrant."""

    def __init__(self, entrant: Entrant, folder: Path) -> None:
        self.entrant = entrant
        self.log = folder / "log.txt"
        task = folder / "task.json"
        task.write_text(json.dumps({**entrant.task, "folder": str(folder)}), encoding="utf-8")
        command = [entrant.python, "-m", entrant.module, str(task)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                            cwd=folder, env=environment(entrant.variables))
        self.unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ready(self) -> dict[str, Any]:
        """Wait until it has warmed up; its facts. Raises EntrantError."""
        return self._answer(START_SECONDS)

    def window(self) -> dict[str, float]:
        """Let it work one window. Raises EntrantError."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(b"go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise EntrantError(self.last_words()) from None
        return self._answer(WINDOW_SECONDS)

    def _answer(self, limit: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        until = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.unread:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise EntrantError(f"no answer in {limit:g} s")
                part = os.read(self.process.stdout.fileno(), 65536)
                if not part:
                    raise EntrantError(self.last_words())
                self.unread += part
        line, _, self.unread = self.unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def last_words(self) -> str:
        """Why it ended: the last line that it wrote."""
        self.process.wait()
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        told = [line.strip() for line in lines if line.strip()]
        return f"{(told or ['it said nothing'])[-1][:200]} (exit {self.process.returncode})"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables of a measured process: all cores for the matrix libraries, this checkout importable."""
    threads = str(cores())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**inherited, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1", "CUDA_VISIBLE_DEVICES": "", **variables}


def hold(entrants: Sequence[Entrant], rounds: int, say: Callable[[str], None], *,
         together: bool = False) -> list[Outcome]:
    """The outcome of every entrant, in order. One that fails drops out; the others go on.

    together: start all at once, which is quicker and warms them up worse, instead of one after the other.
    """
    outcomes = [Outcome() for _ in entrants]
    workers: dict[int, Worker] = {}
    with tempfile.TemporaryDirectory(prefix="seqloom-benchmark-") as folder:
        try:
            for number, entrant in enumerate(entrants):
                own = Path(folder) / str(number)
                own.mkdir()
                workers[number] = Worker(entrant, own)
                if not together:
                    _get_ready(workers, outcomes, number, say)
            for number in range(len(entrants)) if together else ():
                _get_ready(workers, outcomes, number, say)
            for turn in range(rounds):
                for number in list(workers):
                    _try(workers, outcomes, number, lambda worker, outcome: outcome.windows.append(worker.window()))
                say(f"  round {turn + 1} of {rounds}")
        finally:
            for worker in workers.values():
                worker.__exit__()
    return outcomes


def _get_ready(workers: dict[int, Worker], outcomes: list[Outcome], number: int, say: Callable[[str], None]) -> None:
    name = workers[number].entrant.name
    _try(workers, outcomes, number, lambda worker, outcome: outcome.facts.update(worker.ready()))
    say(f"  {name} {outcomes[number].failure or 'is ready'}")


def _try(workers: dict[int, Worker], outcomes: list[Outcome], number: int,
         step: Callable[[Worker, Outcome], None]) -> None:
    try:
        step(workers[number], outcomes[number])
    except EntrantError as failure:
        outcomes[number].failure = str(failure)
        workers.pop(number).__exit__()
