"""Random numbers that depend on the seed and the place alone, so that a resumed run draws the same ones."""

from __future__ import annotations

from hashlib import blake2b

import torch


def derived_seed(seed: int, *place: int | str) -> int:
    """A seed for one place, such as (update 12, "dropout"): 0 … 2³² − 1.

    Everything goes through a hash, because torch's generator for CPUs looks at the low 32 bits of a seed only.
    """
    text = " ".join(map(str, (seed, *place)))
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "little")


def generator(seed: int, *place: int | str) -> torch.Generator:
    """A generator of its own for one place, on the CPU."""
    return torch.Generator().manual_seed(derived_seed(seed, *place))
