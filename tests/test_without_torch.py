"""The core alone, as `pip install seqloom` leaves it: no torch, no onnx, no matplotlib, no babel. Everything but making
models works: an export predicts, evaluates, explains, scores, encodes.

The fast tests make imports of everything else fail in a process of their own; the slow one builds an environment that
has the packages that pyproject.toml names, and no others.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from seqloom.api import evaluate, train
from seqloom.export import export_run
from seqloom.model import stored_weights
from seqloom.predictor import load_predictor
from seqloom.run import WEIGHTS, write_description, write_weights
from tiny import TRIALS, Tiny, tiny

ROOT = Path(__file__).parents[1]
BLOCKED = ("torch", "onnx", "matplotlib", "babel", "jaxtyping", "tensorboard", "PIL", "soundfile", "fastapi", "uvicorn",
           "huggingface_hub", "ray", "beartype", "hypothesis", "pytest", "setuptools", "pip")
BLOCKER = f"import sys\nfor name in {BLOCKED!r}: sys.modules[name] = None\n"
PROGRAM = "from seqloom.cli import main\nmain()\n"
WATCHER = """
import atexit, sys
def packages(name):
    return ".".join(name.split(".")[: 2 if name.startswith("seqloom") else 1])
atexit.register(lambda: print("LOADED", *sorted(set(map(packages, sys.modules))), file=sys.stderr))
"""


@pytest.fixture(scope="module")
def task() -> Tiny:
    return tiny(bidirectional=True)


@pytest.fixture(scope="module")
def run(task: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that stands alone: no weights in it that torch could run. Its test data is beside it."""
    folder = tmp_path_factory.mktemp("alone")
    whole = folder / "whole"
    whole.mkdir()
    write_description(whole, task.config, task.source, task.head)
    write_weights(whole / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
    export_run(whole, folder / "run", check=False)
    write_lines(folder / "words.txt", [trial.text("source") for trial in TRIALS])
    write_lines(folder / "test.tsv", [f"{trial.text('source')}\t{trial.text('target')}" for trial in TRIALS])
    return folder / "run"


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def seqloom(*arguments: object, before: str = BLOCKER) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", before + PROGRAM, *map(str, arguments)], capture_output=True,
                          encoding="utf-8", timeout=120)
    return done


def succeeds(*arguments: object, before: str = BLOCKER) -> str:
    done = seqloom(*arguments, before=before)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- what works ------------------------------------------------------------------------------------------------------


def test_predict(run: Path, task: Tiny) -> None:
    expected = [answer.text for answer in task.predictor().predict([trial.text("source") for trial in TRIALS])]
    done = seqloom("predict", run, run.parent / "words.txt")
    assert done.stdout.splitlines() == expected
    assert re.fullmatch(r"engine: onnx fp32, \d+ threads?\n(note: .*\n)?", done.stderr)
    full = succeeds("predict", run, run.parent / "words.txt", "-f", "jsonl", "-n", "2", "--attention", "-k", "2", "-q")
    assert [json.loads(line)["engine"] for line in full.splitlines()] == ["onnx fp32"] * len(TRIALS)


def test_evaluate(run: Path, task: Tiny) -> None:
    scores = json.loads(succeeds("evaluate", run, run.parent / "test.tsv", "--json"))
    assert scores["engine"] == "onnx fp32"
    assert scores["count"] == len(TRIALS)
    total = sum(answer.score for answer in task.predictor().score_records(TRIALS))
    tokens = sum(len(trial.text("target").split()) + 1 for trial in TRIALS)
    assert scores["perplexity"] == pytest.approx(np.exp(-total / tokens), rel=1e-4)
    assert "bleu" in succeeds("evaluate", run, run.parent / "test.tsv", "--compare", run, "--metric", "bleu")


def test_a_language_model(tmp_path: Path) -> None:
    """Its weights are taken away, so that the export alone answers; the figures are those of torch."""
    write_lines(tmp_path / "poem.txt", ["hello world"] * 40)
    write_lines(tmp_path / "prompt.txt", ["hel"])
    made = train(tmp_path / "poem.txt", preset="lm", out=tmp_path / "run", overrides=["decoder.hidden_size=8"],
                 max_steps=3)
    expected = evaluate(load_predictor(made, engine="torch"), tmp_path / "poem.txt").scores["bits_per_character"]
    (made / WEIGHTS).unlink()
    scores = json.loads(succeeds("evaluate", made, tmp_path / "poem.txt", "--json", "-q"))
    assert scores["engine"] == "onnx fp32"
    assert scores["bits_per_character"] == pytest.approx(expected, abs=1e-4)
    answered = succeeds("predict", made, tmp_path / "prompt.txt", "--set", "max_length=5", "-q")
    assert answered == succeeds("predict", made, tmp_path / "prompt.txt", "--set", "max_length=5", "-q")
    assert len(succeeds("score", made, tmp_path / "poem.txt", "-q").splitlines()) == 40


