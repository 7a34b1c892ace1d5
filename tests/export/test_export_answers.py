"""Graphs of label and tags: the same as torch from every source, whatever the neighbours, at once or step by step.

The truth is the torch engine, whose networks are tested against torch.nn.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from answer_models import made
from exported import name_of, onnx_engine

from media import MEDIA
from pairs import Case, covering_cases
from seqloom.config.sections import Config
from seqloom.data.batching import pad
from seqloom.engines.artifacts import NEEDED_GRAPHS
from seqloom.engines.onnx import OnnxEngine
from seqloom.engines.torch import TorchEngine
from seqloom.errors import ConfigError, UsageError
from seqloom.export.answers import EXPORTED_POOLINGS
from seqloom.export.builder import EXPORTED_SOURCES
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.graphs import EXPORTED_HEADS, builder_class
from seqloom.model import build_model
from seqloom.nn.answers import POOLINGS
from seqloom.types import Floats, Item, Record
from test_contract import PAIRS, examples_of, task_of
from tiny import TRIALS, Tiny, config_of, randomise

CLOSE = {"rtol": 2e-5, "atol": 1e-5}
FACTORS: dict[str, list[Any]] = {
    "head": ["label", "tags"],
    "cell": list(EXPORTED_CELLS),
    "pooling": list(EXPORTED_POOLINGS),
    "features": ["none", "symbols", "encoder", "embedding"],
    "layers": [1, 2],
    "bidirectional": [False, True],
    "residual": [False, True],
}


def config(case: Case) -> Config:
    head = {"kind": case["head"], **({"pooling": case["pooling"]} if case["head"] == "label" else {})}
    source: dict[str, Any] = {"embedding_size": 4}
    if case["features"] != "none":
        source["features"] = {"column": 3, "mode": case["features"]}
    return config_of({"source": source, "head": head, "encoder": {
        "hidden_size": 4, "cell": case["cell"], "layers": case["layers"], "bidirectional": case["bidirectional"],
        "residual": case["residual"]}})


def valid(case: Case) -> bool:
    try:
        config(case)
    except ConfigError:
        return False
    return not (case["head"] == "tags" and case["pooling"] != "last")  # which tags have not


CASES, _ = covering_cases(FACTORS, valid)


@cache
def built(name: str) -> Tiny:
    return made(config(next(case for case in CASES if name_of(case) == name)))


def answers(engine: Any, items: list[Item]) -> list[Floats]:
    """The answer to each, cut to its own positions where there is one for each."""
    found = engine.answer(pad(items))[0]
    return [row[: item.length] if found.shape[1] > 1 else row for row, item in zip(found, items, strict=True)]


def test_every_part_has_a_builder() -> None:
    assert EXPORTED_POOLINGS.keys() == POOLINGS.keys()
    assert EXPORTED_HEADS.keys() <= NEEDED_GRAPHS.keys()
    assert {media.options["kind"] for media in MEDIA.values()} <= EXPORTED_SOURCES.keys()


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_answers_are_those_of_torch(case: Case) -> None:
    task = built(name_of(case))
    items = task.items(TRIALS)
    engine = onnx_engine(task)
    for given, expected in zip(answers(engine, items), answers(task.engine(), items), strict=True):
        np.testing.assert_allclose(given, expected, **CLOSE)
    found, truth = engine.encode(pad(items)), task.engine().encode(pad(items))
    for given, expected in zip(found, truth, strict=True):
        np.testing.assert_allclose(given, expected, **CLOSE)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_whole_numbers_are_near(case: Case) -> None:
    """And they are probabilities. How near depends on the weights, which are wide here."""
    task = built(name_of(case))
    items = task.items(TRIALS)
    for given, expected in zip(answers(onnx_engine(task, int8=True), items), answers(task.engine(), items),
                               strict=True):
        np.testing.assert_allclose(np.exp(given).sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(np.exp(given), np.exp(expected), atol=0.08)


@pytest.mark.parametrize(("name", "head"), [pair for pair in PAIRS if pair[1] in ("label", "tags")])
def test_every_source_answers_like_torch(name: str, head: str) -> None:
    task, given = task_of(name, head), examples_of(name, head)
    items = task.items(given)
    expected = answers(TorchEngine(task.model), items)
    for engine, near in ((onnx_engine(task), 1e-5), (onnx_engine(task, int8=True), 0.2)):
        together = answers(engine, items)
        for one, item, other in zip(together, items, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=near)
            np.testing.assert_array_equal(answers(engine, [item])[0], one)


# --- an answer does not depend on its neighbours ---------------------------------------------------------------------

WIDE = {"source": {"embedding_size": 40}, "encoder": {"hidden_size": 72}}


HEADS = [{"kind": "tags"}, *({"kind": "label", "pooling": name} for name in POOLINGS)]


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_answers_do_not_depend_on_neighbours(head: dict[str, Any], int8: bool, bidirectional: bool) -> None:
    """To the last bit, at sizes at which the runtime's kernels cut their work."""
    task = made(config_of({**WIDE, "head": head, "encoder": {"hidden_size": 72, "bidirectional": bidirectional}}), 0.15)
    engine, draw = onnx_engine(task, int8=int8), np.random.default_rng(2)
    items = [task.item(Record({"source": " ".join(draw.choice(list("abcdefxy"), size)), "features": ""}))
             for size in draw.integers(1, 30, 64)]
    together = answers(engine, items)
    shuffled = [int(index) for index in draw.permutation(64)]
    for groups in ([[index] for index in range(64)], [shuffled[start:start + 7] for start in range(0, 64, 7)]):
        for group in groups:
            for index, one in zip(group, answers(engine, [items[index] for index in group]), strict=True):
                np.testing.assert_array_equal(one, together[index])


