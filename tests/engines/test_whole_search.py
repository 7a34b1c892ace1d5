"""A greedy search in one call of the engine gives what single steps give; batches that are answered at once.

The truth is the search step by step, which is tested against brute force.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from export.exported import CASES, built, name_of, onnx_engine
from media import MEDIA
from seqloom.config.sections import DecodingConfig
from seqloom.data.batching import pad
from seqloom.engines.onnx import OnnxEngine
from seqloom.engines.parallel import spread
from seqloom.errors import SeqloomError
from seqloom.search import search
from seqloom.types import END, UNKNOWN, Hypothesis, Ints, Padded, Record
from sources.test_media_models import examples_of, task_of
from tiny import TRIALS, Tiny, tiny

CALLS = [case for case in CASES if not case["copying"]]


def compare(task: Tiny, engine: OnnxEngine, monkeypatch: pytest.MonkeyPatch, *, trials: Sequence[Record] = TRIALS,
            shortlist: Ints | None = None, **changes: Any) -> None:
    """Alone, by threes and all together against all together step by step, attention included."""
    options = DecodingConfig(beam_size=1, max_length=6, **changes)
    items = task.items(trials)

    def answers(size: int) -> list[Hypothesis]:
        return [one for start in range(0, len(items), size) for [one] in search(
            engine, pad(items[start:start + size]), options, weights=True,
            shortlist=None if shortlist is None else shortlist[start:start + size])]

    in_one_call = [answers(1), answers(3), answers(len(items))]
    monkeypatch.setattr("seqloom.search.rows.whole_search", lambda request: None)
    for found in in_one_call:
        for one, other in zip(found, answers(len(items)), strict=True):
            assert (one.ids.tolist(), one.finished) == (other.ids.tolist(), other.finished)
            np.testing.assert_allclose(one.token_scores, other.token_scores, rtol=1e-5, atol=1e-6)
            bound = float((1e-6 + 1e-5 * np.abs(other.token_scores)).sum())  # a score is the sum of these
            assert (one.score, one.ranking_score) == pytest.approx((other.score, other.ranking_score), rel=0, abs=bound)
            assert (one.weights is None) == (other.weights is None)
            if one.weights is not None and other.weights is not None:
                width = one.weights.shape[1]  # where the memory is shorter than the source it is that of the longest
                np.testing.assert_allclose(one.weights, other.weights[:, :width], rtol=1e-4, atol=1e-5)
                assert not other.weights[:, width:].any()


@pytest.mark.parametrize("case", CALLS, ids=name_of)
def test_one_call_is_the_same_as_steps(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(*built(name_of(case)), monkeypatch)


@pytest.mark.parametrize("name", MEDIA)
def test_one_call_is_the_same_as_steps_from_every_source(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(name)
    compare(task, onnx_engine(task), monkeypatch, trials=examples_of(name))


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("changes", [{}, {"allow_unknown": False}], ids=str)
def test_one_call_with_a_shortlist_is_the_same_as_steps(int8: bool, changes: dict[str, Any],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of two to six symbols, the end among them; what one call does is seen by its being the only way."""
    task = tiny(bidirectional=True)
    engine, draw = onnx_engine(task, int8=int8), np.random.default_rng(5)
    shortlist: Ints = np.full((len(TRIALS), 7), -1, np.int64)
    for row, size in zip(shortlist, draw.integers(2, 7, len(TRIALS)), strict=True):
        row[:size] = draw.choice(np.arange(4, task.head.size), size, replace=False)
        row[size] = END
    shortlist[0, 5:] = UNKNOWN, -1
    compare(task, engine, monkeypatch, shortlist=shortlist, **changes)
    monkeypatch.undo()
    monkeypatch.setattr(OnnxEngine, "step", None)  # calling it would fail
    [[one]] = search(engine, task.padded(TRIALS[1:2]), DecodingConfig(beam_size=1, max_length=6),
                     shortlist=shortlist[1:2])
    assert set(one.ids.tolist()) <= set(shortlist[1].tolist())


def test_what_is_to_be_copied_goes_step_by_step() -> None:
    task = tiny(copying=True)
    engine, limits = onnx_engine(task), np.array([4])
    source: Padded = task.padded(TRIALS[:1])
    assert engine.greedy(source, limits, np.array([0])) is None
    assert engine.greedy(source, limits, np.array([0]), np.array([[4, END]])) is None


