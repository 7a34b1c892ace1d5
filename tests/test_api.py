"""What Python code calls: train, resume, finetune, load, evaluate, average, doctor."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqloom
from seqloom import api, evaluation
from seqloom.errors import ConfigError, DataError, MissingExtraError, RunFolderError, UsageError
from seqloom.run import open_run
from training_helpers import SMALL, letters, merged, rows_of, write_pairs

LEARNING = merged(SMALL, {"training": {"epochs": 2, "learning_rate": 0.02}})


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.tsv, valid.tsv, test.tsv, and three runs: one and two on the same data, other on other letters."""
    folder, sources = tmp_path_factory.mktemp("api"), letters(60)
    for name, part in (("train", sources[:40]), ("valid", sources[40:46]), ("test", sources[46:])):
        write_pairs(folder / f"{name}.tsv", part)
    write_pairs(folder / "other.tsv", letters(20, alphabet="wxyz"))
    for name, seed in (("one", 1), ("two", 2)):
        seqloom.train(folder / "train.tsv", valid=folder / "valid.tsv", out=folder / name, values=LEARNING,
                      overrides=[f"training.seed={seed}"])
    seqloom.train(folder / "other.tsv", out=folder / "other", values=LEARNING, overrides=["training.epochs=1"])
    return folder


# --- training --------------------------------------------------------------------------------------------------------


def test_training_takes_files_values_overrides_and_a_config(folder: Path, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    """An override wins over the file; values win over both; quiet unless asked otherwise."""
    (tmp_path / "config.yaml").write_text(f"data:\n  train: [{{path: {folder / 'train.tsv'}}}]\n"
                                          "training: {epochs: 7, batch_size: 5}\nencoder: {cell: lstm}\n")
    out = seqloom.train(config=tmp_path / "config.yaml", out=tmp_path / "run", values=SMALL,
                        overrides=["training.batch_size=6", "training.max_steps=1"])
    config = open_run(out).config
    assert out == tmp_path / "run"
    assert (config.training.epochs, config.training.batch_size, config.training.max_steps) == (3, 4, 1)
    assert config.encoder.cell == "gru"
    assert capsys.readouterr() == ("", "")
    seqloom.train(folder / "train.tsv", folder / "other.tsv", out=tmp_path / "two", values=SMALL, quiet=False,
                  overrides=["training.max_steps=1", "optimizer=sgd"])
    told = capsys.readouterr()
    assert told.out == ""
    assert f"run folder: {tmp_path / 'two'}" in told.err
    assert "note: " in told.err  # `optimizer` is another name of training.optimizer
    assert [corpus.path for corpus in open_run(tmp_path / "two").config.data.train] == [
        str(folder / "train.tsv"), str(folder / "other.tsv")]


def test_training_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    for options, error, message in (
            ({"overrides": ["training.epoch=3"]}, ConfigError, "did you mean"),
            ({"preset": "g2q"}, ConfigError, "unknown preset 'g2q'; did you mean g2p"),
            ({"valid": tmp_path / "none.tsv"}, DataError, "there is no file")):
        with pytest.raises(error, match=message):
            seqloom.train(folder / "train.tsv", out=tmp_path / "run", **options)  # type: ignore[arg-type]
        assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="exists already"):
        seqloom.train(folder / "train.tsv", out=folder / "one", values=SMALL)


def test_a_finished_run_goes_on(folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folder / "one", tmp_path / "run"))
    before = rows_of(run)
    assert seqloom.resume(run, overrides=["training.epochs=3"]) == run
    assert rows_of(run)[: len(before)] == before
    assert len(rows_of(run)) == len(before) + 1
    assert seqloom.resume(run) == run
    with pytest.raises(UsageError, match="cannot be resumed"):
        seqloom.resume(run, overrides=["training.optimizer=sgd"])
    with pytest.raises(RunFolderError, match="no run folder"):
        seqloom.resume(tmp_path / "none")