# --- step by step ----------------------------------------------------------------------------------------------------

STREAMED = [case for case in CASES
            if case["head"] == "tags" and not case["bidirectional"] and case["features"] == "none"]


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("case", STREAMED, ids=name_of)
def test_steps_one_by_one_are_the_whole(case: Case, int8: bool) -> None:
    task = built(name_of(case))
    assert_streams(task, onnx_engine(task, int8=int8), task.items(TRIALS))


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("name", ["features", "frames"])
def test_frames_one_by_one_are_the_whole(name: str, int8: bool) -> None:
    values = {"source": MEDIA[name].options, "head": {"kind": "tags"},
              "encoder": {"hidden_size": 5, "layers": 2, "bidirectional": False}}
    whole, given = task_of(name, "tags"), examples_of(name, "tags")
    config = config_of(values)
    model = build_model(config, whole.source, whole.head, seed=1)
    randomise(model, spread=0.6)
    task = Tiny(config, whole.source, whole.head, model)
    assert_streams(task, onnx_engine(task, int8=int8), task.items(given))


def assert_streams(task: Tiny, engine: OnnxEngine, items: list[Item]) -> None:
    """Several inputs side by side, as long as the shortest is; what the whole is was compared with torch above."""
    whole = answers(engine, items)
    for size in (1, 3):
        group = items[:size]
        state, found = None, []
        for position in range(min(item.length for item in group)):
            steps = pad([Item({"main": item.fields["main"][position:position + 1]}) for item in group])
            answer, state = engine.answer(steps, state)
            found.append(answer)
        for one, expected in zip(np.concatenate(found, 1), whole, strict=False):
            np.testing.assert_allclose(one, expected[: len(one)], rtol=0, atol=1e-6)


def test_what_needs_the_whole_input_has_no_steps() -> None:
    task = made(config_of({"head": {"kind": "tags"}, "encoder": {"hidden_size": 4, "bidirectional": True}}))
    engine = onnx_engine(task)
    source = task.padded(TRIALS)
    _, state = engine.answer(source)
    with pytest.raises(UsageError, match=r"(?s)cannot go on from earlier steps of this model.*fix: give the whole"):
        engine.answer(source, state)


def test_a_part_without_a_builder_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = config_of({"head": {"kind": "label", "pooling": "max"}})
    monkeypatch.delitem(EXPORTED_POOLINGS, "max")
    with pytest.raises(UsageError, match=r"(?s)the pooling 'max' cannot be exported.*add it to export/answers\.py"):
        builder_class(labels)
    monkeypatch.delitem(EXPORTED_HEADS, "label")
    with pytest.raises(UsageError, match=r"(?s)head\.kind label cannot be exported.*add it to export/graphs\.py"):
        builder_class(labels)
