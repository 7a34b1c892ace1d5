"""What is asked of a search, checked once: the same for every strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqloom.config.sections import DecodingConfig
from seqloom.errors import UsageError
from seqloom.types import PADDING, START, Engine, Ints, Padded

# Target tokens that a sentence may have beyond max_length_ratio × its source tokens, so that short ones are not cut.
RATIO_ALLOWANCE = 10


@dataclass(frozen=True, slots=True)
class Request:
    """The one argument of every strategy.

    source:   sentences to answer, or their number for engines without a source.
    lines:    [B] line number of each sentence: names it in errors and, with options.seed, its random numbers.
    limits:   [B] most steps of each sentence; the end symbol takes one, as it counts in every length here.
    prefixes: B arrays of ids with which each answer must begin; empty ones force nothing.
    weights:  whether hypotheses carry their attention.
    shortlist: [B L] the only ids that each sentence's answers are made of, -1 after them; None for all.
    """

    engine: Engine[Any]
    source: Padded | int
    options: DecodingConfig
    lines: Ints
    limits: Ints
    prefixes: Sequence[Ints]
    weights: bool = False
    shortlist: Ints | None = None

    def __post_init__(self) -> None:
        for name, given in (("lines", self.lines), ("limits", self.limits), ("prefixes", self.prefixes)):
            if len(given) != self.size:
                raise UsageError(f"the search got {len(given)} {name} for {self.size} sentences",
                                 fix=f"give one entry of {name} for each sentence")
        for line, limit, prefix in zip(self.lines, self.limits, self.prefixes, strict=True):
            if limit < 1:
                raise UsageError(f"line {line}: at most {limit} target tokens were asked for, expected 1 or more",
                                 fix="raise max_length or max_length_ratio")
            if len(prefix) > limit:
                raise UsageError(f"line {line}: the forced prefix has {len(prefix)} tokens, and {limit} are allowed",
                                 fix="shorten the prefix, or raise max_length or max_length_ratio")
            if len(prefix) and bool(np.isin(prefix, (PADDING, START, self.engine.end)).any()):
                raise UsageError(f"line {line}: the forced prefix holds a padding, start or end symbol: "
                                 f"{np.asarray(prefix).tolist()}", fix="give the ids of real symbols only")

    @property
    def size(self) -> int:
        """Number of sentences B."""
        return size_of(self.source)


def size_of(source: Padded | int) -> int:
    """Number of sentences B of what an engine begins with."""
    return source if isinstance(source, int) else source.size


def attention_widths(source: Padded | int, width: int | None) -> Ints | None:
    """[B] source positions that attention over `width` positions is trimmed to, so that padding never shows.

    None where the memory is not as long as the source (subsampled sound, attended features): nothing is trimmed then.
    """
    if isinstance(source, int) or width != source.main.shape[1]:
        return None
    return np.asarray(source.lengths)


def target_limits(options: DecodingConfig, source_lengths: Ints | None, size: int) -> Ints:
    """Most target tokens of each of `size` sentences [B], from max_length and max_length_ratio."""
    limits = np.full(size, options.max_length, np.int64)
    if options.max_length_ratio is not None and source_lengths is not None:
        by_ratio = np.floor(source_lengths * options.max_length_ratio).astype(np.int64) + RATIO_ALLOWANCE
        limits = np.minimum(limits, by_ratio)
    return limits
