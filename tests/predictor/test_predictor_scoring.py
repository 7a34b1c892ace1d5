"""Scoring given targets, encoding, and opening a run folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqloom.predictor
from seqloom.data.batching import pad
from seqloom.engines.ensemble import EnsembleEngine
from seqloom.errors import ConfigError, DataError, MissingExtraError, RunFolderError, UsageError
from seqloom.model import stored_weights
from seqloom.predictor import Predictor, load_predictor
from seqloom.run import WEIGHTS, write_description, write_weights
from seqloom.types import END, BadRecord, Record
from tiny import TRIALS, Tiny, record, tiny

SENTENCES = [trial.text("source") for trial in TRIALS]
TARGETS = [trial.text("target") for trial in TRIALS]


@pytest.fixture(scope="module")
def task() -> Tiny:
    """Answers that end are likely."""
    task = tiny(bidirectional=True, cell="gru")
    task.model.head.output.bias.data[END] += 2.0
    return task


@pytest.fixture(scope="module")
def predictor(task: Tiny) -> Predictor:
    return task.predictor()


# --- scoring ---------------------------------------------------------------------------------------------------------


def test_scores_are_the_loss_of_training(task: Tiny, predictor: Predictor) -> None:
    """−loss of each pair alone, in teacher-forced training."""
    for trial, scored in zip(TRIALS, predictor.score(SENTENCES, TARGETS), strict=True):
        loss = task.model.eval()(task.batch([trial]))
        assert scored.score == pytest.approx(-loss.total.item(), abs=1e-4)
        assert len(scored.token_scores) == int(loss.count)
        assert scored.score == pytest.approx(scored.token_scores.sum(), abs=1e-5)
        assert scored.text == trial.text("target")
        assert scored.tokens == trial.text("target").split()
        assert scored.source_tokens == [*trial.text("source").split(), "</s>"]


def test_an_answer_costs_what_the_search_said(predictor: Predictor) -> None:
    answers = predictor.predict(SENTENCES, beam_size=8, n_best=8)
    pairs = [(sentence, answer) for sentence, best in zip(SENTENCES, answers, strict=True) for answer in best.n_best
             if answer.stopped == "end" and answer.tokens and "<unk>" not in answer.tokens]
    assert len(pairs) > 10
    scored = predictor.score([sentence for sentence, _ in pairs], [answer.text for _, answer in pairs])
    for (_, answer), again in zip(pairs, scored, strict=True):
        assert again.score == pytest.approx(answer.score, abs=1e-5)


def test_bad_pairs_are_answered_in_their_place(predictor: Predictor) -> None:
    records: list[Record | BadRecord] = [record("a", "b", line=1), record("", "b", line=2), record("a", "", line=3),
                                         BadRecord("broken", "f", 4), record("c", "d", line=5)]
    found = list(predictor.score_records(records, candidates=2, attention=True))
    assert [scored.stopped for scored in found] == ["end", "error", "error", "error", "end"]
    assert [scored.error for scored in found] == ["", "the source is empty", "the target is empty", "broken", ""]
    assert [scored.where for scored in found] == ["tiny.tsv:1", "tiny.tsv:2", "tiny.tsv:3", "f:4", "tiny.tsv:5"]
    for scored, again in zip((found[0], found[4]), predictor.score(["a", "c"], ["b", "d"]), strict=True):
        assert scored.score == pytest.approx(again.score, abs=1e-5)
        assert scored.attention is not None
        assert scored.attention.shape == (2, 2)
        np.testing.assert_allclose(scored.attention.sum(1), 1, rtol=0, atol=1e-5)
        assert [len(step) for step in scored.alternatives] == [2, 2]
        assert again.attention is None
        assert again.alternatives == []


def test_alternatives_say_what_the_model_would_have_said(predictor: Predictor) -> None:
    """After the same history, whether it is the model's own answer or a target that is given."""
    answers = predictor.predict(SENTENCES, beam_size=1, min_length=2, alternatives=3)
    sentence, answer = next((sentence, answer) for sentence, answer in zip(SENTENCES, answers, strict=True)
                            if answer.stopped == "end" and "<unk>" not in answer.tokens)
    scored, = predictor.score_records([record(sentence, answer.text)], candidates=3)
    assert len(scored.alternatives) == len(answer.tokens) + 1
    assert scored.alternatives == answer.alternatives


def test_unequal_lists_are_refused(predictor: Predictor) -> None:
    with pytest.raises(UsageError, match=r"(?s)2 inputs but 1 targets.*fix: give one target for each input"):
        predictor.score(["a", "b"], ["c"])


