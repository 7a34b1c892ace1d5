"""Random numbers that depend on nothing but the seed, the line, the sample and the step.

A counter, hashed: the same line draws the same numbers alone, in any batch, in any order, on any platform and with
any version of NumPy, and a search that drops sentences has no generators to keep in step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqloom.types import Floats, Ints

Words = NDArray[np.uint64]

# Increment and multipliers of SplitMix64 (Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number Generators",
# figure 17 with Stafford's variant 13).
INCREMENT = np.array([0x9E3779B97F4A7C15], np.uint64)
FIRST, SECOND = np.array([0xBF58476D1CE4E5B9], np.uint64), np.array([0x94D049BB133111EB], np.uint64)


def mix(words: Words) -> Words:
    """One step of SplitMix64 on an array of any shape [...] with at least one axis: every bit depends on every bit."""
    words = words + INCREMENT
    words = (words ^ (words >> np.uint64(30))) * FIRST
    words = (words ^ (words >> np.uint64(27))) * SECOND
    return words ^ (words >> np.uint64(31))


def keys(seed: int, lines: Ints, samples: int) -> Words:
    """One key [B K] for each sample of each line."""
    by_seed = mix(np.array([seed % 2**64], np.uint64))
    by_line = mix(by_seed ^ np.asarray(lines).astype(np.uint64))
    return mix(by_line[:, None] ^ np.arange(samples, dtype=np.uint64))


def uniform(keys: Words, step: int) -> Floats:
    """A number in [0, 1) for each key [B K] at this step, with 53 random bits."""
    return (mix(keys ^ np.array([step], np.uint64)) >> np.uint64(11)) * 2.0**-53
