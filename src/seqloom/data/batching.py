"""Padding, and which examples go together: length-bucketed batches for training, groups by budget for prediction.

Works on lengths and arrays only; reads no files and keeps no examples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from seqloom.errors import DataError
from seqloom.types import Floats, Ints, Item, Padded

# Fields that are a sequence of their own beside `main`: their lengths are always given, so that their presence does
# not depend on what happens to be in a batch.
OWN_LENGTH = ("features", "added")
# Batches whose examples are sorted together: more waste less, fewer mix better. The first that wastes at most
# ACCEPTED_WASTE is taken, the last where none does.
WINDOW_BATCHES = (8, 16, 32, 64, 128, 256)
ACCEPTED_WASTE = 0.04


# --- padding ---------------------------------------------------------------------------------------------------------


def pad(items: Sequence[Item]) -> Padded:
    """Items as rectangular arrays, filled with zeros.

    Args:
        items: B items with the same fields.

    Returns:
        fields: each [B, S, …] with S the longest of that field, and every further axis as long as its longest too
            (characters [B S W]); whole numbers become int64, bytes and other types stay. Fields of OWN_LENGTH, and a
            field whose length differs from that of `main` in some item, has its lengths in "<name>_lengths" [B] int64.
        lengths: of `main` [B] int64.
        others: the items' others, each padded on its own.

    Raises:
        ValueError: no items, or items whose fields differ in name, number of axes or kind, or in the number of others.
    """
    if not items:
        raise ValueError("pad needs at least one item")
    names = list(items[0].fields)
    if any(item.fields.keys() != items[0].fields.keys() for item in items):
        raise ValueError(f"items of one batch must have the same fields, the first has {', '.join(names)}")
    lengths = np.array([item.length for item in items], np.int64)
    fields: dict[str, NDArray[Any]] = {}
    for name in names:
        arrays = [item.fields[name] for item in items]
        fields[name] = _pad_arrays(arrays, name)
        own = np.array([len(array) for array in arrays], np.int64)
        if name != "main" and (name in OWN_LENGTH or not np.array_equal(own, lengths)):
            fields[f"{name}_lengths"] = own
    return Padded(fields, lengths, tuple(pad(same) for same in zip(*(item.others for item in items), strict=True)))


def _pad_arrays(arrays: Sequence[NDArray[Any]], name: str) -> NDArray[Any]:
    if len({(array.ndim, array.dtype.kind) for array in arrays}) > 1:
        raise ValueError(f"field '{name}' must have one number of axes and one kind of number in all items of a batch")
    shape = tuple(max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True))
    dtype = np.int64 if arrays[0].dtype.kind in "iu" and arrays[0].dtype != np.uint8 else np.result_type(*arrays)
    padded = np.zeros((len(arrays), *shape), dtype)
    for rows, array in zip(padded, arrays, strict=True):
        rows[tuple(slice(size) for size in array.shape)] = array
    return padded


# --- waste -----------------------------------------------------------------------------------------------------------


class Waste(NamedTuple):
    """Share of padded positions, 0 to 1, of each side and of both together."""

    source: float
    target: float
    total: float


def padding_waste(lengths: Ints, batches: Sequence[Ints]) -> Waste:
    """How much of the padded area of these batches is padding; `lengths` is [N 2], source and target."""
    if isinstance(batches, Plan):
        real, area = lengths[batches.order].sum(0, dtype=np.int64), batches.areas(lengths).sum(0)
    else:
        real = np.sum([lengths[batch].sum(0) for batch in batches], axis=0)
        area = np.sum([len(batch) * lengths[batch].max(0) for batch in batches], axis=0)
    shares = [1 - float(part / whole) if whole else 0.0
              for part, whole in ((real[0], area[0]), (real[1], area[1]), (real.sum(), area.sum()))]
    return Waste(*shares)


# --- batches for training --------------------------------------------------------------------------------------------


class Planned(Sequence[Ints], ABC):
    """Batches of indices in order, each made when it is asked for."""

    @abstractmethod
    def indices(self, number: int) -> Ints:
        """Those of batch `number`, from 0."""

    @overload
    def __getitem__(self, number: int) -> Ints: ...

    @overload
    def __getitem__(self, number: slice) -> list[Ints]: ...

    def __getitem__(self, number: int | slice) -> Ints | list[Ints]:
        if isinstance(number, slice):
            return [self.indices(one) for one in range(len(self))[number]]
        return self.indices(range(len(self))[number])


class Plan(Planned):
    """The batches of one epoch in order, each made when it is asked for: a few bytes for each example, however many.

    order [N]: examples, batch after batch; begins [n + 1]: where the batches begin in it; turns [n]: the order in which
    they come.
    """

    def __init__(self, order: Ints, begins: Ints, turns: Ints) -> None:
        self.order, self._begins, self._turns = order, begins, turns

    def __len__(self) -> int:
        return len(self._turns)

    def indices(self, number: int) -> Ints:
        turn = int(self._turns[number])
        return self.order[self._begins[turn]:self._begins[turn + 1]].astype(np.int64)

    def areas(self, lengths: Ints) -> Ints:
        """[n 2]: padded positions of each batch's sides, in the order in which they come; `lengths` is [N 2]."""
        longest = np.maximum.reduceat(lengths[self.order], self._begins[:-1], axis=0).astype(np.int64)
        return (longest * np.diff(self._begins)[:, None])[self._turns]


