"""Several engines as one: their distributions are averaged at every step (Sutskever et al. 2014, §3.6).

Members read the same source and share one target vocabulary; whoever loads them sees to that, because engines know
ids only. Each member gives its full distribution, so the best candidates of the average are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NoReturn

import numpy as np

from seqloom.errors import SeqloomError, UsageError
from seqloom.types import Engine, Floats, Ints, Padded, Step

# Up to this many candidates are found by as many passes over a row; more, by sorting it.
MOST_PASSES = 32

Average = Literal["probabilities", "log_probabilities"]


class EnsembleEngine:
    """The average of `engines`, itself an engine; its attention is the mean over the members that have any.

    average: probabilities: the arithmetic mean, which any one member can carry; log_probabilities: the geometric mean,
             normalised again, which any one member can veto.

    Raises UsageError for no engines, an unknown average, or members with different end symbols.
    """

    def __init__(self, engines: Sequence[Engine[Any]], *, average: Average = "probabilities") -> None:
        if not engines:
            raise UsageError("an ensemble of no engines", fix="give one run or more")
        if average not in ("probabilities", "log_probabilities"):
            raise UsageError(f"unknown average '{average}' of an ensemble",
                             fix="choose probabilities or log_probabilities")
        if len({engine.end for engine in engines}) > 1:
            ends = ", ".join(f"'{engine.name}': {engine.end}" for engine in engines)
            raise UsageError(f"the members of an ensemble end with different symbols ({ends})",
                             fix="use runs that were trained with one target vocabulary")
        self.engines = tuple(engines)
        self.average = average
        self.end = engines[0].end
        self.name = f"ensemble({', '.join(engine.name for engine in engines)})"

    @property
    def threads(self) -> int:
        """Members take turns: as many as the one with most."""
        return max(engine.threads for engine in self.engines)

    def begin(self, source: Padded | int, shortlist: Ints | None = None) -> tuple[Any, ...]:
        """Every member's first state."""
        if shortlist is None:
            return tuple(engine.begin(source) for engine in self.engines)
        return tuple(engine.begin(source, shortlist) for engine in self.engines)

    def step(self, state: tuple[Any, ...], tokens: Ints, parents: Ints, candidates: int | None, *,
             wanted: Ints | None = None, weights: bool = False) -> tuple[Step, tuple[Any, ...]]:
        """One step of every member, averaged; see `Engine.step`.

        Raises SeqloomError when members differ in the size of their vocabulary or memory, or give nan.
        """
        steps, states = [], []
        for engine, own in zip(self.engines, state, strict=True):
            found, after = engine.step(own, tokens, parents, None, weights=weights)
            _check_numbers(engine.name, found.scores)
            steps.append(found)
            states.append(after)
        members = [found.scores for found in steps]
        self._check_sizes(members)
        if self.average == "log_probabilities":
            members = [_geometric_mean(members)]
        given = None if wanted is None else _mean_of(members, wanted)
        attention = self._mean_weights([found.weights for found in steps if found.weights is not None])
        if candidates is None:
            return Step(_mean_of(members, None), None, given, attention), tuple(states)
        # Sums of probabilities sort like their logarithms, which are then taken of the best alone.
        sums = members[0] if len(members) == 1 else np.add.reduce([np.exp(scores) for scores in members])
        best = top_candidates(sums, candidates)
        return Step(_mean_of(members, best), best, given, attention), tuple(states)

    def keep(self, state: tuple[Any, ...], sentences: Ints) -> tuple[Any, ...]:
        """Drop every sentence whose row is not listed, in every member."""
        return tuple(engine.keep(own, sentences) for engine, own in zip(self.engines, state, strict=True))

    def positions(self, state: tuple[Any, ...]) -> Ints | None:
        """Those of the first member that has any: all whose attention is averaged read the same."""
        found = (engine.positions(own) for engine, own in zip(self.engines, state, strict=True))
        return next((each for each in found if each is not None), None)

    def answer(self, source: Padded, state: tuple[Any, ...] | None = None) -> tuple[Floats, tuple[Any, ...]]:
        """Every member's answer, averaged; see `Engine.answer`. Raises SeqloomError as `step` does."""
        members, states = [], []
        for engine, own in zip(self.engines, state or (None,) * len(self.engines), strict=True):
            found, after = engine.answer(source, own)
            _check_numbers(engine.name, found)
            members.append(found)
            states.append(after)
        self._check_sizes(members)
        if self.average == "log_probabilities":
            members = [_geometric_mean(members)]
        return _mean_of(members, None), tuple(states)

    def encode(self, source: Padded) -> NoReturn:
        """Raises UsageError: every member has a memory of its own."""
        raise UsageError(f"an ensemble of {len(self.engines)} runs has as many encodings of an input",
                         fix="encode with one run")

    def _check_sizes(self, scores: list[Floats]) -> None:
        """Raise SeqloomError when members give scores [B K V] of different numbers of symbols."""
        if len({one.shape for one in scores}) > 1:
            sizes = ", ".join(f"'{engine.name}': {one.shape[2]}" for engine, one in
                              zip(self.engines, scores, strict=True))
            raise SeqloomError(f"the members of an ensemble know different numbers of symbols ({sizes})",
                               fix="use runs that were trained with one target vocabulary")

    def _mean_weights(self, weights: list[Floats]) -> Floats | None:
        """Mean attention [B K S] of the members that have any."""
        if not weights:
            return None
        if len({one.shape for one in weights}) > 1:
            widths = ", ".join(str(one.shape[2]) for one in weights)
            raise SeqloomError(f"the members of an ensemble attend over different numbers of positions ({widths})",
                               fix="decode without weights and without coverage_penalty")
        mean: Floats = np.mean(weights, axis=0)
        return mean


