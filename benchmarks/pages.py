"""The tables of docs/speed.md from the rows of results/: python -m benchmarks.pages

A test holds that the page has them as they are printed here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from benchmarks.rows import RESULTS, Row, read_rows

PREDICTION_PEERS = ("OpenNMT-py", "JoeyNMT", "CTranslate2 float32", "CTranslate2 int8", "yoyodyne")
TRAINING_PEERS = ("plain loop, bucketed", "OpenNMT-py", "yoyodyne")
MEMORY_PEER = "OpenNMT-py"


def main() -> int:
    """Print both."""
    for lines in (training_table(read_rows(RESULTS / "training.json")),
                  prediction_table(read_rows(RESULTS / "prediction.json"))):
        sys.stdout.write("\n".join([*lines, "", ""]))
    return 0


def prediction_table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: one line for each work and engine of ours, the rivals beside it."""
    yield from _heading(["work", "engine", "ours", *PREDICTION_PEERS])
    for row in _ours(rows, "prediction ", ("sentences/s", "ms")):
        work, _, engine = row.measure.removeprefix("prediction ").rpartition(", ")
        yield _line([work, engine, f"**{_number(row.ours)}** {row.unit}", *_rivals(rows, row, PREDICTION_PEERS)])


def training_table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: one line for each work and precision, with our update over its floor and the memory of two."""
    names = [f"{name} {_version(rows, name)}".rstrip() for name in TRAINING_PEERS]
    yield from _heading(["work", "ours, tokens/s", "update over floor", *names, f"memory, ours / {MEMORY_PEER}"])
    for row in _ours(rows, "training ", ("target tokens/s",)):
        update, memory = (_find(rows, f"{row.measure}: {name}", peer) for name, peer in (
            ("time of an update", None), ("peak memory", MEMORY_PEER)))
        over = "–" if update is None or not update.ours or not update.floor else f"{update.ours / update.floor:.2f}"
        shown = "–" if memory is None else f"{_number(memory.ours)} / {_number(memory.theirs)} MiB"
        yield _line([row.measure.removeprefix("training "), f"**{_number(row.ours)}**", over,
                     *_rivals(rows, row, TRAINING_PEERS), shown])


def _ours(rows: Sequence[Row], beginning: str, units: Sequence[str]) -> Iterator[Row]:
    """The rows of ours alone that a line of the page begins with."""
    yield from (row for row in rows if row.peer is None and row.measure.startswith(beginning) and row.unit in units
                and ":" not in row.measure)


def _rivals(rows: Sequence[Row], ours: Row, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        row = _find(rows, ours.measure, name)
        yield "–" if row is None or row.theirs is None else f"{_number(row.theirs)} ({row.ratio:.2f} ×)"


def _find(rows: Sequence[Row], measure: str, peer: str | None) -> Row | None:
    return next((row for row in rows if row.measure == measure and row.peer == peer), None)


def _version(rows: Sequence[Row], peer: str) -> str:
    """Of a toolkit; a loop over torch alone has torch's, which is ours too."""
    found = next((row.peer_version for row in rows if row.peer == peer and row.peer_version), "")
    return "" if found.startswith("torch ") else found


def _number(value: float | None) -> str:
    """Three figures, or four of thousands."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _heading(names: Sequence[str]) -> Iterator[str]:
    yield _line(names)
    yield "|" + "---|" * len(names)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
