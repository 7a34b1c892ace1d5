"""Scripts of the benchmarks that stand alone: training on a GPU, and courses of training beside each other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from source_tree import ROOT

if str(ROOT) not in sys.path:  # benchmarks/ is no part of the package, and `pytest` alone does not look here
    sys.path.append(str(ROOT))

from benchmarks import curves, floor, gpu, scale_training


def test_gpu_script_runs_at_tiny_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the CPU; both models, both ways."""
    out = tmp_path / "rows.json"
    assert gpu.main(["W", "G", "--device", "cpu", "--quick", "--precisions", "fp32", "--tokens", "200", "--pairs", "60",
                     "--seconds", "0", "--warm-up", "1", "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [row["model"] for row in found] == ["W", "G"]
    for row in found:
        assert row["captured"]["tokens_per_second"] > 0
        assert row["ratio"] == row["captured"]["tokens_per_second"] / row["plain"]["tokens_per_second"]
        assert "share_of_peak" not in row
    assert capsys.readouterr().out.count("× the plain loop") == 2


def test_gpu_script_counts_the_operations_of_the_floor(tmp_path: Path) -> None:
    """Model W: the same products as the floor's list, but for attention's between states and memory."""
    gpu.write_data(tmp_path, 40)
    config = gpu.configuration({**gpu.MODELS["W"], "embedding": 32, "encoder": 16, "decoder": 32}, tmp_path, 200,
                               "fp32", "cpu")
    data = gpu.prepare(config, tmp_path, gpu.Reporter())
    trainer = gpu.trainer_of(config, data, tmp_path, "captured")
    of_source, of_target = gpu.operations_each(trainer)
    task = {"batch": 1, "embedding": 32, "encoder": 16, "decoder": 32, "feeding": True, "source_length": 9,
            "target_length": 9, "target_symbols": data.head.size - 4}
    attention = 6 * 2 * 10 * 10 * 32
    assert 10 * (of_source + of_target) + attention == floor.operations(floor.products(task))


def test_gpu_script_says_when_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    if not gpu.torch.cuda.is_available():
        with pytest.raises(SystemExit):
            gpu.main([])
        assert "there is no GPU here" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu.main(["X"])
    assert "no model X: there are W, G" in capsys.readouterr().err


def test_curves_of_kernels_and_references_are_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two epochs of a tiny model, without dropout: fp32 agrees to rounding, and the ways are different programs."""
    for name, count in (("train", 60), ("valid", 10)):
        lines = [f"{chr(97 + number % 7)} b c{number % 3}\tc b {chr(97 + number % 7)}\n" for number in range(count)]
        (tmp_path / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    out = tmp_path / "curves.json"
    assert curves.main([str(tmp_path / "train.tsv"), str(tmp_path / "valid.tsv"), "--epochs", "2", "--ways",
                        "kernels,reference,bf16", "--out", str(out), "--set", "encoder.hidden_size=8", "--set",
                        "decoder.hidden_size=16", "--set", "decoder.attention.kind=soft", "--set",
                        "decoder.attention.input_feeding=true"]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert set(found) == {"kernels", "reference", "bf16"}
    for one, other in zip(found["kernels"], found["reference"], strict=True):
        assert one["step"] == other["step"]
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert one["valid_loss"] == pytest.approx(other["valid_loss"], rel=1e-4)
    assert found["bf16"][-1]["train_loss"] != found["kernels"][-1]["train_loss"]
    shown = capsys.readouterr().out
    assert "largest difference of a loss from kernels" in shown


def test_the_reference_is_computed_step_by_step(tmp_path: Path) -> None:
    gpu.write_data(tmp_path, 40)
    config = gpu.configuration({**gpu.MODELS["W"], **gpu.QUICK}, tmp_path, 200, "fp32", "cpu")
    trainer = gpu.Trainer(config, gpu.prepare(config, tmp_path, gpu.Reporter()), tmp_path, gpu.Reporter())
    with curves.references(trainer):
        assert trainer.gradients.ways().startswith("encoder step by step")
        assert "decoder step by step" in trainer.gradients.ways()
    with pytest.raises(SystemExit):
        curves.main(["a", "b", "--ways", "fastest"])


def test_scale_of_training_says_what_it_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    assert scale_training.main(["--pairs", "300", "--updates", "3", "--hidden", "4", "--drop-duplicates",
                                "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text(encoding="utf-8")).keys() == found.keys()
    assert (found["pairs"], found["updates"]) == (300, 3)
    for name in ("seconds of preparation", "seconds to the first update", "seconds waited for data", "parameters, MiB"):
        assert found[name] >= 0


def test_no_pair_of_the_corpus_comes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale_training, "DRAWN", 7)
    scale_training.write_corpus(tmp_path / "pairs.tsv", 25)
    lines = (tmp_path / "pairs.tsv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines)) == 25
