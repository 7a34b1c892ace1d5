"""Which library multiplies fp32 matrices on a CPU.

torch has two: its default BLAS and oneDNN. On some CPUs oneDNN is twice as fast on the products of training, on others
both run near the processor's peak; for a small model the BLAS is then the better one, since oneDNN makes and keeps
code for every shape that it meets, about half a megabyte each. The BLAS is 2 to 3 times faster on the batched vector
products of attention everywhere. oneDNN serves fp32 only when torch is told that bf16 products are allowed ("medium");
most CPUs compute in fp32 all the same, but one with bf16 matrix units (AMX) may not. Here fp32 stays fp32: `fast_fp32`
measures first.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# Relative error of a product, in norm: fp32 is near 4e-7, TF32 near 3e-4, bf16 near 3e-3.
FP32_ERROR = 4e-6

# oneDNN serves a small model where it is at least so many times as fast: far from the 1.0 to 1.1 of CPUs on which both
# are at the peak, and from the 1.6 to 2 of others, so that noise does not change what a machine chooses.
WORTH = 1.35
MEASUREMENTS = 6

# Shapes for which oneDNN keeps the code it made, of 1,024 that it would keep: a product of fp32 matrices takes half a
# megabyte. Those of one update are about 60, and what is used seldom costs a millisecond to make again. That is little
# for a large model; in a small one it is a tenth of the time, and keeping all takes no more memory than making it anew.
KEPT_SHAPES, SMALL_MODEL = 256, 4_000_000

# oneDNN's own setting, apart from CUDA's; torch 2.9 or later has it.
_ONEDNN: Any = getattr(torch.backends.mkldnn, "matmul", None)


def _set_own(value: str) -> None:
    _ONEDNN.fp32_precision = value


class _Setting:
    """Where "oneDNN serves fp32" is set, and its values. `read` gives the present one, `write` takes it back.

    The common setting would also let CUDA round to TF32, so where there is CUDA only oneDNN's own is touched; an older
    torch with CUDA has none, and keeps its default library.
    """

    def __init__(self) -> None:
        self.exists = True
        self.read: Callable[[], str] = torch.get_float32_matmul_precision
        self.write: Callable[[str], None] = torch.set_float32_matmul_precision
        self.onednn, self.default = "medium", "highest"
        if torch.cuda.is_available():
            self.exists = hasattr(_ONEDNN, "fp32_precision")
            self.read, self.write = (lambda: str(_ONEDNN.fp32_precision)), _set_own
            self.onednn, self.default = "bf16", "ieee"

    @contextmanager
    def at(self, value: str) -> Iterator[None]:
        before = self.read()
        self.write(value)
        try:
            yield
        finally:
            self.write(before)


def product_error() -> float:
    """Relative error, in norm, of fp32 products as they are set now: the worst of a few shapes, against float64."""
    draw = torch.Generator().manual_seed(0)
    errors = []
    for rows, inner, columns in ((64, 512, 256), (8, 1024, 64), (256, 64, 512)):
        left, right = torch.randn(rows, inner, generator=draw), torch.randn(inner, columns, generator=draw)
        exact = left.double() @ right.double()
        errors.append(((left @ right).double() - exact).norm() / exact.norm())
    return float(max(errors))


@functools.cache
def onednn_keeps_fp32() -> bool:
    """Measured once in a process: whether oneDNN's fp32 products have fp32's rounding error on this machine."""
    setting = _Setting()
    if not setting.exists or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    with setting.at(setting.onednn):
        return product_error() <= FP32_ERROR


def products_seconds() -> float:
    """Seconds of two products of training, as they are set now."""
    seconds = 0.0
    for rows, inner, columns in ((64, 512, 1024), (32, 256, 1024)):
        left, right = torch.ones(rows, inner), torch.ones(columns, inner).t()
        began = time.perf_counter()
        torch.mm(left, right)
        seconds += time.perf_counter() - began
    return seconds


@functools.cache
def onednn_gain() -> float:
    """Measured once in a process: how many times as fast as the default library oneDNN is; the best of several each."""
    setting = _Setting()
    best = {setting.onednn: float("inf"), setting.default: float("inf")}
    for _ in range(MEASUREMENTS):
        for value in best:
            with setting.at(value):
                best[value] = min(best[value], products_seconds())
    return best[setting.default] / best[setting.onednn]


def serving_library(*, small: bool = False) -> str:
    """Which library multiplies fp32 on the CPU inside `fast_fp32`, for people: "oneDNN", or "the default library"."""
    return "oneDNN" if onednn_keeps_fp32() and (not small or onednn_gain() >= WORTH) else "the default library"


@contextmanager
def fast_fp32(*, small: bool = False) -> Iterator[None]:
    """Inside, fp32 products on the CPU run in oneDNN if it keeps fp32's rounding error and, for a small model, is
    `WORTH` it, else at torch's "highest" precision. CUDA computes in true fp32 either way. The setting is one for the
    whole process, and is put back.
    """
    setting = _Setting()
    if not setting.exists:
        yield
        return
    with setting.at(setting.onednn if serving_library(small=small) == "oneDNN" else setting.default):
        yield


def bound_memory(parameters: int = SMALL_MODEL) -> None:
    """Let oneDNN keep less for a model of so many parameters, unless it is small or the user has said how much. It
    looks when it first computes something."""
    if parameters >= SMALL_MODEL:
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KEPT_SHAPES))


def many_products(left: Float[Tensor, "B K I"], right: Float[Tensor, "B I S"]) -> Float[Tensor, "B K S"]:
    """Products of many small matrices, as those of attention; on a CPU in fp32 where autocast would have them in bf16.

    There every pair of a source's and a target's length would be another shape for oneDNN to make code for, and keep.
    """
    if left.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return torch.bmm(left, right)
    with torch.autocast("cpu", enabled=False):
        return torch.bmm(left.float(), right.float())


class BatchedProducts:
    """`with` it, the default library serves: faster for products of many small matrices, as those of attention.

    Does nothing where oneDNN is not in use, and on other devices. Re-usable; costs a fraction of a microsecond.
    """

    def __init__(self, device: torch.device) -> None:
        self._setting = _Setting() if device.type == "cpu" else None
        if self._setting is not None and (
                not self._setting.exists or self._setting.read() != self._setting.onednn):
            self._setting = None

    def __enter__(self) -> None:
        if self._setting is not None:
            self._setting.write(self._setting.default)

    def __exit__(self, *_: object) -> None:
        if self._setting is not None:
            self._setting.write(self._setting.onednn)
