"""A second loss on the memory, in training only: the encoder is to spell the target in order, without a decoder."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from seqloom.nn.memory import Memory
from seqloom.types import PADDING, Padded


class AlignmentLoss(nn.Module):
    """Connectionist temporal classification (Graves et al. 2006, eq. 8) of the memory, beside the decoder's loss (Kim
    et al. 2017, eq. 9, with the two added): it shows attention the order in which a source is to be read.

    The padding's id, which is no target, is the blank. A target that needs more positions than its source has does
    not count.
    """

    def __init__(self, memory_size: int, symbols: int, weight: float) -> None:
        super().__init__()
        self.output = nn.Linear(memory_size, symbols)
        self.weight = weight

    def forward(self, memory: Memory, target: Padded) -> Float[Tensor, ""]:
        """The weighted sum over the batch; `target` [B T+1] holds <s> … </s>."""
        logits = self.output(memory.values)
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = exact.log_softmax(2).transpose(0, 1)
        total: Tensor = functional.ctc_loss(
            scores, target.main[:, 1:], memory.mask.sum(1), target.lengths - 2, blank=PADDING, reduction="sum",
            zero_infinity=True)
        return self.weight * total
