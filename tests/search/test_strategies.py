"""What every strategy promises, run on every entry of the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matrix_engine import MatrixEngine, matrix_engine, options, rows_of, sources

from seqloom.search import STRATEGIES, frontier, search
from seqloom.search.scoring import score_targets
from seqloom.types import END, PADDING, START, UNKNOWN, Hypothesis, Ints, Padded

RULES: list[dict[str, Any]] = [
    {},
    {"length_penalty": 1.0, "min_length": 2},
    {"no_repeat_ngram_size": 2, "length_penalty": 0.6, "length_penalty_kind": "wu"},
    {"repetition_penalty": 1.4, "allow_unknown": False, "coverage_penalty": 0.3},
]

every_strategy = pytest.mark.parametrize("strategy", list(STRATEGIES))
every_rule = pytest.mark.parametrize("rules", RULES, ids=str)


@pytest.fixture
def engine() -> MatrixEngine:
    return matrix_engine(21, vocabulary=9, attention=True)


def same(one: Hypothesis, other: Hypothesis) -> bool:
    return (one.ids.tolist() == other.ids.tolist() and one.score == other.score and one.finished == other.finished
            and one.ranking_score == other.ranking_score and (one.token_scores == other.token_scores).all()
            and np.array_equal(np.asarray(one.weights), np.asarray(other.weights)))


@every_strategy
@every_rule
def test_special_symbols_stay_out_of_answers(strategy: str, rules: dict[str, Any], engine: MatrixEngine) -> None:
    for [one] in search(engine, sources(60), options(**rules, strategy=strategy)):
        assert not set(one.ids.tolist()) & {PADDING, START, END}
        assert rules.get("allow_unknown", True) or UNKNOWN not in one.ids.tolist()
        assert len(one.token_scores) == len(one.ids) + one.finished
        assert len(one.ids) >= rules.get("min_length", 0)


@every_strategy
@every_rule
def test_scores_are_what_scoring_gives(strategy: str, rules: dict[str, Any], engine: MatrixEngine) -> None:
    source = sources(60)
    answers = [found[0] for found in search(engine, source, options(**rules, strategy=strategy), weights=True)]
    assert {one.finished for one in answers} == {True, False}
    scored = score_targets(engine, source, [one.ids for one in answers], weights=True)
    for one, again in zip(answers, scored, strict=True):
        steps = len(one.token_scores)
        np.testing.assert_allclose(one.token_scores, again.hypothesis.token_scores[:steps])
        assert one.score == pytest.approx(one.token_scores.sum())
        assert one.weights is not None
        assert again.hypothesis.weights is not None
        np.testing.assert_allclose(one.weights, again.hypothesis.weights[:steps], rtol=1e-6)


@every_strategy
@every_rule
def test_answers_do_not_depend_on_neighbours(strategy: str, rules: dict[str, Any], engine: MatrixEngine) -> None:
    """Alone, in small batches and shuffled, with their own prefixes and limits: the same to the last bit."""
    source, count = sources(40, 5), 40
    draw = np.random.default_rng(0)
    limits = draw.integers(3, 9, count)
    prefixes: list[Ints] = [draw.integers(4, 9, draw.integers(0, 3)) for _ in range(count)]

    def answers(rows: list[int]) -> list[Hypothesis]:
        found = search(engine, rows_of(source, rows), options(**rules, strategy=strategy), lines=np.array(rows) + 100,
                       weights=True, prefixes=[prefixes[row] for row in rows], limits=limits[rows])
        return [one for [one] in found]

    together = answers(list(range(count)))
    assert any(before > after for before, after in engine.kept)
    shuffled = draw.permutation(count).tolist()
    for row, one in zip(shuffled, answers(shuffled), strict=True):
        assert same(one, together[row])
    for row in range(12):
        assert same(answers([row])[0], together[row])


@every_strategy
@pytest.mark.parametrize("share", [1e-9, 2.0])
def test_dropping_sentences_changes_nothing(strategy: str, share: float, engine: MatrixEngine,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped at once, by the policy, or never."""
    wanted = options(strategy=strategy, coverage_penalty=0.2, no_repeat_ngram_size=2, length_penalty=1.0)
    usual = search(engine, sources(30), wanted, weights=True)
    monkeypatch.setattr(frontier, "DROP_SHARE", share)
    engine.kept.clear()
    for [one], [other] in zip(search(engine, sources(30), wanted, weights=True), usual, strict=True):
        assert same(one, other)
    assert bool(engine.kept) == (share < 1)


@every_strategy
def test_the_policy_saves_work(strategy: str, engine: MatrixEngine) -> None:
    """No drop for a smaller share of the rows than pays, and no row waits once that share is closed."""
    search(engine, sources(64), options(strategy=strategy, max_length=12))
    assert engine.kept
    assert all(after <= before * (1 - frontier.DROP_SHARE) for before, after in engine.kept)
    assert [before for before, _ in engine.kept] == [64, *(after for _, after in engine.kept[:-1])]


@every_strategy
def test_prefixes_are_kept_and_scored(strategy: str, engine: MatrixEngine) -> None:
    """Also against the rules: a forced token may repeat, be unknown, or come before the minimum length."""
    prefix = np.array([5, 5, 5, UNKNOWN])
    for [one] in search(engine, sources(9), options(strategy=strategy, no_repeat_ngram_size=1, allow_unknown=False),
                        prefixes=[prefix] * 9):
        assert one.ids[:4].tolist() == prefix.tolist()
        assert len(set(one.ids[3:].tolist())) == len(one.ids[3:])


