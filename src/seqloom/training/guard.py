"""The guard against losses that are not finite: a copy of the last good state, and the way back to it."""

from __future__ import annotations

import torch
from torch import Tensor

from seqloom.model import Model
from seqloom.training.averaging import Averaging
from seqloom.training.checkpoint import optimizer_tensors, restore_optimizer

MAX_BAD_UPDATES = 10  # non-finite updates in a row before training gives up


class Guard:
    """Keeps weights, optimiser state and averages as they were when `remember` was last called."""

    def __init__(self, model: Model, optimizer: torch.optim.Optimizer, averaging: Averaging) -> None:
        self.model, self.optimizer, self.averaging = model, optimizer, averaging
        self.weights: dict[str, Tensor] = {}
        self.tensors: dict[str, Tensor] = {}

    def remember(self) -> None:
        """This state is good."""
        self.weights = {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
        kept = {**optimizer_tensors(self.optimizer), **self.averaging.tensors()}
        self.tensors = {name: tensor.detach().clone() for name, tensor in kept.items()}

    def go_back(self) -> None:
        """Put back what was remembered."""
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(self.weights[name])
        restore_optimizer(self.optimizer, self.tensors)
        self.averaging.restore(self.tensors)

    def is_spoilt(self) -> bool:
        """Whether a weight is not finite."""
        return not all(bool(torch.isfinite(weight).all()) for weight in self.model.parameters())
