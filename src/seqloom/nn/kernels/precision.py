"""Which library multiplies fp32 matrices on a CPU.

torch has two: its default BLAS and oneDNN. oneDNN is 1.3 to 2 times faster on the products of training (on AVX-512
CPUs, from about 6 rows on), and the BLAS is 2 to 3 times faster on the batched vector products of attention.
oneDNN serves fp32 only when torch is told that bf16 products are allowed ("medium"); most CPUs compute in fp32 all
the same, but one with bf16 matrix units (AMX) may not. Here fp32 stays fp32: `fast_fp32` measures first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Relative error of a product in norm: fp32 is near 4e-7, TF32 near 3e-4, bf16 near 3e-3.
FP32_ERROR = 4e-6


# oneDNN's own setting, apart from CUDA's; torch 2.9 or later has it.
_ONEDNN: Any = getattr(torch.backends.mkldnn, "matmul", None)


def _own_setting() -> bool:
    return hasattr(_ONEDNN, "fp32_precision")


def _uses_onednn() -> bool:
    """Whether oneDNN serves fp32 products now."""
    if _own_setting():
        return bool(_ONEDNN.fp32_precision == "bf16")
    return torch.get_float32_matmul_precision() == "medium"


def _use_onednn(enabled: bool) -> None:
    """The common setting would let CUDA round to TF32, so where there is CUDA only oneDNN's own one is touched."""
    if not torch.cuda.is_available():
        torch.set_float32_matmul_precision("medium" if enabled else "highest")
    elif _own_setting():
        _ONEDNN.fp32_precision = "bf16" if enabled else "ieee"


def product_error() -> float:
    """Relative error in norm of fp32 products with the present setting: the worst of a few shapes, against float64."""
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
    available = torch.backends.mkldnn.is_available()
    if not available or (torch.cuda.is_available() and not _own_setting()):
        return False
    with _setting(True):
        return product_error() <= FP32_ERROR


@contextmanager
def _setting(enabled: bool) -> Iterator[None]:
    if _own_setting() and torch.cuda.is_available():
        before = _ONEDNN.fp32_precision
        _use_onednn(enabled)
        try:
            yield
        finally:
            _ONEDNN.fp32_precision = before
    else:
        common = torch.get_float32_matmul_precision()
        _use_onednn(enabled)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(common)


@contextmanager
def fast_fp32() -> Iterator[None]:
    """Inside, fp32 products on the CPU run in oneDNN if it keeps fp32's rounding error, else at torch's "highest"
    precision. CUDA computes in true fp32 either way. The setting is one for the whole process, and is put back.
    """
    with _setting(onednn_keeps_fp32()):
        yield


def multiplies_bf16(device: torch.device) -> bool:
    """Whether this device has instructions for bf16 products; without them they are emulated, slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # AVX-512 BF16 and AMX on x86; torch tells the first by a function of its own, where it knows it.
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


class BatchedProducts:
    """`with` it, the default library serves: faster for products of many small matrices, as those of attention.

    Does nothing where oneDNN is not in use, and on other devices. Re-usable; costs a fraction of a microsecond.
    """

    def __init__(self, device: torch.device) -> None:
        self._active = device.type == "cpu" and _uses_onednn()

    def __enter__(self) -> None:
        if self._active:
            _use_onednn(False)

    def __exit__(self, *_: object) -> None:
        if self._active:
            _use_onednn(True)
