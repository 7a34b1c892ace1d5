"""Forced decoding against sums over the table, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from matrix_engine import matrix_engine, rows_of, sources

from seqloom.errors import SeqloomError, UsageError
from seqloom.search.scoring import score_targets
from seqloom.types import END, Ints


def targets(count: int, seed: int = 0) -> list[Ints]:
    draw = np.random.default_rng(seed)
    return [draw.integers(4, 9, draw.integers(0, 7)) for _ in range(count)]


def test_scores_are_those_of_the_table() -> None:
    engine, source, given = matrix_engine(6, vocabulary=9, attention=True), sources(25), targets(25)
    for row, one in enumerate(score_targets(engine, source, given, weights=True, candidates=3)):
        history = source.main[row, 0]
        assert one.hypothesis.finished
        assert one.hypothesis.ids.tolist() == given[row].tolist()
        assert one.hypothesis.weights is not None
        assert one.hypothesis.weights.shape == (len(given[row]) + 1, source.lengths[row])
        for step, token in enumerate([*given[row].tolist(), END]):
            scores = engine.scores[history]
            best = np.argsort(-scores, kind="stable")
            assert one.hypothesis.token_scores[step] == scores[token]
            assert one.correct[step] == (best[0] == token)
            assert one.alternatives[step].tolist() == best[:3].tolist()
            np.testing.assert_array_equal(one.alternative_scores[step], scores[best[:3]])
            expected = engine.weights_of(np.array([[history]]), source.lengths[[row]])[0, 0]
            np.testing.assert_allclose(one.hypothesis.weights[step], expected, rtol=1e-6)
            history = engine.follow(history, np.array(token))
        assert one.hypothesis.score == pytest.approx(one.hypothesis.token_scores.sum())
        assert one.hypothesis.ranking_score == one.hypothesis.score


def test_scores_do_not_depend_on_neighbours() -> None:
    engine, source, given = matrix_engine(6, vocabulary=9), sources(25), targets(25)
    together = score_targets(engine, source, given)
    assert engine.kept
    for row in range(25):
        [alone] = score_targets(engine, rows_of(source, [row]), [given[row]])
        np.testing.assert_array_equal(alone.hypothesis.token_scores, together[row].hypothesis.token_scores)
        assert alone.alternatives.shape == (len(given[row]) + 1, 0)
        assert alone.hypothesis.weights is None


def test_alternatives_are_no_more_than_there_are() -> None:
    [one] = score_targets(matrix_engine(6, vocabulary=9), 1, [np.array([4, 5])], candidates=40)
    assert one.alternatives.shape == (3, 9)


def test_probabilities_of_everything_sum_to_one() -> None:
    """Every string of at most two tokens, plus what is longer: a distribution over strings."""
    engine = matrix_engine(9, vocabulary=6)
    tokens = range(6)
    mass = float(np.exp(engine.scores[0, END]))
    short = [np.array([one]) for one in (1, 4, 5)]
    pairs = [np.array([one, two]) for one in (1, 4, 5) for two in (1, 4, 5)]
    scored = score_targets(engine, len(short), short)
    mass += float(sum(np.exp(one.hypothesis.score) for one in scored))
    # A string of two or more begins with a pair; padding and start inside strings are what is left.
    mass += float(sum(np.exp(one.hypothesis.token_scores[:2].sum()) for one in score_targets(engine, 9, pairs)))
    left = sum(np.exp(engine.scores[0, token]) for token in (0, 2))
    for token in (1, 4, 5):
        after = engine.follow(np.array(0), np.array(token))
        left += np.exp(engine.scores[0, token]) * sum(np.exp(engine.scores[after, bad]) for bad in (0, 2))
    assert len(list(tokens)) == engine.scores.shape[1]
    assert mass + left == pytest.approx(1.0)


def test_no_targets_no_scores() -> None:
    assert score_targets(matrix_engine(1), 0, []) == []


def test_one_target_for_each_sentence() -> None:
    with pytest.raises(UsageError, match=r"got 1 targets for 2 sentences\n  fix: give one target"):
        score_targets(matrix_engine(1), 2, [np.array([4])])


@pytest.mark.parametrize("symbol", [0, 2, 3])
def test_targets_hold_no_special_symbols(symbol: int) -> None:
    with pytest.raises(UsageError, match=r"line 8: the target holds a padding, start or end symbol: \[4, \d\]"):
        score_targets(matrix_engine(1), 2, [np.array([4]), np.array([4, symbol])], lines=np.array([7, 8]))


def test_nan_is_an_error() -> None:
    engine = matrix_engine(1)
    engine.scores[:] = np.nan
    with pytest.raises(SeqloomError, match=r"line 0: the engine 'matrix' gave nan at step 1"):
        score_targets(engine, 2, [np.array([5]), np.array([5])])
