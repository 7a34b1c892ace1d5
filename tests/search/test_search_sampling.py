"""Sampling: the right distribution, the right support, and numbers that follow the line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matrix_engine import log_softmax, matrix_engine, options, sources

from seqloom.search import draws, search
from seqloom.types import END, PADDING, START, Floats


def first_tokens(count: int, **given: Any) -> tuple[Floats, Floats]:
    """How often each token came first in `count` samples, and the model's distribution after the history 0."""
    engine = matrix_engine(17, vocabulary=10)
    found = search(engine, count, options(strategy="sampling", max_length=1, **given))
    tokens = [one.ids[0] if len(one.ids) else END for answers in found for one in answers]
    scores = engine.scores[0].copy()
    scores[[PADDING, START]] = -np.inf
    return np.bincount(tokens, minlength=10).astype(float), scores


def agree(counts: Floats, probabilities: Floats) -> None:
    """Chi-square at 0.1 % (Wilson and Hilferty 1931), and nothing outside the support."""
    support = probabilities > 0
    assert not counts[~support].any()
    expected = probabilities[support] / probabilities.sum() * counts.sum()
    statistic, freedom = ((counts[support] - expected) ** 2 / expected).sum(), support.sum() - 1
    if freedom:
        assert statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_probabilities(temperature: float) -> None:
    counts, scores = first_tokens(6000, temperature=temperature)
    agree(counts, np.exp(log_softmax(scores / temperature)))


@pytest.mark.parametrize("top_k", [1, 2, 4, 50])
def test_top_k_keeps_the_best(top_k: int) -> None:
    """Fan et al. 2018, §5.2.2."""
    counts, scores = first_tokens(4000, top_k=top_k)
    probabilities = np.exp(scores)
    probabilities[np.argsort(-scores)[top_k:]] = 0.0
    agree(counts, probabilities)


@pytest.mark.parametrize(("top_p", "top_k"), [(0.2, 0), (0.5, 0), (0.9, 0), (0.8, 3), (1e-9, 0)])
def test_top_p_keeps_the_smallest_set_with_that_probability(top_p: float, top_k: int) -> None:
    """Holtzman et al. 2020, §3.1, after temperature and top_k."""
    counts, scores = first_tokens(4000, top_p=top_p, top_k=top_k, temperature=1.5)
    probabilities = np.exp(log_softmax(scores / 1.5))
    order = np.argsort(-probabilities)[: top_k or None]
    inside, mass = [], 0.0
    for token in order:
        inside.append(token)
        mass += probabilities[token]
        if mass >= top_p * probabilities[order].sum():
            break
    agree(counts, np.where(np.isin(np.arange(10), inside), probabilities, 0.0))


def test_samples_of_one_line_are_independent() -> None:
    counts, scores = first_tokens(1500, n_best=4)
    agree(counts, np.exp(scores))
    engine = matrix_engine(17, vocabulary=10)
    pairs = search(engine, 6000, options(strategy="sampling", max_length=1, n_best=2, min_length=1))
    scores[END] = -np.inf
    probabilities = np.exp(log_softmax(scores))
    equal = sum(one.ids[0] == other.ids[0] for one, other in pairs)
    agree(np.array([equal, 6000 - equal]), np.array([(probabilities**2).sum(), 1 - (probabilities**2).sum()]))


def test_rules_hold_before_the_draw() -> None:
    counts, scores = first_tokens(4000, allow_unknown=False, min_length=1)
    scores[[1, END]] = -np.inf
    agree(counts, np.exp(scores))


