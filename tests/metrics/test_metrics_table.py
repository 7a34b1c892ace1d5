"""The contract of METRICS, on every entry; and the two functions that go through the table."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple

import numpy as np
import pytest

from seqloom.errors import DataError, UsageError
from seqloom.metrics import METRICS, build_metric, evaluate_outputs, paired_bootstrap

TEXTS = [
    ["the cat sat on the red mat today .", "a cat was sitting on the red mat ."],
    ["오늘 은 날씨 가 아주 좋다 그렇지 ?"],
    ["he reads a new book every week", "every week he reads a new book"],
    ["B-PER I-PER O O B-LOC O"],
    ["the house is very big indeed ."],
    ["O B-ORG I-ORG O B-PER O O"],
]
PERFECT = [texts[0] for texts in TEXTS]
DAMAGED = ["the cat sat sat on a red mat .", "오늘 날씨 가 좋다 ?", "he reads", "B-PER O O O B-ORG O", "",
           "O O B-ORG O"]
BEST = {"higher": 1.0, "lower": 0.0}
HUNDRED = {"bleu", "bleu_4", "chrf"}

every_metric = pytest.mark.parametrize("name", METRICS)


def score(name: str, outputs: list[str], references: list[list[str]]) -> float:
    return float(build_metric(name).compute(outputs, references)[name])


@every_metric
def test_entry_is_described(name: str) -> None:
    metric = build_metric(name)
    assert metric.name == name
    assert metric.better in ("higher", "lower")
    assert METRICS[name].__doc__
    signature = metric.signature(TEXTS)
    assert "|nrefs:var|" in signature
    assert "|nrefs:1|" in metric.signature([["a"]])


@every_metric
def test_perfect_outputs_are_best(name: str) -> None:
    best = 100.0 if name in HUNDRED else BEST[METRICS[name].better]
    assert score(name, PERFECT, TEXTS) == pytest.approx(best)
    sign = 1 if METRICS[name].better == "higher" else -1
    assert sign * score(name, DAMAGED, TEXTS) < sign * best


@every_metric
def test_empty_outputs_are_worst(name: str) -> None:
    sign = 1 if METRICS[name].better == "higher" else -1
    empty = score(name, [""] * 6, TEXTS)
    assert np.isfinite(empty)
    assert sign * empty <= sign * score(name, DAMAGED, TEXTS)
    assert np.isfinite(score(name, ["", "a b"], [[""], [""]]))
    assert np.isfinite(score(name, ["   ", "\t"], [["a"], [" "]]))


@every_metric
def test_order_of_sentences_and_corpus_of_one(name: str) -> None:
    order = [4, 2, 0, 5, 1, 3]
    shuffled = score(name, [DAMAGED[row] for row in order], [TEXTS[row] for row in order])
    assert shuffled == pytest.approx(score(name, DAMAGED, TEXTS))
    statistics = build_metric(name).statistics(DAMAGED[:1], TEXTS[:1])
    assert statistics.shape[0] == 1
    assert float(build_metric(name).score(statistics)[0]) == score(name, DAMAGED[:1], TEXTS[:1])


@pytest.mark.parametrize("name", [name for name in METRICS if name != "ter"])    # TER divides by their mean length
def test_one_more_reference_never_hurts(name: str) -> None:
    sign = 1 if METRICS[name].better == "higher" else -1
    single, several = ([texts[:1] for texts in TEXTS], [[*texts, output] for texts, output in
                                                        zip(TEXTS, DAMAGED, strict=True)])
    assert sign * score(name, DAMAGED, several) >= sign * score(name, DAMAGED, single)


@every_metric
def test_bootstrap_equals_scoring_the_drawn_sentences(name: str) -> None:
    first, second = DAMAGED, [*PERFECT[:2], *DAMAGED[2:]]
    for seed in range(5):
        drawn = np.random.default_rng(seed).choice(6, size=6)
        references = [TEXTS[row] for row in drawn]
        expected = (score(name, [second[row] for row in drawn], references)
                    - score(name, [first[row] for row in drawn], references))
        found = paired_bootstrap(first, second, TEXTS, name, samples=1, seed=seed)
        assert found.interval == pytest.approx((expected, expected), abs=1e-9)
        assert found.delta == pytest.approx(score(name, second, TEXTS) - score(name, first, TEXTS))


@every_metric
def test_bootstrap_is_deterministic_and_fair(name: str) -> None:
    worse = [*DAMAGED[:3], "", "", ""]
    found = paired_bootstrap(worse, PERFECT, TEXTS, name, samples=200)
    assert found == paired_bootstrap(worse, PERFECT, TEXTS, name, samples=200)
    assert found.wins > 0.9
    back = paired_bootstrap(PERFECT, worse, TEXTS, name, samples=200)
    assert (back.delta, back.p_value) == (-found.delta, found.p_value)
    assert back.wins == pytest.approx(1 - found.wins)
    same = paired_bootstrap(DAMAGED, DAMAGED, TEXTS, name, samples=200)
    assert astuple(same)[3:7] == (0.0, (0.0, 0.0), 0.5, 1.0)


def test_evaluate_outputs_holds_every_key() -> None:
    found = evaluate_outputs(DAMAGED, TEXTS, list(METRICS))
    assert set(found) == {"count", *METRICS, "substitutions", "insertions", "deletions", "signature"}
    assert found["count"] == 6
    assert all(isinstance(found[name], int) for name in ("count", "substitutions", "insertions", "deletions"))
    assert str(found["signature"]).count("; ") == len(METRICS) - 1
    assert found["bleu"] == score("bleu", DAMAGED, TEXTS)


def test_the_tokenizer_of_bleu_is_an_option() -> None:
    outputs, references = ["one, two, three, four, five."], [["one, two, three, four, six."]]
    found = evaluate_outputs(outputs, references, ["bleu"], tokenize="none")
    assert found["bleu"] != evaluate_outputs(outputs, references, ["bleu"])["bleu"]
    assert found["bleu"] == evaluate_outputs(outputs, references, ["bleu_4"])["bleu_4"]
    assert "tok:none" in str(found["signature"])
    with pytest.raises(UsageError, match=r"unknown tokenizer 'moses' for BLEU\n  fix: one of: 13a, "):
        evaluate_outputs(outputs, references, ["bleu"], tokenize="moses")


def test_a_tokenizer_without_its_packages_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("sacrebleu.tokenizers.tokenizer_ja_mecab")
    monkeypatch.setattr(module, "MeCab", None)
    with pytest.raises(UsageError, match=r"the tokenizer 'ja-mecab' for BLEU could not be loaded: .*pip install"):
        evaluate_outputs(["a"], [["a"]], ["bleu"], tokenize="ja-mecab")


def test_per_is_a_name_of_wer() -> None:
    found = evaluate_outputs(["f o n"], [["f ow n"]], ["per", "wer"])
    assert found["wer"] == pytest.approx(1 / 3)
    assert "per" not in found


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown metric 'rogue_l'\n  fix: did you mean 'rouge_l'\? one of: exact_m"):
        evaluate_outputs(["a"], [["a"]], ["rogue_l"])
    with pytest.raises(UsageError, match=r"unknown metric 'zzzz'\n  fix: one of: "):
        paired_bootstrap(["a"], ["a"], [["a"]], "zzzz")
    with pytest.raises(UsageError, match="perplexity is not measured on answers"):
        evaluate_outputs(["a"], [["a"]], ["perplexity"])


@pytest.mark.parametrize(("outputs", "references", "message"), [
    ([], [], "there is nothing to score: no outputs and no references"),
    (["a"], [["a"], ["b"]], "1 outputs but references of 2 sentences"),
    ([], [["a"]], "0 outputs but references of 1 sentences"),
    (["a", "b"], [["a"], []], "sentence 2 has no reference"),
])
def test_impossible_data(outputs: list[str], references: list[list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate_outputs(outputs, references, ["exact_match"])
    with pytest.raises(DataError, match=message):
        build_metric("wer").compute(outputs, references)
    with pytest.raises(DataError, match=message):
        paired_bootstrap(outputs, outputs, references, "exact_match")


def test_importing_metrics_is_light() -> None:
    program = "import sys, seqloom.metrics; print([n for n in ('sacrebleu', 'rapidfuzz', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