def test_finetuning_makes_another_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """New data in place of the run's own, the run's options unless told otherwise, and the run is as it was."""
    before = {path: path.read_bytes() for path in (folder / "one").rglob("*") if path.is_file()}
    out = seqloom.finetune(folder / "one", folder / "other.tsv", out=tmp_path / "tuned", quiet=False,
                           overrides=["training.max_steps=1", "learning_rate=0.5"])
    tuned = open_run(out)
    assert [corpus.path for corpus in tuned.config.data.train] == [str(folder / "other.tsv")]
    assert tuned.config.data.valid == []
    assert tuned.config.training.learning_rate == 0.5
    assert tuned.head.tokenizer.symbols == open_run(folder / "one").head.tokenizer.symbols
    err = capsys.readouterr().err
    assert "note: " in err
    assert "unknown symbols, source of validation" in err
    assert {path: path.read_bytes() for path in (folder / "one").rglob("*") if path.is_file()} == before


def test_training_without_what_it_needs(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "seqloom.training.session", None)
    monkeypatch.delattr(seqloom.training, "session", raising=False)  # type: ignore[attr-defined]
    with pytest.raises((ModuleNotFoundError, ImportError)):
        api.training_session()  # one of ours that is missing is a fault of ours, and no extra


def test_training_without_torch(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    import builtins

    original = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "seqloom.training" and "session" in (rest[2] or ()):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match="training needs the package 'torch'") as error:
        seqloom.train(folder / "train.tsv", out=tmp_path / "run")
    assert error.value.fix == "pip install 'seqloom[train]'"


# --- loading ---------------------------------------------------------------------------------------------------------


def test_a_run_answers_one_and_many(folder: Path) -> None:
    model = seqloom.load(str(folder / "one"))
    assert isinstance(model, seqloom.Predictor)
    one, many = model.predict("a b c"), model.predict(["a b c", "f e"])
    assert isinstance(one, seqloom.Prediction)
    assert [answer.text for answer in many] == [one.text, model.predict("f e").text]


def test_an_ensemble(folder: Path) -> None:
    """Of a run with itself: the run. Of two: another distribution, between theirs."""
    inputs = ["a b c", "f e d", "c c"]
    one, two = (seqloom.load(folder / name, engine="torch") for name in ("one", "two"))
    twice = seqloom.load([folder / "one", folder / "one"], engine="torch")
    both = seqloom.load([folder / "one", folder / "two"], engine="torch")
    assert [answer.text for answer in twice.predict(inputs)] == [answer.text for answer in one.predict(inputs)]
    targets = ["c b a", "d e f", "c c"]
    scores = [[answer.score for answer in model.score(inputs, targets)] for model in (one, two, both, twice)]
    assert scores[3] == pytest.approx(scores[0], rel=1e-5)
    assert all(min(a, b) - 1 < c < max(a, b) + 1 for a, b, c in zip(*scores[:3], strict=True))
    assert seqloom.load([folder / "one"], engine="torch").engine.name == one.engine.name


def test_runs_that_make_no_ensemble(folder: Path) -> None:
    with pytest.raises(UsageError, match="an ensemble of no runs"):
        seqloom.load([])
    with pytest.raises(UsageError, match="have not one symbol in common") as error:
        seqloom.load([folder / "one", folder / "other"])
    assert str(folder / "other") in error.value.message
    with pytest.raises(RunFolderError, match="no run folder at"):
        seqloom.load(folder / "none")


def test_names_of_the_package() -> None:
    """Everything in __all__ is there; anything else is an AttributeError."""
    for name in seqloom.__all__:
        assert getattr(seqloom, name)
    with pytest.raises(AttributeError, match="module 'seqloom' has no attribute 'predict'"):
        seqloom.predict  # noqa: B018


# --- evaluating ------------------------------------------------------------------------------------------------------


