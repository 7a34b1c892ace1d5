"""A greedy search that an engine makes by itself, in one call: where nothing is asked that only single steps can give.

With a sentence or a few, what stands between the steps takes as long as the steps. Larger batches are quicker in steps,
because sentences leave them when they have ended.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from seqloom.search.frontier import check_step
from seqloom.search.ranking import Ranking
from seqloom.search.request import Request, attention_widths
from seqloom.types import PADDING, START, UNKNOWN, Floats, Hypothesis, Ints, Padded, Searched, Step

MOST_ROWS = 4


@runtime_checkable
class WholeSearch(Protocol):
    """An engine that can search greedily by itself."""

    def greedy(self, source: Padded, limits: Ints, banned: Ints, shortlist: Ints | None = None) -> Searched | None:
        """A whole search, in which the ids `banned` [N] are never chosen; None where the engine cannot.

        limits: [B] most steps of each sentence. shortlist: [B L] see types.Engine.begin.
        """
        ...


def whole_search(request: Request) -> list[list[Hypothesis]] | None:
    """The answers of `greedy`, or None where they have to be searched for step by step."""
    options, engine = request.options, request.engine
    plain = not (options.coverage_penalty or options.min_length or options.no_repeat_ngram_size
                 or options.repetition_penalty != 1.0 or any(map(len, request.prefixes)))
    if not plain or request.size > MOST_ROWS or isinstance(request.source, int) or not isinstance(engine, WholeSearch):
        return None
    banned = [PADDING, START] if options.allow_unknown else [PADDING, START, UNKNOWN]
    found = engine.greedy(request.source, request.limits, np.array(banned), request.shortlist)
    if found is None:
        return None
    widths = None if found.weights is None else attention_widths(request.source, found.weights.shape[2])
    ranking = Ranking(options)
    answers = []
    for row, (line, limit) in enumerate(zip(request.lines, request.limits, strict=True)):
        ids, scores = found.tokens[row, :limit], found.scores[row, :limit]
        ends = np.flatnonzero(ids == engine.end)
        steps = int(ends[0]) + 1 if len(ends) else len(ids)
        token_scores: Floats = scores[:steps].astype(np.float64)
        for step in range(steps):
            check_step(engine.name, Step(token_scores[None, step:step + 1, None], None, None, None), np.array([line]),
                       step, wanted=False)
        if not np.isfinite(token_scores).all():
            return None  # nothing possible was left: how the hypothesis ends then is known to single steps
        score = float(token_scores.cumsum()[-1])
        weights = None
        if request.weights and found.weights is not None:
            weights = found.weights[row, :steps, : None if widths is None else widths[row]].copy()
        answers.append([Hypothesis(ids[: steps - bool(len(ends))].copy(), score, token_scores,
                                   float(ranking.rank(np.array([score]), steps)[0]), bool(len(ends)), weights)])
    return answers
