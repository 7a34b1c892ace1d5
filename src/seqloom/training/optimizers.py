"""Optimisers and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from seqloom.config.sections import ScheduleConfig, TrainingConfig
from seqloom.training.state import Rate

# Where the configuration leaves the learning rate empty.
DEFAULT_RATES = {"adam": 1e-3, "adamw": 1e-3, "sgd": 1.0, "adadelta": 1.0}


def base_rate(config: TrainingConfig) -> float:
    """The learning rate at its highest."""
    return DEFAULT_RATES[config.optimizer] if config.learning_rate is None else config.learning_rate


def _unwrapped(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of torch's optimisers without what torch.compile needs around it.

    That imports torch._dynamo, which takes four seconds and a hundred megabytes, and nothing here is compiled.
    """
    while hasattr(method, "__wrapped__"):
        method = method.__wrapped__
    return method


class _Plain(torch.optim.Optimizer):
    """torch's optimiser behind this class in the order of inheritance, unwrapped."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        _unwrapped(type(self).__mro__[2].step)(self, closure)  # type: ignore[attr-defined]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _unwrapped(torch.optim.Optimizer.add_param_group)(self, param_group)

    def state_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = _unwrapped(torch.optim.Optimizer.state_dict)(self)
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        _unwrapped(torch.optim.Optimizer.load_state_dict)(self, state_dict)


class Adam(_Plain, torch.optim.Adam):
    """torch.optim.Adam (Kingma & Ba 2015)."""


class AdamW(_Plain, torch.optim.AdamW):
    """torch.optim.AdamW (Loshchilov & Hutter 2019)."""


class SGD(_Plain, torch.optim.SGD):
    """torch.optim.SGD."""


class Adadelta(_Plain, torch.optim.Adadelta):
    """torch.optim.Adadelta (Zeiler 2012)."""


def build_optimizer(config: TrainingConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The configured optimiser over what is trained. Those that torch has in a fused form use it: one kernel for all
    parameters."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = base_rate(config), config.weight_decay
    if config.optimizer == "adam":
        return Adam(trained, rate, betas=config.betas, weight_decay=decay, fused=True)
    if config.optimizer == "adamw":
        return AdamW(trained, rate, betas=config.betas, weight_decay=decay, fused=True)
    if config.optimizer == "sgd":
        return SGD(trained, rate, momentum=config.momentum, weight_decay=decay, fused=True)
    return Adadelta(trained, rate, rho=0.95, weight_decay=decay, foreach=True)


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
