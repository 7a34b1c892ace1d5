"""Where claims are tried: generated or real examples, small trainings, and how right their answers are.

Everything goes through the public interface (seqloom.train, seqloom.load, predict), so that a claim is an example too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import seqloom
from seqloom.claims.tasks import Lengths, Pair, make_pairs
from seqloom.config.sections import CorpusConfig
from seqloom.data.files import read_records
from seqloom.errors import DataError
from seqloom.metrics import evaluate_outputs
from seqloom.progress import Reporter
from seqloom.types import Record

GROUPS = 4  # of real test data, by length, each with as many pairs
WORDS = 8000  # of real data at most; with more of them the output layer takes most of the time


@dataclass(frozen=True)
class Scale:
    """How large the trials are. updates, hidden: factors; examples: training pairs at most; tests: test pairs of a
    length; seeds: at most so many; largest: no state is larger."""

    updates: float = 1.0
    hidden: float = 1.0
    examples: int = 4000
    tests: int = 100
    seeds: int = 3
    largest: int = 512


MINUTE = Scale()
# What a laptop does in an evening, also with tens of thousands of sentences.
FULL = Scale(updates=5, hidden=2, examples=1_000_000, tests=250, seeds=1, largest=512)


@dataclass(frozen=True)
class Split:
    """Pairs to train on, to validate on, and to test by name of their group, in order of length."""

    train: list[Pair]
    valid: list[Pair]
    tests: dict[str, list[Pair]]


@dataclass(frozen=True)
class Trained:
    """A trained run: its answers, and the rows of its metrics.jsonl."""

    predictor: Any
    rows: list[dict[str, Any]]
    measure: str

    def answers(self, pairs: Sequence[Pair], **options: Any) -> list[Any]:
        """Predictions for the sources."""
        found: list[Any] = self.predictor.predict([source for source, _ in pairs], **options)
        return found

    def quality(self, pairs: Sequence[Pair]) -> float:
        """1 minus the error rate of the answers (words, or characters), and no less than 0."""
        outputs = [answer.text for answer in self.answers(pairs)]
        scores = evaluate_outputs(outputs, [[target] for _, target in pairs], [self.measure])
        return max(0.0, 1.0 - float(scores[self.measure]))


@dataclass
class Lab:
    """A folder for runs, a scale, and perhaps real pairs in place of the generated ones."""

    folder: Path
    scale: Scale = MINUTE
    real: list[Pair] | None = None
    reporter: Reporter = field(default_factory=Reporter)
    trained: int = 0

    def seeds(self, wanted: int = 3) -> range:
        """The seeds of the repetitions."""
        return range(1, 1 + min(wanted, self.scale.seeds))

    def size(self, hidden: int) -> int:
        """A state size at this scale."""
        return min(max(4, round(hidden * self.scale.hidden)), self.scale.largest)

    def split(self, task: str, lengths: Lengths, tests: Sequence[Lengths] | None = None, *, seed: int = 1,
              examples: int | None = None) -> Split:
        """Examples of a task: training with `lengths`, tests in groups of their own lengths.

        With real pairs the groups are quarters by length, or all in one where the task has one; training then keeps to
        the lower groups if the task trains on shorter inputs than it tests.
        """
        groups = list(tests or [lengths])
        if self.real is not None:
            return _real_split(self.real, self.scale, grouped=len(groups) > 1,
                               short=lengths[1] < max(high for _, high in groups), seed=seed)
        count = min(examples or self.scale.examples, self.scale.examples)
        return Split(make_pairs(task, lengths, count, f"train {seed}"),
                     make_pairs(task, lengths, min(50, self.scale.tests), f"valid {seed}"),
                     {_range(group): make_pairs(task, group, self.scale.tests, f"test {seed}") for group in groups})

    def train(self, split: Split, seed: int, updates: int, *sections: Mapping[str, Any], validations: int = 1,
              head: str = "sequence") -> Trained:
        """Train on a split. sections: nested configuration values, later ones over earlier ones and over the base.

        head: sequence, label or tags. Raises DataError where the head cannot answer with such targets.
        """
        self.trained += 1
        folder = self.folder / f"run-{self.trained}"
        files = {}
        for name, pairs in (("train", split.train), ("valid", split.valid)):
            files[name] = self.folder / f"{name}-{self.trained}.tsv"
            files[name].write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
        steps = max(1, round(updates * self.scale.updates))
        kinds = ["word" if _spaced(pair[side] for pair in split.train) else "character" for side in (0, 1)]
        measure = "wer" if kinds[1] == "word" else "cer"
        values = merged(
            self._reading(kinds[0]), self._writing(kinds[1], measure, split) if head == "sequence" else {},
            {"head": {"kind": head}, "training": {"max_steps": steps, "validate_every": max(1, steps // validations),
                                                  "seed": seed}}, *sections)
        try:
            seqloom.train(files["train"], valid=files["valid"], out=folder, values=values, quiet=True)
            rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
            return Trained(seqloom.load(folder, threads=1), rows, measure)
        finally:
            self.reporter.progress("trainings", self.trained, None)
            for path in files.values():
                path.unlink()

    def _reading(self, kind: str) -> dict[str, Any]:
        """What all trials have in common."""
        return {
            "source": {"embedding_size": self.size(32), "tokenizer": _tokenizer(kind)},
            "encoder": {"cell": "gru", "hidden_size": self.size(64), "bidirectional": False},
            "training": {"epochs": 100_000, "batch_size": 64, "learning_rate": 0.005, "patience": None, "threads": 1,
                         "device": "cpu"},
        }

    def _writing(self, kind: str, measure: str, split: Split) -> dict[str, Any]:
        """And those that answer with a sequence."""
        longest = max(len(target.split() if kind == "word" else target) for _, target in split.train)
        return {
            "decoder": {"cell": "gru", "hidden_size": self.size(64), "embedding_size": self.size(32)},
            "head": {"tokenizer": _tokenizer(kind)}, "training": {"metric": measure},
            "decoding": {"beam_size": 1, "max_length": 2 * longest + 10},
        }


def _tokenizer(kind: str) -> dict[str, Any]:
    return {"kind": kind, "vocab_size": WORDS} if kind == "word" else {"kind": kind}


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, a later one over an earlier one."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else (
                dict(value) if isinstance(value, Mapping) else value)
    return result


def read_pairs(path: str | Path) -> list[Pair]:
    """The usable pairs of a file. Raises DataError where there are fewer than 100."""
    records = read_records([CorpusConfig(path=str(path))], None, ("source", "target"))
    pairs = [(record.text("source"), record.text("target")) for record in records if isinstance(record, Record)]
    if len(pairs) < 100:
        raise DataError(f"{len(pairs)} usable pairs, expected at least 100", where=str(path),
                        fix="give a file with more lines of source, tab, target")
    return pairs


def _real_split(pairs: Sequence[Pair], scale: Scale, *, grouped: bool, short: bool, seed: int) -> Split:
    mixed = list(pairs)
    random.Random(seed).shuffle(mixed)
    held = min(len(mixed) // 5, GROUPS * scale.tests)
    test, valid, train = mixed[:held], mixed[held:held + held // 4], mixed[held + held // 4:]
    words = _spaced(source for source, _ in pairs)

    def length(pair: Pair) -> int:
        return len(pair[0].split() if words else pair[0])

    test.sort(key=length)
    if not grouped:
        return Split(train[:scale.examples], valid, {"all lengths": test})
    parts = [test[len(test) * part // GROUPS:len(test) * (part + 1) // GROUPS] for part in range(GROUPS)]
    names = [f"{part + 1}: {_range((length(group[0]), length(group[-1])))}" for part, group in enumerate(parts)]
    if short:
        longest = length(parts[1][-1])
        train, valid = ([pair for pair in some if length(pair) <= longest] for some in (train, valid))
    return Split(train[:scale.examples], valid, dict(zip(names, parts, strict=True)))


def _spaced(lines: Iterator[str] | Sequence[str]) -> bool:
    """Whether most lines have spaces, so that words are the symbols."""
    given = list(lines)
    return 2 * sum(" " in line.strip() for line in given) >= len(given)


def _range(lengths: Lengths) -> str:
    return f"{lengths[0]}" if lengths[0] == lengths[1] else f"{lengths[0]}–{lengths[1]}"
