"""Strategies whose hypotheses do not compete: `greedy` (one for each sentence) and `sampling` (n_best of them)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqloom.config.sections import DecodingConfig
from seqloom.errors import UsageError
from seqloom.search import draws
from seqloom.search.frontier import Frontier
from seqloom.search.request import Request
from seqloom.search.rules import Candidates
from seqloom.search.whole import whole_search
from seqloom.types import START, Bools, Floats, Hypothesis, Ints

# Columns [B K] of the chosen candidates, given the candidates, the sentences' rows in the request, and the step.
Chooser = Callable[[Candidates, Ints, int], Ints]


def greedy(request: Request) -> list[list[Hypothesis]]:
    """The best next token at every step, the lower id of equals: what `beam` does with beam_size 1, at less cost.

    Raises UsageError when n_best is not 1.
    """
    if request.options.n_best != 1:
        raise UsageError(f"n_best is {request.options.n_best}, and greedy search has one answer",
                         fix="set n_best to 1, or the strategy to beam or sampling")
    found = whole_search(request)
    return found or follow_rows(request, 1, 1, lambda given, sentences, step: given.adjusted.argmax(axis=2))


def sampling(request: Request) -> list[list[Hypothesis]]:
    """n_best independent draws from the model's distribution; the same answer may be drawn twice.

    Order: rules, temperature, top_k (Fan et al. 2018, §5.2.2), top_p (Holtzman et al. 2020, §3.1). `score` is the
    model's log-probability, without temperature. Random numbers are keyed by seed, line, sample and step, so sample i
    of a line is the same whatever the batch, the order and n_best.
    """
    options = request.options
    keys = draws.keys(options.seed, request.lines, options.n_best)

    def choose(found: Candidates, sentences: Ints, step: int) -> Ints:
        return draw(found, draws.uniform(keys[sentences], step), options)

    return follow_rows(request, options.n_best, options.top_k or None, choose)


def draw(found: Candidates, uniform: Floats, options: DecodingConfig) -> Ints:
    """Columns [B K] of candidates drawn with the numbers `uniform` [B K] by inversion of the distribution function."""
    logits = found.adjusted.astype(np.float64) / options.temperature
    order = None
    if options.top_k or options.top_p < 1.0:
        order = np.argsort(-logits, axis=2, kind="stable")
        logits = np.take_along_axis(logits, order, axis=2)[:, :, : options.top_k or None]
    highest = logits.max(axis=2, keepdims=True)
    weights = np.exp(logits - np.where(highest > -np.inf, highest, 0.0))
    cumulative = weights.cumsum(axis=2)
    if options.top_p < 1.0:
        # The smallest set with this probability: whoever starts below it belongs to it.
        weights[cumulative - weights >= options.top_p * cumulative[:, :, -1:]] = 0.0
        cumulative = weights.cumsum(axis=2)
    total = cumulative[:, :, -1:]
    columns: Ints = np.count_nonzero(cumulative <= uniform[:, :, None] * total, axis=2)
    columns = np.minimum(columns, np.count_nonzero(cumulative < total, axis=2))  # rounding may reach the total itself
    if order is None:
        return columns
    order = np.broadcast_to(order, (*columns.shape, order.shape[2]))
    drawn: Ints = np.take_along_axis(order, columns[:, :, None], axis=2)[:, :, 0]
    return drawn


class Walkers:
    """`width` hypotheses of each open sentence, each of which goes its own way; `going` [B K] are not at their end."""

    def __init__(self, request: Request, width: int) -> None:
        self.end = request.engine.end
        self.frontier = Frontier(request)
        self.tokens: Ints = np.full((request.size, 1), START, np.int64)
        self.parents: Ints = np.zeros((request.size, 1), np.int64)
        self.cumulative: Floats = np.zeros((request.size, width))
        self.going: Bools = np.ones((request.size, width), np.bool_)

    def step(self, needed: int | None, choose: Chooser) -> None:
        """Make every hypothesis one token longer; see `follow_rows`."""
        frontier = self.frontier
        found = frontier.advance(self.tokens, self.parents, needed)
        rows, width = self.cumulative.shape
        if frontier.length == 1:  # all begin in one row
            self.parents = np.zeros((rows, width), np.int64)
        elif frontier.length == 2:
            self.parents = np.tile(np.arange(width), (rows, 1))
        if found.adjusted.shape[1:] == (width, 1):  # nothing to choose; copied, as an engine may reuse its arrays
            self.tokens, scores = found.tokens[:, :, 0].copy(), found.scores[:, :, 0].copy()
            adjusted = found.adjusted[:, :, 0]
        else:
            columns = choose(found, frontier.sentences, frontier.length - 1)
            at = (frontier.rows, self.parents, columns)
            self.tokens, scores, adjusted = found.tokens[at], found.scores[at], found.adjusted[at]
        frontier.choose(self.tokens, self.parents, scores, found.weights)
        before, self.cumulative = self.cumulative, self.cumulative + adjusted
        ended = self.tokens == self.end
        stuck = adjusted == -np.inf
        if np.count_nonzero(ended) or np.count_nonzero(stuck) or frontier.length >= frontier.next_limit:
            self._note(self.going & stuck, before, frontier.length - 1, before=True)
            self._note(self.going & ended & ~stuck, self.cumulative, frontier.length - 1, ends=scores)
            cut = ~ended & ~stuck & (frontier.limits <= frontier.length)[:, None]
            self._note(self.going & cut, self.cumulative, frontier.length)
            self._leave(stuck | ended | cut)

    def _note(self, leaving: Bools, cumulative: Floats, length: int, *, ends: Floats | None = None,
              before: bool = False) -> None:
        """Note the hypotheses `leaving` [B K], which have `length` tokens; `ends` [B K] log-probability of the end."""
        rows, slots = np.nonzero(leaving)
        if not len(rows):
            return
        fed = self.parents[rows, slots]
        rankings = self.frontier.rank(cumulative[rows, slots], length + (ends is not None), rows, fed, before=before)
        self.frontier.trail.end(self.frontier.sentences[rows], length,
                                slots if length == self.frontier.length else fed,
                                None if ends is None else ends[rows, slots], rankings)

    def _leave(self, leaving: Bools) -> None:
        """Stop hypotheses [B K], and follow the frontier when it drops sentences without any that go on."""
        self.going = self.going & ~leaving
        staying = self.frontier.close(np.logical_not(self.going.any(axis=1)))
        if staying is not None:
            self.tokens, self.parents = self.tokens[staying], self.parents[staying]
            self.cumulative, self.going = self.cumulative[staying], self.going[staying]


def follow_rows(request: Request, width: int, needed: int | None, choose: Chooser) -> list[list[Hypothesis]]:
    """Search with `width` hypotheses of each sentence, each of which goes its own way.

    needed: how many candidates `choose` wants for each; None for all ids.
    """
    walkers = Walkers(request, width)
    while np.count_nonzero(walkers.frontier.open):
        walkers.step(needed, choose)
    return walkers.frontier.answers()
