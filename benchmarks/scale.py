"""Suite scale: a stream of generated pairs through the preparation that every training begins with.

Two streams, the second twice as long: time grows with the pairs, memory should hardly.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contest import Entrant, hold
from benchmarks.rows import Row, compare, cores
from benchmarks.settings import Settings
from benchmarks.windows import task_of, windows_of
from benchmarks.work import drawn_pairs

PER = 100_000


def run(settings: Settings, say: Callable[[str], None]) -> list[Row]:
    """The rows: time and memory for 100,000 pairs, and the peak."""
    with tempfile.TemporaryDirectory(prefix="seqloom-benchmark-") as folder:
        path = Path(folder) / "pairs.tsv"
        sizes = (settings.scale, 2 * settings.scale)
        entrants = []
        for size in sizes:
            say(f"scale: {size:,} pairs are drawn")
            path = Path(folder) / f"{size}.tsv"
            write_pairs(path, size)
            task = {"pairs": str(path), "seconds": 0.0, "warm_up": 0.0, "least": 1, "threads": cores()}
            entrants.append(Entrant(f"prepare {size:,} pairs", "", "benchmarks.scale", task, sys.executable))
        small, large = hold(entrants, 1, say, together=settings.together)
    about = f"generated, as Multi30k; {sizes[0]:,} and {sizes[1]:,} pairs in fresh processes"
    if small.failure or large.failure:
        return [compare("scale: prepare", "s", [], note=f"not measured: {small.failure or large.failure}")]
    seconds = [PER * outcome.windows[0]["seconds"] / size for outcome, size in zip((small, large), sizes, strict=True)]
    growth = PER * (large.memory - small.memory) / (sizes[1] - sizes[0])
    return [compare("scale: prepare, 100,000 pairs", "s", seconds, note=about),
            compare("scale: prepare, peak memory grows for 100,000 more pairs", "MiB", [growth], note=about),
            compare(f"scale: prepare, peak memory with {sizes[1]:,} pairs", "MiB", [large.memory], note=about)]


def write_pairs(path: Path, size: int) -> None:
    """A table of generated pairs."""
    with path.open("w", encoding="utf-8") as file:
        for source, target in itertools.islice(drawn_pairs("W"), size):
            file.write(f"{' '.join(source)}\t{' '.join(target)}\n")


def prepare_pairs(task: dict[str, Any]) -> None:
    """Prepare the pairs once and end: in a process of its own."""
    windows = windows_of(task)
    from seqloom.config.loading import load_config
    from seqloom.progress import Reporter
    from seqloom.training.prepare import prepare

    tokenizer = {"kind": "word", "min_frequency": 2}
    config, _ = load_config(values={"data": {"train": [{"path": task["pairs"]}]}, "source": {"tokenizer": tokenizer},
                                    "head": {"tokenizer": tokenizer}})
    windows.done(0)  # ready
    windows.done(len(prepare(config, Path(task["folder"]), Reporter()).store))


if __name__ == "__main__":
    prepare_pairs(task_of(sys.argv))
