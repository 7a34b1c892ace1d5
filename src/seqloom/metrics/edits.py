"""Exact match and edit rates: word error (phone error, when the tokens are phones) and character error.

Texts are compared in NFC and otherwise as they stand: case, punctuation and spaces count (spaces only between
tokens for `wer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from seqloom.metrics.base import Metric, canonical, ratio
from seqloom.types import Floats


class Edits(NamedTuple):
    """Edits that turn a reference into an output. An insertion is a token that only the output has."""

    substitutions: int
    insertions: int
    deletions: int

    @property
    def total(self) -> int:
        return sum(self)


def edits(output: Sequence[str], reference: Sequence[str]) -> Edits:
    """The edits of a minimal alignment; among minimal ones, of one with the fewest substitutions.

    That makes the three counts unique, so that they depend on no order of a back-trace: with E edits in all and S
    substitutions, insertions − deletions = |output| − |reference| fixes the rest. NIST sclite breaks ties the same
    way (its costs 4, 3, 3 are 3·E + S). Time O(|output|·|reference|).
    """
    from rapidfuzz.distance import Levenshtein

    # One edit costs `edit`, a substitution one more; S < edit, so that both can be read from the cost.
    edit = min(len(output), len(reference)) + 1
    total, substitutions = divmod(Levenshtein.distance(reference, output, weights=(edit, edit, edit + 1)), edit)
    surplus = len(output) - len(reference)
    insertions = (total - substitutions + surplus) // 2
    return Edits(substitutions, insertions, insertions - surplus)


class ExactMatch(Metric):
    """Share of outputs that equal one of their references, character for character in NFC."""

    name = "exact_match"
    better = "higher"

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N 2] equal (0 or 1), sentences (1)."""
        return np.array([(canonical(output) in map(canonical, texts), 1)
                         for output, texts in zip(outputs, references, strict=True)], float)

    def score(self, totals: Floats) -> Floats:
        return ratio(totals[:, 0], totals[:, 1])

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return f"exact_match|nrefs:{reference_counts(references)}|case:mixed|unicode:NFC"


class WordErrorRate(Metric):
    """Edits over whitespace tokens / tokens of the reference, summed over the corpus; above 1 is possible.

    Of several references the one with the lowest rate counts (the first of equals). With no reference token in the
    whole corpus the rate is 0 without edits and 1 with any.
    """

    name = "wer"
    better = "lower"
    counted: ClassVar[dict[str, int]] = {"substitutions": 0, "insertions": 1, "deletions": 2}

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N 4] substitutions, insertions, deletions, reference tokens."""
        rows = []
        for output, texts in zip(outputs, references, strict=True):
            words = canonical(output).split()
            sides = [canonical(text).split() for text in texts]
            rows.append(min(((*edits(words, side), len(side)) for side in sides), key=_rate))
        return np.array(rows, float)

    def score(self, totals: Floats) -> Floats:
        return _error_rate(totals[:, :3].sum(-1), totals[:, 3])

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return f"wer|nrefs:{reference_counts(references)}|case:mixed|tok:space|unicode:NFC"


class CharacterErrorRate(Metric):
    """Edits over characters (Unicode code points, spaces included) / characters of the reference; else as `wer`."""

    name = "cer"
    better = "lower"

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N 2] edits, reference characters."""
        from rapidfuzz.distance import Levenshtein

        rows = []
        for output, texts in zip(outputs, references, strict=True):
            characters = canonical(output)
            rows.append(min(((Levenshtein.distance(side, characters), len(side)) for side in map(canonical, texts)),
                            key=_rate))
        return np.array(rows, float)

    def score(self, totals: Floats) -> Floats:
        return _error_rate(totals[:, 0], totals[:, 1])

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return f"cer|nrefs:{reference_counts(references)}|case:mixed|space:yes|unicode:NFC"


def reference_counts(references: Sequence[Sequence[str]]) -> str:
    """Number of references of a sentence, "var" where it differs (as sacreBLEU writes it)."""
    counts = {len(texts) for texts in references}
    return str(counts.pop()) if len(counts) == 1 else "var"


def _rate(counts: Sequence[int]) -> float:
    """Edits per token of one sentence from (edits …, length)."""
    total, length = sum(counts[:-1]), counts[-1]
    return total / length if length else float(total)


def _error_rate(total: Floats, length: Floats) -> Floats:
    return ratio(total, length, empty=(total > 0).astype(float))
