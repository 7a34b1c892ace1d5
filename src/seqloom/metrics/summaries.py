"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) F-measures: mean over sentences, fractions, no stemming.

Words are lower-cased runs of letters, digits and combining marks of any script; for ASCII text that is what the
`rouge-score` package does without stemming, which drops every other script. Text that is written without spaces
(Chinese, Japanese, Thai) must be split into words first.
"""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence

import numpy as np

from seqloom.metrics.base import Metric, ratio
from seqloom.metrics.edits import reference_counts
from seqloom.types import Floats


def rouge_words(text: str) -> list[str]:
    """The words that ROUGE compares: "It's 5 नमस्ते" → it, s, 5, नमस्ते."""
    lowered = text.lower()
    if lowered.isascii():
        return re.findall("[a-z0-9]+", lowered)
    return "".join(character if unicodedata.category(character)[0] in "LNM" else " " for character in lowered).split()


class Rouge(Metric):
    """F1 of what output and reference share; of several references the best one counts (as `rouge-score` does)."""

    better = "higher"

    @abstractmethod
    def shared(self, output: list[str], reference: list[str]) -> tuple[int, int, int]:
        """(shared units, units of the output, units of the reference)."""

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N 2] F-measure of the sentence, sentences (1)."""
        rows = []
        for output, texts in zip(outputs, references, strict=True):
            words = rouge_words(output)
            rows.append((max(_f_measure(*self.shared(words, rouge_words(text))) for text in texts), 1.0))
        return np.array(rows, float)

    def score(self, totals: Floats) -> Floats:
        return ratio(totals[:, 0], totals[:, 1])

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return f"{self.name}|nrefs:{reference_counts(references)}|case:lc|tok:word|stem:no|mean:sentence"


class RougeOne(Rouge):
    """Shared words (Lin 2004, §2)."""

    name = "rouge_1"

    def shared(self, output: list[str], reference: list[str]) -> tuple[int, int, int]:
        return _shared_ngrams(output, reference, 1)


class RougeTwo(Rouge):
    """Shared pairs of neighbouring words (Lin 2004, §2)."""

    name = "rouge_2"

    def shared(self, output: list[str], reference: list[str]) -> tuple[int, int, int]:
        return _shared_ngrams(output, reference, 2)


class RougeL(Rouge):
    """Longest common subsequence of words, of the text as one sequence (Lin 2004, §3.1, eqs. 2-4 with β = 1)."""

    name = "rouge_l"

    def shared(self, output: list[str], reference: list[str]) -> tuple[int, int, int]:
        from rapidfuzz.distance import LCSseq

        return LCSseq.similarity(output, reference), len(output), len(reference)


def _shared_ngrams(output: list[str], reference: list[str], size: int) -> tuple[int, int, int]:
    ours, theirs = (Counter(zip(*(words[start:] for start in range(size)), strict=False))
                    for words in (output, reference))
    return (ours & theirs).total(), ours.total(), theirs.total()


def _f_measure(shared: int, output: int, reference: int) -> float:
    """Harmonic mean of shared/output and shared/reference; 0 when a side is empty."""
    return 2 * shared / (output + reference) if shared else 0.0
