"""Built-in data, made by the project itself: one file for each task, each with `write(folder, …)` → manifest by split.

TASKS, at the foot, is what `seqloom demo --task NAME` knows beside the dates. A task has the name of the preset
that it is for, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqloom.errors import UsageError


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


def write_texts(folder: str | Path, counts: Mapping[str, int], draw: Callable[..., tuple[str, str]], seed: int, *,
                by_split: bool = False) -> dict[str, Path]:
    """Write <split>.tsv (source, tab, target) for each split; a source that is in one split is in no other.

    draw: makes a pair from a generator; by_split: and from the split's name.
    """
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    homes: dict[str, str] = {}
    paths = {}
    for split in sorted(counts, key=lambda name: counts[name]):  # small parts first: training has what they left
        lines: list[str] = []
        while len(lines) < counts[split]:
            source, target = draw(generator, split) if by_split else draw(generator)
            if homes.setdefault(source, split) == split:
                lines.append(f"{source}\t{target}\n")
        paths[split] = base / f"{split}.tsv"
        paths[split].write_text("".join(lines), encoding="utf-8", newline="\n")
    return {split: paths[split] for split in counts}


def pick(generator: np.random.Generator, words: Sequence[str]) -> str:
    """One of them."""
    return words[int(generator.integers(len(words)))]


def task_named(name: str) -> str:
    """The key of TASKS for a task's name, or for its module's. Raises UsageError for another."""
    for key, task in TASKS.items():
        if name in (key, task.module):
            return key
    raise UsageError(f"unknown task '{name}'", fix=f"use one of: {', '.join(('dates', *TASKS))}")


TASKS: dict[str, Task] = {
    "classify": Task(
        "reviews", "a review → does it recommend? Negations and concessions decide", "accuracy", "classify",
        {"source": {"tokenizer": {"kind": "word"}, "embedding_size": 64}, "encoder": {"hidden_size": 64},
         "training": {"epochs": 15, "learning_rate": 0.003}}),
    "tag": Task(
        "sentences", "words → parts of speech, where many words have several", "accuracy", "tag",
        {"encoder": {"hidden_size": 64}, "training": {"epochs": 10, "learning_rate": 0.004}}),
    "summarize": Task(
        "reports", "a report of a match → who beat whom; names are copied", "exact_match", "summarize",
        {"source": {"embedding_size": 64}, "encoder": {"hidden_size": 96},
         "decoder": {"hidden_size": 128, "embedding_size": 64},
         "head": {"tokenizer": {"kind": "word", "split": "space", "min_frequency": 20}},
         "training": {"metric": "exact_match", "epochs": 5, "batch_size": 32, "learning_rate": 0.002},
         "decoding": {"beam_size": 3, "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0}}),
    "caption": Task(
        "shapes", "drawn shapes → what a grammar says of them", "exact_match", "caption",
        {"training": {"metric": "exact_match", "epochs": 20, "patience": 5}}),
    "speech": Task(
        "tones", "the tones of a telephone → the keys that were dialled", "exact_match", "speech",
        {"source": {"sample_rate": 8000, "augmentation": {"time_masks": 0, "frequency_masks": 0}},
         "encoder": {"layers": 1, "hidden_size": 96}, "decoder": {"hidden_size": 128, "embedding_size": 32},
         "head": {"tokenizer": {"kind": "word"}},
         "training": {"metric": "exact_match", "epochs": 30, "learning_rate": 0.002, "patience": 6},
         "decoding": {"max_length": 12, "beam_size": 3}}),
    "lm": Task(
        "language", "the beginning of a line → how a rhyme may go on", "bits_per_character", "lm",
        {"decoder": {"hidden_size": 128, "embedding_size": 32, "dropout": 0.1},
         "training": {"epochs": 12, "learning_rate": 0.005, "precision": "fp32"},
         "decoding": {"strategy": "greedy", "temperature": 1.0, "max_length": 40}}),
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
