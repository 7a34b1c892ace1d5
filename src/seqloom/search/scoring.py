"""Forced decoding: how probable given targets are, token by token, and what the model would have said instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqloom.errors import UsageError
from seqloom.search.frontier import DROP_SHARE, check_step
from seqloom.search.request import attention_widths, size_of
from seqloom.types import PADDING, START, Bools, Engine, Floats, Hypothesis, Ints, Padded, Step


@dataclass(frozen=True, slots=True)
class ScoredTarget:
    """A given target under a model. T+1 positions: its tokens and the end symbol.

    hypothesis:         ids [T], token_scores [T+1], weights [T+1 S] when asked for; ranking_score = score.
    correct:            [T+1] the model's best token, after the gold history, is the target's.
    alternatives:       [T+1 C] ids of the best tokens at each step, best first; fewer than C when there are no more.
    alternative_scores: [T+1 C] their log-probabilities.
    """

    hypothesis: Hypothesis
    correct: Bools
    alternatives: Ints
    alternative_scores: Floats


class _Table:
    """What the steps find, by sentence and step: [B T], [B T C] and [B T S]."""

    def __init__(self, size: int, steps: int, depth: int) -> None:
        self.scores = np.zeros((size, steps))
        self.best: Ints = np.full((size, steps, depth), PADDING, np.int64)
        self.best_scores = np.full((size, steps, depth), -np.inf)
        self.weights: Floats | None = None

    def fill(self, sentences: Ints, step: int, found: Step) -> None:
        """Note one step of the sentences [B'] that are still open or not yet dropped."""
        assert found.wanted is not None  # check_step saw to it
        assert found.tokens is not None  # candidates were asked for
        count = found.tokens.shape[2]  # fewer than asked for when there are no more ids
        self.scores[sentences, step] = found.wanted[:, 0, 0]
        self.best[sentences, step, :count] = found.tokens[:, 0]
        self.best_scores[sentences, step, :count] = found.scores[:, 0]
        if found.weights is not None:
            if self.weights is None:
                self.weights = np.zeros((*self.scores.shape, found.weights.shape[2]), np.float32)
            self.weights[sentences, step, : found.weights.shape[2]] = found.weights[:, 0]

    def target(self, sentence: int, wanted: Ints, candidates: int, width: int | None) -> ScoredTarget:
        """One scored target; `wanted` [T+1] are its ids with the end symbol, `width` its source positions."""
        steps = len(wanted)
        scores = self.scores[sentence, :steps].copy()
        score = float(scores.sum())
        count = min(candidates, int(np.count_nonzero(self.best_scores[sentence, 0] > -np.inf)))
        weights = None if self.weights is None else self.weights[sentence, :steps, :width].copy()
        return ScoredTarget(
            Hypothesis(wanted[:-1].copy(), score, scores, ranking_score=score, weights=weights),
            correct=self.best[sentence, :steps, 0] == wanted,
            alternatives=self.best[sentence, :steps, :count].copy(),
            alternative_scores=self.best_scores[sentence, :steps, :count].copy())


def score_targets(
    engine: Engine[Any],
    source: Padded | int,
    targets: Sequence[Ints],
    *,
    lines: Ints | None = None,
    weights: bool = False,
    candidates: int = 0,
) -> list[ScoredTarget]:
    """Score B targets (ids without start and end symbols), in order, each token after the gold history.

    lines:      [B] line numbers that name sentences in errors; 0, 1, … when not given.
    candidates: how many alternatives to give for each step.

    Token accuracy with gold history is the mean of `correct`; perplexity is exp(−mean token score). Raises UsageError
    when the targets are not one for each sentence or hold special symbols, and SeqloomError when the engine gives
    anything but log-probabilities.
    """
    size = size_of(source)
    lines = np.arange(size) if lines is None else np.asarray(lines)
    if len(targets) != size:
        raise UsageError(f"got {len(targets)} targets for {size} sentences", fix="give one target for each sentence")
    if not size:
        return []
    wanted = _with_ends(targets, lines, engine.end)
    lengths = np.array([len(target) + 1 for target in targets])
    table = _Table(size, wanted.shape[1], max(candidates, 1))
    sentences = np.arange(size)
    tokens: Ints = np.full((size, 1), START, np.int64)
    state = engine.begin(source)
    for step in range(wanted.shape[1]):
        going = np.flatnonzero(lengths[sentences] > step)
        if len(going) <= (1 - DROP_SHARE) * len(sentences):
            state = engine.keep(state, going)
            sentences, tokens = sentences[going], tokens[going]
        now = wanted[sentences, step, None]
        found, state = engine.step(state, tokens, np.zeros_like(tokens), max(candidates, 1),
                                   wanted=now[:, :, None], weights=weights)
        check_step(engine.name, found, lines[sentences], step, wanted=True)
        table.fill(sentences, step, found)
        tokens = now
    widths = attention_widths(source, None if table.weights is None else table.weights.shape[2])
    return [table.target(index, wanted[index, : lengths[index]], candidates, None if widths is None else widths[index])
            for index in range(size)]


def _with_ends(targets: Sequence[Ints], lines: Ints, end: int) -> Ints:
    """Targets as one array [B T+1], the end symbol after each, then padding."""
    rectangle: Ints = np.full((len(targets), max(map(len, targets)) + 1), PADDING, np.int64)
    for row, target, line in zip(rectangle, targets, lines, strict=True):
        if len(target) and bool(np.isin(target, (PADDING, START, end)).any()):
            raise UsageError(f"line {line}: the target holds a padding, start or end symbol: "
                             f"{np.asarray(target).tolist()}", fix="give the ids of real symbols only")
        row[: len(target)] = target
        row[len(target)] = end
    return rectangle
