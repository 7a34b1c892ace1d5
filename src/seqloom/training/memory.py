"""How much memory this process has taken."""

from __future__ import annotations

import sys
from pathlib import Path

import torch


def peak_memory(device: torch.device) -> str:
    """The most memory that was in use so far, for people: of a GPU what tensors took, else of the whole process."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**20:,.0f} MiB of the GPU at most"
    peak = peak_resident()
    return "" if peak is None else f"{peak:,.0f} MiB at most"


def peak_resident() -> float | None:
    """Highest resident memory of this process in MiB; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says begins with the memory of the process that started this one
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return None
    import resource

    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
