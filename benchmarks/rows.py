"""Results: rows, files of rows, a table. A row never says which machine it comes from, only how many cores."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

# Times: less is better, and the ratio still says how many times faster ours is.
TIMES = ("s", "ms")


@dataclass(frozen=True)
class Row:
    """One measure of ours beside one rival's.

    measure: what, on which work, at which precision.
    ours, theirs: medians over the rounds in `unit`; theirs is None without a rival, or where `note` says why not.
    ratio: ours / theirs; of times theirs / ours, so that it says how many times faster ours is either way. Of memory it
        is how many times as much ours takes.
    floor: what matrix products alone would take at this machine's best rate for each shape, in `unit`.
    spread: (largest − smallest) / median over the rounds: of the ratio, or of ours where there is no rival.
    note: which data, parameters, words of output; or "not measured: reason".
    """

    measure: str
    unit: str
    ours: float | None
    peer: str | None
    peer_version: str | None
    theirs: float | None
    ratio: float | None
    floor: float | None
    rounds: int
    spread: float | None
    cores: int
    commit: str
    note: str = ""


KEYS = tuple(Row.__dataclass_fields__)


def compare(measure: str, unit: str, ours: Sequence[float], peer: tuple[str, str] | None = None,
            theirs: Sequence[float] = (), *, floor: float | None = None, note: str = "") -> Row:
    """The row of what was measured round by round; `peer` is (name, version)."""
    mine = statistics.median(ours) if ours else None
    other = statistics.median(theirs) if theirs else None
    ratios = [ratio_of(unit, one, two) for one, two in zip(ours, theirs, strict=False)]
    ratio = None if mine is None or other is None else ratio_of(unit, mine, other)
    return Row(measure, unit, rounded(mine), peer and peer[0], peer and peer[1], rounded(other), rounded(ratio),
               rounded(floor), min(len(ours), len(theirs)) if theirs else len(ours),
               rounded(spread(ratios or ours)), cores(), commit(), note)


def not_measured(measure: str, unit: str, ours: Sequence[float], peer: tuple[str, str], reason: str) -> Row:
    """The row of a rival that could not be measured."""
    return compare(measure, unit, ours, peer, note=f"not measured: {reason}")


def ratio_of(unit: str, ours: float, theirs: float) -> float:
    """See Row."""
    return theirs / ours if unit in TIMES else ours / theirs


def spread(values: Sequence[float]) -> float | None:
    """(largest − smallest) / median; None for fewer than two values."""
    return (max(values) - min(values)) / statistics.median(values) if len(values) > 1 else None


def rounded(value: float | None) -> float | None:
    """Four significant figures: the rest is noise."""
    return None if value is None else float(f"{value:.4g}")


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit() -> str:
    """The commit that is measured; with "+" where tracked files differ from it, "unknown" outside a repository."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        return name + "+" if _git("status", "--porcelain", "--untracked-files=no", "--", "src") else name
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


# --- files and tables ------------------------------------------------------------------------------------------------


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Rows as a JSON list, one object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file that `write_rows` wrote."""
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


HEADINGS = ("measure", "unit", "ours", "peer", "theirs", "ratio", "floor", "spread", "note")


def table(rows: Sequence[Row]) -> str:
    """Rows as text in columns, with the core count beneath. Notes only where there is no rival or no figure of his."""
    lines = [list(HEADINGS), *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS) - 1)]
    text = ["  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
            for line in lines]
    counts = sorted({row.cores for row in rows})
    foot = f"{' or '.join(map(str, counts))} cores, commit {', '.join(sorted({row.commit for row in rows}))}; " \
           "medians; ratio: how many times faster ours is, of memory how many times as much it takes; " \
           "spread: of the ratio over the rounds"
    return "\n".join([text[0], "-" * len(text[0]), *text[1:], foot])


def _cells(row: Row) -> list[str]:
    peer = " ".join(part for part in (row.peer, row.peer_version) if part)
    return [row.measure, row.unit, _number(row.ours), peer, _number(row.theirs), _number(row.ratio, " ×"),
            _number(row.floor), "" if row.spread is None else f"{100 * row.spread:.0f} %",
            row.note if row.theirs is None else ""]


def _number(value: Any, unit: str = "") -> str:
    if value is None:
        return "–"
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}") + unit
