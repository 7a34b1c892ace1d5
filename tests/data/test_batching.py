"""Padding, batches and groups: brute force, properties, and the waste on real data."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seqloom.data.batching import Batches, group_by_budget, pad, padding_waste
from seqloom.errors import DataError
from seqloom.types import Item

# Two cores are shared by whatever else runs: a slow moment is no fault of the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# --- pad -------------------------------------------------------------------------------------------------------------

ITEM = st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 3)).flatmap(lambda sizes: st.builds(
    lambda main, characters, features: Item({"main": main, "characters": characters, "features": features}),
    arrays(np.int32, sizes[0]), arrays(np.float32, sizes[:2], elements=st.floats(-9, 9, width=32)),
    arrays(np.int64, sizes[2])))


@UNHURRIED
@given(st.lists(ITEM, min_size=1, max_size=5))
def test_padding_equals_placing_each_number(items: list[Item]) -> None:
    padded = pad(items)
    assert padded.lengths.tolist() == [item.length for item in items]
    assert {name: array.dtype.name for name, array in padded.fields.items()} == {
        "main": "int64", "characters": "float32", "features": "int64", "features_lengths": "int64"}
    assert padded.lengths.dtype == np.int64
    assert padded.fields["features_lengths"].tolist() == [len(item.fields["features"]) for item in items]
    for name in ("main", "characters", "features"):
        found = padded.fields[name]
        shapes = [item.fields[name].shape for item in items]
        assert found.shape == (len(items), *(max(sizes) for sizes in zip(*shapes, strict=True)))
        for position in np.ndindex(found.shape):
            row, inside = position[0], position[1:]
            real = all(at < size for at, size in zip(inside, shapes[row], strict=True))
            assert found[position] == (items[row].fields[name][inside] if real else 0)


def test_lengths_of_other_fields_come_when_they_differ() -> None:
    same = Item({"main": np.zeros(2, np.int64), "copy": np.zeros(2, np.int64)})
    longer = Item({"main": np.zeros(2, np.int64), "copy": np.zeros(3, np.int64)})
    assert "copy_lengths" not in pad([same, same]).fields
    assert pad([same, longer]).fields["copy_lengths"].tolist() == [2, 3]
    features = Item({"main": np.zeros(2, np.int64), "features": np.zeros(2, np.int64)})
    assert pad([features]).fields["features_lengths"].tolist() == [2]


def test_items_that_do_not_fit_together() -> None:
    with pytest.raises(ValueError, match="pad needs at least one item"):
        pad([])
    main = np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="must have the same fields, the first has main"):
        pad([Item({"main": main}), Item({"main": main, "copy": main})])
    for other in (np.zeros((2, 2), np.int64), np.zeros(2, np.float32)):
        with pytest.raises(ValueError, match="field 'main' must have one number of axes"):
            pad([Item({"main": main}), Item({"main": other})])


# --- batches ---------------------------------------------------------------------------------------------------------

LENGTHS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=80).map(
    lambda pairs: np.array(pairs, np.int64))
KIND = st.sampled_from(["sentences", "tokens"])


@UNHURRIED
@given(LENGTHS, st.integers(1, 20), KIND, st.integers(0, 9), st.integers(0, 3))
def test_every_example_is_in_one_batch_of_each_epoch(lengths: np.ndarray, size: int,
                                                     kind: Literal["sentences", "tokens"], seed: int, epoch: int
                                                     ) -> None:
    batches = Batches(lengths, batch_size=size, batch_type=kind, seed=seed)
    plan = batches.plan(epoch)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(lengths)))
    assert batches.count(epoch) == len(plan)
    for batch in plan:
        if kind == "sentences":
            assert 1 <= len(batch) <= size
        else:
            assert len(batch) == 1 or len(batch) * lengths[batch, 1].max() <= size
    if kind == "sentences":
        assert len(plan) == -(-len(lengths) // size)  # no more batches than there must be


@UNHURRIED
@given(LENGTHS, st.integers(1, 9), KIND, st.integers(0, 3), st.integers(0, 12))
def test_resuming_equals_going_on(lengths: np.ndarray, size: int, kind: Literal["sentences", "tokens"], epoch: int,
                                  start: int) -> None:
    def fresh() -> Batches:
        return Batches(lengths, batch_size=size, batch_type=kind, seed=3)

    through = fresh()
    for earlier in range(epoch):
        list(through.epoch(earlier))
    whole = [batch.tolist() for batch in through.epoch(epoch)]
    assert [batch.tolist() for batch in fresh().epoch(epoch, start)] == whole[start:]


def test_epochs_and_seeds_differ() -> None:
    lengths = np.random.default_rng(0).integers(1, 10, (500, 2))

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in Batches(lengths, batch_size=8, seed=seed).epoch(epoch)]

    assert order(1, 0) == order(1, 0)
    assert len({str(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    sets = [{frozenset(batch) for batch in order(1, epoch)} for epoch in (0, 1)]
    assert len(sets[0] & sets[1]) < len(sets[0]) / 10  # other neighbours, not only another order


def test_the_order_of_batches_does_not_follow_length() -> None:
    lengths = np.repeat(np.arange(1, 65), 16)[:, None].repeat(2, 1)
    longest = [int(lengths[batch].max()) for batch in Batches(lengths, batch_size=16).plan(0)]
    assert abs(float(np.corrcoef(longest, np.arange(len(longest)))[0, 1])) < 0.3


@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0, 1.5, 2.0, 3.25])
def test_weights_are_met_in_every_epoch_and_by_every_example(weight: float) -> None:
    count, epochs = 40, 12
    weights = np.array([weight] * count + [1.0] * 20)
    batches = Batches(np.ones((len(weights), 2), np.int64), batch_size=7, weights=weights)
    seen: Counter[int] = Counter()
    for epoch in range(epochs):
        indices = np.concatenate(batches.plan(epoch))
        assert abs(int((indices < count).sum()) - weight * count) < 1
        assert sorted(indices[indices >= count].tolist()) == list(range(count, count + 20))
        seen.update(indices.tolist())
    assert all(abs(seen[index] - weight * epochs) < 1 for index in range(count))


def test_weights_of_one_change_nothing() -> None:
    lengths = np.random.default_rng(0).integers(1, 10, (50, 2))
    plain, weighted = Batches(lengths, batch_size=8), Batches(lengths, batch_size=8, weights=np.ones(50))
    assert [batch.tolist() for batch in plain.plan(2)] == [batch.tolist() for batch in weighted.plan(2)]


def test_no_examples() -> None:
    with pytest.raises(DataError, match="there are no examples to train on"):
        Batches(np.zeros((0, 2), np.int64), batch_size=8)
    with pytest.raises(DataError, match=r"the weights \(largest 0.1\) leave epochs without examples"):
        Batches(np.ones((5, 2), np.int64), batch_size=8, weights=np.full(5, 0.1))


def test_examples_without_source_waste_nothing_there() -> None:
    batches = Batches(np.array([[0, 3], [0, 5], [0, 5]]), batch_size=3)
    assert batches.waste() == (0.0, pytest.approx(2 / 15), pytest.approx(2 / 15))


@UNHURRIED
@given(LENGTHS, st.integers(1, 9))
def test_waste_equals_counting_the_padding(lengths: np.ndarray, size: int) -> None:
    batches = [np.arange(begin, min(begin + size, len(lengths))) for begin in range(0, len(lengths), size)]
    padding, area = np.zeros(2), np.zeros(2)
    for batch in batches:
        for side in (0, 1):
            longest = max(lengths[index, side] for index in batch)
            padding[side] += sum(longest - lengths[index, side] for index in batch)
            area[side] += longest * len(batch)
    expected = [p / a if a else 0.0 for p, a in [*zip(padding, area, strict=True), (padding.sum(), area.sum())]]
    assert padding_waste(lengths, batches) == pytest.approx(tuple(expected))


def test_waste_on_multi30k_is_below_five_percent(shared_data: Path) -> None:
    def words(language: str) -> list[int]:
        with gzip.open(shared_data / f"multi30k/tok/train.lc.norm.tok.{language}.gz", "rt", encoding="utf-8") as file:
            return [len(line.split()) for line in file]

    lengths = np.array([words("en"), words("de")]).T
    assert len(lengths) == 29_000
    for size, kind in ((64, "sentences"), (32, "sentences"), (1000, "tokens")):
        batches = Batches(lengths, batch_size=size, batch_type=kind)  # type: ignore[arg-type]
        for epoch in (0, 1):
            assert batches.waste(epoch).total < 0.05
    unsorted = np.array_split(np.arange(len(lengths)), len(lengths) // 64)
    assert padding_waste(lengths, unsorted).total > 0.4  # what is saved


# --- groups for prediction -------------------------------------------------------------------------------------------


@UNHURRIED
@given(st.lists(st.integers(0, 40), max_size=80), st.integers(1, 100))
def test_groups_hold_every_input_once_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = group_by_budget(np.array(lengths, np.int64), budget)
    assert sorted(index for group in groups for index in group.tolist()) == list(range(len(lengths)))
    costs = [max(1, length) for length in lengths]
    longest = [max(costs[index] for index in group) for group in groups]
    assert longest == sorted(longest, reverse=True)
    for group, cost in zip(groups, longest, strict=True):
        assert len(group) == 1 or len(group) * cost <= budget
    for shorter, longer in zip(groups[1:], groups, strict=False):  # one more row would have been too many
        assert (len(shorter) + 1) * min(costs[index] for index in longer) > budget
