"""Which engine runs a run, what is said about it, and what is refused. See test_onnx.py for damaged artifacts."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

import seqloom
from seqloom.engines.artifacts import FOLDER, MANIFEST
from seqloom.engines.choice import ENGINES
from seqloom.engines.ensemble import EnsembleEngine
from seqloom.engines.onnx import available_cores
from seqloom.errors import MissingExtraError, RunFolderError, UsageError
from seqloom.export import export_run
from seqloom.model import stored_weights
from seqloom.predictor import load_predictor
from seqloom.run import WEIGHTS, write_description, write_weights
from tiny import TRIALS, tiny


@pytest.fixture
def run(tmp_path: Path) -> Path:
    task, folder = tiny(), tmp_path / "run"
    folder.mkdir()
    write_description(folder, task.config, task.source, task.head)
    write_weights(folder / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
    export_run(folder, int8=True, check=False)
    return folder


def make_stale(run: Path) -> None:
    task = tiny(seed=2)
    write_weights(run / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})


def test_an_engine_is_one_of_the_names(run: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown engine 'fast'\s+fix: use --engine auto, onnx, onnx-int8 or torch"):
        load_predictor(run, engine="fast")
    assert ENGINES[0] == "auto"


def test_auto_says_only_when_an_export_is_passed_over(run: Path) -> None:
    said: list[str] = []
    assert seqloom.load(run, say=said.append).engine.name == "onnx fp32"
    assert seqloom.load([run, run], say=said.append).engine.name == "ensemble(onnx fp32, onnx fp32)"
    assert said == []
    make_stale(run)
    assert seqloom.load(run, say=said.append).engine.name == "torch fp32"
    (sentence,) = said
    assert "the weights have changed since its export, so torch runs them" in sentence
    assert f"seqloom export {run}" in sentence
    assert seqloom.load(run, engine="torch", say=said.append).engine.name == "torch fp32"
    assert len(said) == 1  # who asks for torch need not be told
    export_run(run, check=False)
    assert seqloom.load(run, say=said.append).engine.name == "onnx fp32"
    assert len(said) == 1


def test_without_torch_a_stale_export_is_named_as_the_reason(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_stale(run)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"(?s)the weights have changed since its export, and running a "
                                                r"model needs the package 'torch'.*pip install 'seqloom\[train\]'"):
        load_predictor(run)


@pytest.mark.parametrize(("asked", "because"), [({"engine": "torch"}, "engine torch is asked for"),
                                                ({"device": "cuda"}, "device cuda is asked for")])
def test_without_torch_asking_for_it_is_the_reason(run: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str],
                                                   because: str) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=rf"{run}: {because}, and running a model needs the package 'torch'"):
        load_predictor(run, **asked)


def test_a_gpu_is_torchs(run: Path) -> None:
    with pytest.raises(UsageError, match="device 'cuda:99' cannot be used"):
        load_predictor(run, device="cuda:99")


def test_every_engine_knows_its_threads(run: Path) -> None:
    for engine in ("onnx", "onnx-int8", "torch"):
        one = load_predictor(run, engine=engine, threads=1).engine
        assert one.threads == 1
        assert EnsembleEngine([one, one]).threads == 1
        with pytest.raises(UsageError, match=rf"100000 threads, but this process may use {available_cores()} cores"):
            load_predictor(run, engine=engine, threads=100_000)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x7f" + bytes(100)])
def test_graphs_that_the_runtime_cannot_open_are_refused(run: Path, content: bytes) -> None:
    """Of a newer format, say: whole by its checksum, and still not to be read."""
    path = run / FOLDER / MANIFEST
    manifest = json.loads(path.read_text())
    entry = manifest["models"]["fp32"]["best"]
    (run / FOLDER / entry["file"]).write_bytes(content)
    entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(manifest))
    with pytest.raises(RunFolderError, match=r"(?s)onnxruntime [\d.]+ cannot open the fp32 graphs: .*fix: pip install "
                                             r"-U onnxruntime, or make it again: seqloom export"):
        load_predictor(run)
    assert load_predictor(run, engine="onnx-int8").engine.name == "onnx int8"


@pytest.mark.parametrize("tie", ["none", "output"])
def test_a_loaded_model_is_laid_out_for_steps_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tie: str
                                                          ) -> None:
    """Large matrices stand by columns, tables of embeddings by rows; numbers and answers are what they were."""
    monkeypatch.setattr("seqloom.engines.torch.LARGE", 1)
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    task, folder = tiny(tie=tie), tmp_path / "run"
    folder.mkdir()
    write_description(folder, task.config, task.source, task.head)
    write_weights(folder / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
    predictor = load_predictor(folder, engine="torch", device="cpu")
    assert "ONEDNN_PRIMITIVE_CACHE_CAPACITY" in os.environ
    model = predictor.engine.model
    assert model.head.output.weight.is_contiguous() == (tie == "output")
    assert model.head.decoder.embedding.weight.is_contiguous()
    assert not model.head.decoder.recurrent.layers[0].cells[0].weight_hidden.is_contiguous()
    for name, weight in stored_weights(task.model).items():
        assert weight.equal(stored_weights(model)[name])
    texts = [trial.text("source") for trial in TRIALS]
    for changes in ({"beam_size": 1}, {"beam_size": 3}):
        for one, other in zip(predictor.predict(texts, **changes), task.predictor().predict(texts, **changes),
                              strict=True):
            assert one.tokens == other.tokens
            assert one.score == pytest.approx(other.score, abs=1e-5)
    (one,), (other,) = predictor.score(["a b"], ["b a"]), task.predictor().score(["a b"], ["b a"])
    assert one.score == pytest.approx(other.score, abs=1e-5)
