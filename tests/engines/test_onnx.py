"""The ONNX engine and what it reads: independence of neighbours, ties, artifacts that are damaged, no torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from damage import change_manifest, flip
from seqloom.config.sections import DecodingConfig
from seqloom.data.batching import pad
from seqloom.engines.artifacts import FOLDER, MANIFEST
from seqloom.engines.onnx import available_cores
from seqloom.errors import MissingExtraError, RunFolderError, UsageError
from seqloom.export import export_run
from seqloom.model import stored_weights
from seqloom.predictor import load_predictor
from seqloom.run import WEIGHTS, write_description, write_weights
from seqloom.search import search
from seqloom.types import START, Hypothesis, Item
from tiny import TRIALS, Tiny, tiny

SENTENCES = [trial.text("source") for trial in TRIALS]
# Sizes at which the runtime's kernels cut their work, and states of which no part is idle.
WIDE = {"source": {"embedding_size": 40}, "encoder": {"hidden_size": 72, "bidirectional": True},
        "decoder": {"hidden_size": 160, "embedding_size": 40, "copy_source": True},
        "decoding": {"max_length": 8}}


@pytest.fixture(scope="module")
def task() -> Tiny:
    return tiny(bidirectional=True)


@pytest.fixture(scope="module")
def run(task: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with both exports."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    write_description(folder, task.config, task.source, task.head)
    write_weights(folder / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
    export_run(folder, int8=True, check=False)
    return folder


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(run, tmp_path / "run"))


# --- an answer does not depend on its neighbours ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, Path]:
    task = tiny(WIDE)
    folder = tmp_path_factory.mktemp("runs") / "wide"
    folder.mkdir()
    write_description(folder, task.config, task.source, task.head)
    write_weights(folder / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
    export_run(folder, int8=True, check=False)
    return task, folder


def answers(engine: Any, items: list[Item], groups: list[list[int]], options: DecodingConfig) -> list[Hypothesis]:
    """The best answer of every item, searched in these groups."""
    found: dict[int, Hypothesis] = {}
    for group in groups:
        results = search(engine, pad([items[index] for index in group]), options, lines=np.asarray(group), weights=True)
        found.update(zip(group, (result[0] for result in results), strict=True))
    return [found[index] for index in range(len(items))]


@pytest.mark.parametrize("engine", ["onnx", "onnx-int8"])
@pytest.mark.parametrize("changes", [{"beam_size": 1}, {"beam_size": 5}, {"strategy": "sampling"}], ids=str)
def test_answers_do_not_depend_on_neighbours(wide: tuple[Tiny, Path], engine: str, changes: dict[str, Any]) -> None:
    task, folder = wide
    draw = np.random.default_rng(2)
    letters = np.array(list("abcdefxy"))
    items = [task.item(type(TRIALS[0])({"source": " ".join(draw.choice(letters, size)), "target": "", "features": ""}))
             for size in draw.integers(1, 30, 64)]
    options = DecodingConfig(max_length=8, **changes)
    runtime = load_predictor(folder, engine=engine).engine
    everything = list(range(len(items)))
    together = answers(runtime, items, [everything], options)
    shuffled = [int(index) for index in draw.permutation(len(items))]
    for groups in ([[index] for index in everything], [shuffled[start:start + 7] for start in range(0, 64, 7)]):
        for one, other in zip(together, answers(runtime, items, groups, options), strict=True):
            assert one.ids.tolist() == other.ids.tolist()
            np.testing.assert_allclose(one.token_scores, other.token_scores, rtol=0, atol=1e-6)


def test_int8_gives_other_probabilities_which_sum_to_one(wide: tuple[Tiny, Path]) -> None:
    """That each product is what it should be is tested beside the products."""
    task, folder = wide
    source = task.padded(TRIALS)
    tokens, parents = np.full((len(TRIALS), 1), START), np.zeros((len(TRIALS), 1), np.int64)
    found = []
    for engine in ("onnx", "onnx-int8"):
        runtime = load_predictor(folder, engine=engine).engine
        found.append(np.exp(runtime.step(runtime.begin(source), tokens, parents, None)[0].scores))
    assert not np.array_equal(*found)
    np.testing.assert_allclose(found[1].sum(2), 1, rtol=1e-5)


# --- ties ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["onnx", "onnx-int8"])
def test_ties_go_to_the_lower_id(tmp_path: Path, engine: str) -> None:
    task = tiny(WIDE | {"decoder": {"hidden_size": 8, "embedding_size": 4}})
    output = task.model.head.output
    output.weight.data.zero_()  # type: ignore[union-attr, operator]
    output.bias.data.zero_()  # type: ignore[union-attr, operator]
    output.bias.data[[9, 5, 7]] = 1.0  # type: ignore[union-attr, operator]
    folder = tmp_path / "run"
    folder.mkdir()
    write_description(folder, task.config, task.source, task.head)
    write_weights(folder / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
    export_run(folder, int8=True, check=False)
    runtime = load_predictor(folder, engine=engine).engine
    size = len(TRIALS)
    state = runtime.begin(task.padded(TRIALS))
    found, _ = runtime.step(state, np.full((size, 1), START), np.zeros((size, 1), np.int64), 6)
    assert found.tokens[:, 0].tolist() == [[5, 7, 9, 0, 1, 2]] * size


# --- choosing an engine ----------------------------------------------------------------------------------------------


def test_the_exported_engine_is_the_default(run: Path, copied: Path) -> None:
    assert load_predictor(run).engine.name == "onnx fp32"
    assert load_predictor(run, engine="onnx").engine.name == "onnx fp32"
    assert load_predictor(run, engine="onnx-int8").engine.name == "onnx int8"
    assert load_predictor(run, engine="torch").engine.name == "torch fp32"
    shutil.rmtree(copied / FOLDER)
    assert load_predictor(copied).engine.name == "torch fp32"


def test_weights_that_changed_since_the_export_are_not_answered_for(copied: Path, task: Tiny) -> None:
    weights = {name: weight.numpy() * 0.5 for name, weight in stored_weights(task.model).items()}
    write_weights(copied / WEIGHTS, weights)
    assert load_predictor(copied).engine.name == "torch fp32"
    with pytest.raises(RunFolderError, match=r"(?s)weights have changed since its export.*fix: seqloom export"):
        load_predictor(copied, engine="onnx")


def test_a_missing_export_is_said(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(copied / FOLDER)
    for engine in ("onnx", "onnx-int8"):
        with pytest.raises(RunFolderError, match=r"(?s)cannot run in engine onnx.*has no \w+ export.*seqloom export"):
            load_predictor(copied, engine=engine)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"(?s)no ONNX export.*needs the package 'torch'.*pip install"):
        load_predictor(copied)


def test_more_threads_than_cores_are_refused(run: Path) -> None:
    assert load_predictor(run, engine="onnx").engine.threads == available_cores()
    assert load_predictor(run, engine="onnx", threads=1).engine.threads == 1
    with pytest.raises(UsageError, match=rf"(?s)100000 threads, but this process may use {available_cores()} cores"):
        load_predictor(run, engine="onnx", threads=100_000)


# --- artifacts that are damaged, missing, of another time ------------------------------------------------------------


DAMAGE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("one bit", lambda folder: flip(folder / FOLDER / "step.onnx"), r"step\.onnx: the checksum is not the one"),
    ("cut", lambda folder: (folder / FOLDER / "encoder.onnx").write_bytes(b"abc"),
     r"encoder\.onnx: 3 bytes, expected [\d,]+"),
    ("gone", lambda folder: (folder / FOLDER / "step.onnx").unlink(), r"step\.onnx: the file is missing"),
    ("no JSON", lambda folder: (folder / FOLDER / MANIFEST).write_text("{"), r"manifest\.json: not readable as JSON"),
    ("other version", lambda folder: change_manifest(folder, lambda made: made.update(format_version=99)),
     r"manifest\.json: format_version is 99, this seqloom reads 2"),
    ("other run", lambda folder: change_manifest(folder, lambda made: made["symbols"].update(target=5)),
     r"manifest\.json: exported for .* but the tokenizers have"),
    ("no entry", lambda folder: change_manifest(folder, lambda made: made["models"]["fp32"].pop("step")),
     r"manifest\.json: says nothing usable about step"),
    ("no models", lambda folder: change_manifest(folder, lambda made: made.pop("models")),
     r"manifest\.json: lacks models"),
]


@pytest.mark.parametrize(("damage", "said"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE])
def test_damage_is_said_with_its_fix(copied: Path, damage: Callable[[Path], Any], said: str) -> None:
    damage(copied)
    for engine in ("auto", "onnx"):
        with pytest.raises(RunFolderError, match=rf"(?s){said}.*fix: "):
            load_predictor(copied, engine=engine)
    assert load_predictor(copied, engine="torch").engine.name == "torch fp32"


# --- without torch ---------------------------------------------------------------------------------------------------

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from seqloom.config.sections import CorpusConfig
from seqloom.evaluation import evaluate_files
from seqloom.predictor import load_predictor
predictor = load_predictor(sys.argv[1])
explained = predictor.predict("a b c", beam_size=3, alternatives=2)
assert explained.attention.shape == (len(explained.token_scores), 4) and explained.alternatives
print(*(answer.text for answer in predictor.predict(sys.argv[3:])), sep="|")
predictor.score(["a b"], ["b a"])
predictor.encode(["a b"])
scores = evaluate_files(predictor, [CorpusConfig(path=sys.argv[2])]).scores
print(scores["count"], predictor.engine.name)
"""


