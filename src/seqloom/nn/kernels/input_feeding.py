"""Input-feeding decoders over a whole known history, with a hand-written backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Int
from torch import Tensor

from seqloom.nn.memory import Memory

if TYPE_CHECKING:
    from seqloom.nn.decoders import DecoderState, Outputs, RecurrentDecoder


def serves(decoder: RecurrentDecoder) -> bool:
    """Whether this kernel computes what `decoder.unroll_stepwise` does."""
    return False


def unroll(decoder: RecurrentDecoder, memory: Memory, state: DecoderState, tokens: Int[Tensor, "B T"]) -> Outputs:
    """As `decoder.unroll_stepwise` without own history."""
    raise NotImplementedError