def test_evaluation_by_hand(folder: Path) -> None:
    """Exact matches counted, perplexity from the scores of the targets."""
    found = seqloom.evaluate(folder / "one", folder / "test.tsv", metrics=["exact_match", "cer"])
    pairs = [line.split("\t") for line in (folder / "test.tsv").read_text(encoding="utf-8").splitlines()]
    model = seqloom.load(folder / "one")
    outputs = [answer.text for answer in model.predict([source for source, _ in pairs])]
    assert found.outputs == outputs
    assert found.references == [[target] for _, target in pairs]
    assert found.scores["count"] == len(pairs) == 14
    assert found.scores["exact_match"] == pytest.approx(sum(one == target for one, (_, target) in
                                                            zip(outputs, pairs, strict=True)) / 14)
    scores = model.score([source for source, _ in pairs], [target for _, target in pairs])
    nats = -sum(one.score for one in scores)
    tokens = sum(len(target.split()) + 1 for _, target in pairs)
    characters = sum(len(target) for _, target in pairs)
    assert found.scores["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert found.scores["bits_per_character"] == pytest.approx(nats / math.log(2) / characters, rel=1e-5)
    assert found.scores["seconds"] >= 0
    assert "cer|" in found.scores["signature"]
    assert "bleu" not in found.scores
    assert found.notes == [] or all("maximum length" in note for note in found.notes)


def test_what_is_measured_by_default(folder: Path) -> None:
    scores = seqloom.evaluate(seqloom.load(folder / "one"), folder / "test.tsv", options={"beam_size": 2}).scores
    expected = """count exact_match wer cer bleu chrf ter rouge_1 rouge_2 rouge_l substitutions insertions deletions
        perplexity bits_per_character signature seconds engine empty_rate repeated_rate identical_rate unknown_rate"""
    assert set(expected.split()) <= set(scores)


def test_options_of_the_search_are_taken_and_checked(folder: Path) -> None:
    found = seqloom.evaluate(folder / "one", folder / "test.tsv", metrics=["cer"], options={"max_length": 1})
    assert all(len(answer.tokens) <= 1 for answer in found.predictions)
    assert any("reached the maximum length without an end" in note for note in found.notes)
    with pytest.raises(ConfigError, match="beam_sice"):
        seqloom.evaluate(folder / "one", folder / "test.tsv", options={"beam_sice": 3})
    with pytest.raises(UsageError, match="unknown metric 'blue'"):
        seqloom.evaluate(folder / "one", folder / "test.tsv", metrics=["blue"])


def test_bad_lines_are_left_out_counted_and_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("a b\tb a\nno tab\n\tno source\nc\td\nx\n\n\n", encoding="utf-8")
    found = seqloom.evaluate(folder / "one", path, metrics=["exact_match"])
    assert found.scores["count"] == 2
    assert f"{path}:2" in found.notes[0]
    assert any("lines were left out in all" in note for note in found.notes)
    path.write_text("no tab\n", encoding="utf-8")
    with pytest.raises(DataError, match="no usable test example") as error:
        seqloom.evaluate(folder / "one", path)
    assert f"{path}:1" in str(error.value)
    assert "the target too" in error.value.fix


def test_ter_is_left_out_where_it_would_take_minutes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "TER_WORDS", 0)
    monkeypatch.setattr(evaluation, "TER_OUTPUTS", 0)
    found = seqloom.evaluate(folder / "one", folder / "test.tsv")
    assert "ter" not in found.scores
    assert any(note.startswith("ter is left out") for note in found.notes)
    assert "ter" in seqloom.evaluate(folder / "one", folder / "test.tsv", metrics=["ter"]).scores


def test_two_runs_compared(folder: Path) -> None:
    one, two = (seqloom.evaluate(folder / name, folder / "test.tsv", metrics=["cer"]) for name in ("one", "two"))
    found = one.compare(two, "cer", samples=50)
    assert found.score_a == pytest.approx(one.scores["cer"])
    assert found.delta == pytest.approx(two.scores["cer"] - one.scores["cer"])
    assert one.compare(one, "cer", samples=50).p_value >= 0.5
    other = seqloom.evaluate(folder / "one", folder / "valid.tsv", metrics=["cer"])
    with pytest.raises(DataError, match="not of the same test data"):
        one.compare(other, "cer")


