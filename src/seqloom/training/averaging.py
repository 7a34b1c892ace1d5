"""Averages of weights over training: what is validated and shipped instead of the last update's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from seqloom.config.sections import TrainingConfig


class Averaging:
    """average: none | ema (exponential moving average) | last (mean over the last validations)."""

    def __init__(self, config: TrainingConfig, model: nn.Module) -> None:
        self.config = config
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.kept: list[list[Tensor]] = []  # ema: one list; last: one for each validation

    def updated(self, step: int) -> None:
        """After an update: move the exponential average. Early on it forgets faster, so that the start fades."""
        if self.config.average != "ema":
            return
        if not self.kept:
            self.kept.append([p.detach().clone() for p in self.parameters])
            return
        decay = min(self.config.average_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.kept[0], [p.detach() for p in self.parameters], 1 - decay)

    def before_validation(self) -> None:
        """Remember this validation's weights."""
        if self.config.average == "last":
            self.kept.append([p.detach().clone() for p in self.parameters])
            del self.kept[: -self.config.average_count]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model carries the average inside, and its own weights again afterwards."""
        if not self.kept:
            yield
            return
        own = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            for parameter, *values in zip(self.parameters, *self.kept, strict=True):
                parameter.copy_(torch.stack(values).mean(0) if len(values) > 1 else values[0])
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, own, strict=True):
                    parameter.copy_(value)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {f"average.{number}.{index}": value
                for number, values in enumerate(self.kept) for index, value in enumerate(values)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        count = len(self.parameters)
        numbers = sum(name.startswith("average.") for name in tensors) // max(count, 1)
        self.kept = [[tensors[f"average.{number}.{index}"].to(self.parameters[index].device) for index in range(count)]
                     for number in range(numbers)]
