"""Contracts of every source that reads files, with every head that goes with it: what `tests/model` asks of text.

A head is tried by its file's being there. Graphs are compared with torch where they are built.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch

from media import MEDIA, records
from seqloom.config.head_sections import SETTINGS
from seqloom.data.batching import pad
from seqloom.engines.torch import TorchEngine, to_tensors
from seqloom.heads import head_class
from seqloom.model import build_model, load_weights, stored_weights
from seqloom.predictor import Predictor
from seqloom.run import WEIGHTS, open_run, write_description, write_weights
from seqloom.sources import source_class
from seqloom.types import Batch, Prediction, Record
from source_tree import PACKAGE
from tiny import CPU, Tiny, config_of, gradients, normal, randomise

CASES = [(name, head) for name, media in MEDIA.items() for head in SETTINGS[media.options["kind"]]
         if (PACKAGE / "heads" / f"{head}.py").is_file() and not (head == "tags" and "subsampling" in media.options)]
every_case = pytest.mark.parametrize(("name", "head"), CASES)
TARGETS: dict[str, list[str]] = {
    "sequence": ["a b", "b a c", "c", "a", "b b b"],
    "label": ["yes", "no", "yes", "no", "maybe"],
    "tags": ["a b a b a b a", "b", "a a b b", "b a b a b a b a b", "a b"],
}
CONTEXTS = {"attention": {}, "location": {"attention": {"score": "location", "hidden_size": 5}},
            "initial": {"context": "initial"}, "every_step": {"context": "every_step"},
            "first_input": {"context": "initial", "first_input": True}}


def folder_of(name: str) -> Path:
    """A folder with this source's files, made once and left to the system's own cleaning."""
    return Path(mkdtemp(prefix=f"seqloom-{name}-"))


@cache
def examples_of(name: str, head: str) -> tuple[Record, ...]:
    return tuple(records(folder_of(name), name, TARGETS[head]))


@cache
def task_of(name: str, head: str, decoder: str = "attention", dtype: torch.dtype = torch.float32,
            bridge: str = "affine", alignment: float = 0.0) -> Tiny:
    pyramid = MEDIA[name].options.get("subsampling", {}).get("kind") == "pyramid"
    aligned = {"alignment_loss": alignment} if alignment else {}
    config = config_of({
        "source": MEDIA[name].options, "head": {"kind": head, **aligned}, "decoding": {"max_length": 5, "beam_size": 2},
        "encoder": {"hidden_size": 4, "layers": 2 if pyramid else 1}, "bridge": {"kind": bridge},
        "decoder": {"hidden_size": 6, "embedding_size": 5, **CONTEXTS[decoder]}})
    examples = examples_of(name, head)
    made = head_class(head).fit(config, examples)
    source = source_class(config.source.kind).fit(config.source, examples, made.shared_tokenizer)
    model = build_model(config, source, made, seed=1).to(dtype)
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


# --- every source with every head ------------------------------------------------------------------------------------


@every_case
def test_an_answer_does_not_depend_on_its_neighbours(name: str, head: str) -> None:
    task, given = task_of(name, head), examples_of(name, head)
    together = answers(task, given)
    assert all(answer.stopped != "error" for answer in together)
    assert_same(answers(task, given[::-1])[::-1], together)
    assert_same([answers(task, [example])[0] for example in given], together)


@every_case
def test_attention_lies_on_real_positions_and_each_has_a_name(name: str, head: str) -> None:
    task, given = task_of(name, head), examples_of(name, head)
    for example, answer in zip(given, answers(task, given), strict=True):
        encoded = task.model.encode(to_tensors(pad([task.item(example)]), CPU))
        assert len(task.source.memory_tokens(task.item(example), example)) == int(encoded.mask.sum())
        if answer.attention is not None:
            assert answer.attention.shape[1] == len(answer.source_tokens)
            np.testing.assert_allclose(answer.attention.sum(1), 1, atol=1e-5)


@every_case
def test_every_parameter_gets_a_gradient_and_it_is_the_numeric_one(name: str, head: str) -> None:
    task, given = task_of(name, head, dtype=torch.float64), examples_of(name, head)
    sources = [task.item(example) for example in given]
    targets = [task.head.read(example, source) for example, source in zip(given, sources, strict=True)]
    batch = Batch(to_tensors(pad(sources), CPU), to_tensors(pad(targets), CPU), np.arange(len(given)))
    loss = task.model.train()(batch).total
    found = gradients(loss, task.model)
    for parameter, gradient in found.items():
        assert gradient.isfinite().all(), parameter
        assert gradient.any(), f"{parameter} learns nothing"
    directions = {parameter: normal(*gradient.shape, seed=number) / gradient.numel() ** 0.5
                  for number, (parameter, gradient) in enumerate(found.items())}
    expected = sum(float((gradient * directions[parameter]).sum()) for parameter, gradient in found.items())
    sides = []
    with torch.no_grad():
        for step in (1e-6, -2e-6, 1e-6):
            for parameter, value in task.model.named_parameters():
                value.add_(directions[parameter], alpha=step)
            sides.append(float(task.model(batch).total))
    assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(expected, rel=2e-4, abs=1e-5)
    task.model.eval()


@every_case
def test_a_run_folder_keeps_the_model(name: str, head: str, tmp_path: Path) -> None:
    task, given = task_of(name, head), examples_of(name, head)
    write_description(tmp_path, task.config, task.source, task.head)
    write_weights(tmp_path / WEIGHTS, {key: weight.numpy() for key, weight in stored_weights(task.model).items()})
    run = open_run(tmp_path)
    model = build_model(run.config, run.source, run.head, seed=2)
    load_weights(model, {key: torch.from_numpy(array) for key, array in run.weights().items()}, "")
    again = Tiny(run.config, run.source, run.head, model)
    assert_same(answers(again, given), answers(task, given), tolerance=0)


@every_case
def test_a_bad_line_is_answered_with_its_reason(name: str, head: str) -> None:
    task, given = task_of(name, head), examples_of(name, head)
    bad = Record({"source": "gone"}, given[0].path, 99)
    found = answers(task, [given[0], bad, given[1]])
    assert [answer.stopped == "error" for answer in found] == [False, True, False]
    assert "gone" in found[1].error
    assert found[1].where.endswith(":99")


# --- ways to the decoder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEDIA)
@pytest.mark.parametrize("decoder", CONTEXTS)
def test_every_way_to_the_decoder_depends_on_the_input(name: str, decoder: str) -> None:
    task, given = task_of(name, "sequence", decoder), examples_of(name, "sequence")
    found = answers(task, given)
    assert_same([answers(task, [example])[0] for example in given], found)
    assert len({answer.score for answer in found}) == len(given)


@pytest.mark.parametrize("name", ["image", "image-rows"])
@pytest.mark.parametrize("decoder", CONTEXTS)
def test_every_way_to_the_decoder_learns_everything(name: str, decoder: str) -> None:
    bridge = "zero" if decoder != "initial" else "affine"
    task, given = task_of(name, "sequence", decoder, bridge=bridge), examples_of(name, "sequence")
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
    task, given = task_of(name, "sequence", decoder), examples_of(name, "sequence")
    assert_same(onnx_answers(task, given, False), answers(task, given), tolerance=1e-4)
    assert_same([onnx_answers(task, [example], False)[0] for example in given[:2]], answers(task, given[:2]), 1e-4)


def test_graphs_leave_out_a_loss() -> None:
    task, given = task_of("audio", "sequence", alignment=0.5), examples_of("audio", "sequence")
    assert task.model.head.alignment is not None  # type: ignore[union-attr]
    assert_same(onnx_answers(task, given, False), answers(task, given), tolerance=1e-4)


@pytest.mark.parametrize("name", MEDIA)
def test_graphs_in_whole_numbers_do_not_depend_on_neighbours(name: str) -> None:
    task, given = task_of(name, "sequence"), examples_of(name, "sequence")
    together: Any = onnx_answers(task, given, True)
    assert_same([onnx_answers(task, [example], True)[0] for example in given], together)
