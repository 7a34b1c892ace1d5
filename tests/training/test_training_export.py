"""A training ends with an export, through which the run is used; that it fails is said and loses nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import seqloom.export
from seqloom import api
from seqloom.engines.artifacts import FOLDER, is_stale, read_manifest
from seqloom.errors import Interrupted, SeqloomError
from seqloom.predictor import load_predictor
from seqloom.run import CARD, WEIGHTS, open_run
from seqloom.training import session
from seqloom.training.exporting import CHECKED
from training_helpers import Files, Told, configuration


def trained(files: Files, out: Path, **changes: Any) -> Told:
    told = Told()
    session.train_run(configuration(files.train, files.valid, **changes), out, reporter=told)
    return told


def test_a_run_is_exported_and_used_through_its_export(files: Files, tmp_path: Path) -> None:
    told = trained(files, tmp_path / "run")
    run = open_run(tmp_path / "run")
    manifest = read_manifest(run)
    assert manifest is not None
    assert list(manifest["models"]) == ["fp32"]
    assert not is_stale(run, manifest)
    (compared,) = [line for line in told.lines if line.startswith("fp32 against torch fp32")]
    assert "0 of 6 answers differ" in compared
    assert told.lines[-1] == f"try it: seqloom predict {tmp_path / 'run'}"
    assert told.warnings == []
    own, fast = (load_predictor(run.folder, engine=engine).predict(["a b c", "f e"]) for engine in ("torch", "auto"))
    assert fast[0].engine == "onnx fp32"
    assert [answer.tokens for answer in own] == [answer.tokens for answer in fast]


def test_the_comparison_is_short(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    real = seqloom.export.export_run
    monkeypatch.setattr(seqloom.export, "export_run", lambda folder, **options: (
        limits.append(options["limit"]), real(folder, **options)))
    trained(files, tmp_path / "run", training={"epochs": 1})
    assert limits == [CHECKED]
    assert CHECKED <= 100


def test_a_finetuned_a_resumed_and_an_averaged_run_are_exported(files: Files, tmp_path: Path) -> None:
    trained(files, tmp_path / "one", training={"epochs": 1})
    before = read_manifest(open_run(tmp_path / "one"))
    api.finetune(tmp_path / "one", files.train, valid=files.valid, out=tmp_path / "two",
                 values={"training": {"epochs": 1}})
    api.resume(tmp_path / "one", overrides=["training.epochs=3"])
    api.average([tmp_path / "one", tmp_path / "two"], tmp_path / "mean")
    for name in ("one", "two", "mean"):
        run = open_run(tmp_path / name)
        manifest = read_manifest(run)
        assert manifest is not None
        assert manifest != before
        assert not is_stale(run, manifest)
        assert load_predictor(tmp_path / name).engine.name == "onnx fp32"


@pytest.mark.parametrize(("error", "said", "fix"), [
    (SeqloomError("it answers otherwise", fix="report this"), "torch will run it: it answers otherwise",
     "  fix: report this; then: seqloom export"),
    (ZeroDivisionError("by zero"), "torch will run it: ZeroDivisionError: by zero", "  fix: seqloom export"),
    (None, "torch will run it: exporting a model needs the package 'onnx', which is not installed",
     "  fix: pip install 'seqloom[train]'; then: seqloom export")], ids=["refused", "unforeseen", "no onnx"])
def test_a_failed_export_loses_nothing(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       error: Exception | None, said: str, fix: str) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        assert error is not None
        raise error

    if error is None:
        monkeypatch.setitem(sys.modules, "onnx", None)
    else:
        monkeypatch.setattr(seqloom.export, "check_parity", fail)
    told = trained(files, tmp_path / "run", training={"epochs": 1})
    (warning,) = told.warnings
    assert warning.startswith("warning: the run is whole, but it was not exported")
    assert said in warning
    assert warning.splitlines()[1] == f"{fix} {tmp_path / 'run'}"
    assert (tmp_path / "run" / CARD).is_file()
    assert (tmp_path / "run" / WEIGHTS).is_file()
    monkeypatch.undo()
    assert not (tmp_path / "run" / FOLDER).exists()
    assert load_predictor(tmp_path / "run", engine="torch").predict("a b").tokens


def test_an_interrupt_during_the_export_is_one(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise Interrupted("stopped by SIGINT")

    monkeypatch.setattr(seqloom.export, "check_parity", stop)
    with pytest.raises(Interrupted):
        trained(files, tmp_path / "run", training={"epochs": 1})
    assert (tmp_path / "run" / CARD).is_file()
    assert load_predictor(tmp_path / "run").engine.name == "torch fp32"
