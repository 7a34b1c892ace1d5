"""Runs of labels and tags through their export: compared at its end, without torch, step by step, damaged, averaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answer_models import made
from exported import onnx_engine, stored

from damage import change_manifest, flip
from seqloom.config.sections import CorpusConfig
from seqloom.engines.artifacts import FOLDER
from seqloom.engines.ensemble import EnsembleEngine
from seqloom.engines.onnx import available_cores
from seqloom.errors import MissingExtraError, RunFolderError, SeqloomError, UsageError
from seqloom.export import export_run, products
from seqloom.predictor import load_predictor
from seqloom.run import WEIGHTS
from seqloom.types import Record
from tiny import Tiny, config_of, randomise

HEADS = ("label", "tags")
INPUTS = ["a b c", "f", "b c d e a a f", "x a", "e e"]


@pytest.fixture(scope="module", params=HEADS)
def task(request: pytest.FixtureRequest) -> Tiny:
    return made(config_of({"source": {"embedding_size": 4}, "head": {"kind": request.param},
                           "encoder": {"hidden_size": 6, "layers": 2, "bidirectional": False}}))


@pytest.fixture(scope="module")
def exported(task: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = stored(task, tmp_path_factory.mktemp("runs") / task.config.head.kind)
    export_run(folder, int8=True, check=False)
    return folder


@pytest.fixture
def run(exported: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "run"))


def own_answers(run: Path, path: Path) -> Path:
    """A file in which the model's own answers are the right ones."""
    found = load_predictor(run, engine="torch").predict(INPUTS)
    path.write_text("".join(f"{text}\t{one.text}\n" for text, one in zip(INPUTS, found, strict=True)), encoding="utf-8")
    return path


# --- the comparison at the end of an export --------------------------------------------------------------------------


def test_an_export_is_compared_on_real_inputs(run: Path, task: Tiny, tmp_path: Path) -> None:
    said: list[str] = []
    data = [CorpusConfig(path=str(own_answers(run, tmp_path / "data.tsv")))]
    exact, whole = export_run(run, int8=True, data=data, say=said.append).parity
    metric = "accuracy" if task.config.head.kind == "label" else "token_accuracy"
    assert (exact.precision, exact.reference, exact.inputs, exact.changed) == ("fp32", "torch fp32", len(INPUTS), 0)
    assert exact.largest < 1e-5
    assert exact.metrics == {metric: (1.0, 1.0)}
    assert exact.largest < whole.largest < 0.1
    assert any(line.startswith("fp32 against torch fp32: 0 of 5 answers differ (0.0 %); largest") for line in said)
    assert any(line.startswith(f"int8: {metric} ") for line in said)


def test_an_export_that_answers_otherwise_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                     ) -> None:
    """Whole numbers from −1 to 1 are too few for any model."""
    monkeypatch.setattr(products, "LEVELS", 1)
    monkeypatch.setattr("seqloom.export.parity.FEWEST_WORSE", 0)
    data = [CorpusConfig(path=str(own_answers(run, tmp_path / "data.tsv")))]
    with pytest.raises(SeqloomError, match=r"(?s)the int8 export does not answer as the model does: \w*accuracy falls"):
        export_run(run, int8=True, data=data)
    assert not (run / FOLDER).exists()


