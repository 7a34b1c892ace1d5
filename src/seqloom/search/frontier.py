"""The open sentences of a running search, and the one place from which a search talks to the engine.

Strategies keep their own arrays, one row for each open sentence; the frontier keeps everything else that moves with
the rows (engine state, rules, coverage, limits, the trail) and says when rows are dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seqloom.errors import SeqloomError, UsageError
from seqloom.search.ranking import Coverage, Ranking
from seqloom.search.request import Request, attention_widths
from seqloom.search.rules import Candidates, Rules
from seqloom.search.trail import Choice, Trail
from seqloom.types import Bools, Floats, Hypothesis, Ints, Step

# Rows leave the engine once this share of them is closed. Dropping copies the memory of all that stay, and that has to
# be won back by the steps the closed ones no longer take. Model W of docs/speed.md in ONNX Runtime, fp32 and int8, 64
# sentences with target lengths of 13 ± 2.5, greedy and beam 5, 2 cores: never dropping takes 1.2 to 1.7 times as long
# as the best share, dropping at once 1.0 to 1.2 times, and every share from 1/32 to 1/4 is within 10 %.
DROP_SHARE = 1 / 16

# Log-probabilities above this are not rounding errors.
HIGHEST_SCORE = 0.05


class Frontier:
    """B open sentences; `sentences` [B] says which of the original B₀ each row is, `open` [B] which still go on."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.engine = request.engine
        self.state = begin(request)
        self.rules = Rules(request.options, request.engine.end, request.prefixes)
        self.ranking = Ranking(request.options)
        self.trail = Trail()
        self.coverage: Coverage | None = None
        self.sentences: Ints = np.arange(request.size)
        self.lines: Ints = np.asarray(request.lines)
        self.row_of: Ints = self.sentences
        self.rows: Ints = self.sentences[:, None]
        self.limits: Ints = np.asarray(request.limits, np.int64)
        self.next_limit = int(self.limits.min())
        self.open: Bools = np.ones(request.size, np.bool_)
        self.length = 0
        self.weights_width: int | None = None
        self.ask_weights = request.weights or request.options.coverage_penalty > 0

    def advance(self, tokens: Ints, parents: Ints, needed: int | None) -> Candidates:
        """Feed `tokens` to the hypotheses that continue `parents` (both [B K]); candidates for their next tokens.

        needed: how many allowed candidates the strategy wants for each hypothesis (fewer come only when there are no
        more), or None for all ids. Raises SeqloomError when the engine's scores are not log-probabilities.
        """
        if self.length:
            self.rules.follow(tokens, parents)
            if self.coverage is not None:
                self.coverage.follow(self.rows, parents)
        candidates = None
        while candidates is None:
            plan = self.rules.plan(self.length)
            asked = None if needed is None else needed + plan.extra
            wanted = None
            if plan.forced is not None:
                wanted = np.repeat(np.maximum(plan.forced, 0)[:, None, None], tokens.shape[1], axis=1)
            found, state = self.engine.step(self.state, tokens, parents, asked, wanted=wanted,
                                            weights=self.ask_weights)
            check_step(self.engine.name, found, self.lines, self.length, wanted=wanted is not None)
            candidates = self.rules.apply(found, plan, self.length, asked)
        self.state = state
        if self.ask_weights:
            self._cover(found)
        self.length += 1
        return candidates

    def choose(self, tokens: Ints, parents: Ints, scores: Floats, weights: Floats | None) -> None:
        """Leave a step's choices in the trail: token, fed row and log-probability of each slot [B K]."""
        kept = np.array(weights, np.float32) if self.request.weights and weights is not None else None
        self.trail.choices.append(Choice(self.row_of, tokens, parents, scores, kept))

    def rank(self, cumulative: Floats, length: int, rows: Ints, slots: Ints, *, before: bool = False) -> Floats:
        """Ranking scores [F] of hypotheses that end now: those fed at the last step in `slots` of `rows`.

        before: they end without having used that step.
        """
        coverage = None if self.coverage is None else self.coverage.penalty(rows, slots, before=before)
        return self.ranking.rank(cumulative, length, coverage)

    def close(self, closing: Bools) -> Ints | None:
        """Close rows [B]. When rows are dropped, the rows that stay: the strategy indexes its own arrays with them."""
        self.open &= ~closing
        staying = np.flatnonzero(self.open)
        if not len(staying) or len(staying) > (1 - DROP_SHARE) * len(self.open):
            return None
        self.state = self.engine.keep(self.state, staying)
        self.rules.keep(staying)
        if self.coverage is not None:
            self.coverage.keep(staying)
        self.sentences, self.lines, self.limits = self.sentences[staying], self.lines[staying], self.limits[staying]
        self.next_limit = int(self.limits.min())
        self.row_of = np.full(self.request.size, -1, np.int64)
        self.row_of[self.sentences] = np.arange(len(staying))
        self.rows = np.arange(len(staying))[:, None]
        self.open = np.ones(len(staying), np.bool_)
        return staying

    def answers(self) -> list[list[Hypothesis]]:
        """The best hypotheses of every sentence among those noted in the trail."""
        widths = attention_widths(self.request.source, self.weights_width)
        return self.trail.hypotheses(self.request.size, self.request.options.n_best, widths)

    def _cover(self, found: Step) -> None:
        """Note the width of the attention, and sum the weights when they are penalised."""
        if found.weights is None:
            if self.request.options.coverage_penalty > 0:
                raise UsageError(f"coverage_penalty needs attention weights, and the engine '{self.engine.name}' "
                                 "has none", fix="set coverage_penalty to 0")
            return
        if self.weights_width is None:
            self.weights_width = found.weights.shape[2]
        if self.request.options.coverage_penalty > 0:
            if self.coverage is None:
                positions = self.engine.positions(self.state)
                assert positions is not None  # there are weights over them
                self.coverage = Coverage(positions, self.weights_width)
            self.coverage.add(found.weights)


def begin(request: Request) -> Any:
    """The engine's first state; a shortlist has what the prefixes force."""
    if request.shortlist is None:
        return request.engine.begin(request.source)
    longest = max(map(len, request.prefixes), default=0)
    forced: Ints = np.full((request.size, longest), -1, np.int64)
    for row, prefix in zip(forced, request.prefixes, strict=True):
        row[: len(prefix)] = prefix
    allowed = np.concatenate([request.shortlist, forced], axis=1) if longest else request.shortlist
    return request.engine.begin(request.source, allowed)


def check_step(name: str, found: Step, lines: Ints, step: int, *, wanted: bool) -> None:
    """Raise SeqloomError when an engine does not give what was asked for, or gives other things than log-probabilities.

    Those are never nan nor above zero, rounding apart. lines: [B] names of the rows; step: from 0.
    """
    if wanted and found.wanted is None:
        raise SeqloomError(f"the engine '{name}' gave no scores of wanted ids", fix="repair the engine: see types.Step")
    for scores in (found.scores, found.wanted):
        if scores is not None and np.count_nonzero(scores <= HIGHEST_SCORE) < scores.size:
            wrong = ~(scores <= HIGHEST_SCORE)
            row = int(np.flatnonzero(wrong.any(axis=(1, 2)))[0])
            raise SeqloomError(
                f"line {lines[row]}: the engine '{name}' gave {scores[wrong][0]} at step {step + 1}, "
                "expected log-probabilities", fix="the model may have diverged: use an earlier checkpoint")
