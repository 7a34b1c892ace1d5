"""Beam search against plain Python: the same search written slowly, and the enumeration of everything there is."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_engine import matrix_engine, options, sources
from reference_search import Path, reference_of, total, weights_of

from seqloom.search import search
from seqloom.search.ranking import Ranking
from seqloom.types import END, START, Hypothesis, Ints, Padded


def agree(found: list[Hypothesis], expected: list[Path], rankings: list[float]) -> None:
    """The same hypotheses in the same order, with the same numbers."""
    assert [(tuple(one.ids.tolist()), one.finished) for one in found] == \
           [(one.tokens, one.finished) for one in expected]
    for one, path, ranking in zip(found, expected, rankings, strict=True):
        assert one.score == pytest.approx(total(path))
        assert one.ranking_score == pytest.approx(ranking)
        np.testing.assert_allclose(one.token_scores, path.token_scores)
        if one.weights is not None:
            np.testing.assert_allclose(one.weights, weights_of(path).reshape(one.weights.shape), rtol=1e-6)


RULES = st.fixed_dictionaries({
    "beam_size": st.integers(1, 5),
    "length_penalty": st.sampled_from([0.0, 0.6, 1.0, 2.0, -0.5]),
    "length_penalty_kind": st.sampled_from(["average", "wu"]),
    "coverage_penalty": st.sampled_from([0.0, 0.4]),
    "min_length": st.integers(0, 4),
    "no_repeat_ngram_size": st.integers(0, 3),
    "repetition_penalty": st.sampled_from([1.0, 1.3, 3.0]),
    "allow_unknown": st.booleans(),
    "n_best": st.integers(1, 5),
})


@settings(max_examples=120, deadline=None)
@given(rules=RULES, seed=st.integers(0, 10**6), vocabulary=st.integers(5, 12), ties=st.booleans(),
       end_bias=st.sampled_from([-2.0, 0.0, 2.0]), data=st.data())
def test_beam_equals_the_plain_one(rules: dict[str, Any], seed: int, vocabulary: int, ties: bool, end_bias: float,
                                   data: st.DataObject) -> None:
    """All rules, prefixes and limits at once, each sentence for itself; without early stopping in the plain one."""
    rules["n_best"] = min(rules["n_best"], rules["beam_size"])
    wanted = options(**rules, strategy="beam")
    engine = matrix_engine(seed, vocabulary=vocabulary, end_bias=end_bias, ties=ties, attention=True)
    source = sources(7, seed)
    limits = np.array(data.draw(st.lists(st.integers(1, 8), min_size=7, max_size=7)))
    prefixes: list[Ints] = [np.array(data.draw(st.lists(st.integers(4, vocabulary - 1), max_size=min(limit, 3))),
                                     np.int64) for limit in limits.tolist()]
    found = search(engine, source, wanted, lines=np.arange(7), prefixes=prefixes, limits=limits, weights=True)
    for row in range(7):
        plain = reference_of(engine, source.main[row], int(source.lengths[row]), wanted, int(limits[row]),
                             tuple(prefixes[row].tolist()))
        expected = plain.beam()
        agree(found[row], expected, [plain.ranking(path) for path in expected])


PENALTIES: list[dict[str, Any]] = [
    {},
    *({"length_penalty": alpha, "length_penalty_kind": kind} for alpha in (-1.0, 0.5, 1.0, 1.7)
      for kind in ("average", "wu")),
    {"coverage_penalty": 0.5},
    {"coverage_penalty": 2.0, "length_penalty": 1.0},
    {"repetition_penalty": 1.5},
    {"repetition_penalty": 4.0, "length_penalty": 1.0, "length_penalty_kind": "wu"},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2, "length_penalty": 1.0},
    {"min_length": 2},
    {"min_length": 3, "coverage_penalty": 0.3, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2,
     "length_penalty": 1.0},
    {"allow_unknown": False, "length_penalty": 1.0},
]


@pytest.mark.parametrize("penalties", PENALTIES, ids=str)
def test_a_beam_as_wide_as_the_space_equals_exhaustive_search(penalties: dict[str, Any]) -> None:
    wanted = options(**penalties, strategy="beam", beam_size=400, n_best=12, max_length=4)
    engine = matrix_engine(3, vocabulary=6, attention=True)
    source = sources(3)
    for row, found in enumerate(search(engine, source, wanted, lines=np.arange(3))):
        plain = reference_of(engine, source.main[row], int(source.lengths[row]), wanted, 4)
        expected = plain.enumerate()
        agree(found, expected, [plain.ranking(path) for path in expected])


@settings(max_examples=80, deadline=None)
@given(rules=RULES, seed=st.integers(0, 10**6), end_bias=st.sampled_from([-1.0, 1.0, 3.0]),
       limit=st.integers(1, 25))
def test_stopping_early_changes_nothing(rules: dict[str, Any], seed: int, end_bias: float, limit: int) -> None:
    """features.md B7: joeynmt#148 stops at the first end symbol. Here the bound is exact, for every ranking."""
    rules["n_best"] = min(rules["n_best"], rules["beam_size"])
    wanted = options(**rules, strategy="beam", max_length=limit)
    engine = matrix_engine(seed, end_bias=end_bias, attention=True)
    source = sources(6, seed)
    stopped = search(engine, source, wanted, lines=np.arange(6))
    took, engine.steps = engine.steps, 0
    with mock.patch.object(Ranking, "bound", lambda self, cumulative, length, limits: np.full(len(limits), np.inf)):
        full = search(engine, source, wanted, lines=np.arange(6))
    assert took <= engine.steps
    for one, other in zip(stopped, full, strict=True):
        assert [(each.ids.tolist(), each.ranking_score) for each in one] == \
               [(each.ids.tolist(), each.ranking_score) for each in other]


