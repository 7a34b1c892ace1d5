"""An ensemble against the average written out, and as an engine under every strategy."""

from __future__ import annotations

import numpy as np
import pytest
from matrix_engine import MatrixEngine, log_softmax, matrix_engine, options, sources

from seqloom.engines.ensemble import Average, EnsembleEngine, top_candidates
from seqloom.errors import SeqloomError, UsageError
from seqloom.search import STRATEGIES, search
from seqloom.search.scoring import score_targets
from seqloom.types import START, Floats

AVERAGES: list[Average] = ["probabilities", "log_probabilities"]


def averaged(first: Floats, second: Floats, average: Average) -> Floats:
    if average == "probabilities":
        return np.log((np.exp(first) + np.exp(second)) / 2)
    return log_softmax((first + second) / 2)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("candidates", [None, 1, 3, 9, 40])
def test_a_step_is_the_average_of_the_members(average: Average, candidates: int | None) -> None:
    members = [matrix_engine(seed, vocabulary=9, attention=True) for seed in (1, 2)]
    engine, source = EnsembleEngine(members, average=average), sources(6)
    tokens, parents = np.full((6, 1), START), np.zeros((6, 1), np.int64)
    wanted = np.tile(np.array([8, 4]), (6, 1, 1))
    found, state = engine.step(engine.begin(source), tokens, parents, candidates, wanted=wanted, weights=True)
    history = source.main[:, :1]
    expected = averaged(members[0].scores[history], members[1].scores[history], average)
    assert found.wanted is not None
    assert found.weights is not None
    np.testing.assert_allclose(found.wanted, expected[:, :, [8, 4]])
    np.testing.assert_allclose(found.weights, (members[0].weights_of(history, source.lengths)
                                               + members[1].weights_of(history, source.lengths)) / 2)
    if candidates is None:
        assert found.tokens is None
        np.testing.assert_allclose(found.scores, expected)
    else:
        best = np.argsort(-expected, axis=2, kind="stable")[:, :, :candidates]
        assert found.tokens is not None
        np.testing.assert_array_equal(found.tokens, best)
        np.testing.assert_allclose(found.scores, np.take_along_axis(expected, best, axis=2))
    kept = engine.keep(state, np.array([1, 4]))
    assert [len(own.history) for own in kept] == [2, 2]


@pytest.mark.parametrize("strategy", list(STRATEGIES))
@pytest.mark.parametrize("average", AVERAGES)
def test_twins_answer_like_one(strategy: str, average: Average) -> None:
    one, source = matrix_engine(7, attention=True), sources(20)
    twins = EnsembleEngine([one, matrix_engine(7, attention=True)], average=average)
    wanted = options(strategy=strategy, no_repeat_ngram_size=2, coverage_penalty=0.1)
    for [left], [right] in zip(search(one, source, wanted), search(twins, source, wanted), strict=True):
        assert left.ids.tolist() == right.ids.tolist()
        assert left.ranking_score == pytest.approx(right.ranking_score)


@pytest.mark.parametrize("average", AVERAGES)
def test_search_and_scoring_agree(average: Average) -> None:
    engine = EnsembleEngine([matrix_engine(seed) for seed in (1, 2, 3)], average=average)
    answers = [one for [one] in search(engine, sources(20), options(beam_size=3))]
    for one, again in zip(answers, score_targets(engine, sources(20), [one.ids for one in answers]), strict=True):
        np.testing.assert_allclose(one.token_scores, again.hypothesis.token_scores[: len(one.token_scores)])


def test_one_member_is_itself() -> None:
    one = matrix_engine(7)
    for average in AVERAGES:
        for [left], [right] in zip(search(one, sources(9), options(beam_size=3)),
                                   search(EnsembleEngine([one], average=average), sources(9), options(beam_size=3)),
                                   strict=True):
            assert left.ids.tolist() == right.ids.tolist()
            assert left.score == pytest.approx(right.score)


def test_a_member_without_attention_has_no_say_in_it() -> None:
    with_attention = matrix_engine(1, attention=True)
    engine = EnsembleEngine([matrix_engine(2), with_attention])
    [[one]] = search(engine, sources(1), options(), weights=True)
    [alone] = score_targets(with_attention, sources(1), [one.ids], weights=True)
    assert one.weights is not None
    assert alone.hypothesis.weights is not None
    np.testing.assert_allclose(one.weights, alone.hypothesis.weights[: len(one.weights)])
    [[one]] = search(EnsembleEngine([matrix_engine(2), matrix_engine(3)]), sources(1), options(), weights=True)
    assert one.weights is None


def test_what_every_member_forbids_stays_forbidden() -> None:
    members = [matrix_engine(seed) for seed in (1, 2)]
    for member in members:
        member.scores[:, 4] = -np.inf
    for average in AVERAGES:
        for [one] in search(EnsembleEngine(members, average=average), sources(20), options()):
            assert 4 not in one.ids.tolist()
            assert np.isfinite(one.score)


@pytest.mark.parametrize("count", [1, 3, 32, 33, 60, 90])
@pytest.mark.parametrize("kinds", [3, 1000])
def test_top_candidates_equal_a_stable_sort(count: int, kinds: int) -> None:
    """With few kinds of scores nearly all are equal, and some are impossible."""
    draw = np.random.default_rng(count)
    scores = -draw.integers(0, kinds, (4, 3, 60)).astype(np.float32)
    scores[draw.random(scores.shape) < 0.6] = -np.inf
    expected = np.argsort(-scores, axis=2, kind="stable")[:, :, :count]
    np.testing.assert_array_equal(top_candidates(scores, count), expected)


def test_an_ensemble_has_members() -> None:
    with pytest.raises(UsageError, match="an ensemble of no engines"):
        EnsembleEngine([])


def test_averages_have_names() -> None:
    with pytest.raises(UsageError, match="unknown average 'median' of an ensemble"):
        EnsembleEngine([matrix_engine(1)], average="median")  # type: ignore[arg-type]


def test_members_share_the_end_symbol() -> None:
    other = MatrixEngine(matrix_engine(2).scores, name="other", end=5)
    with pytest.raises(UsageError, match=r"end with different symbols \('matrix': 3, 'other': 5\)"):
        EnsembleEngine([matrix_engine(1), other])


def test_members_share_the_vocabulary() -> None:
    engine = EnsembleEngine([matrix_engine(1, vocabulary=7), matrix_engine(2, vocabulary=8)])
    with pytest.raises(SeqloomError, match=r"different numbers of symbols \('matrix': 7, 'matrix': 8\)"):
        search(engine, sources(1), options())


def test_members_share_the_memory_when_weights_are_wanted() -> None:
    wider = matrix_engine(2, attention=True)
    wider.widest_padding = 2
    engine = EnsembleEngine([matrix_engine(1, attention=True), wider])
    search(engine, sources(3), options())
    with pytest.raises(SeqloomError, match=r"attend over different numbers of positions \(\d+, \d+\)"):
        search(engine, sources(3), options(), weights=True)


def test_the_member_that_gives_nan_is_named() -> None:
    bad = matrix_engine(2)
    bad.name = "diverged"
    bad.scores[:, 5] = np.nan
    with pytest.raises(SeqloomError, match="'diverged' in an ensemble gave nan, expected log-probabilities"):
        search(EnsembleEngine([matrix_engine(1), bad]), sources(1), options())