@every_strategy
def test_a_prefix_as_long_as_the_limit_is_the_answer(strategy: str, engine: MatrixEngine) -> None:
    prefix = np.array([4, 6, 5])
    [[one]] = search(engine, sources(1), options(strategy=strategy, max_length=3), prefixes=[prefix])
    assert one.ids.tolist() == [4, 6, 5]
    assert not one.finished


@every_strategy
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_comes_twice(strategy: str, size: int, engine: MatrixEngine) -> None:
    repeated = 0
    for [one] in search(engine, sources(40), options(strategy=strategy, max_length=20, min_length=20)):
        grams = [tuple(one.ids[i:i + size]) for i in range(len(one.ids) - size + 1)]
        repeated += len(grams) > len(set(grams))
    assert repeated
    for [one] in search(engine, sources(40), options(strategy=strategy, max_length=20, no_repeat_ngram_size=size)):
        grams = [tuple(one.ids[i:i + size]) for i in range(len(one.ids) - size + 1)]
        assert len(grams) == len(set(grams))


@every_strategy
def test_limits_count_the_end_symbol(strategy: str, engine: MatrixEngine) -> None:
    limits = np.array([1, 2, 3, 4] * 10)
    found = search(engine, sources(40), options(strategy=strategy), limits=limits)
    lengths = [len(one.ids) + one.finished for [one] in found]
    assert (np.array(lengths) <= limits).all()
    assert all(one.finished or len(one.ids) == limit for [one], limit in zip(found, limits, strict=True))


@every_strategy
def test_the_limit_may_follow_the_source(strategy: str) -> None:
    """max_length_ratio: floor(ratio × source tokens) + 10, and never above max_length."""
    engine = matrix_engine(2, end_bias=-40.0)
    source = Padded({"main": np.zeros((3, 5), np.int64)}, np.array([1, 5, 3]))
    found = search(engine, source, options(strategy=strategy, max_length_ratio=1.5, max_length=16))
    assert [len(one.ids) for [one] in found] == [11, 16, 14]


@every_strategy
def test_a_sentence_without_a_way_on_ends_there(strategy: str) -> None:
    """Only token 4 and the end are possible; the rules forbid both from some point on."""
    engine = matrix_engine(1, attention=True)
    engine.scores[:, [1, 5, 6]] = -np.inf
    source = Padded({"main": np.full((1, 6), 50)}, np.array([6]))
    [[one]] = search(engine, source, options(strategy=strategy, no_repeat_ngram_size=2, min_length=6,
                                             coverage_penalty=0.5), weights=True)
    assert one.ids.tolist() == [4, 4]
    assert not one.finished
    [scored] = score_targets(engine, source, [one.ids], weights=True)
    assert one.score == pytest.approx(scored.hypothesis.token_scores[:2].sum())
    assert scored.hypothesis.weights is not None
    covered = np.minimum(scored.hypothesis.weights[:2].sum(axis=0), 1.0)  # of its two steps, not of the one in vain
    assert one.ranking_score == pytest.approx(one.score + 0.5 * np.log(covered).sum())
    engine.scores[:, 4] = -np.inf
    [[one]] = search(engine, source, options(strategy=strategy, min_length=1))
    assert (one.ids.tolist(), one.finished, one.score) == ([], False, 0.0)


@every_strategy
def test_an_impossible_prefix_ends_the_answer(strategy: str, engine: MatrixEngine) -> None:
    engine.scores[:, 5] = -np.inf
    [[one], [other]] = search(engine, sources(2), options(strategy=strategy),
                              prefixes=[np.array([4, 5, 6]), np.array([4, 6])])
    assert one.ids.tolist() == [4]
    assert not one.finished
    assert other.ids[:2].tolist() == [4, 6]


@every_strategy
def test_no_sentences_no_answers(strategy: str, engine: MatrixEngine) -> None:
    assert search(engine, 0, options(strategy=strategy)) == []


@every_strategy
def test_engines_without_source(strategy: str, engine: MatrixEngine) -> None:
    found = search(engine, 3, options(strategy=strategy), weights=True)
    assert len(found) == 3
    assert found[0][0].weights is not None


@every_strategy
def test_weights_are_none_without_attention(strategy: str) -> None:
    [[one]] = search(matrix_engine(3), sources(1), options(strategy=strategy), weights=True)
    assert one.weights is None


@every_strategy
def test_weights_cover_the_source_and_nothing_else(strategy: str, engine: MatrixEngine) -> None:
    source = sources(20)
    for length, [one] in zip(source.lengths, search(engine, source, options(strategy=strategy), weights=True),
                             strict=True):
        assert one.weights is not None
        assert one.weights.shape == (len(one.ids) + one.finished, length)
        np.testing.assert_allclose(one.weights.sum(axis=1), 1.0, rtol=1e-6)


@every_strategy
def test_a_memory_of_another_length_is_left_as_it_is(strategy: str, engine: MatrixEngine) -> None:
    """Positions that never get weight count as padding: answers and rankings are those without them."""
    wanted = options(strategy=strategy, coverage_penalty=0.7, length_penalty=1.0)
    plain = search(engine, sources(20), wanted, weights=True)
    engine.widest_padding = 3
    for [one], [other] in zip(search(engine, sources(20), wanted, weights=True), plain, strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert one.ranking_score == pytest.approx(other.ranking_score)
        assert one.weights is not None
        assert one.weights.shape[1] == 9
        assert not one.weights[:, 6:].any()


def test_auto_is_beam_or_greedy(engine: MatrixEngine) -> None:
    search(engine, sources(2), options(beam_size=3))
    assert engine.asked[0] == 4
    engine.asked.clear()
    search(engine, sources(2), options(beam_size=1))
    assert engine.asked[0] == 1
