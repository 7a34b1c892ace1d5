"""Heads that answer at once: one label for a memory, or a tag for each of its positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from seqloom.nn.memory import Memory, real_positions
from seqloom.types import Loss, Padded


class LastState(nn.Module):
    """The encoder's last state: what it has made of the whole input."""

    def forward(self, memory: Memory) -> Float[Tensor, "B M"]:
        return memory.summary


class MeanPooling(nn.Module):
    """The mean over real positions."""

    def forward(self, memory: Memory) -> Float[Tensor, "B M"]:
        mask = memory.mask.unsqueeze(2).to(memory.values.dtype)
        mean: Tensor = (memory.values * mask).sum(1) / mask.sum(1)
        return mean


class MaxPooling(nn.Module):
    """The largest value of each dimension over real positions (Collobert et al. 2011, §3.3.2)."""

    def forward(self, memory: Memory) -> Float[Tensor, "B M"]:
        lowest = torch.finfo(memory.values.dtype).min
        return memory.values.masked_fill(~memory.mask.unsqueeze(2), lowest).amax(1)


class AttentionPooling(nn.Module):
    """Σ_s a_s h_s with a = softmax(w · tanh(W h_s)) over real positions (Lin et al. 2017, eqs. 5-6, one row)."""

    def __init__(self, memory_size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(memory_size, memory_size, bias=False)
        self.query = nn.Linear(memory_size, 1, bias=False)

    def forward(self, memory: Memory) -> Float[Tensor, "B M"]:
        scores = self.query(torch.tanh(self.transform(memory.values))).squeeze(2)
        weights = scores.masked_fill(~memory.mask, -torch.inf).softmax(1)
        pooled: Tensor = (weights.unsqueeze(2) * memory.values).sum(1)
        return pooled


class AnswerModule(nn.Module):
    """Dropout, one affine layer and softmax over C classes, at T places of a memory."""

    def __init__(self, memory_size: int, classes: int, *, dropout: float = 0.0, label_smoothing: float = 0.0,
                 class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.output = nn.Linear(memory_size, classes)
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)

    def places(self, memory: Memory) -> Float[Tensor, "B T M"]:
        """What is answered about."""
        raise NotImplementedError

    def logits(self, memory: Memory) -> Float[Tensor, "B T C"]:
        values = functional.dropout(self.places(memory), self.dropout, self.training)
        logits: Tensor = self.output(values)
        return logits if logits.dtype == torch.float64 else logits.float()

    def answer(self, memory: Memory) -> Float[Tensor, "B T C"]:
        """Log-probabilities."""
        return self.logits(memory).log_softmax(2)

    def loss(self, memory: Memory, target: Padded, own: Bool[Tensor, "B T"] | None = None) -> Loss:
        """Cross-entropy over the real positions of `target` [B T]; no history could be the model's own."""
        gold: Int[Tensor, "B T"] = target.main
        mask = real_positions(target.lengths, gold.shape[1])
        logits = self.logits(memory)[:, : gold.shape[1]]
        weights = None if self.class_weights is None else self.class_weights.to(logits.dtype)
        each = functional.cross_entropy(logits.transpose(1, 2), gold, weight=weights, reduction="none",
                                        label_smoothing=self.label_smoothing if self.training else 0.0)
        return Loss((each * mask).sum(), mask.sum(), ((logits.argmax(2) == gold) & mask).sum())


class LabelModule(AnswerModule):
    """One label for the whole input."""

    def __init__(self, memory_size: int, classes: int, pooling: str, *, dropout: float = 0.0,
                 label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> None:
        super().__init__(memory_size, classes, dropout=dropout, label_smoothing=label_smoothing,
                         class_weights=class_weights)
        self.pooling = AttentionPooling(memory_size) if pooling == "attention" else POOLINGS[pooling]()

    def places(self, memory: Memory) -> Float[Tensor, "B 1 M"]:
        pooled: Tensor = self.pooling(memory)
        return pooled.unsqueeze(1)


class TagsModule(AnswerModule):
    """A tag for each position."""

    def places(self, memory: Memory) -> Float[Tensor, "B S M"]:
        return memory.values


POOLINGS: dict[str, type[nn.Module]] = {
    "last": LastState,
    "mean": MeanPooling,
    "max": MaxPooling,
    "attention": AttentionPooling,
}
