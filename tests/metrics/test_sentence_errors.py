"""Errors of single sentences against sacreBLEU, rapidfuzz and counting by hand."""

from __future__ import annotations

import pytest
import sacrebleu
from rapidfuzz.distance import Levenshtein

from seqloom.errors import UsageError
from seqloom.metrics.sentences import ERRORS, sentence_errors

PAIRS = [("the cat sat", "the cat sat"), ("the cat", "the cat sat"), ("", "the cat sat"), ("xyz", "ab c"),
         ("a dog on the mat ran away", "the cat on the mat ran away"), ("a a a a a a a a a", "a b"),
         ("가 나다", "가나 다")]
OUTPUTS, REFERENCES = (list(side) for side in zip(*PAIRS, strict=True))


def expected(name: str, output: str, reference: str) -> float:
    words = output.split(), reference.split()
    if name == "exact_match":
        return float(output != reference)
    if name == "cer":
        return Levenshtein.distance(output, reference) / len(reference)
    if name == "wer":
        return Levenshtein.distance(*words) / len(words[1])
    if name == "bleu":
        return 1 - sacrebleu.sentence_bleu(output, [reference], tokenize="none").score / 100
    if name == "chrf":
        return 1 - sacrebleu.sentence_chrf(output, [reference]).score / 100
    longest = [[0] * (len(words[1]) + 1) for _ in range(len(words[0]) + 1)]
    for i, left in enumerate(words[0]):
        for j, right in enumerate(words[1]):
            longest[i + 1][j + 1] = longest[i][j] + 1 if left == right else max(longest[i][j + 1], longest[i + 1][j])
    return 1 - 2 * longest[-1][-1] / sum(map(len, words))


@pytest.mark.parametrize("name", ERRORS)
def test_errors_of_single_sentences(name: str) -> None:
    found = sentence_errors(name, OUTPUTS, REFERENCES, tokenize="none")
    assert found == pytest.approx([expected(name, *pair) for pair in PAIRS], abs=1e-9)
    assert found.min() == 0


def test_short_sentences_have_a_bleu() -> None:
    """Corpus BLEU of three words without a fourth is 0: every candidate would have the same risk."""
    right, near, far = sentence_errors("bleu", ["a b c", "a b d", "x y z"], ["a b c"] * 3, tokenize="none")
    assert right == 0
    assert right < near < far


def test_unknown_tokenizer_of_bleu() -> None:
    with pytest.raises(UsageError, match="unknown tokenizer 'klingon' for BLEU"):
        sentence_errors("bleu", ["a"], ["a"], tokenize="klingon")
