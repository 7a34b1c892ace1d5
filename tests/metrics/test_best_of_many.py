"""The best of many systems against chance: by hand, and by how often nothing is taken for something."""

from __future__ import annotations

import numpy as np
import pytest

from seqloom.errors import UsageError
from seqloom.metrics import build_metric
from seqloom.metrics.significance import best_of_many

REFERENCES = [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]


def outputs_of(right: np.ndarray) -> list[str]:
    return [texts[0] if hit else "?" for texts, hit in zip(REFERENCES * 100, right, strict=False)]


def test_by_hand() -> None:
    """The same draws, the largest centred gain of each, counted in a loop."""
    draw = np.random.default_rng(3)
    right = draw.random((4, 60)) < [[0.5], [0.55], [0.6], [0.75]]
    references = [[text[0]] for text in (REFERENCES * 10)]
    found = best_of_many(build_metric("exact_match"), [outputs_of(row) for row in right], references,
                         samples=200, seed=5)
    chosen = np.random.default_rng(5).choice(60, size=(200, 60), replace=True)
    gains = np.array([[right[k][rows].mean() - right[0][rows].mean() for k in (1, 2, 3)] for rows in chosen])
    largest = (gains - gains.mean(0)).max(1)
    seen = right.mean(1)[1:] - right.mean(1)[0]
    expected = [(sum(value >= gain - 1e-12 for value in largest) + 1) / 201 for gain in seen]
    assert found == pytest.approx(expected, abs=2 / 201)  # values that are equal but for rounding


def test_lower_is_better_where_it_is() -> None:
    references = [["a b c d"]] * 40
    worse, better = ["a x y d"] * 40, ["a b c d"] * 30 + ["a x y d"] * 10
    metric = build_metric("cer")
    assert best_of_many(metric, [worse, better], references, samples=99, seed=1)[0] == pytest.approx(0.01)
    assert best_of_many(metric, [better, worse], references, samples=99, seed=1)[0] > 0.9


def test_chance_is_not_taken_for_more() -> None:
    """Ten systems, all as good as the first: the best of them seems better in about 5 % of worlds, not in 40 %."""
    metric = build_metric("exact_match")
    references = [[text[0]] for text in (REFERENCES * 20)]
    draw = np.random.default_rng(7)
    taken = 0
    for world in range(100):
        right = draw.random((11, 120)) < 0.7
        found = best_of_many(metric, [outputs_of(row) for row in right], references, samples=100, seed=world)
        taken += min(found) < 0.05
    assert taken <= 12  # binomial, 100 times 5 %: more in less than one of 700 runs


def test_equal_systems_are_equal() -> None:
    outputs = ["a"] * 6
    assert best_of_many(build_metric("exact_match"), [outputs, outputs], REFERENCES, samples=9, seed=1) == [1.0]


def test_what_makes_no_sense() -> None:
    metric = build_metric("exact_match")
    with pytest.raises(UsageError, match="1 system, expected two or more"):
        best_of_many(metric, [["a"]], [["a"]], samples=9, seed=1)
    with pytest.raises(UsageError, match="0 bootstrap samples"):
        best_of_many(metric, [["a"], ["a"]], [["a"]], samples=0, seed=1)
