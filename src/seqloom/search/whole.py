"""A greedy search that an engine makes by itself: where nothing is asked that only single steps can give.

What stands between two steps takes as long as a step of a small model, or as one of a single sentence.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from seqloom.search.frontier import HIGHEST_SCORE, check_step
from seqloom.search.ranking import Ranking
from seqloom.search.request import Request, attention_widths
from seqloom.types import PADDING, START, UNKNOWN, Floats, Hypothesis, Ints, Padded, Searched, Step


@runtime_checkable
class WholeSearch(Protocol):
    """An engine that can search greedily by itself."""

    def greedy(self, source: Padded, limits: Ints, banned: Ints, shortlist: Ints | None = None, *,
               weights: bool = False) -> Searched | None:
        """A whole search, in which the ids `banned` [N] are never chosen; None where the engine cannot.

        limits: [B] most steps of each sentence. shortlist: [B L] see types.Engine.begin. weights: attention is wanted.
        """
        ...


def whole_search(request: Request) -> list[list[Hypothesis]] | None:
    """The answers of `greedy`, or None where they have to be searched for step by step."""
    options, engine = request.options, request.engine
    plain = not (options.coverage_penalty or options.min_length or options.no_repeat_ngram_size
                 or options.repetition_penalty != 1.0 or any(map(len, request.prefixes)))
    if not plain or isinstance(request.source, int) or not isinstance(engine, WholeSearch):
        return None
    banned = [PADDING, START] if options.allow_unknown else [PADDING, START, UNKNOWN]
    found = engine.greedy(request.source, request.limits, np.array(banned), request.shortlist, weights=request.weights)
    if found is None:
        return None
    ends = found.tokens == engine.end
    ended = ends.any(axis=1)
    steps = np.where(ended, ends.argmax(axis=1) + 1, np.minimum(request.limits, found.tokens.shape[1]))
    scores = np.where(np.arange(found.tokens.shape[1]) < steps[:, None], found.scores.astype(np.float64), 0.0)
    _check(engine.name, scores, request.lines)
    if not np.isfinite(scores).all():
        return None  # nothing possible was left: how the hypothesis ends then is known to single steps
    totals = scores.cumsum(axis=1)[:, -1]
    rankings = Ranking(options).rank(totals, steps)
    widths = None if found.weights is None else attention_widths(request.source, found.weights.shape[2])
    answers = []
    for row, (count, end, score, ranking) in enumerate(zip(
            steps.tolist(), ended.tolist(), totals.tolist(), rankings.tolist(), strict=True)):
        weights = None
        if found.weights is not None:
            weights = found.weights[row, :count, : None if widths is None else widths[row]].copy()
        ids = found.tokens[row, : count - end]
        answers.append([Hypothesis(ids, score, scores[row, :count], ranking, end, weights)])
    return answers


def _check(name: str, scores: Floats, lines: Ints) -> None:
    """Raise SeqloomError for scores [B T] that are no log-probabilities, at the first step that has one."""
    for step in np.flatnonzero(~(scores <= HIGHEST_SCORE).all(axis=0)):
        check_step(name, Step(scores[:, step][:, None, None], None, None, None), lines, int(step), wanted=False)
