"""An engine without a model: scores, attention and the next state come from tables. Strict about the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from seqloom.config.sections import DecodingConfig
from seqloom.types import END, START, Floats, Ints, Padded, Step

STATES = 211


class MatrixState(NamedTuple):
    """history: [B K] a number that depends on the source and on every token so far; lengths: [B]."""

    history: Ints
    lengths: Ints


@dataclass
class MatrixEngine:
    """log p(token | history) = scores[history], [STATES V]. The next history mixes in the token.

    The histories of different hypotheses differ, so a wrong parent, a stale row or a neighbour's row changes scores.
    """

    scores: Floats
    attention: Floats | None = None
    widest_padding: int = 0
    name: str = "matrix"
    end: int = END
    rows_stepped: int = 0
    steps: int = 0
    asked: list[int | None] = field(default_factory=list)
    kept: list[tuple[int, int]] = field(default_factory=list)

    def begin(self, source: Padded | int) -> MatrixState:
        if isinstance(source, int):
            return MatrixState(np.zeros((source, 1), np.int64), np.full(source, 1))
        return MatrixState(np.asarray(source.main[:, :1] % STATES), np.asarray(source.lengths))

    def follow(self, history: Ints, tokens: Ints) -> Ints:
        return np.where(tokens == START, history, (history * 31 + tokens * 7 + 11) % STATES)

    def step(self, state: MatrixState, tokens: Ints, parents: Ints, candidates: int | None, *,
             wanted: Ints | None = None, weights: bool = False) -> tuple[Step, MatrixState]:
        rows = len(state.history)
        assert tokens.shape == parents.shape == (rows, tokens.shape[1])
        assert tokens.dtype == parents.dtype == np.int64
        assert parents.min() >= 0
        assert parents.max() < state.history.shape[1]
        assert tokens.min() >= 0
        assert tokens.max() < self.scores.shape[1]
        assert candidates is None or candidates >= 1
        self.steps += 1
        self.rows_stepped += tokens.size
        self.asked.append(candidates)
        history = self.follow(state.history[np.arange(rows)[:, None], parents], tokens)
        dense = self.scores[history]
        found = None
        if wanted is not None:
            assert wanted.shape[:2] == tokens.shape
            found = np.take_along_axis(dense, wanted, axis=2)
        attention = self.weights_of(history, state.lengths) if weights and self.attention is not None else None
        after = MatrixState(history, state.lengths)
        if candidates is None:
            return Step(dense.copy(), None, found, attention), after
        best = np.argsort(-dense, axis=2, kind="stable")[:, :, :candidates]
        return Step(np.take_along_axis(dense, best, axis=2), best, found, attention), after

    def weights_of(self, history: Ints, lengths: Ints) -> Floats:
        """[B K S] rows of the table, cut to the longest source here (and padding on top), normalised over real ones."""
        assert self.attention is not None
        width = int(lengths.max()) + self.widest_padding
        masked = self.attention[history][:, :, :width] * (np.arange(width) < lengths[:, None, None])
        return np.asarray(masked / masked.sum(axis=2, keepdims=True))

    def keep(self, state: MatrixState, sentences: Ints) -> MatrixState:
        assert len(sentences) < len(state.history)
        self.kept.append((len(state.history), len(sentences)))
        return MatrixState(state.history[sentences], state.lengths[sentences])

    def positions(self, state: MatrixState) -> Ints:
        return state.lengths


def log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def matrix_engine(seed: int, *, vocabulary: int = 7, end_bias: float = 0.0, ties: bool = False, spread: float = 2.0,
                  attention: bool = False, attention_width: int = 12) -> MatrixEngine:
    """A random engine; end_bias makes the end symbol likelier; ties: few different scores, so that many are equal."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(STATES, vocabulary)) * spread
    logits[:, END] += end_bias
    scores = np.round(log_softmax(logits)) - 1.0 if ties else log_softmax(logits)
    table = draw.random((STATES, attention_width)) + 0.01 if attention else None
    return MatrixEngine(scores, table)


def sources(count: int, seed: int = 0) -> Padded:
    """[count S] sources whose first number decides everything, of lengths 1 … 6."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 7, count)
    main = draw.integers(0, STATES, (count, int(lengths.max())))
    return Padded({"main": main}, lengths)


def rows_of(source: Padded, rows: list[int]) -> Padded:
    """Some rows of a batch, cut to their longest."""
    lengths = source.lengths[rows]
    return Padded({"main": source.main[rows][:, : int(lengths.max())]}, lengths)


def options(**given: Any) -> DecodingConfig:
    """Decoding options; short answers and no length penalty unless given."""
    return DecodingConfig(**{"max_length": 6, "length_penalty": 0.0, "beam_size": 4, **given})
