"""Averages of weights over training: what is validated and shipped instead of the last update's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
        """After update `step`, from 1: average ← d·average + (1 − d)·weights, d = min(average_decay, (1+n)/(10+n)).

        With n = step: early on it forgets faster, so that the start fades (the rule of TensorFlow's
        ExponentialMovingAverage with num_updates).
        """
        if self.config.average != "ema":
            return
        if not self.kept:
            self.kept.append(self._copies())
            return
        decay = min(self.config.average_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.kept[0], [p.detach() for p in self.parameters], 1 - decay)

    def before_validation(self) -> None:
        """Remember this validation's weights."""
        if self.config.average == "last":
            self.kept.append(self._copies())
            del self.kept[: -self.config.average_count]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model carries the average inside, and its own weights again afterwards."""
        if not self.kept:
            yield
            return
        own = self._copies()
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

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back copies of what `tensors` gave. Raises KeyError or ValueError for averages of another model."""
        stored = [name for name in tensors if name.startswith("average.")]
        numbers, odd = divmod(len(stored), max(len(self.parameters), 1))
        if odd:
            raise ValueError(f"{len(stored)} averaged tensors, expected a multiple of {len(self.parameters)}")
        self.kept = [[self._fitting(tensors, number, index) for index in range(len(self.parameters))]
                     for number in range(numbers)]

    def _fitting(self, tensors: Mapping[str, Tensor], number: int, index: int) -> Tensor:
        name, parameter = f"average.{number}.{index}", self.parameters[index]
        if tensors[name].shape != parameter.shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(parameter.shape)}")
        return tensors[name].to(parameter.device).clone()

    def _copies(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.parameters]