def test_explain(run: Path, tmp_path: Path) -> None:
    assert "output" in succeeds("explain", run, "a b c", "-k", "2")
    for suffix in ("svg", "html", "json", "npz"):
        path = tmp_path / f"picture.{suffix}"
        assert succeeds("explain", run, "a b c", "-o", path) == f"{path}\n"
        assert path.stat().st_size > 100
    done = seqloom("explain", run, "a b c", "-o", tmp_path / "picture.png")
    assert done.returncode == 2
    assert "pip install 'seqloom[plot]'" in done.stderr


def test_score_and_encode(run: Path, task: Tiny, tmp_path: Path) -> None:
    scored = succeeds("score", run, run.parent / "test.tsv").splitlines()
    expected = [answer.score for answer in task.predictor().score_records(TRIALS)]
    assert [float(line.split("\t")[0]) for line in scored] == pytest.approx(expected, abs=1e-4)
    succeeds("encode", run, run.parent / "words.txt", "-o", tmp_path / "states.npz")
    with np.load(tmp_path / "states.npz") as arrays:
        assert arrays["lines"].tolist() == list(range(1, len(TRIALS) + 1))


def test_the_rest(run: Path, tmp_path: Path) -> None:
    """Verbs around models that need no model to run."""
    assert "symbols" in succeeds("info", run)
    assert "g2p" in succeeds("presets")
    assert "8 usable" in succeeds("doctor", run.parent / "test.tsv")
    succeeds("export", "--help")
    program = "import seqloom; print(seqloom.load(sys.argv[1]).predict('a b c').engine)"
    done = subprocess.run([sys.executable, "-c", BLOCKER + program, str(run)], capture_output=True, text=True)
    assert done.stdout == "onnx fp32\n", done.stderr


# --- what does not, and says so --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "package"), [
    (["train", "test.tsv", "--out", "new"], "torch"), (["finetune", "run", "test.tsv", "--out", "new"], "torch"),
    (["demo", "--out", "new"], "torch"), (["export", "whole", "new"], "onnx"),
    (["predict", "run", "words.txt", "--engine", "torch"], "torch"), (["predict", "whole", "words.txt"], "torch")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_making_models_names_what_it_needs(run: Path, arguments: list[str], package: str) -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKER + PROGRAM, *arguments], capture_output=True, text=True,
                          timeout=120, cwd=run.parent)
    assert done.returncode == 2, done.stderr
    assert f"needs the package '{package}', which is not installed\n  fix: pip install 'seqloom[train]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (run.parent / "new").exists()


# --- what is loaded --------------------------------------------------------------------------------------------------


def loaded(*arguments: object) -> set[str]:
    """The packages that a command has loaded when it ends."""
    done = seqloom(*arguments, before=WATCHER)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.partition("LOADED ")[2].split())


def test_one_answer_loads_what_it_needs_and_no_more(run: Path) -> None:
    """Start-up is what is imported: each of these takes longer than to answer."""
    found = loaded("predict", run, run.parent / "words.txt")
    assert {"numpy", "onnxruntime"} <= found
    heavy = {*BLOCKED, "rich", "sacrebleu", "rapidfuzz", "tokenizers", "safetensors", "asyncio", "http", "unittest",
             "xml", "multiprocessing"}
    assert found & heavy == set()
    own = ("training", "export", "plots", "demo", "evaluation", "metrics", "nn", "model")
    assert found & {f"seqloom.{name}" for name in own} == set()
    assert "seqloom.engines" in found


# --- an environment --------------------------------------------------------------------------------------------------


def requirements() -> set[str]:
    """The names of the core dependencies, and of all that they need here, as their metadata says."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in project["dependencies"]]
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name in found or (wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})):
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # what is not here either cannot be needed
        waiting += [Requirement(text) for text in found[name].requires or []]
    return set(found)


@pytest.mark.slow
def test_an_environment_with_the_core_alone(run: Path, task: Tiny, tmp_path: Path) -> None:
    """The project, built and installed from this tree, beside the packages it names: nothing else is there."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = Path(subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                               capture_output=True, text=True, check=True).stdout.strip())
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
                    "--no-index", "--target", str(site), str(tree)], check=True, timeout=250)
    names = requirements()
    assert names.isdisjoint({"torch", "onnx", "matplotlib", "babel"})
    for name in names:
        for file in distribution(name).files or []:
            target = site / file
            if ".." not in file.parts and not target.exists() and Path(str(file.locate())).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(Path(str(file.locate())).resolve())
    program = [str(python), "-m", "seqloom"]
    for name in ("torch", "onnx", "matplotlib", "babel", "pytest"):
        assert subprocess.run([python, "-c", f"import {name}"], capture_output=True, cwd=tmp_path).returncode == 1
    words, test = run.parent / "words.txt", run.parent / "test.tsv"
    expected = [answer.text for answer in task.predictor().predict([trial.text("source") for trial in TRIALS])]
    for arguments in (["predict", run, words], ["evaluate", run, test, "--json"], ["explain", run, "a b"],
                      ["explain", run, "a b", "-o", tmp_path / "x.html"], ["score", run, test],
                      ["encode", run, words, "-o", tmp_path / "x.npz"]):
        done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, timeout=120,
                              cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        if arguments[0] == "predict":
            assert done.stdout.splitlines() == expected
    assert load_predictor(run).engine.name == "onnx fp32"