def test_a_later_step_follows_its_own_history() -> None:
    """Pairs of tokens against the product of two rows of the table."""
    engine = matrix_engine(23, vocabulary=7)
    found = search(engine, 6000, options(strategy="sampling", max_length=2, min_length=2, n_best=2))
    pairs = [tuple(one.ids.tolist()) for answers in found for one in answers]
    allowed = [1, 4, 5, 6]
    scores = engine.scores.copy()
    scores[:, [0, 2, 3]] = -np.inf
    scores = log_softmax(scores)
    after = {token: int(engine.follow(np.array(0), np.array(token))) for token in allowed}
    probabilities = np.array([np.exp(scores[0, one] + scores[after[one], two]) for one in allowed for two in allowed])
    agree(np.array([pairs.count((one, two)) for one in allowed for two in allowed]), probabilities)


def test_the_score_is_the_models_own() -> None:
    """Neither temperature nor the cuts change it."""
    engine = matrix_engine(17)
    found = search(engine, sources(20), options(strategy="sampling", temperature=3.0, top_p=0.9, n_best=3))
    for main, answers in zip(sources(20).main, found, strict=True):
        for one in answers:
            history, scores = main[0], []
            for token in [*one.ids.tolist(), END][: len(one.token_scores)]:
                scores.append(engine.scores[history, token])
                history = engine.follow(history, np.array(token))
            np.testing.assert_allclose(one.token_scores, scores)


def test_samples_follow_seed_line_and_number() -> None:
    """The same line gives the same samples in any company; sample i does not depend on how many are drawn."""
    engine, source = matrix_engine(4), sources(12)
    few = search(engine, source, options(strategy="sampling", n_best=2, top_k=5))
    many = search(engine, source, options(strategy="sampling", n_best=6, top_k=5))
    for two, six in zip(few, many, strict=True):
        assert {tuple(one.ids) for one in two} <= {tuple(one.ids) for one in six}
        assert [one.ranking_score for one in six] == sorted((one.ranking_score for one in six), reverse=True)

    def drawn(**given: Any) -> list[list[int]]:
        lines = given.pop("lines", None)
        return [one.ids.tolist() for [one] in search(engine, source, options(strategy="sampling", **given),
                                                     lines=lines)]

    assert drawn() == drawn()
    assert drawn() != drawn(seed=2)
    assert drawn() != drawn(lines=np.arange(12) + 1)
    assert drawn()[3:] == drawn(lines=np.array([90, 91, 92, *range(3, 12)]))[3:]


def test_numbers_are_uniform_and_unrelated() -> None:
    """Chi-square over 50 bins, and no correlation between neighbouring seeds, lines, samples and steps."""
    keys = draws.keys(1, np.arange(200), 50)
    numbers = draws.uniform(keys, 0)
    assert numbers.min() >= 0.0
    assert numbers.max() < 1.0
    agree(np.histogram(numbers, 50, (0, 1))[0], np.full(50, 0.02))
    neighbours = [draws.uniform(keys, 1), draws.uniform(draws.keys(2, np.arange(200), 50), 0),
                  np.roll(numbers, 1, axis=0), np.roll(numbers, 1, axis=1)]
    for other in neighbours:
        assert abs(np.corrcoef(numbers.ravel(), other.ravel())[0, 1]) < 0.04  # four standard errors


def test_mix_is_splitmix64() -> None:
    """The first outputs for the seed 1234567, as published with the reference implementation (Vigna, 2015)."""
    state, found = 1234567, []
    for _ in range(3):
        found.append(int(draws.mix(np.array([state], np.uint64))[0]))
        state = (state + 0x9E3779B97F4A7C15) % 2**64
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_row_sum_that_rounds_up_stays_in_range() -> None:
    """The largest number below one still draws a token that has probability."""
    from seqloom.search.rows import draw
    from seqloom.search.rules import Candidates

    scores = np.log(np.array([[[0.1, 0.2, 0.7, 0.0]]]), where=np.array([[[True, True, True, False]]]),
                    out=np.full((1, 1, 4), -np.inf))
    found = Candidates(scores, scores, np.arange(4)[None, None], None)
    assert draw(found, np.array([[1.0]]), options()).tolist() == [[2]]
    assert draw(found, np.array([[0.0]]), options()).tolist() == [[0]]
