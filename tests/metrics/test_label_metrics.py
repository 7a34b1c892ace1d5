"""Accuracy, macro F1 and span F1 against published examples and brute force."""

from __future__ import annotations

import random

import numpy as np
import pytest

from seqloom.errors import DataError
from seqloom.metrics import build_metric, labels
from seqloom.metrics.labels import spans


def test_macro_f1_of_the_scikit_learn_manual() -> None:
    truth, outputs = list("012012"), list("021001")    # sklearn.metrics.f1_score: macro 0.26666667
    found = build_metric("macro_f1").compute(outputs, [[label] for label in truth])
    assert found["macro_f1"] == pytest.approx(0.26666667)
    assert build_metric("accuracy").compute(outputs, [[label] for label in truth])["accuracy"] == pytest.approx(1 / 3)


def test_macro_f1_by_its_definition() -> None:
    generator = random.Random(4)
    truth, outputs = generator.choices("abcd", k=200), generator.choices("bcde", k=200)
    values = []
    for label in "abcde":
        hits = sum(ours == theirs == label for ours, theirs in zip(outputs, truth, strict=True))
        precision, recall = hits / max(outputs.count(label), 1), hits / max(truth.count(label), 1)
        values.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    found = build_metric("macro_f1").compute(outputs, [[label] for label in truth])
    assert found["macro_f1"] == pytest.approx(np.mean(values))


def test_macro_f1_of_free_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_MOST_CELLS", 100)
    with pytest.raises(DataError, match=r"macro_f1 of 10 outputs with 10 different labels\n  fix: .*use exact_match"):
        build_metric("macro_f1").compute(list("abcdefghij"), [[label] for label in "abcdefghij"])


def test_a_label_among_several_references_is_right() -> None:
    for name in ("accuracy", "macro_f1"):
        assert build_metric(name).compute(["b", "New York"], [["a", "b"], ["New York"]])[name] == 1.0


def test_token_accuracy_by_hand() -> None:
    found = build_metric("token_accuracy").compute(["N V", "D N N", ""], [["N V D"], ["D V"], ["N"]])
    assert found["token_accuracy"] == pytest.approx((2 + 1 + 0) / (3 + 2 + 1))


def test_span_f1_of_the_seqeval_manual() -> None:
    truth = ["O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    outputs = ["O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    found = build_metric("span_f1").compute(outputs, [[text] for text in truth])
    assert found["span_f1"] == pytest.approx(0.50)    # classification_report of its README, micro average


@pytest.mark.parametrize(("tags", "expected"), [
    ("B-PER I-PER O B-LOC", {("PER", 0, 1), ("LOC", 3, 3)}),    # get_entities in its documentation
    ("B-PER B-PER", {("PER", 0, 0), ("PER", 1, 1)}),
    ("I-PER I-PER O", {("PER", 0, 1)}),
    ("B-PER I-LOC I-LOC", {("PER", 0, 0), ("LOC", 1, 2)}),
    ("O O", set()), ("", set()), ("B I O B", {("_", 0, 1), ("_", 3, 3)}),
    ("B-a-b I-a-b I-a", {("a-b", 0, 1), ("a", 2, 2)}),
])
def test_spans_by_hand(tags: str, expected: set[tuple[str, int, int]]) -> None:
    assert spans(tags.split()) == expected


def test_span_f1_without_entities() -> None:
    assert build_metric("span_f1").compute(["O O"], [["O O"]])["span_f1"] == 1.0
    assert build_metric("span_f1").compute(["B-X O"], [["O O"]])["span_f1"] == 0.0