# --- without torch ---------------------------------------------------------------------------------------------------

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from seqloom.cli import main
main()
"""


def seqloom(*arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)], capture_output=True, text=True,
                          timeout=120, input=given)


@pytest.mark.parametrize("int8", [False, True])
def test_an_export_answers_without_torch(run: Path, task: Tiny, tmp_path: Path, int8: bool) -> None:
    out = export_run(run, tmp_path / "out", int8=int8, check=False).folder
    assert not (out / WEIGHTS).exists()
    words, data = tmp_path / "words.txt", own_answers(run, tmp_path / "data.tsv")
    words.write_text("".join(f"{text}\n" for text in INPUTS), encoding="utf-8")
    expected = [one.text for one in load_predictor(out).predict(INPUTS)]
    assert seqloom("predict", out, words).stdout.splitlines() == expected
    scores = json.loads(seqloom("evaluate", out, data, "--json").stdout)
    assert (scores["count"], scores["engine"]) == (len(INPUTS), "onnx int8" if int8 else "onnx fp32")
    assert scores["accuracy"] >= (0.8 if int8 else 1)
    assert len(seqloom("score", out, data).stdout.splitlines()) == len(INPUTS)
    assert seqloom("encode", out, words, "-o", tmp_path / "states.npz").returncode == 0
    assert (tmp_path / "states.npz").is_file()


def test_steps_are_answered_without_torch(run: Path, task: Tiny) -> None:
    done = seqloom("predict", run, "--stream", "-q", given="a\nb\nc\n\nf\n")
    if task.config.head.kind == "label":
        assert done.returncode == 2
        assert "answers step by step are asked for, but this run answers with one of" in done.stderr
        return
    whole = load_predictor(run, engine="torch").predict(["a b c", "f"])
    assert done.stdout.splitlines() == [*whole[0].tokens, "", *whole[1].tokens]


# --- bad input -------------------------------------------------------------------------------------------------------


DAMAGE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("one bit", lambda folder: flip(folder / FOLDER / "answer.onnx"), r"answer\.onnx: the checksum is not the one"),
    ("a weight", lambda folder: flip(folder / FOLDER / "weights.safetensors"), r"weights\.safetensors: the checksum"),
    ("cut", lambda folder: (folder / FOLDER / "answer.onnx").write_bytes(b"abc"), r"answer\.onnx: 3 bytes, expected"),
    ("gone", lambda folder: (folder / FOLDER / "encoder.onnx").unlink(), r"encoder\.onnx: the file is missing"),
    ("other version", lambda folder: change_manifest(folder, lambda made: made.update(format_version=99)),
     r"format_version is 99, this seqloom reads 2"),
    ("other run", lambda folder: change_manifest(folder, lambda made: made["symbols"].update(target=5)),
     r"exported for .* but the tokenizers have"),
    ("other head", lambda folder: change_manifest(folder, lambda made: made["models"]["fp32"].pop("answer")),
     r"manifest\.json: says nothing usable about answer"),
    ("no entries", lambda folder: change_manifest(folder, lambda made: made["models"].update(fp32=[1])),
     r"manifest\.json: says nothing usable about encoder"),
]


@pytest.mark.parametrize(("damage", "said"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE])
def test_damage_is_said_with_its_fix(run: Path, damage: Callable[[Path], Any], said: str) -> None:
    damage(run)
    for engine in ("auto", "onnx"):
        with pytest.raises(RunFolderError, match=rf"(?s){said}.*fix: "):
            load_predictor(run, engine=engine)
    assert load_predictor(run, engine="torch").engine.name == "torch fp32"


def test_a_missing_export(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [one.text for one in load_predictor(run).predict(INPUTS)]
    shutil.rmtree(run / FOLDER)
    found = load_predictor(run)
    assert found.engine.name == "torch fp32"
    assert [one.text for one in found.predict(INPUTS)] == expected
    with pytest.raises(RunFolderError, match=r"(?s)cannot run in engine onnx: it has no fp32 export.*seqloom export"):
        load_predictor(run, engine="onnx")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"(?s)no ONNX export.*needs the package 'torch'.*pip install"):
        load_predictor(run)


def test_more_threads_than_cores_and_longer_inputs_than_can_be(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=rf"100000 threads, but this process may use {available_cores()} cores"):
        load_predictor(run, threads=100_000)
    monkeypatch.setattr("seqloom.predictor.MAXIMUM_LINE", 20)
    bad, good = load_predictor(run).predict(["a " * 20, "a b"])
    assert (bad.stopped, bad.text, good.stopped) == ("error", "", "end")
    assert "line too long" in bad.error


# --- several runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("average", ["probabilities", "log_probabilities"])
def test_runs_are_averaged(task: Tiny, average: Any) -> None:
    """The arithmetic mean of probabilities, or the geometric one, by NumPy from what torch says of each."""
    members = [task, Tiny(task.config, task.source, task.head, made(task.config).model)]
    randomise(members[1].model, seed=5, spread=0.7)
    source = task.padded([Record({"source": text}) for text in INPUTS])
    found, state = EnsembleEngine([onnx_engine(one) for one in members], average=average).answer(source)
    each = np.stack([np.exp(one.engine().answer(source)[0].astype(np.float64)) for one in members])
    mean = each.mean(0) if average == "probabilities" else each.prod(0) ** 0.5
    np.testing.assert_allclose(np.exp(found), mean / mean.sum(2, keepdims=True), atol=1e-5)
    assert len(state) == 2


def test_the_member_that_gives_nan_is_named(task: Tiny) -> None:
    bad = made(task.config)
    bad.model.head.output.bias.data.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(SeqloomError, match="'onnx fp32' in an ensemble gave nan, expected log-probabilities"):
        EnsembleEngine([onnx_engine(bad)]).answer(task.padded([Record({"source": "a"})]))
