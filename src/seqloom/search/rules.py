"""What a hypothesis may not say, and what it must: rules over candidates, none of which enters a graph.

Banned ids are met by asking the engine for as many more candidates as can be banned, and striking them out; forced
prefixes use the engine's `wanted`. Every rule looks at its own hypothesis only, so an answer never depends on its
neighbours in the batch. Penalties of whole hypotheses (length, coverage) are in `ranking`.

- Padding and start symbols are never produced; the unknown symbol only when `allow_unknown`.
- `min_length`: no end symbol before that many tokens.
- `no_repeat_ngram_size` n: no token that would complete an n-gram already in the hypothesis (Paulus et al. 2018,
  "A Deep Reinforced Model for Abstractive Summarization", §2.5, for any n). The end symbol is never banned by it.
- `repetition_penalty` θ: the log-probability of tokens already produced is multiplied by θ ≥ 1 (Keskar et al. 2019,
  §4.1, on log-probabilities) for the choice; the score that is reported stays the model's.
- Prefixes: while a sentence is within its prefix, the prefix's token is its only candidate, whatever the rules say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqloom.config.sections import DecodingConfig
from seqloom.types import PADDING, START, UNKNOWN, Bools, Floats, Ints, Step


class Plan(NamedTuple):
    """What the rules want of one step.

    extra:  candidates needed beyond those that the search will choose from.
    banned: [B K N] ids that would repeat an n-gram, -1 where there is none; None when the rule is off.
    forced: [B] token that the prefix wants, -1 for sentences past their prefix; None when there are none at all.
    """

    extra: int
    banned: Ints | None
    forced: Ints | None


class Candidates(NamedTuple):
    """What a search chooses from.

    adjusted: [B K C] scores that the choice is made by; -inf is not allowed, and choosing it ends the hypothesis.
    scores:   [B K C] the model's log-probabilities.
    tokens:   [B K C] ids; best model score first, or every id in order when the search asked for all.
    weights:  [B K S] attention, or None.
    """

    adjusted: Floats
    scores: Floats
    tokens: Ints
    weights: Floats | None


class Rules:
    """The rules of one search, with the histories they need (none when no rule looks back)."""

    def __init__(self, options: DecodingConfig, end: int, prefixes: Sequence[Ints]) -> None:
        self.end = end
        self.min_length = options.min_length
        self.ngram = options.no_repeat_ngram_size
        self.penalty = options.repetition_penalty
        self.allow_unknown = options.allow_unknown
        self.prefixes = _rectangle(prefixes)
        self.history: Ints | None = None
        if self.ngram or self.penalty != 1.0:
            self.history = np.zeros((len(prefixes), 1, 0), np.int64)
        # Padding and start symbols are hardly ever among the best: room for them is made once they have been seen.
        self.cautious = False

    def follow(self, tokens: Ints, parents: Ints) -> None:
        """Make histories longer: slot k of a row continues `parents` [B K] with `tokens` [B K]."""
        if self.history is not None:
            rows = np.arange(len(parents))[:, None]
            self.history = np.concatenate([self.history[rows, parents], tokens[:, :, None]], axis=2)

    def keep(self, rows: Ints) -> None:
        """Drop every sentence whose row is not listed."""
        if self.history is not None:
            self.history = self.history[rows]
        if self.prefixes is not None:
            self.prefixes = self.prefixes[rows]

    def plan(self, step: int) -> Plan:
        """What this step (from 0) will ban or force."""
        extra = (not self.allow_unknown) + (step < self.min_length) + (2 if self.cautious else 0)
        banned = None
        if self.history is not None:
            if self.ngram and (banned := repeats(self.history, self.ngram)) is not None:
                extra += int(np.count_nonzero(banned >= 0, axis=2).max())
            if self.penalty != 1.0:
                extra += step  # at most this many tokens of the history move down
        forced = None
        if self.prefixes is not None and step < self.prefixes.shape[1]:
            forced = self.prefixes[:, step]
        return Plan(extra, banned, forced)

    def apply(self, found: Step, plan: Plan, step: int, asked: int | None) -> Candidates | None:
        """The candidates after all rules; None when room for padding and start symbols has to be asked for first."""
        tokens = found.tokens
        adjusted: Floats = found.scores
        if tokens is None:
            tokens = np.broadcast_to(np.arange(adjusted.shape[2]), adjusted.shape)
        elif not self.cautious and tokens.shape[2] >= (asked or 0) and np.count_nonzero(tokens <= START):
            self.cautious = bool(((tokens == PADDING) | (tokens == START)).any())
            if self.cautious:
                return None
        struck = self._struck(tokens, step)
        if self.history is not None and self.penalty != 1.0 and step:
            seen = among(found.tokens, self.history, adjusted.shape)
            adjusted = np.where(seen, adjusted * self.penalty, adjusted)
        if plan.banned is not None:
            repeated = among(found.tokens, plan.banned, adjusted.shape)
            struck = repeated if struck is None else struck | repeated
        if struck is not None:
            adjusted = np.where(struck, -np.inf, adjusted)
        candidates = Candidates(adjusted, found.scores, tokens, found.weights)
        return candidates if plan.forced is None else force(candidates, plan.forced, found.wanted)

    def _never(self, step: int) -> list[int]:
        """Ids that no hypothesis may produce at this step."""
        never = [PADDING, START] if self.allow_unknown else [PADDING, START, UNKNOWN]
        return [*never, self.end] if step < self.min_length else never

    def _struck(self, tokens: Ints, step: int) -> Bools | None:
        """Which candidates [B K C] are never allowed at this step; None when no id is."""
        if step >= self.min_length and not np.count_nonzero(tokens <= START):
            return None
        struck: Bools = np.zeros(tokens.shape, np.bool_)
        for number in self._never(step):  # a handful: quicker than np.isin
            struck |= tokens == number
        return struck


def repeats(history: Ints, size: int) -> Ints | None:
    """Tokens [B K T-n+1] that would complete an n-gram of each history [B K T] again; -1 where one would not."""
    length = history.shape[2]
    if length < size:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(history, size, axis=2)
    last = history[:, :, None, length - size + 1:]
    return np.where((windows[..., :-1] == last).all(axis=3), windows[..., -1], -1)


def among(tokens: Ints | None, listed: Ints, shape: tuple[int, ...]) -> Bools:
    """Which candidates [B K C] are in their row's list [B K N]; tokens None: the candidates are all ids in order."""
    if tokens is not None:
        return np.asarray((tokens[..., None] == listed[:, :, None, :]).any(axis=3))
    found = np.zeros((*shape[:2], shape[2] + 1), np.bool_)
    np.put_along_axis(found, np.where(listed < 0, shape[2], listed), True, axis=2)
    return found[:, :, :-1]


def force(candidates: Candidates, forced: Ints, wanted: Floats | None) -> Candidates:
    """Leave sentences within their prefix a single candidate, the forced token [B], with its `wanted` score [B K 1]."""
    rows = np.flatnonzero(forced >= 0)
    if not len(rows) or wanted is None:
        return candidates
    adjusted, scores, tokens = candidates.adjusted.copy(), candidates.scores.copy(), candidates.tokens.copy()
    adjusted[rows] = -np.inf
    adjusted[rows, :, 0] = scores[rows, :, 0] = wanted[rows, :, 0]
    tokens[rows, :, 0] = forced[rows, None]
    return Candidates(adjusted, scores, tokens, candidates.weights)


def _rectangle(prefixes: Sequence[Ints]) -> Ints | None:
    """Prefixes as one array [B P] filled with -1; None when all are empty."""
    longest = max(map(len, prefixes), default=0)
    if not longest:
        return None
    rectangle: Ints = np.full((len(prefixes), longest), -1, np.int64)
    for row, prefix in zip(rectangle, prefixes, strict=True):
        row[: len(prefix)] = prefix
    return rectangle