def test_an_export_predicts_evaluates_and_explains_without_torch(run: Path, tmp_path: Path) -> None:
    out = export_run(run, tmp_path / "out", check=False).folder
    assert not (out / WEIGHTS).exists()
    test = tmp_path / "test.tsv"
    test.write_text("".join(f"{trial.text('source')}\t{trial.text('target')}\n" for trial in TRIALS))
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(out), str(test), *SENTENCES],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answered, counted = done.stdout.splitlines()
    assert answered.split("|") == [one.text for one in load_predictor(run, engine="torch").predict(SENTENCES)]
    assert counted == f"{len(TRIALS)} onnx fp32"


def test_an_int8_export_alone_is_used_by_itself(run: Path, tmp_path: Path) -> None:
    out = export_run(run, tmp_path / "out", int8=True, check=False).folder
    assert sorted(path.name for path in (out / FOLDER).iterdir()) == [
        "best.int8.onnx", "encoder.int8.onnx", "greedy.int8.onnx", "greedy_listed.int8.onnx", "listed.int8.onnx",
        MANIFEST, "search.int8.onnx", "search_listed.int8.onnx", "step.int8.onnx", "weights.int8.safetensors"]
    assert load_predictor(out).engine.name == "onnx int8"
    assert load_predictor(out, engine="onnx").engine.name == "onnx int8"
