"""The plan says which kernel serves, and where the fast one does not, why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqloom.config.loading import load_config
from seqloom.nn.kernels import input_feeding
from seqloom.nn.recurrent import RecurrentLayer
from seqloom.training.captured import can_be_captured
from seqloom.training.session import plan_run
from seqloom.training.ways import ways
from training_helpers import Files, Told, configuration, trainer_of

FEEDING = {"context": "attention", "attention": {"input_feeding": True}}
CASES: list[tuple[dict[str, Any], str]] = [
    ({"decoder": {"context": "initial"}}, "encoder in one call, decoder in one call, products in "),
    ({"decoder": FEEDING}, "encoder in one call, decoder in its kernel, products in "),
    ({"decoder": {"context": "attention", "attention": {"normalization": "entmax15"}}}, "decoder in its kernel, pro"),
    ({"decoder": {"context": "attention", "attention": {"local_window": 3}}},
     "decoder step by step, which is slow (attention.local_window is set)"),
    ({"decoder": {"context": "attention", "attention": {"coverage": True}}},
     "decoder step by step, which is slow (attention.coverage is on)"),
    ({"decoder": {"context": "attention", "attention": {"input_feeding": True, "score": "concat", "score_layers": 2}}},
     "decoder step by step, which is slow (attention.score_layers is more than 1)"),
    ({"decoder": FEEDING, "training": {"teacher_forcing": {"ratio": 0.5}}},
     "decoder in its kernel, step by step where it reads its own history"),
]


@pytest.mark.parametrize(("values", "expected"), CASES, ids=[expected[:60] for _, expected in CASES])
def test_the_plan_says_how_passes_are_computed(values: dict[str, Any], expected: str, files: Files) -> None:
    told = Told()
    plan_run(configuration(*files, **values), told)
    (line,) = [line for line in told.lines if line.startswith("kernels: ")]
    assert expected in line


def test_what_is_said_is_what_is_computed(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A switched-off kernel and plain layers are said; the kernel is called where it is named."""
    trainer = trainer_of(configuration(*files, decoder=FEEDING), tmp_path)
    calls = []
    unroll = input_feeding.unroll
    monkeypatch.setattr(input_feeding, "unroll", lambda *given: calls.append(1) or unroll(*given))
    trainer.gradients.of(trainer._groups()[0], 0, 1.0)
    assert calls
    assert "decoder in its kernel" in trainer.gradients.ways()
    calls.clear()
    trainer.model.head.decoder.use_kernel = False
    for layer in trainer.model.encoder.modules():
        if isinstance(layer, RecurrentLayer):
            layer.plain = True
    trainer.gradients.of(trainer._groups()[0], 0, 1.0)
    assert not calls
    assert trainer.gradients.ways().startswith(
        "encoder step by step, which is slow (built with plain=True), decoder step by step, which is slow (its kernel "
        "is switched off), ")


@pytest.mark.parametrize(("values", "reason"), [
    ({}, "CUDA graphs"),
    ({"encoder": {"cell": "rnn_tanh"}}, "no CUDA graphs (recurrent cells without gates are packed by lengths)"),
    ({"decoder": {"context": "attention", "copy_source": True}},
     "no CUDA graphs (copying asks how many symbols a source adds)"),
    ({"head": {"kind": "sequence", "alignment_loss": 0.3, "tokenizer": {"kind": "word"}}},
     "no CUDA graphs (the loss that aligns wants lengths on the host)"),
], ids=["captured", "cells", "copying", "alignment"])
def test_on_a_gpu_it_says_whether_passes_are_captured(values: dict[str, Any], reason: str, files: Files,
                                                      tmp_path: Path) -> None:
    trainer = trainer_of(configuration(*files, **values), tmp_path)
    said = ways(trainer.model, trainer.options, torch.device("cuda"), small=True, bf16=False)
    assert said[-1] == reason
    assert can_be_captured(trainer.model) == (reason == "CUDA graphs")


def test_a_language_model_has_no_encoder(tmp_path: Path) -> None:
    text = tmp_path / "poem.txt"
    text.write_text("hello hello\n" * 40, encoding="utf-8")
    told = Told()
    plan_run(load_config(values={
        "source": {"kind": "none"}, "head": {"kind": "language"}, "decoder": {"hidden_size": 4, "embedding_size": 3},
        "data": {"train": [{"path": str(text)}]}, "training": {"batch_size": 2}})[0], told)
    (line,) = [line for line in told.lines if line.startswith("kernels: ")]
    assert line.startswith("kernels: layers in one call, products in ")
