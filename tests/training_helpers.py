"""Trainings that take a fraction of a second: a few letters, reversed, by a network of eight units."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from seqloom.config.loading import load_config
from seqloom.config.sections import Config
from seqloom.progress import Reporter
from seqloom.training import loop
from seqloom.training.loop import Trainer
from seqloom.training.prepare import prepare

# What a clock decides: no two trainings agree on it.
BY_THE_CLOCK = ("seconds", "train_seconds", "tokens_per_second", "data_wait_seconds")


class Files(NamedTuple):
    """Training and validation pairs."""

    train: Path
    valid: Path


class Killed(BaseException):
    """Ends training as a power cut does: nothing is saved after it."""


class Told(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.lines if line.startswith("warning")]


def letters(count: int, *, seed: int = 1, alphabet: str = "abcdef", shortest: int = 2, longest: int = 5) -> list[str]:
    """Distinct sequences of letters with spaces between them."""
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(draw.choices(alphabet, k=draw.randint(shortest, longest)))] = None
    return list(found)


def write_pairs(path: Path, sources: Sequence[str], targets: Sequence[str] | None = None) -> Path:
    """A TSV; by default each target is its source backwards."""
    lines = zip(sources, targets or [source[::-1] for source in sources], strict=True)
    path.write_text("".join(f"{source}\t{target}\n" for source, target in lines), encoding="utf-8")
    return path


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, a later one over an earlier one."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else value
    return result


SMALL: dict[str, Any] = {
    "source": {"embedding_size": 6},
    "encoder": {"cell": "gru", "hidden_size": 8, "bidirectional": False},
    "decoder": {"cell": "gru", "hidden_size": 8, "embedding_size": 6, "context": "initial"},
    "training": {"epochs": 3, "batch_size": 4, "threads": 1, "device": "cpu", "metric": "cer"},
    "decoding": {"max_length": 7, "beam_size": 1},
}


def configuration(train: Path, valid: Path | None = None, **sections: Mapping[str, Any]) -> Config:
    """SMALL on these files, with changes by section."""
    data: dict[str, Any] = {"train": [{"path": str(train)}]}
    if valid is not None:
        data["valid"] = [{"path": str(valid)}]
    return load_config(values=merged(SMALL, {"data": data}, sections))[0]


def trainer_of(config: Config, folder: Path, reporter: Reporter | None = None) -> Trainer:
    """A trainer on prepared data, before its first update."""
    reporter = reporter or Reporter()
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(config, prepare(config, folder, reporter), folder, reporter)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without what the clock decides."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in BY_THE_CLOCK} for line in lines]


def state_of(folder: Path) -> dict[str, Any]:
    """All that a run has learned and counted: bytes of tensors, numbers of the last checkpoint, rows of metrics."""
    last = folder / "checkpoints" / "last"
    numbers = json.loads((last / "state.json").read_text(encoding="utf-8"))
    numbers["progress"] = {key: value for key, value in numbers["progress"].items() if key not in BY_THE_CLOCK}
    files = [folder / "model.safetensors", last / "model.safetensors", last / "state.safetensors",
             folder / "checkpoints" / "best" / "model.safetensors"]
    return {**{str(path.relative_to(folder)): path.read_bytes() for path in files}, "numbers": numbers,
            "rows": rows_of(folder)}


def at_update(monkeypatch: pytest.MonkeyPatch, actions: Mapping[int, Callable[[], object]]) -> None:
    """Call each action once, right after the update of that number (from 1) and before anything is saved."""
    original, left = Trainer._update, dict(actions)

    def update(trainer: Trainer, batches: Any) -> None:
        original(trainer, batches)
        if action := left.pop(trainer.progress.step, None):
            action()

    monkeypatch.setattr(Trainer, "_update", update)


def in_validation(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
    """Call an action in the middle of the validation of that number (from 1)."""
    original, count = loop.validate, 0

    def validate(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            action()
        return original(*arguments)

    monkeypatch.setattr(loop, "validate", validate)


def interrupt() -> None:
    """Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def terminate() -> None:
    """SIGTERM."""
    signal.raise_signal(signal.SIGTERM)


def kill() -> None:
    """A power cut."""
    raise Killed