@pytest.mark.parametrize("int8", [False, True])
def test_alone_in_one_call_is_the_same_as_among_others(int8: bool) -> None:
    """Sizes at which the runtime's kernels cut their work: 64 sentences, four and one."""
    values = {"source": {"embedding_size": 40}, "encoder": {"hidden_size": 72, "bidirectional": True},
              "decoder": {"hidden_size": 160, "embedding_size": 40}}
    task, draw = tiny(values), np.random.default_rng(2)
    engine = onnx_engine(task, int8=int8)
    items = [task.item(Record({"source": " ".join(draw.choice(list("abcdefxy"), size)), "target": "", "features": ""}))
             for size in draw.integers(1, 30, 64)]
    options = DecodingConfig(beam_size=1, max_length=12)
    together = search(engine, pad(items), options)
    for count in (1, 4):
        for start in range(0, 64, count):
            for [one], [other] in zip(search(engine, pad(items[start:start + count]), options),
                                      together[start:start + count], strict=True):
                assert one.ids.tolist() == other.ids.tolist()
                np.testing.assert_allclose(one.token_scores, other.token_scores, rtol=0, atol=2e-6)


@pytest.mark.parametrize("changes", [{"allow_unknown": False}, {"length_penalty": 0.5, "length_penalty_kind": "wu"},
                                     {"max_length_ratio": 0.1}], ids=str)
def test_options_hold_in_one_call_too(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny(bidirectional=True)
    compare(task, onnx_engine(task, int8=True), monkeypatch, **changes)


def test_what_may_not_be_chosen_in_a_large_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the ban is looked up for the few best alone; the unknown symbol is the best at first."""
    monkeypatch.setattr("seqloom.export.searching.SMALL", 0)
    task = tiny(bidirectional=True)
    task.model.head.output.bias.data[UNKNOWN] = 9.0  # type: ignore[union-attr, operator]
    engine = onnx_engine(task)
    for allowed in (False, True):
        with monkeypatch.context() as patch:
            compare(task, engine, patch, allow_unknown=allowed)
        options = DecodingConfig(beam_size=1, max_length=6, allow_unknown=allowed)
        [one, *_] = search(engine, task.padded(TRIALS), options)
        assert (UNKNOWN in one[0].ids) is allowed


@pytest.mark.parametrize("changes", [{"min_length": 3}, {"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.5}],
                         ids=str)
def test_rules_are_kept_to_single_steps(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny(bidirectional=True)
    engine = onnx_engine(task)
    monkeypatch.setattr(engine, "greedy", None)  # calling it would fail
    search(engine, task.padded(TRIALS[:1]), DecodingConfig(beam_size=1, max_length=6, **changes))


def test_scores_that_are_no_numbers_are_refused() -> None:
    task = tiny(bidirectional=True)
    task.model.head.output.bias.data.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(SeqloomError, match=r"line 7: the engine 'onnx fp32' gave \[?nan\]? at step 1"):
        search(onnx_engine(task), task.padded(TRIALS[:1]), DecodingConfig(beam_size=1), lines=np.array([7]))


# --- several batches at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("int8", [False, True])
def test_batches_at_once_give_the_same_answers(int8: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqloom.engines.onnx.available_cores", lambda: 3)
    task = tiny(bidirectional=True)
    engine = onnx_engine(task, int8=int8, threads=3)
    groups = [pad(task.items(TRIALS)[start:start + 2]) for start in range(0, 8, 2)] * 3
    names: set[str] = set()

    def answer(one: Any, group: Padded) -> Any:
        names.add(threading.current_thread().name)
        assert one.threads == 1
        return search(one, group, DecodingConfig(beam_size=3, max_length=6))

    for found, group in zip(spread(engine, groups, answer), groups, strict=True):
        expected = search(engine, group, DecodingConfig(beam_size=3, max_length=6))
        assert [one[0].ids.tolist() for one in found] == [one[0].ids.tolist() for one in expected]
    assert all(name.startswith("seqloom-batch") for name in names)


def test_one_thread_or_another_engine_goes_one_after_the_other() -> None:
    task = tiny(bidirectional=True)
    for engine in (onnx_engine(task), task.engine()):
        assert list(spread(engine, [1, 2], lambda one, part: (one, part))) == [(engine, 1), (engine, 2)]


def test_an_error_comes_where_its_answer_would_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqloom.engines.onnx.available_cores", lambda: 2)
    engine = onnx_engine(tiny(bidirectional=True), threads=2)

    def work(one: Any, part: int) -> int:
        if part == 2:
            raise SeqloomError("part 2 is bad")
        return part

    found = spread(engine, [0, 1, 2, 3], work)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(SeqloomError, match="part 2 is bad"):
        next(found)
