"""Every refusal of the search, with its words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matrix_engine import MatrixEngine, MatrixState, matrix_engine, options, sources

from seqloom.errors import SeqloomError, UsageError
from seqloom.search import STRATEGIES, search
from seqloom.search.scoring import score_targets
from seqloom.types import Ints, Padded, Step

every_strategy = pytest.mark.parametrize("strategy", list(STRATEGIES))


@every_strategy
@pytest.mark.parametrize(("bad", "words"), [(np.nan, "nan"), (np.inf, "inf"), (3.5, "3.5")])
def test_scores_that_are_no_log_probabilities(strategy: str, bad: float, words: str) -> None:
    """The line is named, also after other sentences have been dropped."""
    engine = matrix_engine(30)
    source = Padded({"main": np.zeros((30, 1), np.int64)}, np.ones(30, np.int64))
    source.main[7] = 1
    limits = np.where(np.arange(30) == 7, 6, 1)  # all leave at once but line 107, which goes on with 4
    engine.scores[1] = [-np.inf] * 4 + [0.0] + [-np.inf] * 2
    engine.scores[engine.follow(np.array(1), np.array(4))] = bad
    with pytest.raises(SeqloomError, match=rf"line 107: the engine 'matrix' gave {words} at step 2, "
                                           r"expected log-probabilities\n  fix: the model may have diverged"):
        search(engine, source, options(strategy=strategy), lines=np.arange(30) + 100, limits=limits)
    assert engine.kept


@every_strategy
def test_an_engine_that_ignores_wanted(strategy: str) -> None:
    class Deaf(MatrixEngine):
        def step(self, state: MatrixState, tokens: Ints, parents: Ints, candidates: int | None, *,
                 wanted: Ints | None = None, weights: bool = False) -> tuple[Step, MatrixState]:
            return super().step(state, tokens, parents, candidates, weights=weights)

    engine = Deaf(matrix_engine(1).scores)
    with pytest.raises(SeqloomError, match="the engine 'matrix' gave no scores of wanted ids"):
        search(engine, 1, options(strategy=strategy), prefixes=[np.array([4])])
    with pytest.raises(SeqloomError, match="the engine 'matrix' gave no scores of wanted ids"):
        score_targets(engine, 1, [np.array([4])])


@every_strategy
def test_coverage_penalty_needs_attention(strategy: str) -> None:
    with pytest.raises(UsageError, match=r"coverage_penalty needs attention weights, and the engine 'matrix' has none"
                                         r"\n  fix: set coverage_penalty to 0"):
        search(matrix_engine(1), sources(2), options(strategy=strategy, coverage_penalty=0.1))


def test_greedy_has_one_answer() -> None:
    with pytest.raises(UsageError, match="n_best is 2, and greedy search has one answer"):
        search(matrix_engine(1), sources(2), options(strategy="greedy", n_best=2))


def test_a_beam_has_no_more_answers_than_hypotheses() -> None:
    with pytest.raises(UsageError, match=r"n_best is 5 and beam_size 4: a beam has at most beam_size answers\n"
                                         r"  fix: raise beam_size"):
        search(matrix_engine(1), sources(2), options(beam_size=4, n_best=5))


@pytest.mark.parametrize("given", [{"lines": np.arange(3)}, {"limits": np.array([4])}, {"prefixes": []}], ids=str)
def test_one_entry_for_each_sentence(given: dict[str, Any]) -> None:
    [name], [value] = given, given.values()
    with pytest.raises(UsageError, match=rf"the search got {len(value)} {name} for 2 sentences"):
        search(matrix_engine(1), sources(2), options(), **given)


def test_limits_are_positive() -> None:
    with pytest.raises(UsageError, match="line 6: at most 0 target tokens were asked for, expected 1 or more"):
        search(matrix_engine(1), sources(2), options(), limits=np.array([3, 0]), lines=np.array([5, 6]))


def test_prefixes_fit_their_limits() -> None:
    with pytest.raises(UsageError, match="line 1: the forced prefix has 3 tokens, and 2 are allowed"):
        search(matrix_engine(1), sources(2), options(max_length=2), prefixes=[np.array([4]), np.array([4, 5, 6])])


@pytest.mark.parametrize("symbol", [0, 2, 3])
def test_prefixes_hold_no_special_symbols(symbol: int) -> None:
    with pytest.raises(UsageError, match=r"line 0: the forced prefix holds a padding, start or end symbol: \[4, \d\]"):
        search(matrix_engine(1), sources(1), options(), prefixes=[np.array([4, symbol])])
