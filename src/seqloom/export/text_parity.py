"""Does the export of a language model say what the model says? Of a real text: as a whole, the state carried over, and
symbol by symbol behind the first halves of its lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqloom.data.batching import pad
from seqloom.heads.language import windows
from seqloom.metrics.likelihood import bits_per_character
from seqloom.types import END, START, Floats, Ints, Item, Padded, Record

LONGEST = 64  # symbols behind a half line that are compared: what would differ later differs there too


class Differences(NamedTuple):
    """places: at which the most probable next symbol was compared; changed: where it is another one, `ties` of them
    equally probable; largest: difference of a symbol's log-probability; bits: for each character, (reference, export).
    """

    places: int
    changed: int
    ties: int
    largest: float
    bits: tuple[float, float]


class Next(NamedTuple):
    """The most probable next symbol of each place, its log-probability, and that of the symbol that comes."""

    ids: Ints
    scores: Floats
    given: Floats


def differences(head: Any, reference: Any, engine: Any, records: Sequence[Record], tie: float) -> Differences:
    """Compare two engines; symbols whose log-probabilities differ by at most `tie` are equally probable."""
    lines = [line for record in records for line in record.text("text").split("\n")]
    rows = [np.asarray(head.ids_of(line), np.int64) for line in lines]
    before, after = (_whole(one, rows) for one in (reference, engine))
    stepped = [_behind_halves(one, rows) for one in (reference, engine)]
    ids, other_ids = (np.concatenate([one.ids, steps.ids]) for one, steps in zip((before, after), stepped, strict=True))
    scores, other_scores = (np.concatenate([one.scores, steps.scores])
                            for one, steps in zip((before, after), stepped, strict=True))
    changed, apart = ids != other_ids, np.abs(scores - other_scores)
    largest = max(float(np.abs(before.given - after.given).max()), float(apart.max()))
    characters = sum(len(line) + 1 for line in lines)
    bits = [bits_per_character(float(one.given.sum(dtype=np.float64)), characters) for one in (before, after)]
    return Differences(len(ids), int(changed.sum()), int((changed & (apart <= tie)).sum()), largest, (bits[0], bits[1]))


def _whole(engine: Any, rows: Sequence[Ints]) -> Next:
    """The lines as one text."""
    state: Any = None
    found = []
    for ids in windows([np.array([END], np.int64), *rows]):
        scores, state = engine.answer(Padded({"main": ids[None, :-1]}, np.array([len(ids) - 1])), state)
        found.append(Next(scores[0].argmax(1), scores[0].max(1), np.take_along_axis(scores[0], ids[1:, None], 1)[:, 0]))
    return Next(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _behind_halves(engine: Any, rows: Sequence[Ints]) -> Next:
    """Step by step through the second halves of lines, which are given whatever was the most probable."""
    halves = [len(row) // 2 for row in rows]
    state = engine.begin(pad([Item({"main": np.array([END, *row[:half]], np.int64)})
                              for row, half in zip(rows, halves, strict=True)]))
    ahead = [row[half:half + LONGEST] for row, half in zip(rows, halves, strict=True)]
    tokens = np.full((len(rows), 1), START, np.int64)
    ids, scores = [], []
    for position in range(max(map(len, ahead))):
        step, state = engine.step(state, tokens, np.zeros_like(tokens), 1)
        real = np.array([position < len(row) for row in ahead])
        ids.append(step.tokens[real, 0, 0])
        scores.append(step.scores[real, 0, 0])
        tokens = np.array([[row[position] if position < len(row) else END] for row in ahead], np.int64)
    return Next(np.concatenate(ids), np.concatenate(scores), np.zeros(0, np.float32))
