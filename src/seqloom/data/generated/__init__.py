"""Built-in data, made by the project itself: one file for each task, each with `write(folder, …)` → manifest by split.

TASKS, at the foot, is what `seqloom demo --task NAME` knows beside the dates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple


class Task(NamedTuple):
    """A built-in task.

    module: of this folder; title: what it is, for people; preset and values: the configuration that fits it, a preset
    and what differs from it; measure: what `evaluate` says of it first.
    """

    module: str
    title: str
    measure: str
    preset: str | None = None
    values: Mapping[str, Any] = {}

    def write(self, folder: Path) -> dict[str, Path]:
        """Write all splits into a folder; the manifests by split."""
        writer: Callable[[Path], dict[str, Path]] = import_module(f"seqloom.data.generated.{self.module}").write
        return writer(folder)


def write_splits(folder: str | Path, counts: Mapping[str, int], example: Callable[[Path, str], tuple[str, str]]
                 ) -> dict[str, Path]:
    """Write <split>.tsv (path, tab, target) for each split, and the files into <split>/; the manifests by split.

    example: makes one, given the folder and what its file's name begins with ("train/00007"); returns the file's name
    inside the folder, and the target.
    """
    base = Path(folder)
    paths = {}
    for split, count in counts.items():
        (base / split).mkdir(parents=True, exist_ok=True)
        made = [example(base, f"{split}/{number:05d}") for number in range(count)]
        paths[split] = base / f"{split}.tsv"
        paths[split].write_text("".join(f"{name}\t{target}\n" for name, target in made), encoding="utf-8",
                                newline="\n")
    return paths


TASKS: dict[str, Task] = {
    "captions": Task(
        "shapes", "drawn shapes → what a grammar says of them", "exact_match", "caption",
        {"training": {"metric": "exact_match", "epochs": 20, "patience": 5}}),
    "tones": Task(
        "tones", "the tones of a telephone → the keys that were dialled", "exact_match", "speech",
        {"source": {"sample_rate": 8000, "augmentation": {"time_masks": 0, "frequency_masks": 0}},
         "encoder": {"layers": 1, "hidden_size": 96}, "decoder": {"hidden_size": 128, "embedding_size": 32},
         "head": {"tokenizer": {"kind": "word"}},
         "training": {"metric": "exact_match", "epochs": 30, "learning_rate": 0.002, "patience": 6},
         "decoding": {"max_length": 12, "beam_size": 3}}),
    "frames": Task(
        "moving", "frames of a moving shape → where it moves, frame by frame", "accuracy", None,
        {"source": {"kind": "frames", "height": 32, "width": 32, "colour": "grey", "channels": [16, 32, 32],
                    "frame_size": 64},
         "encoder": {"cell": "gru", "hidden_size": 64, "bidirectional": False}, "head": {"kind": "tags"},
         "training": {"epochs": 15, "batch_size": 16, "learning_rate": 0.002, "patience": 4}}),
    "vectors": Task(
        "vectors", "a vector → which of three shells it lies in", "accuracy", None,
        {"source": {"kind": "features"}, "encoder": {"hidden_size": 64, "bidirectional": False, "layers": 2},
         "head": {"kind": "label"}, "training": {"epochs": 30, "batch_size": 64, "learning_rate": 0.003}}),
}
