"""The additive score of all queries and positions, forward and backward, one query after another in one buffer.

Written plainly it keeps K · S · A numbers for the backward pass, a gigabyte for a batch of long sources, and it is
then memory that takes the time. Here every query uses the same buffer, and the backward pass computes it again.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from seqloom.nn.kernels.primitives import refuse_second_order, tanh_


class AdditiveScores(torch.autograd.Function):
    """vᵀ tanh(q + k) for projected queries [B K A] and keys [B S A] → [B K S]; in fp32 at least."""

    @staticmethod
    def forward(context: Any, queries: Float[Tensor, "B K A"], keys: Float[Tensor, "B S A"],
                vector: Float[Tensor, " A"]) -> Float[Tensor, "B K S"]:
        context.save_for_backward(queries, keys, vector)
        B, S, A = keys.shape
        scores, buffer = keys.new_empty(B, queries.shape[1], S), torch.empty_like(keys)
        one = keys.new_tensor(-1.0)
        for number, query in enumerate(queries.unsqueeze(2).unbind(1)):
            torch.add(keys, query, out=buffer)
            tanh_(buffer, one)
            scores[:, number] = torch.mv(buffer.view(-1, A), vector).view(B, S)
        return scores

    @staticmethod
    def backward(context: Any, gradient: Float[Tensor, "B K S"]) -> tuple[Tensor, Tensor, Tensor]:
        refuse_second_order("the additive score's kernel", "score queries one by one")
        queries, keys, vector = context.saved_tensors
        A = keys.shape[2]
        of_queries, of_keys, of_vector = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(vector)
        buffer, one = torch.empty_like(keys), keys.new_tensor(-1.0)
        for number, query in enumerate(queries.unsqueeze(2).unbind(1)):
            each = gradient[:, number].contiguous()
            torch.add(keys, query, out=buffer)
            tanh_(buffer, one)
            of_vector.addmv_(buffer.view(-1, A).t(), each.flatten())
            buffer.square_().neg_().add_(1)  # the derivative of tanh
            of_keys.addcmul_(buffer, each.unsqueeze(2))
            of_queries[:, number] = torch.bmm(each.unsqueeze(1), buffer).squeeze(1)
        return of_queries.mul_(vector), of_keys.mul_(vector), of_vector


def additive_scores(queries: Float[Tensor, "B K A"], keys: Float[Tensor, "B S A"], vector: Float[Tensor, " A"]
                    ) -> Float[Tensor, "B K S"]:
    """See AdditiveScores."""
    dtype = torch.promote_types(keys.dtype, torch.float32)
    with torch.autocast(keys.device.type, enabled=False):
        scores: Tensor = AdditiveScores.apply(  # type: ignore[no-untyped-call]
            queries.to(dtype), keys.to(dtype).contiguous(), vector.to(dtype))
    return scores
