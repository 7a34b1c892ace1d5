"""Suite training: target tokens a second and peak memory, of seqloom's Trainer and of the rivals' own programs.

Target tokens count the end symbol and no padding, in every entrant. Memory is the peak of the process that trained.
bf16 is ours alone: no rival uses it on a CPU, so it stands beside their fp32.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import rivals
from benchmarks.contest import Entrant, Outcome, environment, hold
from benchmarks.rows import Row, compare, cores, not_measured
from benchmarks.settings import Settings, versions
from benchmarks.work import Work, prepare_work

PRECISIONS = ("fp32", "bf16")


def run(settings: Settings, say: Callable[[str], None]) -> list[Row]:
    """The rows of every work, with input feeding and without."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="seqloom-benchmark-") as folder:
        for name in settings.works:
            work = prepare_work(name, Path(folder) / name, pairs=settings.pairs)
            for feeding in settings.forms:
                say(f"training {name}, {kind(feeding)} ({work.data})")
                rows += contest(settings, work, feeding, say)
    return rows


def kind(feeding: bool) -> str:
    """The two forms of a work."""
    return "input feeding" if feeding else "no input feeding"


def contest(settings: Settings, work: Work, feeding: bool, say: Callable[[str], None]) -> list[Row]:
    """All entrants of one form of a work, in turns."""
    task = {**settings.task(work), "kind": "training", "feeding": feeding, "precision": "fp32"}
    entrants = [Entrant(f"seqloom {precision}", "", "benchmarks.ours", {**task, "precision": precision},
                        sys.executable) for precision in PRECISIONS]
    missing: list[tuple[str, str, str]] = []
    for name in settings.peers:
        found = rivals.entrants(name, task, versions()["torch"], say)
        entrants += [one for one in found if isinstance(one, Entrant)]
        missing += [one for one in found if not isinstance(one, Entrant)]
    floor = measure_floor(task)
    outcomes = hold(entrants, settings.rounds, say, together=settings.together)
    rows = []
    for precision, mine in zip(PRECISIONS, outcomes, strict=False):
        rows += own_rows(work, feeding, precision, mine, floor)
        for entrant, other in zip(entrants[len(PRECISIONS):], outcomes[len(PRECISIONS):], strict=True):
            rows += rows_beside(work, feeding, precision, mine, entrant, other, floor)
        if mine.windows:
            rows += [not_measured(f"training {work.shape.name}, {kind(feeding)}, {precision}", "target tokens/s",
                                  mine.rates, (name, version), reason) for name, version, reason in missing]
    return rows


def measure_floor(task: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of the matrix products of an update, measured in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(task, file)
        file.flush()
        done = subprocess.run([sys.executable, "-m", "benchmarks.floor", file.name], env=environment({}),
                              capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def own_rows(work: Work, feeding: bool, precision: str, mine: Outcome, floor: Mapping[str, float]) -> list[Row]:
    """Ours alone: the time of an update over its floor, and the rate."""
    what = f"training {work.shape.name}, {kind(feeding)}, {precision}"
    if not mine.windows:
        return [compare(what, "target tokens/s", [], note=f"not measured: {mine.failure}")]
    about = note(work, mine)
    return [compare(f"{what}: time of an update", "ms", [1e3 * seconds for seconds in mine.seconds_each],
                    floor=1e3 * floor[precision], note=f"{about}; {floor['gflop']:.1f} GFLOP"),
            compare(what, "target tokens/s", mine.rates, floor=mine.amount_each / floor[precision], note=about),
            compare(f"{what}: peak memory", "MiB", [mine.memory], note=about)]


def rows_beside(work: Work, feeding: bool, precision: str, mine: Outcome, entrant: Entrant, other: Outcome,
                floor: Mapping[str, float]) -> list[Row]:
    """Ours beside one rival."""
    what = f"training {work.shape.name}, {kind(feeding)}, {precision}"
    peer = (entrant.name, entrant.version)
    if not other.windows or not mine.windows:
        reason = other.failure if not other.windows else f"seqloom failed: {mine.failure}"
        return [not_measured(what, "target tokens/s", mine.rates, peer, reason)]
    about = "; ".join(part for part in (note(work, mine, other), entrant.remark) if part)
    return [compare(what, "target tokens/s", mine.rates, peer, other.rates,
                    floor=mine.amount_each / floor[precision], note=about),
            compare(f"{what}: peak memory", "MiB", [mine.memory], peer, [other.memory], note=about)]


def note(work: Work, mine: Outcome, other: Outcome | None = None) -> str:
    """Which data, and how large the models are."""
    sizes = [f"ours {mine.facts['parameters'] / 1e6:.2f} M parameters"]
    if other is not None:
        sizes.append(f"theirs {other.facts['parameters'] / 1e6:.2f} M, {other.amount_each:.0f} tokens an update")
        if other.failure:
            sizes.append(f"it then failed: {other.failure}")
    return f"{work.data}, {cores()} threads; {', '.join(sizes)}"