class Groups(Sequence[list[Ints]]):
    """The batches of a plan, so many together for one update."""

    def __init__(self, plan: Plan, together: int) -> None:
        self._plan, self._together = plan, together

    def __len__(self) -> int:
        return (len(self._plan) + self._together - 1) // self._together

    @overload
    def __getitem__(self, number: int) -> list[Ints]: ...

    @overload
    def __getitem__(self, number: slice) -> list[list[Ints]]: ...

    def __getitem__(self, number: int | slice) -> list[Ints] | list[list[Ints]]:
        if isinstance(number, slice):
            return [self[one] for one in range(len(self))[number]]
        begin = range(len(self))[number] * self._together
        return self._plan[begin:begin + self._together]


class Batches:
    """The batches of every epoch, a function of (seed, epoch) alone.

    Each epoch shuffles all examples, cuts them into windows of some batches (WINDOW_BATCHES), sorts each window by
    target length and then by source length (up and down in turn, so that neighbours stay alike where the target
    length changes), cuts it into batches, and shuffles the batches. Training that stopped after batch n of epoch e
    goes on with `epoch(e, start=n)`: nothing is replayed, and no random state needs to be saved.
    """

    def __init__(self, lengths: Ints, *, batch_size: int, batch_type: Literal["sentences", "tokens"] = "sentences",
                 seed: int = 1, weights: Floats | None = None) -> None:
        """Args:
            lengths: [N 2], source and target length of every example; source 0 where there is none.
            batch_size: sentences in a batch, or target tokens (padded); one longer target makes a batch of its own.
            batch_type: the unit of `batch_size`.
            seed: of everything random here.
            weights: [N] how often each example is seen in an epoch; None is once. With 2 it is seen twice in each;
                with 0.5 in every other epoch, half of such examples at a time.

        Raises:
            DataError: there are no examples, or the weights are so small that an epoch may have none.
        """
        if not len(lengths):
            raise DataError("there are no examples to train on", fix="see what was set aside, and why: seqloom doctor")
        self._lengths = np.asarray(lengths)
        self._kept: tuple[int, Plan] | None = None  # the last epoch that was asked for
        self._size = batch_size
        self._by_tokens = batch_type == "tokens"
        self._seed = seed
        self._weights = None if weights is None else np.asarray(weights, np.float64)
        self._phases = None if self._weights is None else self._draw_phases(self._weights)
        self._window = self._choose_window()

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Ints]:
        """The batches of an epoch (from 0) as indices of examples [B], from batch number `start` on."""
        yield from self.plan(epoch)[start:]

    def count(self, epoch: int) -> int:
        """Number of batches in an epoch; with weights or a token budget it may differ a little between epochs."""
        return len(self.plan(epoch))

    def waste(self, epoch: int = 0) -> Waste:
        """Share of padding in an epoch's batches."""
        return padding_waste(self._lengths, self.plan(epoch))

    def largest(self, epoch: int = 0) -> Ints:
        """The batch of an epoch with the most padded positions, of both sides together."""
        plan = self.plan(epoch)
        return plan[int(plan.areas(self._lengths).sum(1).argmax())]

    def plan(self, epoch: int) -> Plan:
        """All batches of an epoch in order. The last plan is kept: it is asked for more than once."""
        if self._kept is None or self._kept[0] != epoch:
            self._kept = None  # its memory is needed for the next one
            self._kept = epoch, self._new_plan(epoch)
        return self._kept[1]

    def _new_plan(self, epoch: int) -> Plan:
        random = np.random.default_rng([self._seed, epoch])
        order = _shuffled(self._examples(epoch), random)
        sizes: list[int] = []
        begin = 0
        for window in self._windows(order, max(1, round(len(order) / self._window))):
            sizes += map(len, self._cut(window))
            order[begin:begin + len(window)] = window  # which is a sorted copy of these places
            begin += len(window)
        begins = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=begins[1:])
        return Plan(order, begins, _shuffled(np.arange(len(sizes)), random))

    def _choose_window(self) -> int:
        """Examples of a window, tried out on one window of each size."""
        examples = _shuffled(np.arange(len(self._lengths)), np.random.default_rng(self._seed))
        mean = max(1.0, float(self._lengths[:, 1].mean()))
        batch = self._size / mean if self._by_tokens else self._size
        sizes = [max(1, int(batches * batch)) for batches in WINDOW_BATCHES]
        for size in sizes:
            window = next(self._windows(examples[:size], 1))
            if padding_waste(self._lengths, self._cut(window)).total <= ACCEPTED_WASTE:
                return size
        return sizes[-1]

    def _windows(self, examples: Ints, count: int) -> Iterator[Ints]:
        """`count` nearly equal parts, each sorted; whole batches where batches count sentences."""
        unit = 1 if self._by_tokens else self._size
        units = -(-len(examples) // unit)
        edges = [min(len(examples), units * part // count * unit) for part in range(count + 1)]
        for begin, end in pairwise(edges):
            window = examples[begin:end]
            source, target = self._lengths[window].T
            yield window[np.lexsort((np.where(target % 2, -source, source), target))]

    def _cut(self, window: Ints) -> list[Ints]:
        if not self._by_tokens:
            return [window[begin:begin + self._size] for begin in range(0, len(window), self._size)]
        return _cut_ascending(window, self._lengths[window, 1], self._size)

    def _examples(self, epoch: int) -> Ints:
        """Indices of this epoch's examples, each as often as its weight says.

        Over E epochs an example of weight w is seen floor(E·w + phase) times: the running total is rounded, not each
        epoch's share, so that nothing is left out for long.
        """
        numbers: Ints = np.arange(len(self._lengths), dtype=np.int32 if len(self._lengths) < 2**31 else np.int64)
        if self._weights is None or self._phases is None:
            return numbers
        seen = np.floor(epoch * self._weights + self._phases)
        copies = np.floor((epoch + 1) * self._weights + self._phases) - seen
        return np.repeat(numbers, copies.astype(np.int64))

    def _draw_phases(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N] in (0, 1): within each weight evenly spread, in random order, so that every epoch has its exact share."""
        random = np.random.default_rng([self._seed, len(weights)])
        phases = np.empty(len(weights))
        values, counts = np.unique(weights, return_counts=True)
        if np.max(values * counts) < 1:
            raise DataError(f"the weights (largest {values[-1]:g}) leave epochs without examples",
                            fix="give corpora larger weights")
        for weight in values:
            members = np.flatnonzero(weights == weight)
            ranks = random.random(len(members)).argsort(kind="stable")
            phases[members] = (ranks + 0.5) / len(members)
        return phases


def _shuffled(values: Ints, random: np.random.Generator) -> Ints:
    # Not Generator.permutation: NumPy may change how that draws, and the order must outlive an upgrade.
    return values[random.random(len(values)).argsort(kind="stable")]


# --- groups for prediction -------------------------------------------------------------------------------------------


def group_by_budget(lengths: Ints, token_budget: int) -> list[Ints]:
    """Groups of inputs of like length, longest first, each within a budget of padded tokens.

    Args:
        lengths: [N] source lengths; a length of 0 counts as 1.
        token_budget: most padded tokens of a group (rows × longest); a longer input makes a group of its own.

    Returns:
        Indices of every input exactly once. The longest come first, so that too little memory is found out at once.
    """
    costs = np.maximum(np.asarray(lengths, np.int64), 1)
    order = costs.argsort(kind="stable")
    return _cut_ascending(order, costs[order], token_budget)[::-1]


def _cut_ascending(examples: Ints, costs: Ints, budget: int) -> list[Ints]:
    """Cut examples whose costs ascend into runs with rows × last cost ≤ budget, or of one row."""
    cuts, begin = [], 0
    for position, cost in enumerate(costs.tolist()):
        if position > begin and (position - begin + 1) * cost > budget:
            cuts.append(position)
            begin = position
    return [part for part in np.split(examples, cuts) if len(part)]
