"""Perplexity, bits per character, and the rates of outputs that have gone wrong; values worked by hand."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqloom.errors import DataError
from seqloom.metrics import bits_per_character, degeneration_rates, perplexity


def test_a_uniform_model_is_as_perplexed_as_it_has_symbols() -> None:
    log_probability = 12 * math.log(1 / 50)
    assert perplexity(log_probability, 12) == pytest.approx(50)
    assert bits_per_character(12 * math.log(1 / 64), 12) == pytest.approx(6)
    assert bits_per_character(12 * math.log(1 / 64), 24) == pytest.approx(3)
    assert perplexity(0.0, 3) == 1.0


def test_perplexity_beyond_a_float_is_infinite() -> None:
    assert perplexity(-1e6, 10) == math.inf
    assert perplexity(-math.inf, 10) == math.inf
    assert math.isfinite(perplexity(-709.7, 1))


def test_nothing_to_divide_by() -> None:
    with pytest.raises(DataError, match="perplexity over 0 tokens, expected 1 or more"):
        perplexity(-1.0, 0)
    with pytest.raises(DataError, match="bits per character over 0 characters, expected 1 or more"):
        bits_per_character(-1.0, 0)


def rates(*outputs: str, sources: str = "", references: list[str] | None = None) -> dict[str, float]:
    inputs = sources.split() or [str(number) for number in range(len(outputs))]
    return degeneration_rates([output.split() for output in outputs], inputs,
                              references and [text.split() for text in references])


def test_healthy_outputs() -> None:
    assert rates("a b", "c d", "e f e f") == {
        "empty_rate": 0, "repeated_rate": 0, "identical_rate": 0, "unknown_rate": 0}


def test_empty_and_unknown() -> None:
    found = rates("", "a <unk> <unk>", "b", "")
    assert (found["empty_rate"], found["unknown_rate"], found["identical_rate"]) == (0.5, 0.25, 0)


@pytest.mark.parametrize(("output", "expected"), [
    ("a a a", True), ("a a b a a", False), ("x a b a b a b y", True), ("a b a b a c", False),
    ("a b c d a b c d a b c d", True), ("a b c d e a b c d e a b c d e", False), ("b a a b a a b a a", True),
])
def test_repeated(output: str, expected: bool) -> None:
    assert rates(output)["repeated_rate"] == expected


@settings(deadline=None)
@given(st.text("ab", max_size=14))
def test_repeated_is_what_the_words_say(text: str) -> None:
    assert rates(" ".join(text) or "x")["repeated_rate"] == bool(re.search(r"(.{1,4})\1\1", text))


def test_a_loop_that_the_reference_has_is_no_fault() -> None:
    assert rates("2 0 0 0", "1 1 1", references=["2 0 0 0", "1 2 3"])["repeated_rate"] == 0.5


def test_identical_is_beyond_what_the_data_explain() -> None:
    same = ["i do not know"] * 10
    assert rates(*same)["identical_rate"] == 0.9
    assert rates(*same, references=["yes"] * 6 + list("abcd"))["identical_rate"] == pytest.approx(0.4)
    assert rates(*same[:4], sources="x x x x")["identical_rate"] == 0    # one source may have one answer
    assert rates("a", "a", "b", sources="x y x")["identical_rate"] == pytest.approx(1 / 3)
    assert rates("a", "b", "c", references=["a", "a", "a"])["identical_rate"] == 0


def test_sides_must_agree() -> None:
    with pytest.raises(DataError, match="there are no outputs to look at"):
        degeneration_rates([], [])
    with pytest.raises(DataError, match=r"1 outputs, 2 sources\n  fix: give as many of each"):
        degeneration_rates([["a"]], ["x", "y"])
    with pytest.raises(DataError, match="1 outputs, 1 sources and 0 references"):
        degeneration_rates([["a"]], ["x"], [])
