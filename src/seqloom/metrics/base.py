"""What every metric is: per-sentence statistics that add up, and a score of their sum.

Because the statistics add up, the score of any resample of the sentences is one product of matrices away
(`significance.py`), and the corpus score is the score of the whole sum, never a mean of sentence scores unless the
metric is defined so.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from seqloom.errors import DataError
from seqloom.types import Floats

DEFAULT_TOKENIZE = "13a"


class Metric(ABC):
    """A score of N outputs against their references (each sentence has one or more).

    name:    key in the table and in the result.
    better:  whether a higher or a lower score is the better one.
    counted: names of further results that are plain sums, and the column of the statistics that holds each.
    """

    name: ClassVar[str]
    better: ClassVar[Literal["higher", "lower"]]
    counted: ClassVar[dict[str, int]] = {}

    def __init__(self, *, tokenize: str = DEFAULT_TOKENIZE) -> None:
        """tokenize: sacreBLEU's name of the tokenizer that `bleu` splits words with; no other metric reads it."""
        self.tokenize = tokenize

    @abstractmethod
    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N K] what each sentence adds; K may depend on the data."""

    @abstractmethod
    def score(self, totals: Floats) -> Floats:
        """[R K] sums of statistics → [R] scores."""

    @abstractmethod
    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """Every choice that moves the score, in sacreBLEU's style: name|key:value|…"""

    def compute(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float | str]:
        """{name: score, …counts, "signature": …}. Raises DataError as `check_corpus` does."""
        check_corpus(outputs, references)
        totals = self.statistics(outputs, references).sum(0)
        result: dict[str, float | str] = {self.name: float(self.score(totals[None])[0])}
        result.update({name: int(totals[column]) for name, column in self.counted.items()})
        return {**result, "signature": self.signature(references)}


def check_corpus(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raises DataError for no sentences at all, sides of different length, or a sentence without references."""
    if not outputs and not references:
        raise DataError("there is nothing to score: no outputs and no references", fix="give at least one sentence")
    if len(outputs) != len(references):
        raise DataError(f"{len(outputs)} outputs but references of {len(references)} sentences",
                        fix="give one output for each sentence, an empty one where there is none")
    missing = next((number for number, texts in enumerate(references, start=1) if not texts), None)
    if missing is not None:
        raise DataError(f"sentence {missing} has no reference", fix="give each sentence at least one reference")


def canonical(text: str) -> str:
    """The text in NFC: canonically equivalent spellings are the same text (Unicode Standard, §3.7)."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def ratio(numerators: Floats, denominators: Floats, empty: Floats | float = 0.0) -> Floats:
    """numerators / denominators [R], and `empty` where the denominator is 0."""
    safe = np.where(denominators > 0, denominators, 1.0)
    return np.where(denominators > 0, numerators / safe, empty)
