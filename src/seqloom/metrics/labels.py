"""Metrics of labels and tags: accuracy, macro F1, span F1. A label is a whole output, tags its whitespace tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqloom.errors import DataError
from seqloom.metrics.base import Metric, ratio
from seqloom.metrics.edits import reference_counts
from seqloom.types import Floats

_MOST_CELLS = 50_000_000    # numbers in the statistics of macro_f1: 400 MB


class Accuracy(Metric):
    """Share of outputs whose label is one of the references."""

    name = "accuracy"
    better = "higher"

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N 2] right (0 or 1), sentences (1)."""
        return np.array([(output in texts, 1) for output, texts in zip(outputs, references, strict=True)], float)

    def score(self, totals: Floats) -> Floats:
        return ratio(totals[:, 0], totals[:, 1])

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return f"accuracy|nrefs:{reference_counts(references)}|unit:output"


class TokenAccuracy(Metric):
    """Share of reference tags that the output has at the same position; what it has beyond the reference is ignored.

    Of several references the one with the largest share counts (the first of equals).
    """

    name = "token_accuracy"
    better = "higher"

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N 2] right tags, reference tags."""
        rows = []
        for output, texts in zip(outputs, references, strict=True):
            tags = output.split()
            sides = [text.split() for text in texts]
            found = [(sum(ours == theirs for ours, theirs in zip(tags, side, strict=False)), len(side))
                     for side in sides]
            rows.append(max(found, key=lambda pair: pair[0] / max(pair[1], 1)))
        return np.array(rows, float)

    def score(self, totals: Floats) -> Floats:
        return ratio(totals[:, 0], totals[:, 1])

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return f"token_accuracy|nrefs:{reference_counts(references)}|unit:token"


class MacroF1(Metric):
    """Mean over labels of 2·tp / (2·tp + fp + fn), over every label that the references or the outputs have.

    Of several references the output's own label counts if it is among them, else the first.
    """

    name = "macro_f1"
    better = "higher"

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N 3·L] for each of L labels: true positives, false positives, false negatives.

        Raises DataError when there are so many labels that these are no labels.
        """
        gold = [output if output in texts else texts[0] for output, texts in zip(outputs, references, strict=True)]
        labels = {label: number for number, label in enumerate(sorted({*gold, *outputs}))}
        if 3 * len(labels) * len(gold) > _MOST_CELLS:
            raise DataError(f"macro_f1 of {len(gold)} outputs with {len(labels)} different labels",
                            fix="macro_f1 is for a small set of labels; use exact_match for free text")
        cells = np.zeros((len(gold), 3, len(labels)))
        for row, (truth, output) in enumerate(zip(gold, outputs, strict=True)):
            if truth == output:
                cells[row, 0, labels[truth]] = 1
            else:
                cells[row, 1, labels[output]] = cells[row, 2, labels[truth]] = 1
        return cells.reshape(len(gold), -1)

    def score(self, totals: Floats) -> Floats:
        true_positive, false_positive, false_negative = np.moveaxis(totals.reshape(len(totals), 3, -1), 1, 0)
        involved = 2 * true_positive + false_positive + false_negative
        return ratio(ratio(2 * true_positive, involved).sum(-1), (involved > 0).sum(-1).astype(float))

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return f"macro_f1|nrefs:{reference_counts(references)}|labels:seen"


class SpanF1(Metric):
    """F1 of whole entities in B-, I-, O tags, micro-averaged: type, first and last tag must all be right.

    Entities are read as conlleval and seqeval (default mode) read IOB2: an I- tag that follows O, the start, or
    another type opens an entity too. Of several references the one with the best F1 counts (the first of equals).
    """

    name = "span_f1"
    better = "higher"

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N 3] right entities, entities of the output, entities of the reference."""
        rows = []
        for output, texts in zip(outputs, references, strict=True):
            ours = spans(output.split())
            sides = [spans(text.split()) for text in texts]
            found = [(len(ours & side), len(ours), len(side)) for side in sides]
            rows.append(max(found, key=lambda counts: 2 * counts[0] / max(counts[1] + counts[2], 1)))
        return np.array(rows, float)

    def score(self, totals: Floats) -> Floats:
        """1 when neither side has any entity: there was nothing to find and nothing was found."""
        return ratio(2 * totals[:, 0], totals[:, 1] + totals[:, 2], empty=1.0)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return f"span_f1|nrefs:{reference_counts(references)}|scheme:IOB2|average:micro"


def spans(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Entities of a tag sequence: (type, first position, last position)."""
    found = set()
    start, kind = 0, ""
    for position, tag in enumerate([*tags, "O"]):
        prefix, own = tag[:1], tag[1:].partition("-")[2] or "_"
        inside = prefix in ("B", "I")
        if kind and not (prefix == "I" and own == kind):
            found.add((kind, start, position - 1))
            kind = ""
        if inside and not kind:
            start, kind = position, own
    return found
