"""Whether data ever waits: a corpus of millions of generated pairs, prepared, and its first thousand updates.

    python -m benchmarks.scale_training --pairs 10000000

In a process of its own it prints, as JSON: seconds of the preparation, seconds from its end to the first update,
target tokens a second of the updates, seconds that they stood and waited for batches, and resident memory (MiB) before
the data, after the preparation and during the updates (the most of each); `most` is the peak until then, `anonymous`
leaves out pages of mapped files, which the system takes back. The model is small, so that batches are asked for as fast
as they ever are.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.alone import Parser, keep
from benchmarks.work import drawn_pairs

DRAWN = 50_000  # different pairs; the corpus repeats them with another last word each time, since drawing takes minutes


class EnoughError(Exception):
    """As many updates as asked for are done."""


def write_corpus(path: Path, pairs: int) -> None:
    """A table of generated pairs, none of them twice."""
    drawn = [(" ".join(source), " ".join(target)) for source, target in itertools.islice(drawn_pairs("W"), DRAWN)]
    with path.open("w", encoding="utf-8") as file:
        for turn in range(-(-pairs // DRAWN)):
            left = min(DRAWN, pairs - turn * DRAWN)
            file.writelines(f"{source} n{turn}\t{target} n{turn}\n" for source, target in drawn[:left])


def memory() -> dict[str, float]:
    """Resident MiB of this process: now, now without mapped files, and at most; NaN where the system does not say."""
    status = Path("/proc/self/status")
    found = dict.fromkeys(("resident", "anonymous", "most"), float("nan"))
    for line in status.read_text(encoding="utf-8").splitlines() if status.exists() else ():
        for name, key in (("resident", "VmRSS:"), ("anonymous", "RssAnon:"), ("most", "VmHWM:")):
            if line.startswith(key):
                found[name] = round(int(line.split()[1]) / 1024, 1)
    return found


def measure(folder: Path, pairs: int, updates: int, hidden: int, *, drop_duplicates: bool = False) -> dict[str, Any]:
    """Write, prepare, train; the figures."""
    write_corpus(folder / "train.tsv", pairs)
    write_corpus(folder / "valid.tsv", 100)

    from seqloom.config.loading import load_config
    from seqloom.progress import Reporter
    from seqloom.training.loop import Trainer
    from seqloom.training.prepare import prepare
    from seqloom.training.session import set_threads

    tokenizer = {"kind": "word", "split": "space", "min_frequency": 2}
    config, _ = load_config(values={
        "data": {name: [{"path": str(folder / f"{name}.tsv")}] for name in ("train", "valid")} | {
            "drop_duplicates": drop_duplicates},
        "source": {"tokenizer": tokenizer, "embedding_size": hidden}, "head": {"tokenizer": tokenizer},
        "encoder": {"hidden_size": hidden}, "decoder": {"hidden_size": hidden, "embedding_size": hidden},
        "training": {"batch_size": 64, "batch_type": "sentences", "epochs": 1, "device": "cpu"}})
    set_threads(config)
    found: dict[str, Any] = {"pairs": pairs, "before the data": memory()}
    began = time.perf_counter()
    data = prepare(config, folder, Reporter())
    ended = time.perf_counter()
    found |= {"seconds of preparation": round(ended - began, 1), "after preparation": memory()}
    most = dict.fromkeys(memory(), 0.0)

    class Watch(Reporter):
        """Looks at the memory after every update."""

        def progress(self, what: str, done: float, total: float | None, note: str = "") -> None:
            if what != "training":
                return
            if done == 1:
                found["seconds to the first update"] = round(time.perf_counter() - ended, 2)
                found["at the first update"] = memory()
            if done % 10 == 0:
                most.update({name: max(most[name], value) for name, value in memory().items()})
            if done >= updates:
                raise EnoughError

    trainer = Trainer(config, data, folder, Watch())
    found["parameters, MiB"] = round(4 * trainer.model.parameter_count() / 2**20, 1)
    with suppress(EnoughError):
        trainer.run()
    found |= {"updates": trainer.progress.step, "at most in the updates": most,
              "seconds of updates": round(trainer.progress.train_seconds, 1),
              "target tokens/s": round(trainer.progress.tokens / trainer.progress.train_seconds),
              "seconds waited for data": round(trainer.gradients.loader.waited, 3)}
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = Parser("scale_training", "Training on many pairs.")
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--hidden", type=int, default=32, help="size of the model")
    parser.add_argument("--drop-duplicates", action="store_true", help="train on each distinct pair once")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="seqloom-benchmark-") as folder:
        found = measure(Path(folder), given.pairs, given.updates, given.hidden, drop_duplicates=given.drop_duplicates)
        print(json.dumps(found, indent=1), flush=True)
        keep(given.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
