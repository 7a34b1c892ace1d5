"""Whether a pass is being made whose steps may not depend on numbers that only the device knows.

A captured CUDA graph repeats launches as they were: there is no reading back how many positions are real, and no tensor
whose shape depends on it. Inside `static_shapes` the network computes all padded positions and leaves the others out
of the sums; elsewhere it picks the real ones, which is less work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_STATIC: ContextVar[bool] = ContextVar("static_shapes", default=False)


def is_static() -> bool:
    """Whether `static_shapes` is in force."""
    return _STATIC.get()


@contextmanager
def static_shapes() -> Iterator[None]:
    """Inside, no shape and no branch depends on a tensor's values."""
    token = _STATIC.set(True)
    try:
        yield
    finally:
        _STATIC.reset(token)