@pytest.mark.parametrize("window", [1, 3])
def test_windows_do_not_show(predictor: Predictor, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    whole = predictor.score(SENTENCES, TARGETS)
    monkeypatch.setattr(seqloom.predictor, "WINDOW", window)
    for one, other in zip(whole, predictor.score(SENTENCES, TARGETS), strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)


# --- encoding --------------------------------------------------------------------------------------------------------


def test_encode_hands_out_each_input_unpadded(task: Tiny, predictor: Predictor) -> None:
    for sentence, encoded in zip(SENTENCES, predictor.encode(SENTENCES), strict=True):
        length = len(sentence.split()) + 1
        assert encoded["tokens"] == [*sentence.split(), "</s>"]
        assert encoded["summary"].shape == (8,)
        assert encoded["states"].shape == (length, 8)
        assert encoded["mask"].tolist() == [True] * length
        item = task.item(record(sentence))
        np.testing.assert_array_equal(encoded["states"], task.engine().encode(pad([item])).states[0])


def test_encode_shows_features_behind_the_text() -> None:
    encoded, = tiny(features="encoder").predictor().encode([{"source": "a b", "features": "PST;SG"}])
    assert encoded["tokens"] == ["a", "b", "</s>", "⟨PST⟩", "⟨SG⟩"]
    assert encoded["states"].shape == (5, 8)
    assert encoded["mask"].all()


def test_encode_refuses_what_cannot_be_read(predictor: Predictor) -> None:
    with pytest.raises(DataError, match="<input>:2: the source is empty"):
        predictor.encode(["a", ""])


def test_an_ensemble_has_no_encoding(task: Tiny) -> None:
    ensemble = Predictor(task.source, task.head, EnsembleEngine([task.engine()] * 2), task.config.decoding)
    with pytest.raises(UsageError, match=r"(?s)an ensemble of 2 runs has as many encodings.*fix: encode with one run"):
        ensemble.encode(["a"])


def test_an_ensemble_of_one_model_is_that_model(task: Tiny, predictor: Predictor) -> None:
    ensemble = Predictor(task.source, task.head, EnsembleEngine([task.engine()] * 2), task.config.decoding)
    for one, other in zip(predictor.predict(SENTENCES, attention=True), ensemble.predict(SENTENCES, attention=True),
                          strict=True):
        assert one.tokens == other.tokens
        assert one.score == pytest.approx(other.score, abs=1e-5)
        np.testing.assert_allclose(one.attention, other.attention, rtol=0, atol=1e-6)


# --- run folders -----------------------------------------------------------------------------------------------------


def stored(task: Tiny, folder: Path) -> Path:
    folder.mkdir()
    write_description(folder, task.config, task.source, task.head)
    write_weights(folder / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
    return folder


@pytest.mark.parametrize("options", [
    {"bidirectional": True, "cell": "gru"},
    {"tie": "all", "score": "concat", "score_layers": 2},
    {"copying": True, "features": "symbols", "coverage": True},
    {"features": "encoder", "layers": 2, "head": {"share_vocabulary": True}},
    {"context": "in_step"},
])
def test_a_run_folder_answers_as_the_model_did(tmp_path: Path, options: dict[str, Any]) -> None:
    task = tiny(**options)
    opened = load_predictor(stored(task, tmp_path / "run"), device="cpu")
    inputs: Any = [trial.fields for trial in TRIALS]
    for one, other in zip(task.predictor().predict(inputs), opened.predict(inputs), strict=True):
        assert one.tokens == other.tokens
        np.testing.assert_array_equal(one.token_scores, other.token_scores)


def test_a_run_without_attention_refuses_what_needs_it(tmp_path: Path) -> None:
    opened = load_predictor(stored(tiny(context="initial"), tmp_path / "run"), device="cpu")
    with pytest.raises(ConfigError, match="replace_unknown is true, but the model has none: it needs attention"):
        opened.predict("a", replace_unknown=True)


def test_threads_are_set(tmp_path: Path, task: Tiny) -> None:
    folder = stored(task, tmp_path / "run")
    load_predictor(folder, engine="torch", device="cpu", threads=2)
    assert torch.get_num_threads() == 2
    load_predictor(folder, engine="torch", device="cpu")
    assert torch.get_num_threads() == 2


def test_an_unknown_engine_is_refused(tmp_path: Path, task: Tiny) -> None:
    with pytest.raises(UsageError, match=r"(?s)unknown engine 'warp'.*fix: use --engine auto, .*torch"):
        load_predictor(stored(task, tmp_path / "run"), engine="warp")


def test_a_run_without_export_cannot_run_in_onnx(tmp_path: Path, task: Tiny) -> None:
    with pytest.raises(RunFolderError, match=r"(?s)cannot run in engine onnx: it has no fp32 export.*fix: seqloom exp"):
        load_predictor(stored(task, tmp_path / "run"), engine="onnx")


def test_without_torch_the_extra_is_named(tmp_path: Path, task: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(task, tmp_path / "run")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"(?s)running a model needs the package 'torch'.*"
                                                r"pip install 'seqloom\[train\]'"):
        load_predictor(folder)
