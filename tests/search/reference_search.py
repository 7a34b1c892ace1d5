"""Searches in plain Python, one hypothesis at a time, over the full distribution: slow, and easy to check by eye.

Written from the definitions in the docstrings of `seqloom.search`, without its code: no early stopping, no candidate
lists, no batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matrix_engine import MatrixEngine

from seqloom.config.sections import DecodingConfig
from seqloom.search.beam import IN_TIME
from seqloom.types import PADDING, START, UNKNOWN, Floats, Ints


@dataclass(frozen=True)
class Path:
    """tokens without end; score of the model; adjusted: with the repetition penalty; coverage: Σ weights."""

    history: int
    tokens: tuple[int, ...] = ()
    token_scores: tuple[float, ...] = ()
    adjusted: float = 0.0
    weights: tuple[tuple[float, ...], ...] = ()
    finished: bool = False

    @property
    def length(self) -> int:
        return len(self.tokens) + self.finished


class Reference:
    """One sentence: the number it begins with, and its length."""

    def __init__(self, engine: MatrixEngine, begin: int, length: int, options: DecodingConfig, limit: int,
                 prefix: tuple[int, ...] = ()) -> None:
        self.engine, self.options, self.limit, self.prefix = engine, options, limit, prefix
        self.start, self.length = Path(begin), length

    def extensions(self, path: Path) -> list[tuple[float, float, int]]:
        """(adjusted score, model's score, token) of every allowed next token, by id."""
        options, found = self.options, []
        history = path.tokens
        scores = self.engine.scores[path.history]
        if len(history) < len(self.prefix):
            token = self.prefix[len(history)]
            return [(float(scores[token]), float(scores[token]), token)]
        for token, score in enumerate(scores.tolist()):
            if token in (PADDING, START) or (token == UNKNOWN and not options.allow_unknown):
                continue
            if token == self.engine.end and len(history) < options.min_length:
                continue
            if options.no_repeat_ngram_size and token != self.engine.end:
                size = options.no_repeat_ngram_size
                grams = {history[i:i + size] for i in range(len(history) - size + 1)}
                if (*history, token)[-size:] in grams and len(history) + 1 >= size:
                    continue
            penalty = options.repetition_penalty if token in history else 1.0
            found.append((score * penalty, score, token))
        return found

    def extend(self, path: Path, adjusted: float, score: float, token: int) -> Path:
        weights = path.weights
        if self.engine.attention is not None:
            row = self.engine.weights_of(np.array([[path.history]]), np.array([self.length]))
            weights = (*weights, tuple(row[0, 0].tolist()))
        scores = (*path.token_scores, score)
        if token == self.engine.end:
            return Path(path.history, path.tokens, scores, path.adjusted + adjusted, weights, True)
        after = int(self.engine.follow(np.array(path.history), np.array(token)))
        return Path(after, (*path.tokens, token), scores, path.adjusted + adjusted, weights)

    def ranking(self, path: Path) -> float:
        options, length = self.options, max(path.length, 1)
        base = length if options.length_penalty_kind == "average" else (5 + length) / 6
        ranking = path.adjusted / base ** options.length_penalty
        if options.coverage_penalty:
            for position in range(self.length):
                covered = sum(step[position] for step in path.weights)
                ranking += options.coverage_penalty * math.log(min(max(covered, 1e-10), 1.0))
        return float(ranking)

    def best(self, ended: list[Path]) -> list[Path]:
        return sorted(ended, key=self.ranking, reverse=True)[: self.options.n_best]  # stable: equals by time

    def enumerate(self) -> list[Path]:
        """The best of all hypotheses there are, finished or cut at the limit."""
        ended: list[Path] = []
        open_paths = [self.start]
        while open_paths:
            path = open_paths.pop()
            for adjusted, score, token in self.extensions(path):
                longer = self.extend(path, adjusted, score, token)
                (ended if longer.finished or longer.length == self.limit else open_paths).append(longer)
        return self.best(ended)

    def beam(self) -> list[Path]:
        """Beam search that goes on until beam_size hypotheses have finished in good time or the limit is reached."""
        ended: list[Path] = []
        counted = 0
        open_paths = [self.start]
        for length in range(1, self.limit + 1):
            every = []
            for slot, path in enumerate(open_paths):
                ranked = sorted(self.extensions(path), key=lambda found: (-found[1], found[2]))
                every += [(-(path.adjusted + adjusted), slot, order, self.extend(path, adjusted, score, token))
                          for order, (adjusted, score, token) in enumerate(ranked)]
            every.sort(key=lambda found: found[:3])
            longer = [found[3] for found in every]
            if not longer:
                return self.best(ended or open_paths)
            ended += [path for path in longer[: self.options.beam_size] if path.finished]
            highest = max((path.adjusted for path in longer if not path.finished), default=-np.inf)
            counted += sum(path.finished and path.adjusted >= highest - IN_TIME
                           for path in longer[: self.options.beam_size])
            open_paths = [path for path in longer if not path.finished][: self.options.beam_size]
            if length == self.limit:
                ended += open_paths
            elif counted >= self.options.beam_size:
                break
        return self.best(ended or open_paths)


def reference_of(engine: MatrixEngine, main: Ints, length: int, options: DecodingConfig, limit: int,
                 prefix: tuple[int, ...] = ()) -> Reference:
    return Reference(engine, int(main[0]), length, options, limit, prefix)


def total(path: Path) -> float:
    return float(np.sum(path.token_scores))


def weights_of(path: Path) -> Floats:
    return np.array(path.weights, np.float32)
