"""Optimisers and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from seqloom.config.sections import ScheduleConfig, TrainingConfig
from seqloom.training.state import Rate

# Where the configuration leaves the learning rate empty.
DEFAULT_RATES = {"adam": 1e-3, "adamw": 1e-3, "sgd": 1.0, "adadelta": 1.0}


def base_rate(config: TrainingConfig) -> float:
    """The learning rate at its highest."""
    return DEFAULT_RATES[config.optimizer] if config.learning_rate is None else config.learning_rate


def build_optimizer(config: TrainingConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), SGD, Adadelta (Zeiler 2012).

    Those that torch has in a fused form use it: one kernel for all parameters.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = base_rate(config), config.weight_decay
    if config.optimizer == "adam":
        return torch.optim.Adam(trained, rate, betas=config.betas, weight_decay=decay, fused=True)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(trained, rate, betas=config.betas, weight_decay=decay, fused=True)
    if config.optimizer == "sgd":
        return torch.optim.SGD(trained, rate, momentum=config.momentum, weight_decay=decay, fused=True)
    return torch.optim.Adadelta(trained, rate, rho=0.95, weight_decay=decay, foreach=True)


@dataclass
class Schedule:
    """The learning rate as a function of the update, of validations, and of the guard; `moved` is all of its state."""

    config: ScheduleConfig
    rate: float
    moved: Rate

    def at(self, step: int) -> float:
        """The rate of update `step`, from 1."""
        config = self.config
        rate = self.rate * 0.5**self.moved.halvings
        warmup = config.warmup_steps
        if step <= warmup:
            return rate * step / warmup
        if config.kind == "inverse_square_root":  # Vaswani et al. 2017, eq. 3, scaled to peak at `rate`
            rate *= (max(warmup, 1) / step) ** 0.5
        elif config.kind == "plateau":
            rate *= config.factor**self.moved.reductions
        return max(rate, min(config.min_learning_rate, self.rate))

    def validated(self, improved: bool) -> bool:
        """Tell the schedule how a validation came out; True when that lowered the rate."""
        moved = self.moved
        moved.stale = 0 if improved else moved.stale + 1
        if self.config.kind != "plateau" or moved.stale <= self.config.patience:
            return False
        moved.stale = 0
        moved.reductions += 1
        return True
