"""Byte-pair encoding and unigram pieces against brute force, on text as it comes, and the same in every process."""

from __future__ import annotations

import gzip
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqloom.config.sections import TokenizerConfig
from seqloom.data import subwords, unigram
from seqloom.data.tokenizers import fit_tokenizer
from seqloom.types import UNKNOWN

WORDS = {"aab": 5, "abab": 3, "ba": 4, "abc": 7, "cabba": 2, "b": 1}


# --- byte-pair encoding ----------------------------------------------------------------------------------------------


def reference_merges(words: dict[str, int], minimum: int) -> tuple[list[str], list[str]]:
    """Sennrich et al. 2016, algorithm 1; the most frequent pair, ties to the pieces learned first."""
    pieces = sorted(set("".join(words)))
    split = {word: list(word) for word in words}
    merges = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(split[word]):
                pairs[pair] += count
        left, right = min(pairs, key=lambda p: (-pairs[p], pieces.index(p[0]), pieces.index(p[1])), default=("", ""))
        if pairs[left, right] < minimum:
            return pieces, merges
        merges.append(f"{left} {right}")
        pieces += [left + right] * (left + right not in pieces)
        split = {word: merged(parts, left, right) for word, parts in split.items()}


def merged(parts: list[str], left: str, right: str) -> list[str]:
    out: list[str] = []
    for part in parts:
        if out and out[-1] == left and part == right:
            out[-1] = left + right
        else:
            out.append(part)
    return out


def test_merges_are_those_of_the_paper() -> None:
    texts = [word for word, count in WORDS.items() for _ in range(count)]
    pieces, merges = subwords.learn_bpe(texts, Counter(), 1, 1000)
    expected_pieces, expected_merges = reference_merges(WORDS, 2)
    assert merges == expected_merges
    assert sorted(pieces) == sorted(expected_pieces)
    tokenizer = subwords.build_bpe(pieces, merges)
    for word in [*WORDS, "abcabcbbaacab"]:
        parts = list(word)
        for merge in merges:
            parts = merged(parts, *merge.split(" "))
        assert tokenizer.encode(word).tokens == parts


def test_too_many_characters_for_the_vocabulary() -> None:
    tokenizer = fit_tokenizer(TokenizerConfig(kind="bpe", vocab_size=3), ["aaa bbb c"])
    assert tokenizer.symbols == ["a", "b", "▁"]
    assert tokenizer.tokens("abc") == ["▁", "a", "b", "c"]
    assert tokenizer.encode("c")[-1] == UNKNOWN


# --- unigram ---------------------------------------------------------------------------------------------------------

PIECES = ["a", "b", "c", "aa", "ab", "abc", "ba", "bab"]
PROBABILITIES = np.array([0.2, 0.15, 0.1, 0.1, 0.2, 0.1, 0.1, 0.05])


def segmentations(word: str, pieces: list[str]) -> Iterator[list[str]]:
    if not word:
        yield []
    for end in range(1, len(word) + 1):
        if word[:end] in pieces:
            for rest in segmentations(word[end:], pieces):
                yield [word[:end], *rest]


def probability(parts: list[str]) -> float:
    return math.prod(float(PROBABILITIES[PIECES.index(part)]) for part in parts)


def test_expected_counts_are_those_of_all_segmentations() -> None:
    words = list(WORDS)
    counts = np.array(list(WORDS.values()), float)
    lattices = list(unigram.lattices(words, PIECES))
    expected = np.zeros(len(PIECES))
    for word, count in WORDS.items():
        every = list(segmentations(word, PIECES))
        total = sum(map(probability, every))
        for parts in every:
            for part in parts:
                expected[PIECES.index(part)] += count * probability(parts) / total
    np.testing.assert_allclose(unigram.expected_counts(lattices, counts, np.log(PROBABILITIES)), expected, rtol=1e-12)


def test_scores_without_a_piece_are_those_of_its_other_segmentations() -> None:
    lattices = list(unigram.lattices(PIECES, PIECES, whole=False))
    found = np.exp(unigram.scores_without(lattices, np.log(PROBABILITIES)))
    expected = [sum(probability(parts) for parts in segmentations(piece, PIECES) if parts != [piece])
                for piece in PIECES]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_seeds_are_all_frequent_substrings() -> None:
    counts: Counter[str] = Counter()
    for word, count in WORDS.items():
        for start in range(len(word)):
            for end in range(start + 2, len(word) + 1):
                counts[word[start:end]] += count
    found = unigram.seed_counts(list(WORDS), list(WORDS.values()), 3)
    assert found == {piece: count for piece, count in counts.items() if count >= 3}


def test_each_round_makes_the_data_more_probable() -> None:
    strings, counts = list(WORDS), np.array(list(WORDS.values()), float)
    lattices = list(unigram.lattices(strings, PIECES))
    scores = np.log(PROBABILITIES)
    likelihoods = []
    for _ in range(6):
        padded = np.append(scores, -np.inf)
        likelihoods.append(sum(float(unigram.forward(padded[edges])[:, -1] @ counts[rows]) for rows, edges in lattices))
        scores = unigram.log_shares(unigram.expected_counts(lattices, counts, scores), np.full(len(PIECES), True))
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(likelihoods))
    assert likelihoods[-1] > likelihoods[0]


