"""Perplexity and bits per character, from a log-probability sum."""

from __future__ import annotations

import math
import sys

from seqloom.errors import DataError


def perplexity(log_probability: float, tokens: int) -> float:
    """exp(−log P / tokens): log P in nats, summed over `tokens` predicted tokens (end symbols among them, if they were
    scored); infinite where it leaves the range of a float. Comparable only between models with the same tokens."""
    if tokens < 1:
        raise DataError(f"perplexity over {tokens} tokens, expected 1 or more", fix="score at least one sentence")
    exponent = -log_probability / tokens
    return math.exp(exponent) if exponent < math.log(sys.float_info.max) else math.inf


def bits_per_character(log_probability: float, characters: int) -> float:
    """−log2 P / characters: log P in nats over a text of `characters` Unicode code points; whatever the tokens are."""
    if characters < 1:
        raise DataError(f"bits per character over {characters} characters, expected 1 or more",
                        fix="score at least one sentence that is not empty")
    return -log_probability / math.log(2) / characters


def likelihood_of(log_probability: float, tokens: int, characters: int) -> dict[str, float]:
    """Both of a text, by their names; without those that leave the range of a float, and of no text at all nothing."""
    if not tokens or not characters:
        return {}
    found = {"perplexity": perplexity(log_probability, tokens),
             "bits_per_character": bits_per_character(log_probability, characters)}
    return {name: value for name, value in found.items() if math.isfinite(value)}
