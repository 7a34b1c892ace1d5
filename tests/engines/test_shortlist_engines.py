"""Vocabulary shortlists in both engines: the same as a softmax over the list, whatever the neighbours; ensembles.

The truth is the model's own distribution, cut to the list and normalised again, and torch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from export.exported import onnx_engine
from seqloom.config.sections import DecodingConfig
from seqloom.data.batching import pad
from seqloom.engines.ensemble import EnsembleEngine, log_sum
from seqloom.errors import UsageError
from seqloom.search import search
from seqloom.types import END, START, UNKNOWN, Hypothesis, Ints, Record
from tiny import TRIALS, Tiny, randomise, tiny

# Sizes at which the runtime's kernels cut their work, and enough symbols for lists to differ.
LETTERS = [chr(letter) for letter in range(ord("a"), ord("z"))] + [chr(letter) for letter in range(0x430, 0x44F)]
WIDE = {"source": {"embedding_size": 40}, "encoder": {"hidden_size": 72, "bidirectional": True},
        "decoder": {"hidden_size": 160, "embedding_size": 40}, "decoding": {"max_length": 8}}
ENGINES = ("torch", "onnx", "onnx int8")


@cache
def wide() -> tuple[Tiny, dict[str, Any]]:
    draw = np.random.default_rng(1)
    training = [Record({"source": " ".join(draw.choice(LETTERS, 9)), "target": " ".join(draw.choice(LETTERS, 9)),
                        "features": ""}) for _ in range(60)]
    task = tiny(WIDE, training=training)
    randomise(task.model, spread=0.15)  # wider, so many sizes would make the most of every rounding
    return task, {"torch": task.engine(), "onnx": onnx_engine(task), "onnx int8": onnx_engine(task, int8=True)}


def sentences(count: int) -> list[Record]:
    draw = np.random.default_rng(2)
    return [Record({"source": " ".join(draw.choice(LETTERS, size)), "target": "", "features": ""})
            for size in draw.integers(1, 20, count)]


def lists(count: int, symbols: int) -> Ints:
    """Lists of 5 to 40 symbols, the end among them, unsorted, -1 after them."""
    draw = np.random.default_rng(3)
    found: Ints = np.full((count, 41), -1, np.int64)
    for row, size in zip(found, draw.integers(5, 40, count), strict=True):
        row[:size] = draw.choice(np.arange(4, symbols), size, replace=False)
        row[size] = END
    return found


@pytest.mark.parametrize("name", ENGINES)
def test_the_distribution_is_the_models_over_the_list(name: str) -> None:
    task, engines = wide()
    engine, source = engines[name], task.padded(sentences(6))
    symbols, shortlist = task.head.tokenizer.size, lists(6, task.head.tokenizer.size)
    state, full = engine.begin(source, shortlist), engine.begin(source)
    tokens, parents = np.full((6, 1), START), np.zeros((6, 1), np.int64)
    for _ in range(2):
        (whole, _, _, _), next_full = engine.step(full, tokens, parents, None)
        allowed = np.zeros((6, 1, symbols + 1), np.bool_)
        np.put_along_axis(allowed, np.where(shortlist < 0, symbols, shortlist)[:, None], True, axis=2)
        expected = np.where(allowed[:, :, :symbols], whole, -np.inf)
        expected = expected - log_sum(expected, 2)
        wanted = np.broadcast_to(np.arange(symbols), (6, tokens.shape[1], symbols))
        dense, _ = engine.step(state, tokens, parents, None)
        np.testing.assert_allclose(dense.scores, expected, rtol=1e-4, atol=1e-5)
        best, after = engine.step(state, tokens, parents, 4, wanted=wanted)
        np.testing.assert_allclose(best.wanted, expected, rtol=1e-4, atol=1e-5)
        order = np.argsort(-dense.scores, axis=2, kind="stable")[:, :, :4]
        np.testing.assert_array_equal(best.tokens, order)
        np.testing.assert_allclose(best.scores, np.take_along_axis(expected, order, 2), rtol=1e-4, atol=1e-5)
        tokens, parents = np.tile(best.tokens[:, :1, 0], (1, 3)), np.zeros((6, 3), np.int64)
        state, full = after, next_full


def answers(engine: Any, groups: list[list[int]], shortlist: Ints, options: DecodingConfig) -> list[Hypothesis]:
    """The best answer of every sentence, searched in these groups."""
    task, _ = wide()
    items = task.items(sentences(len(shortlist)))
    found: dict[int, Hypothesis] = {}
    for group in groups:
        results = search(engine, pad([items[index] for index in group]), options, lines=np.asarray(group),
                         shortlist=shortlist[group])
        found.update(zip(group, (result[0] for result in results), strict=True))
    return [found[index] for index in range(len(items))]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("changes", [{"beam_size": 1}, {"beam_size": 5}, {"strategy": "sampling"}], ids=str)
def test_answers_do_not_depend_on_neighbours(name: str, changes: dict[str, Any]) -> None:
    task, engines = wide()
    shortlist = lists(64, task.head.tokenizer.size)
    options = DecodingConfig(max_length=8, **changes)
    shuffled = [int(index) for index in np.random.default_rng(4).permutation(64)]
    together = answers(engines[name], [list(range(64))], shortlist, options)
    for row, one in zip(shortlist, together, strict=True):
        assert set(one.ids.tolist()) <= set(row.tolist())
    for groups in ([[index] for index in range(64)], [shuffled[start:start + 7] for start in range(0, 64, 7)]):
        for one, other in zip(together, answers(engines[name], groups, shortlist, options), strict=True):
            assert one.ids.tolist() == other.ids.tolist()
            np.testing.assert_allclose(one.token_scores, other.token_scores, rtol=0, atol=1e-5)


def test_both_engines_answer_alike() -> None:
    task, engines = wide()
    shortlist, everything = lists(24, task.head.tokenizer.size), [list(range(24))]
    for changes in ({"beam_size": 1}, {"beam_size": 4}):
        options = DecodingConfig(max_length=8, **changes)
        ours, theirs = (answers(engines[name], everything, shortlist, options) for name in ("onnx", "torch"))
        for one, other in zip(ours, theirs, strict=True):
            assert one.ids.tolist() == other.ids.tolist()
            np.testing.assert_allclose(one.token_scores, other.token_scores, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ENGINES)
def test_a_forced_prefix_may_say_what_the_list_has_not(name: str) -> None:
    task, engines = wide()
    shortlist: Ints = np.array([[10, 11, END], [12, 13, END]])
    prefixes = [np.array([20, 11]), np.array([21])]
    found = search(engines[name], task.padded(sentences(2)), DecodingConfig(beam_size=2, max_length=5),
                   shortlist=shortlist, prefixes=prefixes)
    for [one], prefix in zip(found, prefixes, strict=True):
        assert one.ids[: len(prefix)].tolist() == prefix.tolist()
        assert np.isfinite(one.score)


def test_an_ensemble_has_one_list() -> None:
    task, engines = wide()
    shortlist = lists(8, task.head.tokenizer.size)
    pair = EnsembleEngine([engines["onnx"], engines["torch"]])
    options = DecodingConfig(beam_size=3, max_length=8)
    for one, other in zip(answers(pair, [list(range(8))], shortlist, options),
                          answers(engines["torch"], [list(range(8))], shortlist, options), strict=True):
        assert one.ids.tolist() == other.ids.tolist()


def test_a_model_that_copies_has_none() -> None:
    task = tiny(copying=True)
    shortlist: Ints = np.array([[UNKNOWN, END]] * len(TRIALS))
    for engine in (task.engine(), onnx_engine(task)):
        with pytest.raises(UsageError, match=r"(?s)copies symbols of the source.*fix: predict without a shortlist"):
            engine.begin(task.padded(TRIALS), shortlist)


def test_a_model_that_sums_over_positions_has_none_in_onnx() -> None:
    task = tiny(kind="hard_monotonic", feeding=False)
    shortlist: Ints = np.array([[UNKNOWN, END, 5]] * len(TRIALS))
    with pytest.raises(UsageError, match=r"(?s)sums over its positions \(hard attention\).*fix: predict without"):
        onnx_engine(task).begin(task.padded(TRIALS), shortlist)
    engine, tokens = task.engine(), np.full((len(TRIALS), 1), 2)
    step, _ = engine.step(engine.begin(task.padded(TRIALS), shortlist), tokens, np.zeros_like(tokens), None)
    likely = np.exp(step.scores)
    np.testing.assert_allclose(likely[:, 0, [UNKNOWN, END, 5]].sum(1), 1, atol=1e-5)
