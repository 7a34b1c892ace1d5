"""Labels and tags end to end: read, learned, answered, scored, stored, and what is refused by file and line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqloom
from seqloom.config.loading import load_config
from seqloom.config.sections import LabelHeadConfig, TagsHeadConfig
from seqloom.data.labels import Labels
from seqloom.engines.torch import TorchEngine
from seqloom.errors import ConfigError, DataError, RunFolderError, UsageError
from seqloom.heads import label, tags
from seqloom.run import open_run
from seqloom.types import Item, Record

SMALL = ["encoder.hidden_size=16", "source.embedding_size=8", "training.epochs=4", "training.batch_size=16",
         "training.learning_rate=0.02", "training.threads=1", "data.valid_fraction=0.2"]


def rows(head: str, count: int = 160) -> list[str]:
    """Letters with one label, or with a tag for each."""
    draw = random.Random(3)
    found = []
    for _ in range(count):
        letters = [draw.choice("abcdef") for _ in range(draw.randint(1, 5))]
        answer = "first" if letters[0] in "abc" else "second"
        if head == "tags":
            answer = " ".join("V" if letter in "ae" else "C" for letter in letters)
        found.append(f"{' '.join(letters)}\t{answer}\n")
    return found


@pytest.fixture(scope="module", params=["label", "tags"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data.tsv").write_text("".join(rows(request.param)), encoding="utf-8")
    return seqloom.train(folder / "data.tsv", out=folder / "run", overrides=[f"head={request.param}", *SMALL])


def test_it_learns_and_says_so(run: Path) -> None:
    scores = seqloom.evaluate(run, run.parent / "data.tsv").scores
    assert scores["accuracy"] > 0.95
    assert "macro_f1" in scores or "exact_match" in scores
    assert "bleu" not in scores
    assert "perplexity" not in scores
    row = open_run(run).metrics()[-1]
    assert {"accuracy", "gold_token_accuracy", "valid_loss"} <= set(row)
    assert "accuracy_gap" not in row


def test_answers_do_not_depend_on_their_neighbours(run: Path) -> None:
    model = seqloom.load(run, engine="torch", device="cpu")
    inputs = ["a b c d e", "f", "b b", "d e f a b"]
    together = model.predict(inputs)
    for given, expected in zip(inputs, together, strict=True):
        alone = model.predict(given)
        assert alone.text == expected.text
        np.testing.assert_allclose(alone.token_scores, expected.token_scores, rtol=1e-5)
        assert alone.score == pytest.approx(float(np.sum(alone.token_scores)), rel=1e-6)
        again = model.score([given], [alone.text])[0]
        assert again.score == pytest.approx(alone.score, rel=1e-5)


def test_probabilities_of_labels(run: Path) -> None:
    found = seqloom.load(run).predict("a b")
    if open_run(run).config.head.kind == "label":
        assert list(found.probabilities) == sorted(found.probabilities, key=lambda name: -found.probabilities[name])
        assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert found.text == next(iter(found.probabilities))
        assert float(np.exp(found.score)) == pytest.approx(found.probabilities[found.text], rel=1e-6)
    else:
        assert found.tokens == found.text.split()
        assert len(found.tokens) == len(found.source_tokens) == 2


def test_an_input_that_cannot_be_read_keeps_its_line(run: Path) -> None:
    bad, good = seqloom.load(run).predict(["", "a"])
    assert (bad.stopped, bad.text) == ("error", "")
    assert good.text


def test_what_only_texts_have_is_refused(run: Path) -> None:
    model = seqloom.load(run, engine="torch")
    with pytest.raises(ConfigError, match=r"decoding.beam_size has no effect: the run answers with head.kind \w+"):
        model.predict("a", beam_size=2)
    with pytest.raises(UsageError, match="a prefix is given, but this run answers with one of 2"):
        model.predict("a", prefix="b")
    if open_run(run).config.head.kind == "label":
        with pytest.raises(UsageError, match="alternatives are asked for, but this run answers with one of 2 labels"):
            model.predict("a", alternatives=2)
        with pytest.raises(UsageError, match="answers step by step are asked for, but this run answers with one of"):
            model.head.streamed(model.engine, model.source.read(Record({"source": "a"})), None)
    else:
        steps = model.predict("a b", alternatives=2).alternatives
        assert [len(step) for step in steps] == [2, 2]
        assert sum(share for _, share in steps[0]) == pytest.approx(1, abs=1e-5)


def test_steps_one_by_one_are_the_whole(tmp_path: Path) -> None:
    (tmp_path / "data.tsv").write_text("".join(rows("tags", 60)), encoding="utf-8")
    run = seqloom.train(tmp_path / "data.tsv", out=tmp_path / "run", overrides=[
        "head=tags", "encoder.bidirectional=false", "encoder.layers=2", *SMALL, "training.epochs=1"])
    model = seqloom.load(run, engine="torch", device="cpu")
    assert isinstance(model.engine, TorchEngine)
    whole = model.predict("a b c d e f a")
    state, scores, found = None, [], []
    for symbol in "abcdefa":
        step = model.source.read_step(Record({"source": symbol}))
        answer, state = model.head.streamed(model.engine, step, state)
        one = model.head.prediction(answer, step, step.tokens, model.decoding)
        found += one.tokens
        scores.append(one.score)
    assert found == whole.tokens
    np.testing.assert_allclose(scores, whole.token_scores, rtol=1e-5)
    with pytest.raises(DataError, match="a step of 2 symbols, expected one"):
        model.source.read_step(Record({"source": "a b"}))


# --- bad data --------------------------------------------------------------------------------------------------------


def head_of(kind: str, labels: list[str]) -> Any:
    counted = Labels.of(labels, kind)
    return label.Head(LabelHeadConfig(), counted) if kind == "label" else tags.Head(TagsHeadConfig(), counted)


def test_a_label_that_training_did_not_have() -> None:
    with pytest.raises(DataError, match=r"data.tsv:7: unknown label: 'maybe' is not in the training data, which has "
                                        r"no, yes"):
        head_of("label", ["yes", "no"]).read(Record({"target": " maybe "}, "data.tsv", 7), None)


def test_other_counts_of_tags_than_of_steps() -> None:
    source = Item({"main": np.zeros((3, 2), np.float32)})
    with pytest.raises(DataError, match=r"data.tsv:9: other counts: 2 tags for 3 steps of the input"):
        head_of("tags", ["A", "B"]).read(Record({"target": "A B"}, "data.tsv", 9), source)


def test_what_is_no_set_of_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"the training data has 1 label \(yes\), expected two or more"):
        Labels.of(["yes", "yes"], "label")
    monkeypatch.setattr("seqloom.data.labels.MOST_LABELS", 3)
    with pytest.raises(DataError, match="the training data has more than 3 different tags"):
        Labels.of(map(str, range(9)), "tag")


def test_balanced_weights() -> None:
    """scikit-learn's formula: n / (classes · count)."""
    assert Labels.of(["a"] * 3 + ["b"], "label").balanced() == [pytest.approx(4 / 6), pytest.approx(4 / 2)]


@pytest.mark.parametrize("change", [{"labels": ["b", "a"]}, {"labels": ["a"]}, {"counts": [1]}, {"counts": [1, "2"]},
                                    {"labels": "ab"}])
@pytest.mark.parametrize("kind", ["label", "tags"])
def test_damaged_labels(kind: str, change: dict[str, Any], tmp_path: Path) -> None:
    head = head_of(kind, ["a", "b"])
    head.save(tmp_path)
    assert type(head).load(tmp_path, head.config).symbols == ["a", "b"]
    stored = {**json.loads((tmp_path / "target.json").read_text()), **change}
    (tmp_path / "target.json").write_text(json.dumps(stored))
    with pytest.raises(RunFolderError, match="labels and counts are not two lists that belong together"):
        type(head).load(tmp_path, head.config)


@pytest.mark.parametrize("preset", ["classify", "tag"])
def test_presets_are_silent(preset: str) -> None:
    assert load_config(preset=preset)[1] == []
