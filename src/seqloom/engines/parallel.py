"""Several batches at once, one thread each, instead of all threads on one batch.

A step of a decoder is dozens of small operations; sharing each among threads means that they wait for each other dozens
of times, and for the search between two steps. Batches know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar, runtime_checkable

Part = TypeVar("Part")
Result = TypeVar("Result")


@runtime_checkable
class OneThread(Protocol):
    """An engine that can be had with one thread, to run beside others like it."""

    threads: int

    def one_thread(self) -> Any:
        """The same model in an engine with one thread, which several threads of this process may use."""
        ...


def spread(engine: Any, parts: Sequence[Part], work: Callable[[Any, Part], Result]) -> Iterator[Result]:
    """`work(engine, part)` of every part, in order; several at once where the engine can.

    An error of one part is raised where its result would have come; parts that have not begun are left out then.
    """
    count = min(engine.threads, len(parts)) if isinstance(engine, OneThread) else 1
    if count < 2:
        yield from (work(engine, part) for part in parts)
        return
    single = engine.one_thread()
    with ThreadPoolExecutor(count, "seqloom-batch") as pool:
        waiting = [pool.submit(work, single, part) for part in parts]
        try:
            yield from (one.result() for one in waiting)
        finally:
            for one in waiting:
                one.cancel()
