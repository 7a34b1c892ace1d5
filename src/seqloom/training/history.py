"""Which history the decoder sees in training: the gold one (teacher forcing) or, at drawn positions, its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqloom.config.sections import TeacherForcingConfig


def gold_ratio(config: TeacherForcingConfig, step: int, *, switched_off: bool = False) -> float:
    """Share of positions with gold history at update `step`, from 0 (Bengio et al. 2015, §2.4)."""
    if switched_off:
        return 0.0
    ratio = config.ratio
    if config.decay == "linear":
        ratio -= config.slope * step
    elif config.decay == "exponential":
        ratio *= config.k**step
    elif config.decay == "inverse_sigmoid":
        # k / (k + exp(i/k)) written so that exp cannot overflow
        ratio *= 1.0 / (1.0 + math.exp(min(step / config.k - math.log(config.k), 700.0)))
    return max(ratio, config.min_ratio)


def draw_own_history(config: TeacherForcingConfig, ratio: float, shape: tuple[int, int],
                     generator: torch.Generator) -> Tensor | None:
    """Bool [B T], True where the model's own token is the history; None when all of it is gold.

    One draw decides for a token, for a sentence, or for the batch. Position 0 holds <s> and is never drawn.
    """
    if ratio >= 1.0:
        return None
    B, T = shape
    rows = {"token": (B, T), "sequence": (B, 1), "batch": (1, 1)}[config.draw]
    own = (torch.rand(rows, generator=generator) >= ratio).expand(B, T).clone()
    own[:, 0] = False
    return own