# --- averaging, looking at data --------------------------------------------------------------------------------------


def test_the_mean_of_two_runs(folder: Path, tmp_path: Path) -> None:
    out = api.average([folder / "one", folder / "two"], tmp_path / "mean")
    one, two, mean = (open_run(run).weights() for run in (folder / "one", folder / "two", out))
    assert mean.keys() == one.keys()
    for name, array in mean.items():
        assert array.dtype == np.float32
        assert array == pytest.approx((one[name].astype(np.float64) + two[name]) / 2, rel=1e-6, abs=1e-8)
    assert seqloom.load(out).predict("a b").text is not None


def test_runs_that_have_no_mean(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 run given, expected two or more"):
        api.average([folder / "one"], tmp_path / "mean")
    with pytest.raises(UsageError, match="have different source vocabularies"):
        api.average([folder / "one", folder / "other"], tmp_path / "mean")
    wide = seqloom.train(folder / "train.tsv", valid=folder / "valid.tsv", out=tmp_path / "wide",
                         values=merged(LEARNING, {"training": {"max_steps": 1}, "source": {"embedding_size": 9}}))
    with pytest.raises(UsageError, match="have weights of different shapes"):
        api.average([folder / "one", wide], tmp_path / "mean")
    other = seqloom.train(folder / "train.tsv", valid=folder / "valid.tsv", out=tmp_path / "other",
                          values=merged(LEARNING, {"training": {"max_steps": 1}, "bridge": {"kind": "zero"},
                                                   "decoder": {"dropout": 0.1, "context": "attention"}}))
    same = seqloom.train(folder / "train.tsv", valid=folder / "valid.tsv", out=tmp_path / "same",
                         values=merged(LEARNING, {"training": {"max_steps": 1}, "bridge": {"kind": "copy"},
                                                  "decoder": {"context": "attention"}}))
    with pytest.raises(UsageError, match=r"were configured differently: bridge.kind\n"):
        api.average([same, other], tmp_path / "mean")
    with pytest.raises(UsageError, match="exists already"):
        api.average([folder / "one", folder / "two"], folder / "one")
    assert not (tmp_path / "mean").exists()


def test_the_doctor(folder: Path, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "bad.tsv", ["a b", "a b"], ["x", "x"])
    path.write_text(path.read_text(encoding="utf-8") + "no tab\n", encoding="utf-8")
    report = seqloom.doctor(path, valid=folder / "valid.tsv")
    assert (report.train.lines, report.train.usable, report.train.bad_lines) == (3, 2, 1)
    assert report.train.duplicates.count == 1
    assert report.unknown["source"].unknown
    assert report.quarantine == ""
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.tsv"]
    with pytest.raises(DataError, match="there is no file"):
        seqloom.doctor(tmp_path / "none.tsv")


def test_files_as_the_configuration_has_them() -> None:
    given = {"training": {"epochs": 3}, "data": {"valid_limit": 5}}
    assert api.with_files(["a.tsv", Path("b.csv")], "v.tsv", given) == {
        "training": {"epochs": 3},
        "data": {"valid_limit": 5, "train": [{"path": "a.tsv"}, {"path": "b.csv"}], "valid": [{"path": "v.tsv"}]}}
    assert given == {"training": {"epochs": 3}, "data": {"valid_limit": 5}}  # what was given is not changed
    assert api.with_files([], (), None) == {}
    corpora = api.corpora_of(["a.tsv"], [("s.txt", "t.txt")])
    assert [(corpus.path, corpus.source, corpus.target) for corpus in corpora] == [
        ("a.tsv", None, None), (None, "s.txt", "t.txt")]