def _check_numbers(name: str, scores: Floats) -> None:
    """Raise SeqloomError for a member whose log-probabilities are no numbers."""
    if np.isnan(scores).any():
        raise SeqloomError(f"'{name}' in an ensemble gave nan, expected log-probabilities",
                           fix="leave that run out, or use an earlier checkpoint of it")


def log_sum(scores: Floats, axis: int) -> Floats:
    """log Σ exp along an axis, which stays with size 1; -inf where every term is."""
    highest = scores.max(axis=axis, keepdims=True)
    highest = np.where(highest > -np.inf, highest, 0.0).astype(scores.dtype)
    with np.errstate(divide="ignore"):
        summed: Floats = np.log(np.exp(scores - highest).sum(axis=axis, keepdims=True)) + highest
    return summed


def _geometric_mean(members: list[Floats]) -> Floats:
    """Log-probabilities [B K V] proportional to the mean of the members'; all −∞ where these agree on no id."""
    mean: Floats = np.mean(members, axis=0)
    whole = log_sum(mean, axis=2)
    return mean - np.where(whole > -np.inf, whole, 0.0).astype(mean.dtype)


def _mean_of(members: list[Floats], ids: Ints | None) -> Floats:
    """Log of the mean probability of these ids [B K C], or of all of them."""
    scores = np.stack([one if ids is None else np.take_along_axis(one, ids, axis=2) for one in members])
    mean: Floats = scores[0] if len(members) == 1 else log_sum(scores, axis=0)[0] - float(np.log(len(members)))
    return mean


def top_candidates(scores: Floats, count: int) -> Ints:
    """Ids [B K C] of the `count` best of each row [B K V], best first, ties to the lower id; all when V is smaller."""
    size = scores.shape[2]
    if count > min(MOST_PASSES, size):
        order: Ints = np.argsort(-scores, axis=2, kind="stable")[:, :, :count]
        return order
    left = np.maximum(scores, np.finfo(scores.dtype).min)
    best: Ints = np.empty((*scores.shape[:2], count), np.int64)
    for rank in range(count):  # a pass takes the first of equals
        best[:, :, rank] = left.argmax(axis=2)
        np.put_along_axis(left, best[:, :, rank, None], -np.inf, axis=2)
    return best