def test_stopping_saves_steps() -> None:
    """Ranked by log-probability alone, a sentence ends as soon as its best hypothesis is the finished one."""
    engine = matrix_engine(5, end_bias=3.0)
    search(engine, sources(1), options(max_length=200, beam_size=5))
    stopped, engine.steps = engine.steps, 0
    with mock.patch.object(Ranking, "bound", lambda self, cumulative, length, limits: np.full(len(limits), np.inf)):
        search(engine, sources(1), options(max_length=200, beam_size=5))
    assert stopped < engine.steps < 30


@pytest.mark.parametrize("beam_size", [2, 3, 5, 8])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_model_that_is_sure_keeps_its_answer(beam_size: int, alpha: float) -> None:
    """One path of probability 0.99 a step; all else, ends too, is far behind but ahead of other words: as many early
    ends as the beam is wide must not close the sentence before the path has come to its own.
    """
    engine = matrix_engine(1, vocabulary=9)
    engine.scores[:] = -14.0
    engine.scores[:, END] = -9.0
    history, path = np.array([0]), [5, 6, 7, 5, 6, 8]
    for token, following in zip([START, *path], [*path, END], strict=True):
        history = engine.follow(history, np.array([token]))
        engine.scores[history, following] = np.log(0.99)
    [[best]] = search(engine, Padded({"main": np.zeros((1, 1), np.int64)}, np.array([1])),
                      options(beam_size=beam_size, length_penalty=alpha, max_length=20), lines=np.arange(1))
    assert best.ids.tolist() == path
    assert best.score == pytest.approx(7 * np.log(0.99))


def test_a_path_that_repeats_itself_for_ever_is_left() -> None:
    """Each step of it is likelier than to end, yet ends are no far-fetched answers: as many as the beam is wide."""
    engine = matrix_engine(1, vocabulary=9)
    engine.scores[:] = -14.0
    engine.scores[:, END] = np.log(0.2)
    engine.scores[:, 5] = np.log(0.8)
    found = search(engine, Padded({"main": np.zeros((1, 1), np.int64)}, np.array([1])),
                   options(beam_size=4, length_penalty=1.0, max_length=100), lines=np.arange(1))
    assert found[0][0].finished
    assert len(found[0][0].ids) < 8
    assert engine.steps < 10


@pytest.mark.parametrize("kind", ["average", "wu"])
@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.7, 1.0, 2.0])
def test_the_bound_is_reached_and_never_passed(kind: str, alpha: float) -> None:
    """Over every length an open hypothesis may still end at, the best ranking is the bound."""
    ranking = Ranking(options(length_penalty=alpha, length_penalty_kind=kind))
    reachable = [float(ranking.rank(np.array([-7.3]), length)[0]) for length in range(6, 21)]
    assert float(ranking.bound(np.array([-7.3]), 5, np.array([20]))[0]) == pytest.approx(max(reachable))


def test_length_penalties_by_hand() -> None:
    """Wu et al. 2016, eq. 14: lp = (5 + |Y|)^α / (5 + 1)^α; the plain average divides by the length."""
    score = np.array([-12.0])
    assert Ranking(options(length_penalty=1.0)).rank(score, 8)[0] == pytest.approx(-1.5)
    wu = Ranking(options(length_penalty=0.6, length_penalty_kind="wu"))
    assert wu.rank(score, 8)[0] == pytest.approx(-12.0 / ((5 + 8) ** 0.6 / (5 + 1) ** 0.6))


@pytest.mark.parametrize("rules", [{}, {"repetition_penalty": 2.0}, {"no_repeat_ngram_size": 2, "min_length": 3},
                                   {"length_penalty": 1.0}, {"allow_unknown": False, "coverage_penalty": 0.2}], ids=str)
@pytest.mark.parametrize("ties", [False, True])
def test_beam_of_one_equals_greedy(rules: dict[str, Any], ties: bool) -> None:
    engine, source = matrix_engine(11, ties=ties, attention=True), sources(40, 2)
    one = search(engine, source, options(**rules, strategy="beam", beam_size=1, max_length=9), weights=True)
    greedy = search(engine, source, options(**rules, strategy="greedy", max_length=9), weights=True)
    for [left], [right] in zip(one, greedy, strict=True):
        assert left.ids.tolist() == right.ids.tolist()
        assert (left.score, left.ranking_score, left.finished) == (right.score, right.ranking_score, right.finished)
        assert left.weights is not None
        assert right.weights is not None
        np.testing.assert_array_equal(left.weights, right.weights)


def test_n_best_is_distinct_and_sorted() -> None:
    found = search(matrix_engine(8), sources(30), options(beam_size=6, n_best=6, length_penalty=1.0, max_length=8))
    for answers in found:
        rankings = [one.ranking_score for one in answers]
        assert rankings == sorted(rankings, reverse=True)
        assert len(answers) == 6
        assert len({(tuple(one.ids.tolist()), one.finished) for one in answers}) == 6


def test_fewer_answers_when_there_are_no_more() -> None:
    """One step, and only unknown, 4, 5 and the end symbol: four answers."""
    [answers] = search(matrix_engine(8, vocabulary=6), sources(1), options(beam_size=9, n_best=9, max_length=1))
    assert sorted(tuple(one.ids.tolist()) for one in answers) == [(), (1,), (4,), (5,)]


def test_an_end_symbol_does_not_starve_the_beam() -> None:
    """With K + 1 candidates K hypotheses stay open, though every one of them could end at each step."""
    engine = matrix_engine(4, end_bias=1.0)
    search(engine, sources(12), options(beam_size=5, n_best=5))
    assert set(engine.asked) <= {6, 8}  # two more once padding or start symbols have been seen among the best
