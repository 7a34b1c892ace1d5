"""Dynamic evaluation: a language model that goes on learning from the text that it is measured on.

Each symbol is scored before anything is learned from it, so the score is that of an honest code for the text; it says
how fast a model gets used to a text, where the usual score says what it knew before.
"""

from __future__ import annotations

from copy import deepcopy
from math import isfinite
from typing import Any

import torch
from torch import nn

from seqloom.engines.torch import TorchEngine, to_tensors
from seqloom.errors import UsageError
from seqloom.nn.memory import Memory
from seqloom.types import Floats, Padded

SEGMENT = 20    # symbols between two updates: their gradient reaches as far back
LARGEST = 1.0   # norm that a gradient is cut at


class DynamicEngine:
    """Scores one text [1 T], the windows of it in order, with weights that follow it: w ← w − rate · gradient of the
    mean loss of the last SEGMENT symbols, cut at norm LARGEST (the dynamic model of Mikolov et al. 2010, §2, which has
    rate 0.1; Krause et al. 2018, §4, in segments). The weights of `engine` stay as they are.

    Raises UsageError for an engine that is not torch's, and for a rate that is not above 0.
    """

    def __init__(self, engine: Any, rate: float) -> None:
        if not isinstance(engine, TorchEngine):
            raise UsageError(f"dynamic evaluation learns while it scores, which the engine '{engine.name}' cannot",
                             fix="use --engine torch, and a single run")
        if not (isfinite(rate) and rate > 0):
            raise UsageError(f"dynamic evaluation with learning rate {rate:g}, expected a number above 0",
                             fix="give 0.1 to begin with")
        self.name = f"{engine.name}, dynamic"
        self.rate = rate
        self._device = engine.device
        self._model = deepcopy(engine.model).eval()  # evaluation mode: nothing is dropped at random
        for parameter in self._model.parameters():
            parameter.data = parameter.data.contiguous()  # engines lay them out for single steps

    def answer(self, source: Padded, state: Memory | None = None) -> tuple[Floats, Memory]:
        """Log-probabilities [1 T V] of the symbol behind each position of a window, and the state to hand in with the
        next one. The symbol behind the last is not there yet, so it alone is not learned from."""
        ids = to_tensors(source, self._device).main
        found = []
        for begin in range(0, ids.shape[1], SEGMENT):
            read, following = ids[:, begin:begin + SEGMENT], ids[0, begin + 1:begin + SEGMENT + 1]
            lengths = torch.full((1,), read.shape[1], device=self._device)
            with torch.enable_grad():
                memory = self._model.encode(Padded({"main": read}, lengths), state)
                scores: torch.Tensor = self._model.head.answer(memory)  # type: ignore[operator]
                if len(following):
                    self._learn(-scores[0, :len(following)].gather(1, following.unsqueeze(1)).mean())
            found.append(scores.detach())
            state = Memory._make(None if part is None else part.detach() for part in memory)
        assert state is not None
        scored: Floats = torch.cat(found, 1).cpu().numpy()
        return scored, state

    def _learn(self, loss: torch.Tensor) -> None:
        parameters = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, LARGEST)
        with torch.no_grad():
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=-self.rate)
