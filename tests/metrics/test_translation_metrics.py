"""BLEU, chrF and TER equal sacreBLEU's public functions; the bootstrap equals its paired test."""

from __future__ import annotations

import random

import numpy as np
import pytest
import sacrebleu
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest

from seqloom.errors import UsageError
from seqloom.metrics import build_metric, paired_bootstrap, significance

WORDS = "the a cat dog sat on mats big, red house (was) green; it's small. 10,5 yes".split()


def system(seed: int, noise: float, references: list[str]) -> list[str]:
    """References with words exchanged and dropped."""
    generator = random.Random(seed)
    return [" ".join(generator.choice(WORDS) if generator.random() < noise else word
                     for word in text.split() if generator.random() > noise / 4) for text in references]


REFERENCES = [" ".join(random.Random(number).choices(WORDS, k=4 + number % 11)) for number in range(120)]
OTHER = system(7, 0.2, REFERENCES)
WORSE, BETTER = system(1, 0.31, REFERENCES), system(2, 0.30, REFERENCES)
SACRE = {"bleu": ("BLEU", BLEU()), "bleu_4": ("BLEU", BLEU(tokenize="none")), "chrf": ("chrF2", CHRF()),
         "ter": ("TER", TER())}


@pytest.mark.parametrize("tokenize", ["13a", "none", "intl", "char", "zh"])
def test_bleu_equals_sacrebleu(tokenize: str) -> None:
    metric = build_metric("bleu", tokenize=tokenize)
    found = metric.compute(WORSE, [[text] for text in REFERENCES])
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(WORSE, [REFERENCES], tokenize=tokenize).score)
    scorer = BLEU(tokenize=tokenize)
    scorer.corpus_score(WORSE, [REFERENCES])
    assert found["signature"] == f"BLEU|{scorer.get_signature()}"


@pytest.mark.parametrize("name", ["bleu", "bleu_4", "chrf"])
def test_what_is_equal_has_a_hundred_and_not_more(name: str) -> None:
    """sacreBLEU's own sum can be a rounding above it."""
    for count in range(1, 60):
        texts = REFERENCES[:count]
        assert 99.99 < build_metric(name).compute(texts, [[text] for text in texts])[name] <= 100


@pytest.mark.parametrize("name", SACRE)
@pytest.mark.parametrize("kept", [1, 2, "some"])
def test_scores_and_signatures_with_several_references(name: str, kept: int | str) -> None:
    title, scorer = SACRE[name]
    second = [None if kept == "some" and number % 3 else text for number, text in enumerate(OTHER)]
    streams = [REFERENCES] if kept == 1 else [REFERENCES, second]
    references = [[text for text in texts if text is not None] for texts in zip(*streams, strict=True)]
    expected = scorer.corpus_score(WORSE, streams)
    found = build_metric(name).compute(WORSE, references)
    assert found[name] == pytest.approx(expected.score)
    assert found["signature"] == f"{title}|{scorer.get_signature()}"


@pytest.mark.parametrize("name", SACRE)
@pytest.mark.parametrize("noise", [0.26, 0.29, 0.32])
def test_bootstrap_equals_sacrebleu(name: str, noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    better = system(2, noise, REFERENCES)
    title, scorer = SACRE[name]
    test = PairedTest([("a", WORSE), ("b", better)], {title: scorer}, [REFERENCES], test_type="bs", n_samples=500)
    baseline, other = test()[1][title]
    found = paired_bootstrap(WORSE, better, [[text] for text in REFERENCES], name, samples=500)
    assert (found.score_a, found.score_b) == pytest.approx((baseline.score, other.score))
    assert found.p_value == pytest.approx(other.p_value, abs=1.5 / 501)    # theirs is in single precision


def test_the_draws_do_not_depend_on_how_many_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    references = [[text] for text in REFERENCES]
    whole = paired_bootstrap(WORSE, BETTER, references, "wer", samples=100)
    monkeypatch.setattr(significance, "_CELLS", 7 * len(references))
    assert paired_bootstrap(WORSE, BETTER, references, "wer", samples=100) == whole


def test_interval_against_the_normal_approximation() -> None:
    right_a, right_b = np.arange(1000) % 2 == 0, np.arange(1000) % 5 != 0    # 50 % and 80 %
    first, second = (["x" if right else "y" for right in side] for side in (right_a, right_b))
    found = paired_bootstrap(first, second, [["x"]] * 1000, "exact_match", samples=4000)
    deviation = np.std(right_b.astype(float) - right_a) / np.sqrt(1000)
    assert found.delta == pytest.approx(0.3)
    assert found.interval == pytest.approx((0.3 - 1.96 * deviation, 0.3 + 1.96 * deviation), abs=0.003)
    assert (found.wins, found.count, found.samples) == (1.0, 1000, 4000)
    assert found.p_value == pytest.approx(1 / 4001)


def test_no_samples_is_an_error() -> None:
    with pytest.raises(UsageError, match="0 bootstrap samples, expected 1 or more"):
        paired_bootstrap(["a"], ["b"], [["a"]], "bleu", samples=0)
