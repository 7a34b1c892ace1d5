"""Suite prediction: the test sentences of a work answered, in batches and one by one.

All entrants have random weights and give answers of equal length: the end symbol is banned or forced, and each answer
is cut where its reference with its end symbol ends. Loading is apart, with the imports it needs. Ours take part with
several engines, each beside every rival; the shortlist is learned from the work's training pairs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import rivals
from benchmarks.contest import Entrant, Outcome, environment, hold
from benchmarks.rows import Row, compare, cores, not_measured
from benchmarks.settings import Settings, versions
from benchmarks.work import Work, prepare_work

# Engines of ours, by name: what `load` is told; whether the vocabulary shortlist is used; whether batches go side by
# side, as they do in the Predictor, or one after the other with all threads.
ENGINES = {
    "onnx fp32": ("onnx", False, True),
    "onnx int8": ("onnx-int8", False, True),
    "onnx int8 shortlist": ("onnx-int8", True, True),
    "torch fp32": ("torch", False, True),
    "onnx fp32 in turn": ("onnx", False, False),
    "onnx int8 in turn": ("onnx-int8", False, False),
}


@dataclass(frozen=True)
class Manner:
    """rows: sentences in a batch; beam: hypotheses of each."""

    rows: int
    beam: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{'one by one' if self.rows == 1 else f'batch {self.rows}'}, " \
               f"{'greedy' if self.beam == 1 else f'beam {self.beam}'}"


def run(settings: Settings, say: Callable[[str], None]) -> list[Row]:
    """The rows of every work and manner."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="seqloom-benchmark-") as folder:
        for name in settings.works:
            work = prepare_work(name, Path(folder) / name, pairs=settings.pairs)
            task = {**settings.task(work), "kind": "prediction", "feeding": True, "precision": "fp32",
                    "run": str(Path(folder) / name / "run")}
            make_run(task, Path(folder) / f"{name}.json")
            rows += sizes(work, Path(task["run"]))
            for manner in (Manner(*given) for given in settings.manners):
                say(f"prediction {name}, {manner.name} ({work.data})")
                sentences = (settings.sentences if manner.rows > 1 else settings.alone)[manner.beam > 1]
                rows += contest(settings, work, manner, {**task, "rows": manner.rows, "beam": manner.beam,
                                                         "sentences": sentences}, say)
    return rows


def make_run(task: dict[str, Any], path: Path) -> None:
    """Our run folder, made in a process of its own."""
    path.write_text(json.dumps({**task, "kind": "make_run"}), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "benchmarks.ours", str(path)], env=environment({}), check=True,
                   stdout=sys.stderr)


def sizes(work: Work, run: Path) -> list[Row]:
    """What the graphs and their arrays take on disk."""
    files = [path for path in (run / "onnx").iterdir() if path.suffix in (".onnx", ".safetensors")]
    found = {precision: sum(path.stat().st_size for path in files if (".int8." in path.name) == (precision == "int8"))
             for precision in ("fp32", "int8")}
    return [compare(f"prediction {work.shape.name}: model on disk, {precision}", "MB", [size / 1e6], note=work.data)
            for precision, size in found.items()]


def contest(settings: Settings, work: Work, manner: Manner, task: dict[str, Any],
            say: Callable[[str], None]) -> list[Row]:
    """All entrants of one manner, in turns."""
    entrants = [Entrant(f"seqloom {name}", "", "benchmarks.ours",
                        {**task, **dict(zip(("engine", "shortlist", "spread"), ENGINES[name], strict=True))},
                        sys.executable) for name in settings.engines]
    missing: list[tuple[str, str, str]] = []
    for name in settings.peers:
        found = rivals.entrants(name, task, versions()["torch"], say)
        entrants += [one for one in found if isinstance(one, Entrant)]
        missing += [one for one in found if not isinstance(one, Entrant)]
    outcomes = hold(entrants, settings.rounds, say, together=settings.together)
    rows = []
    for engine, mine in zip(settings.engines, outcomes, strict=False):
        what = f"prediction {work.shape.name}, {manner.name}, {engine}"
        if not mine.windows:
            rows.append(compare(what, unit(manner), [], note=f"not measured: {mine.failure}"))
            continue
        rows.append(compare(what, unit(manner), values(manner, mine), note=note(work, mine)))
        for entrant, other in zip(entrants[len(settings.engines):], outcomes[len(settings.engines):], strict=True):
            rows += rows_beside(work, manner, what, mine, entrant, other)
        rows += [not_measured(what, unit(manner), values(manner, mine), (name, version), reason)
                 for name, version, reason in missing]
    return rows


def unit(manner: Manner) -> str:
    """Batches are a matter of throughput, single sentences of latency."""
    return "ms" if manner.rows == 1 else "sentences/s"


def values(manner: Manner, outcome: Outcome) -> list[float]:
    """Each window in the manner's unit: milliseconds for a sentence, or sentences a second."""
    return [1e3 / rate for rate in outcome.rates] if manner.rows == 1 else outcome.rates


def rows_beside(work: Work, manner: Manner, what: str, mine: Outcome, entrant: Entrant, other: Outcome) -> list[Row]:
    """Ours beside one rival."""
    peer = (entrant.name, entrant.version)
    if not other.windows:
        return [not_measured(what, unit(manner), values(manner, mine), peer, other.failure)]
    about = "; ".join(part for part in (note(work, mine, other), entrant.remark) if part)
    rows = [compare(what, unit(manner), values(manner, mine), peer, values(manner, other), note=about),
            compare(f"{what}: peak memory", "MiB", [mine.memory], peer, [other.memory], note=about)]
    if manner.rows > 1 and manner.beam == 1:  # once is enough
        rows.append(compare(f"{what}: load", "s", [mine.facts["load"]], peer, [other.facts["load"]], note=about))
    return rows


def note(work: Work, mine: Outcome, other: Outcome | None = None) -> str:
    """Which data, and that the answers are of equal length."""
    count = mine.windows[0]["amount"] / mine.windows[0]["units"]
    words = [f"{one.facts['words'] / count:.2f}" for one in (mine, other) if one is not None]
    return f"{work.data}, {count:.0f} sentences, {cores()} threads, {' and '.join(words)} symbols an answer"
