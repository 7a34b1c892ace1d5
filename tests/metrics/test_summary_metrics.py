"""ROUGE equals the rouge-score package without stemming."""

from __future__ import annotations

import random

import numpy as np
import pytest

from seqloom.metrics import build_metric
from seqloom.metrics.summaries import rouge_words

scoring = pytest.importorskip("rouge_score.rouge_scorer")

NAMES = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
ENGLISH = "The the cat's cats running run, runs ran well-known 10,5 U.S. (yes) no_go a".split()
MIXED = "오늘 날씨가 좋다 नमस्ते दुनिया café Straße İstanbul 東京 a b".split()


class OurWords:
    """Our word rule in the other package's algorithm."""

    def tokenize(self, text: str) -> list[str]:
        return rouge_words(text)


def sentences(words: list[str], seed: int) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(words, k=generator.randint(0, 12))) for _ in range(60)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("words", "tokenizer"), [(ENGLISH, None), (MIXED, OurWords())])
def test_rouge_equals_rouge_score(name: str, words: list[str], tokenizer: OurWords | None) -> None:
    outputs = sentences(words, 1)
    references = [list(texts) for texts in zip(sentences(words, 2), sentences(words, 3), strict=True)]
    scorer = scoring.RougeScorer([NAMES[name]], use_stemmer=False, tokenizer=tokenizer)
    expected = [scorer.score_multi(texts, output)[NAMES[name]].fmeasure
                for output, texts in zip(outputs, references, strict=True)]
    metric = build_metric(name)
    assert metric.statistics(outputs, references)[:, 0] == pytest.approx(expected)
    found = metric.compute(outputs, references)
    assert found[name] == pytest.approx(np.mean(expected))
    assert 0 < found[name] < 1
    assert "stem:no" in found["signature"]


def test_words_of_any_script() -> None:
    assert rouge_words("It's 5 o'clock_now!") == ["it", "s", "5", "o", "clock", "now"]
    assert rouge_words("नमस्ते, दुनिया! 좋은 아침.") == ["नमस्ते", "दुनिया", "좋은", "아침"]
