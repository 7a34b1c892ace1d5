"""Batched beam search: the strategy `beam`."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqloom.errors import UsageError
from seqloom.search.frontier import Frontier
from seqloom.search.request import Request
from seqloom.types import START, Bools, Floats, Hypothesis, Ints

# An end that is more than this behind the best open hypothesis, in log-probability, is none to wait for others with:
# e² times less probable. Of 1, 2, 3, 5 and 7 the largest that lost nothing on development data (docs/lab.md).
IN_TIME = 2.0


def beam(request: Request) -> list[list[Hypothesis]]:
    """The beam_size best partial hypotheses of every sentence go on, until nothing better can come.

    After Sutskever et al. 2014, §3.2, with length and coverage penalties after Wu et al. 2016, eq. 14:

    - A step makes every open hypothesis longer by each candidate and sorts them all by cumulative score. Those among
      the first `beam_size` that end are finished; the best `beam_size` of the others stay open, so the beam keeps
      its width. Ties go to the better parent, then to the lower id.
    - A hypothesis that reaches its limit is unfinished and competes with the finished ones.
    - A sentence ends when `beam_size` of its hypotheses have finished in good time, that is not more than IN_TIME
      behind the best one that stays open; or when no open hypothesis can still rank among its `n_best`, whatever
      comes (`Ranking.bound`, exact for the ranking in use); or at its limit. A sentence whose every continuation is
      banned or impossible ends with the hypotheses it has.

    Without "in good time" a model that is sure of itself loses its answer: beside the one right path the beam is filled
    with what is left, ends among it from the first step on, and these would be `beam_size` before the path is at its
    end. Without any count a path that repeats itself for ever would go on to its limit, and rank first there.

    Raises UsageError when n_best exceeds beam_size.
    """
    if request.options.n_best > request.options.beam_size:
        raise UsageError(f"n_best is {request.options.n_best} and beam_size {request.options.beam_size}: a beam has "
                         "at most beam_size answers", fix="raise beam_size or lower n_best")
    beams = Beams(request)
    while np.count_nonzero(beams.frontier.open):
        beams.step()
    return beams.frontier.answers()


class Beams:
    """The open hypotheses of every open sentence: B rows with K slots, best first; `cumulative` -inf is an empty slot.

    finished:  [B] how many hypotheses have finished in good time.
    best:      [B n_best] the best rankings that have left the beam, ascending.
    """

    def __init__(self, request: Request) -> None:
        self.width = request.options.beam_size
        self.end = request.engine.end
        self.frontier = Frontier(request)
        self.tokens: Ints = np.full((request.size, 1), START, np.int64)
        self.parents: Ints = np.zeros((request.size, 1), np.int64)
        self.cumulative: Floats = np.zeros((request.size, 1))
        self.finished: Ints = np.zeros(request.size, np.int64)
        self.best: Floats = np.full((request.size, request.options.n_best), -np.inf)
        self.any_finished = False

    def step(self) -> None:
        """Make every open hypothesis one token longer and close the sentences that are done."""
        # One more candidate than the beam is wide: the end symbol is at most one of them.
        found = self.frontier.advance(self.tokens, self.parents, self.width + 1)
        rows, fed, count = found.adjusted.shape
        totals = (self.cumulative[:, :, None] + found.adjusted).reshape(rows, fed * count)
        # At most one end symbol for each fed hypothesis: this many hold the first `width` that stay open.
        order = np.argsort(-totals, axis=1, kind="stable")[:, : 2 * self.width]
        flat = order + self.frontier.rows * (fed * count)
        cumulative, tokens, parents = totals.take(flat), found.tokens.take(flat), order // count
        ends = tokens == self.end
        if np.count_nonzero(ends[:, : self.width]):
            self._finish(ends, cumulative, parents, found.scores.take(flat))
            cumulative[ends] = -np.inf
            flat, cumulative, tokens, parents = self._open_first(ends, flat, cumulative, tokens, parents)
        before, self.cumulative = self.cumulative, cumulative[:, : self.width]
        self.tokens, self.parents = tokens[:, : self.width], parents[:, : self.width]
        self.frontier.choose(self.tokens, self.parents, found.scores.take(flat[:, : self.width]), found.weights)
        self._close(before)

    def _open_first(self, ends: Bools, *arrays: Any) -> list[Any]:
        """Arrays [B N] with the hypotheses that go on before those that ended, in their order."""
        pick = np.argsort(ends, axis=1, kind="stable")[:, : self.width]
        pick += self.frontier.rows * ends.shape[1]
        return [array.take(pick) for array in arrays]

    def _finish(self, ends: Bools, cumulative: Floats, parents: Ints, scores: Floats) -> None:
        """Note those of the first `width` hypotheses [B N] that ended."""
        leading = ends[:, : self.width] & (cumulative[:, : self.width] > -np.inf)
        if not np.count_nonzero(leading):
            return
        rows, columns = np.nonzero(leading)
        slots = parents[rows, columns]
        rankings = self.frontier.rank(cumulative[rows, columns], self.frontier.length, rows, slots)
        self.frontier.trail.end(self.frontier.sentences[rows], self.frontier.length - 1, slots,
                                scores[rows, columns], rankings)
        self.any_finished = True
        highest = np.where(ends, -np.inf, cumulative).max(axis=1, keepdims=True)
        self.finished += np.count_nonzero(leading & (cumulative[:, : self.width] >= highest - IN_TIME), axis=1)
        reached = np.full(leading.shape, -np.inf)
        reached[leading] = rankings  # both in the order of rows
        self.best = np.sort(np.concatenate([self.best, reached], axis=1), axis=1)[:, -self.best.shape[1]:]

    def _close(self, before: Floats) -> None:
        """Close the sentences that are done; `before` [B K'] are the cumulative scores of the hypotheses just fed."""
        frontier = self.frontier
        highest = self.cumulative[:, 0]
        closing = highest == -np.inf
        if np.count_nonzero(closing):
            self._note_unfinished(before, np.flatnonzero(closing & frontier.open & (self.best[:, -1] == -np.inf)),
                                  fed=True)
        if frontier.length >= frontier.next_limit:
            reached = frontier.limits <= frontier.length
            self._note_unfinished(self.cumulative, np.flatnonzero(reached & ~closing))
            closing |= reached
        if self.any_finished:
            closing |= self.finished >= self.width
            closing |= self.best[:, 0] >= frontier.ranking.bound(highest, frontier.length, frontier.limits)
        if np.count_nonzero(closing & frontier.open):
            self._drop(closing)

    def _note_unfinished(self, cumulative: Floats, rows: Ints, *, fed: bool = False) -> None:
        """Note every hypothesis of these rows as unfinished; fed: as it was before the last step."""
        chosen, slots = np.nonzero(cumulative[rows] > -np.inf)
        rows = rows[chosen]
        length = self.frontier.length - fed
        rankings = self.frontier.rank(cumulative[rows, slots], length, rows,
                                      slots if fed else self.parents[rows, slots], before=fed)
        self.frontier.trail.end(self.frontier.sentences[rows], length, slots, None, rankings)

    def _drop(self, closing: Bools) -> None:
        """Close rows [B], and follow the frontier when it drops them."""
        staying = self.frontier.close(closing)
        if staying is not None:
            self.tokens, self.parents, self.cumulative = (
                self.tokens[staying], self.parents[staying], self.cumulative[staying])
            self.finished, self.best = self.finished[staying], self.best[staying]
        else:
            self.cumulative = np.where(self.frontier.open[:, None], self.cumulative, -np.inf)
