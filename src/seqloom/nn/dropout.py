"""Dropout that knows of sequences: one mask for all positions, of recurrent weights, of whole symbols.

Outside training and at rate 0 nothing is dropped and no random number drawn. What is kept is divided by 1 − rate, so
that expectations stay. Not here: a mask on the state from step to step (Gal & Ghahramani 2016, eq. 7), which no call
over a whole sequence can have; dropout of the recurrent weights serves that place (Merity et al. 2018, §3).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from seqloom.nn.cells import Cell


def drop(values: Float[Tensor, "B T F"], rate: float, training: bool, *, variational: bool = False
         ) -> Float[Tensor, "B T F"]:
    """Dropout of a sequence; variational: the same of every position's values (Gal & Ghahramani 2016, §4.1)."""
    if not variational or not training or not rate:
        return functional.dropout(values, rate, training)
    return values * mask_of(values[:, :1], rate)  # in the precision of the values


def mask_of(like: Tensor, rate: float) -> Tensor:
    """Factors of this shape: 0 with probability `rate`, else 1 / (1 − rate)."""
    return functional.dropout(torch.ones_like(like), rate)


def drop_symbols(embedded: Float[Tensor, "B T E"], ids: Int[Tensor, "B T"], factors: Float[Tensor, " V"] | None
                 ) -> Float[Tensor, "B T E"]:
    """Embeddings without some symbols: every place of one loses it, or none does; None: all stay."""
    return embedded if factors is None else embedded * factors[ids].unsqueeze(2).to(embedded.dtype)


def symbol_factors(weight: Tensor, symbols: int, rate: float, training: bool) -> Float[Tensor, " V"] | None:
    """A factor for each symbol, for one batch (Merity et al. 2018, §4.3); None where none is dropped."""
    return mask_of(weight.new_empty(symbols), rate) if training and rate else None


def drop_weights(cell: Cell, rate: float, training: bool) -> Cell:
    """The cell with some of its recurrent weights at zero, for a whole sequence (Merity et al. 2018, §3).

    A second cell that shares every other parameter; gradients reach the first one's. The same cell at rate 0.
    """
    if not training or not rate:
        return cell
    dropped = cell.__new__(type(cell))
    dropped.__dict__.update(cell.__dict__)
    dropped.__dict__["_parameters"] = {name: own for name, own in cell.named_parameters() if name != "weight_hidden"}
    dropped.__dict__["weight_hidden"] = functional.dropout(cell.weight_hidden, rate)
    return dropped
