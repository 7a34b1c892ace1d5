"""Batches made while the present ones are trained on: one thread reads and pads ahead, in the order of the plan."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from seqloom.types import Batch, Ints

AHEAD = 2  # groups of batches that are made before they are asked for


class Loader:
    """`through` goes through groups of batches and makes the next ones; `batch` hands them out.

    waited: seconds that `batch` has spent waiting, which is the time that the data costs.
    """

    def __init__(self, make: Callable[[Ints], Batch]) -> None:
        """make: the batch of these examples; called in a thread of its own."""
        self._make = make
        self._ready: dict[int, Future[Batch]] = {}  # by the identity of the array of indices
        self.waited = 0.0

    def through(self, groups: Sequence[list[Ints]], start: int = 0) -> Generator[list[Ints], None, None]:
        """Every group of examples' indices from number `start` on; its batches are made by then, or nearly."""
        ahead: deque[list[Ints]] = deque()
        pool = ThreadPoolExecutor(1, "seqloom-loader")
        try:
            for number in range(start, len(groups) + AHEAD):
                if number < len(groups):
                    ahead.append(groups[number])
                    for indices in ahead[-1]:
                        self._ready[id(indices)] = pool.submit(self._make, indices)
                if number >= start + AHEAD and ahead:
                    yield ahead[0]
                    for indices in ahead.popleft():
                        self._ready.pop(id(indices), None)
        finally:
            self._ready.clear()
            pool.shutdown(wait=True, cancel_futures=True)

    def batch(self, indices: Ints) -> Batch:
        """The batch of these examples: made already where `through` has just given them, else made now."""
        began = time.perf_counter()
        future = self._ready.pop(id(indices), None)
        batch = self._make(indices) if future is None else future.result()
        self.waited += time.perf_counter() - began
        return batch