@pytest.mark.parametrize("limit", [3, 5, 6, 1000])
def test_trained_pieces(limit: int) -> None:
    pieces, scores = unigram.train_unigram(WORDS, ["a", "b", "c"], limit, 2)
    assert {"a", "b", "c"} <= set(pieces)
    assert len(pieces) <= limit
    assert scores == sorted(scores, reverse=True)
    assert sum(map(math.exp, scores)) == pytest.approx(1, abs=1e-4)


def test_unknown_characters_cut_training_words() -> None:
    strings, counts = unigram.training_strings({"abxab": 2, "xx": 5, "ab": 1}, frozenset("ab"))
    assert (strings, counts) == (["ab"], [5])
    assert unigram.train_unigram({"xx": 5}, [], 10, 2) == ([], [])


def test_training_text_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "MOST_CHARACTERS", 5)
    assert unigram.training_strings({"abab": 1, "ab": 3, "abb": 2}, frozenset("ab")) == (["ab", "abb"], [3, 2])


@settings(deadline=None, max_examples=50)
@given(word=st.text("abc", min_size=1, max_size=8))
def test_segments_are_the_most_probable(word: str) -> None:
    model = subwords.build_unigram(PIECES, list(np.log(PROBABILITIES)))
    best = max(map(probability, segmentations(word, PIECES)))
    assert probability(model.encode(word).tokens) == pytest.approx(best)


# --- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_words_and_punctuation_are_apart(kind: str) -> None:
    lines = ["Ein Mann, ein Hund.", "Der Mann schläft; der Hund auch.", "Zwei Hunde (3 Männer)..."] * 7
    tokenizer = fit_tokenizer(TokenizerConfig(kind=kind), lines)
    for line in lines:
        for token in tokenizer.tokens(line):
            letters = [character.isalpha() for character in token.removeprefix("▁")]
            assert all(letters) or not any(letters)
    assert tokenizer.tokens("Mann,")[0] == tokenizer.tokens("Ein Mann")[1] == "▁Mann"
    assert tokenizer.decode(["▁Ein", "▁M", "ann", ",", "▁▁x"]) == "Ein Mann,  x"


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_unknown_characters_show_as_themselves(kind: str) -> None:
    tokenizer = fit_tokenizer(TokenizerConfig(kind=kind), ["hallo welt"] * 20)
    tokens = tokenizer.tokens("hallo 漢字 welt")
    assert "".join(tokens) == "▁hallo▁漢字▁welt"
    assert UNKNOWN in tokenizer.encode("漢")
    unknown = [token for token, number in zip(tokens, tokenizer.ids(tokens), strict=True) if number == UNKNOWN]
    assert "".join(unknown) == "漢字"


PROGRAM = """
import hashlib, json, sys
from seqloom.config.sections import TokenizerConfig
from seqloom.data.tokenizers import fit_tokenizer
lines = [f"{a} {b}{c}, {c}{a}." for a in "ich du er sie".split() for b in "ge ver be ent".split() for c in
         "gangen kommen lesen schreiben stehen".split()]
for kind in ("bpe", "unigram"):
    for size in (40, 90):
        print(hashlib.sha256(fit_tokenizer(TokenizerConfig(kind=kind, vocab_size=size), lines).learned
                             .model_dump_json().encode()).hexdigest())
"""


def test_every_process_learns_the_same() -> None:
    def learned(**environment: str) -> str:
        done = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True,
                              check=True, env={**os.environ, **environment})
        return done.stdout + done.stderr

    first = learned(PYTHONHASHSEED="1", RAYON_NUM_THREADS="1")
    assert len(first.split()) == 4
    assert learned(PYTHONHASHSEED="2", RAYON_NUM_THREADS="4", TOKENIZERS_PARALLELISM="true") == first


def test_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    with subwords.single_thread():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    with subwords.single_thread():
        pass
    assert "TOKENIZERS_PARALLELISM" not in os.environ


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_long_words_do_not_stop_training(kind: str) -> None:
    text = "abc" * 20_000
    tokenizer = fit_tokenizer(TokenizerConfig(kind=kind, vocab_size=50), [text])
    assert tokenizer.decode(tokenizer.tokens(text)) == text


@pytest.mark.slow
@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_multi30k(shared_data: Path, kind: Any, language: str) -> None:
    """Raw text comes back exactly, and 8000 pieces write the test set with fewer than 1.5 pieces a word."""
    def lines(part: str) -> list[str]:
        with gzip.open(shared_data / "multi30k" / "raw" / f"{part}.{language}.gz", "rt", encoding="utf-8") as file:
            return file.read().splitlines()

    tokenizer = fit_tokenizer(TokenizerConfig(kind=kind), lines("train"))
    test = lines("test_2016_flickr")
    pieces = [tokenizer.tokens(line) for line in test]
    assert [tokenizer.decode(parts) for parts in pieces] == list(map(tokenizer.normalize, test))
    assert sum(map(len, pieces)) < 1.5 * sum(len(line.split()) for line in test)
