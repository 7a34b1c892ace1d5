"""`explain` on pictures, sound and frames: trained once in a few updates, explained from the export without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")
pytest.importorskip("soundfile")
pytest.importorskip("matplotlib")

import torch

import seqloom
from seqloom.data.batching import pad
from seqloom.data.generated import moving, shapes, tones
from seqloom.engines.torch import to_tensors
from seqloom.model import build_model
from seqloom.run import open_run
from seqloom.types import Item

SMALL: dict[str, Any] = {
    "encoder": {"hidden_size": 6, "layers": 1}, "decoder": {"hidden_size": 6, "embedding_size": 4},
    "training": {"max_steps": 2, "epochs": 1, "batch_size": 4, "threads": 1, "device": "cpu", "metric": "loss"},
    "decoding": {"beam_size": 1, "max_length": 6, "min_length": 2}, "head": {"tokenizer": {"kind": "word"}}}
PICTURE = {"height": 16, "width": 24, "channels": [4, 4]}
RUNS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "image": (shapes, "test/00000.png", {"source": {"kind": "image", **PICTURE}}),
    "audio": (tones, "test/00000.wav", {"source": {"kind": "audio", "sample_rate": 8000, "filters": 8}}),
    "frames": (moving, "test/00000.tiff", {"source": {"kind": "frames", **PICTURE, "frame_size": 6}}),
    "initial": (shapes, "test/00000.png", {"source": {"kind": "image", **PICTURE}, "decoder": {
        "context": "initial", "hidden_size": 6, "embedding_size": 4}}),
}
BLOCKED = "import sys\nfor name in ('torch', 'onnx', 'jaxtyping'): sys.modules[name] = None\n"
PROGRAM = BLOCKED + "from seqloom.cli import main\nmain()\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of each kind with its data beside it."""
    base = tmp_path_factory.mktemp("media")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, (module, _, values) in RUNS.items():
        files = module.write(base / name, 6, 3, 1)
        merged = {key: {**SMALL.get(key, {}), **values.get(key, {})} for key in {**SMALL, **values}}
        seqloom.train(files["train"], valid=files["valid"], out=base / name / "run", values=merged)
    yield base
    torch.set_num_threads(threads)


def explain(folder: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, without torch."""
    arguments = ["explain", str(folder / name / "run"), str(folder / name / RUNS[name][1]), "--threads", "1", *options]
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["image", "audio", "frames"])
def test_pages_and_numbers_without_torch(folder: Path, name: str, tmp_path: Path) -> None:
    done = explain(folder, name, "-o", str(tmp_path / "x.html"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    done = explain(folder, name, "-o", str(tmp_path / "x.json"))
    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    rows = len(answer["attention"])
    if name == "image":
        assert page.count("<img ") == rows + 1
        assert (answer["seen"]["rows"], answer["seen"]["columns"]) == (4, 6)
        assert len(answer["attention"][0]) == 24
    else:
        assert page.count('class="curve"') == rows
        assert len(answer["attention"][0]) == -(-answer["seen"]["frames"] // answer["seen"]["frames_per_position"])


def test_png_without_torch(folder: Path, tmp_path: Path) -> None:
    done = explain(folder, "image", "-o", str(tmp_path / "x.png"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_without_attention_it_is_said_and_the_picture_is_shown(folder: Path, tmp_path: Path) -> None:
    done = explain(folder, "initial", "-o", str(tmp_path / "x.html"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "no attention weights" in page
    assert page.count("<img ") == 1
    done = explain(folder, "initial", "-o", str(tmp_path / "x.png"))
    assert done.returncode == 2
    assert "no attention weights" in done.stderr
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("view", [["--steps"], ["--path"], ["--gates"], ["--reverse"]])
def test_views_of_text_are_refused_by_name(folder: Path, view: list[str], tmp_path: Path) -> None:
    done = explain(folder, "image", *view, "-o", str(tmp_path / "x.html"))
    assert done.returncode == 2
    assert "source.kind image" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_region_is_the_part_of_the_picture_that_its_name_says(folder: Path) -> None:
    """Change the pixels in the middle of a region: its position changes, and none beside its neighbours."""
    run = open_run(folder / "image" / "run")
    model = build_model(run.config, run.source, run.head, seed=1).eval()
    norms = model.encoder.pictures.norms
    model.encoder.pictures.norms = torch.nn.ModuleList(torch.nn.Identity() for _ in norms)  # which see all regions
    rows, columns = run.source.grid
    names = run.source.memory_tokens(None, None)
    plain = np.full((16, 24, 3), 100, np.uint8)

    def values(picture: np.ndarray[Any, Any]) -> Any:
        with torch.no_grad():
            return model.encoder(to_tensors(pad([Item({"main": picture})]), torch.device("cpu"))).values[0].numpy()

    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            picture = plain.copy()
            picture[row * 4 + 1:row * 4 + 3, column * 4 + 1:column * 4 + 3] = 255
            moved = np.abs(values(picture) - values(plain)).sum(1)
            changed = [tuple(map(int, names[place].split(","))) for place in np.flatnonzero(moved > 1e-7)]
            assert (row + 1, column + 1) in changed
            assert all(abs(one - row - 1) <= 1 and abs(other - column - 1) <= 1 for one, other in changed)
