"""Exact match, WER and CER against brute force and values worked by hand."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqloom.metrics.edits import CharacterErrorRate, ExactMatch, WordErrorRate, edits

words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=9)


def every_alignment(output: tuple[str, ...], reference: tuple[str, ...]) -> set[tuple[int, int, int]]:
    """(substitutions, insertions, deletions) of every alignment whatsoever."""
    @cache
    def found(used: int, read: int) -> frozenset[tuple[int, int, int]]:
        if used == read == 0:
            return frozenset({(0, 0, 0)})
        result = set()
        if used and read:
            wrong = output[used - 1] != reference[read - 1]
            result |= {(s + wrong, i, d) for s, i, d in found(used - 1, read - 1)}
        if used:
            result |= {(s, i + 1, d) for s, i, d in found(used - 1, read)}
        if read:
            result |= {(s, i, d + 1) for s, i, d in found(used, read - 1)}
        return frozenset(result)
    return set(found(len(output), len(reference)))


@settings(deadline=None)
@given(words, words)
def test_edits_are_those_of_the_documented_alignment(output: list[str], reference: list[str]) -> None:
    every = every_alignment(tuple(output), tuple(reference))
    minimal = {counts for counts in every if sum(counts) == min(map(sum, every))}
    fewest = [counts for counts in minimal if counts[0] == min(minimal)[0]]
    assert [tuple(edits(output, reference))] == fewest


def test_edits_of_every_short_pair() -> None:
    short = [side for length in range(4) for side in product("ab", repeat=length)]
    for output, reference in product(short, short):
        counts = edits(output, reference)
        assert counts == min(every_alignment(output, reference), key=lambda found: (sum(found), found))
        assert counts.total == sum(counts)


@pytest.mark.parametrize(("output", "reference", "expected"), [
    ("a x c", "a b c", (1, 0, 0)), ("a c", "a b c", (0, 0, 1)), ("a b b c", "a b c", (0, 1, 0)),
    ("", "a b c", (0, 0, 3)), ("a b c", "", (0, 3, 0)), ("b a", "a b", (0, 1, 1)), ("", "", (0, 0, 0)),
])
def test_edits_by_hand(output: str, reference: str, expected: tuple[int, int, int]) -> None:
    assert edits(output.split(), reference.split()) == expected


def test_word_error_rate_is_over_the_corpus() -> None:
    found = WordErrorRate().compute(["the cat sat", "no"], [["the cat sat down"], ["yes  sir"]])
    assert found["wer"] == pytest.approx((1 + 2) / (4 + 2))
    assert (found["substitutions"], found["insertions"], found["deletions"]) == (1, 0, 2)


def test_word_error_rate_can_pass_one_and_knows_empty_references() -> None:
    assert WordErrorRate().compute(["a b c"], [["x"]])["wer"] == 3.0
    assert WordErrorRate().compute(["a b c"], [[""]])["wer"] == 1.0
    assert WordErrorRate().compute([""], [[""]])["wer"] == 0.0


def test_the_reference_with_the_lowest_rate_counts() -> None:
    found = WordErrorRate().compute(["a b c"], [["a", "a b c d e f"]])    # rates 2/1 and 3/6
    assert (found["wer"], found["deletions"]) == (0.5, 3)
    assert CharacterErrorRate().compute(["abc"], [["a", "abcdef"]])["cer"] == 0.5


def test_character_error_rate_by_hand() -> None:
    assert CharacterErrorRate().compute(["kitten"], [["sitting"]])["cer"] == pytest.approx(3 / 7)    # Levenshtein
    assert CharacterErrorRate().compute(["a b"], [["ab"]])["cer"] == 0.5
    assert CharacterErrorRate().compute(["한국"], [["한글"]])["cer"] == 0.5


def test_canonically_equal_texts_are_equal() -> None:
    composed, decomposed = "café 한", "cafe\N{COMBINING ACUTE ACCENT} \u1112\u1161\u11ab"
    assert ExactMatch().compute([composed], [[decomposed]])["exact_match"] == 1.0
    assert WordErrorRate().compute([composed], [[decomposed]])["wer"] == 0.0
    assert CharacterErrorRate().compute([decomposed], [[composed + "글"]])["cer"] == pytest.approx(1 / 7)


def test_exact_match_is_exact() -> None:
    outputs = ["a b", "a  b", "A b", "a b ", ""]
    assert ExactMatch().compute(outputs, [["a b"]] * 5)["exact_match"] == pytest.approx(1 / 5)
    assert ExactMatch().compute(["b"], [["a", "b"]])["exact_match"] == 1.0
