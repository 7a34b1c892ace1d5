"""Back-pointers of a running search, and the answers they lead to.

Nothing is copied while the search runs: each step leaves its choices, and the few hypotheses that are reported are
walked back at the end, all of them at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from seqloom.types import Floats, Hypothesis, Ints


class Choice(NamedTuple):
    """What one step chose. `row_of` [B₀] gives the row of each original sentence in the other arrays.

    tokens, parents, scores: [B K] the new token of each slot, the row it was fed from, the token's log-probability.
    weights: [B K' S] attention of the K' rows that were fed, None when not asked for.
    """

    row_of: Ints
    tokens: Ints
    parents: Ints
    scores: Floats
    weights: Floats | None


class Endings(NamedTuple):
    """Hypotheses that left the search: slot `slots` after `lengths` steps, plus the end symbol where it was produced.

    sentences: [F] original sentence.
    lengths:   [F] tokens without the end symbol.
    slots:     [F] slot after that many steps.
    ends:      [F] log-probability of the end symbol, nan for an unfinished hypothesis.
    rankings:  [F] score after penalties.
    """

    sentences: Ints
    lengths: Ints
    slots: Ints
    ends: Floats
    rankings: Floats


class Trail:
    """Every choice of a search and the hypotheses that left it."""

    def __init__(self) -> None:
        self.choices: list[Choice] = []
        self.endings: list[Endings] = []

    def end(self, sentences: Ints, length: int, slots: Ints, ends: Floats | None, rankings: Floats) -> None:
        """Note hypotheses that left: see `Endings`; `ends` None means unfinished."""
        if ends is None:
            ends = np.full(len(sentences), np.nan)
        self.endings.append(Endings(sentences, np.full(len(sentences), length), slots, ends, rankings))

    def hypotheses(self, size: int, n_best: int, widths: Ints | None) -> list[list[Hypothesis]]:
        """The `n_best` of each of `size` sentences, best ranking first; of equals, the one that left first.

        widths: [B₀] source positions that each sentence's weights are trimmed to; None leaves them as they are.
        """
        best = self._best(n_best)
        ids, scores, weights = self._walk(best)
        answers: list[list[Hypothesis]] = [[] for _ in range(size)]
        for index, (sentence, length, ended, ranking) in enumerate(zip(
                best.sentences.tolist(), best.lengths.tolist(), best.ends.tolist(), best.rankings.tolist(),
                strict=True)):
            finished = ended == ended  # not nan
            token_scores = scores[index, : length + finished]
            attention = None
            if weights is not None:
                width = weights.shape[2] if widths is None else int(widths[sentence])
                attention = weights[index, : length + finished, :width].copy()
            # Summed in the order of the search, so that without penalties ranking_score is the same number.
            score = float(token_scores.cumsum()[-1]) if len(token_scores) else 0.0
            answers[sentence].append(Hypothesis(
                ids[index, :length].copy(), score, token_scores.copy(), ranking, finished, attention))
        return answers

    def _best(self, n_best: int) -> Endings:
        """The n_best endings of each sentence, by sentence, then ranking, then time."""
        parts: list[Any] = [np.concatenate(part) for part in zip(*self.endings, strict=True)]
        every = Endings(*parts)
        order = np.lexsort((-every.rankings, every.sentences))  # stable: equals stay in order of time
        sentences = every.sentences[order]
        first = np.searchsorted(sentences, sentences)
        order = order[np.arange(len(order)) - first < n_best]
        return Endings(*(part[order] for part in parts))

    def _walk(self, best: Endings) -> tuple[Ints, Floats, Floats | None]:
        """Ids [F T+1], token scores [F T+1] and weights [F T+1 S] of these hypotheses, back from their last token."""
        count, longest = len(best.sentences), int(best.lengths.max())
        order = np.argsort(-best.lengths, kind="stable")  # the longest first: those still walking are a slice
        sentences, lengths, slots, ends = (part[order] for part in best[:4])
        ids: Ints = np.zeros((longest + 1, count), np.int64)
        scores = np.zeros((longest + 1, count))
        finished = ends == ends  # not nan
        scores[lengths[finished], np.flatnonzero(finished)] = ends[finished]
        weights = None
        if self.choices and (first := self.choices[0].weights) is not None:
            weights = np.zeros((longest + 1, count, first.shape[2]), np.float32)
        longer = np.searchsorted(-lengths, -np.arange(longest + 1)).tolist()  # how many have more tokens than this
        row_of, rows = None, sentences
        for step in reversed(range(min(longest + 1, len(self.choices)))):
            choice, walking = self.choices[step], longer[step]
            if row_of is not choice.row_of:
                row_of = choice.row_of
                rows = row_of[sentences]
            at = (rows[:walking], slots[:walking])
            ids[step, :walking] = choice.tokens[at]
            scores[step, :walking] = choice.scores[at]
            slots[:walking] = choice.parents[at]
            if weights is not None and choice.weights is not None:
                # The hypotheses that end here took their end symbol from this step.
                fed = np.arange(count)[(lengths > step) | ((lengths == step) & finished)]
                weights[step, fed, : choice.weights.shape[2]] = choice.weights[rows[fed], slots[fed]]
        back = np.argsort(order)
        return ids.T[back], scores.T[back], None if weights is None else weights.transpose(1, 0, 2)[back]
