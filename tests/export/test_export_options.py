"""ONNX against torch over all pairs of options: cells, scores, contexts, bridges, copying, features, ties …

The truth is the torch engine, whose networks are tested against torch.nn and against decoders written from the papers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exported import CASES, built, name_of

from pairs import Case
from seqloom.config.sections import DecodingConfig
from seqloom.export.bridge import EXPORTED_BRIDGES
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.normalization import EXPORTED_NORMALIZATIONS
from seqloom.export.scores import EXPORTED_SCORES
from seqloom.nn.bridge import BRIDGES
from seqloom.nn.cells import CELLS
from seqloom.nn.normalization import NORMALIZATIONS
from seqloom.nn.scores import SCORES
from seqloom.search import search
from seqloom.types import START, Step
from tiny import TRIALS

# In fp32. Relative where states grow beyond one, as those of rectified units do.
CLOSE = {"rtol": 2e-5, "atol": 1e-5}

all_pairs = pytest.mark.parametrize("case", CASES, ids=name_of)


def test_every_part_has_a_builder() -> None:
    assert (EXPORTED_CELLS.keys(), EXPORTED_SCORES.keys(), EXPORTED_BRIDGES.keys()) == (
        CELLS.keys(), SCORES.keys(), BRIDGES.keys())
    assert EXPORTED_NORMALIZATIONS.keys() == NORMALIZATIONS.keys()
    assert [EXPORTED_CELLS[name].has_cell_state for name in CELLS] == [CELLS[name].has_cell_state for name in CELLS]


def assert_same_step(given: Step, expected: Step, *, sparse: bool = False) -> None:
    """Same parts, shapes and numbers. Candidates by their scores, since two of them may be equally good.

    sparse: probabilities are compared, as the logarithm of what is nearly 0 is all rounding.
    """
    if sparse:
        given, expected = (step._replace(scores=np.exp(step.scores), wanted=None if step.wanted is None else np.exp(
            step.wanted)) for step in (given, expected))
    for name, ours, theirs in zip(given._fields, given, expected, strict=True):
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert ours.shape == theirs.shape, name
            if name != "tokens":
                np.testing.assert_allclose(ours, theirs, err_msg=name, **CLOSE)
    if given.tokens is not None and expected.tokens is not None:
        clear = np.diff(np.maximum(expected.scores, -1e30), axis=2) < -1e-4  # -inf: symbols of other sentences
        settled = np.pad(clear, ((0, 0), (0, 0), (1, 0)), constant_values=True) & \
            np.pad(clear, ((0, 0), (0, 0), (0, 1)), constant_values=False)
        assert (given.tokens == expected.tokens)[settled].all()


@all_pairs
def test_steps_are_those_of_torch(case: Case) -> None:
    """One to five hypotheses and to two, dense and best, wanted ids, weights, sentences that leave."""
    task, engine = built(name_of(case))
    reference, source, draw = task.engine(), task.padded(TRIALS), np.random.default_rng(1)
    symbols = task.head.tokenizer.size
    ours, theirs = engine.begin(source), reference.begin(source)
    size, width = len(TRIALS), 1
    plan: list[tuple[int, int | None, dict[str, Any]]] = [
        (1, None, {"weights": True}), (5, 3, {"weights": True}), (5, 1000, {"wanted": 2}), (4, 2, {}),
        (2, 1, {"wanted": 1, "weights": True}), (2, None, {"wanted": 3})]
    for number, (wide, candidates, asked) in enumerate(plan):
        tokens = draw.integers(4, symbols, (size, wide)) if number else np.full((size, 1), START)
        parents = draw.integers(0, width, (size, wide))
        options = {**asked, "wanted": draw.integers(0, symbols, (size, wide, asked["wanted"]))} \
            if "wanted" in asked else asked
        found, ours = engine.step(ours, tokens, parents, candidates, **options)
        expected, theirs = reference.step(theirs, tokens, parents, candidates, **options)
        assert_same_step(found, expected, sparse=case["output"] != "softmax")
        if found.weights is not None:
            assert (found.weights[expected.weights == 0] == 0).all()  # exactly, at padding
        width = wide
        if number in (1, 3):
            staying = np.array([5, 0, 2, 7])[: size // 2]
            staying = staying[staying < size]
            ours, theirs, size = engine.keep(ours, staying), reference.keep(theirs, staying), len(staying)


@all_pairs
def test_answers_are_those_of_torch(case: Case) -> None:
    task, engine = built(name_of(case))
    source, lines = task.padded(TRIALS), np.arange(len(TRIALS))
    for changes in ({"beam_size": 1}, {"beam_size": 4, "n_best": 3}, {"strategy": "sampling", "top_k": 5, "seed": 3}):
        options = DecodingConfig(max_length=6, **changes)  # type: ignore[arg-type]
        ours, theirs = (search(one, source, options, lines=lines, weights=True) for one in (engine, task.engine()))
        for given, expected in zip(ours, theirs, strict=True):
            if case["context"] == "in_step" and len(expected) > 1:
                # Past the source's end steps are alike, so answers in another order are equally good.
                np.testing.assert_allclose([one.score for one in given], [one.score for one in expected], **CLOSE)
                continue
            assert [list(one.ids) for one in given] == [list(one.ids) for one in expected]
            for one, other in zip(given, expected, strict=True):
                scores = [found.token_scores for found in (one, other)]
                if case["output"] != "softmax":
                    scores = [np.exp(each) for each in scores]
                np.testing.assert_allclose(*scores, **CLOSE)
                assert (one.weights is None) == (other.weights is None)
                if one.weights is not None:
                    np.testing.assert_allclose(one.weights, other.weights, **CLOSE)


@all_pairs
def test_encoded_sources_are_those_of_torch(case: Case) -> None:
    task, engine = built(name_of(case))
    source = task.padded(TRIALS)
    ours, theirs = engine.encode(source), task.engine().encode(source)
    for given, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(given, expected, **CLOSE)
