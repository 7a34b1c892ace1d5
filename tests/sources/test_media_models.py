"""Sources that read files, in every way to the decoder, and their graphs. tests/test_contract.py has their contract."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest

from media import MEDIA, records
from seqloom.data.batching import pad
from seqloom.engines.torch import TorchEngine, to_tensors
from seqloom.heads import head_class
from seqloom.model import build_model
from seqloom.predictor import Predictor
from seqloom.sources import source_class
from seqloom.types import Batch, Prediction, Record
from tiny import CPU, Tiny, config_of, gradients, randomise

TARGETS = ["a b", "b a c", "c", "a", "b b b"]
CONTEXTS = {"attention": {}, "location": {"attention": {"score": "location", "hidden_size": 5}},
            "initial": {"context": "initial"}, "every_step": {"context": "every_step"},
            "first_input": {"context": "initial", "first_input": True}}


def folder_of(name: str) -> Path:
    """A folder with this source's files, made once and left to the system's own cleaning."""
    return Path(mkdtemp(prefix=f"seqloom-{name}-"))


@cache
def examples_of(name: str) -> tuple[Record, ...]:
    return tuple(records(folder_of(name), name, TARGETS))


@cache
def task_of(name: str, decoder: str = "attention", bridge: str = "affine", alignment: float = 0.0) -> Tiny:
    pyramid = MEDIA[name].options.get("subsampling", {}).get("kind") == "pyramid"
    aligned = {"alignment_loss": alignment} if alignment else {}
    config = config_of({
        "source": MEDIA[name].options, "head": {"kind": "sequence", **aligned},
        "decoding": {"max_length": 5, "beam_size": 2},
        "encoder": {"hidden_size": 4, "layers": 2 if pyramid else 1}, "bridge": {"kind": bridge},
        "decoder": {"hidden_size": 6, "embedding_size": 5, **CONTEXTS[decoder]}})
    examples = examples_of(name)
    made = head_class("sequence").fit(config, examples)
    source = source_class(config.source.kind).fit(config.source, examples, made.shared_tokenizer)
    model = build_model(config, source, made, seed=1)
    randomise(model, 1, spread=0.6)
    return Tiny(config, source, made, model)


def answers(task: Tiny, given: Sequence[Record]) -> list[Prediction]:
    predictor = Predictor(task.source, task.head, TorchEngine(task.model), task.config.decoding)
    return list(predictor.predict_records(given, attention=True))


def assert_same(found: Sequence[Prediction], expected: Sequence[Prediction], tolerance: float = 1e-5) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.text, one.tokens, one.stopped) == (other.text, other.tokens, other.stopped)
        assert one.score == pytest.approx(other.score, abs=tolerance, rel=tolerance)
        if one.attention is not None:
            np.testing.assert_allclose(one.attention, other.attention, atol=tolerance)


# --- ways to the decoder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEDIA)
@pytest.mark.parametrize("decoder", CONTEXTS)
def test_every_way_to_the_decoder_depends_on_the_input(name: str, decoder: str) -> None:
    task, given = task_of(name, decoder), examples_of(name)
    found = answers(task, given)
    assert_same([answers(task, [example])[0] for example in given], found)
    assert len({answer.score for answer in found}) == len(given)


@pytest.mark.parametrize("name", ["image", "image-rows"])
@pytest.mark.parametrize("decoder", CONTEXTS)
def test_every_way_to_the_decoder_learns_everything(name: str, decoder: str) -> None:
    bridge = "zero" if decoder != "initial" else "affine"
    task, given = task_of(name, decoder, bridge=bridge), examples_of(name)
    sources = [task.item(example) for example in given]
    targets = [task.head.read(example, source) for example, source in zip(given, sources, strict=True)]
    batch = Batch(to_tensors(pad(sources), CPU), to_tensors(pad(targets), CPU), np.arange(len(given)))
    for parameter, gradient in gradients(task.model.train()(batch).total, task.model).items():
        assert gradient.any(), f"{parameter} learns nothing"
    task.model.eval()


# --- graphs ----------------------------------------------------------------------------------------------------------


def onnx_answers(task: Tiny, given: Sequence[Record], int8: bool) -> list[Prediction]:
    from exported import onnx_engine

    predictor = Predictor(task.source, task.head, onnx_engine(task, int8=int8), task.config.decoding)
    return list(predictor.predict_records(given, attention=True))


@pytest.mark.parametrize("name", MEDIA)
@pytest.mark.parametrize("decoder", ["attention", "location", "first_input"])
def test_graphs_are_equal_to_torch(name: str, decoder: str) -> None:
    task, given = task_of(name, decoder), examples_of(name)
    assert_same(onnx_answers(task, given, False), answers(task, given), tolerance=1e-4)
    assert_same([onnx_answers(task, [example], False)[0] for example in given[:2]], answers(task, given[:2]), 1e-4)


def test_graphs_leave_out_a_loss() -> None:
    task, given = task_of("audio", alignment=0.5), examples_of("audio")
    assert task.model.head.alignment is not None  # type: ignore[union-attr]
    assert_same(onnx_answers(task, given, False), answers(task, given), tolerance=1e-4)


@pytest.mark.parametrize("name", MEDIA)
def test_graphs_in_whole_numbers_do_not_depend_on_neighbours(name: str) -> None:
    task, given = task_of(name), examples_of(name)
    together: Any = onnx_answers(task, given, True)
    assert_same([onnx_answers(task, [example], True)[0] for example in given], together)
