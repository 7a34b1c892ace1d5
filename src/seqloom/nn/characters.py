"""The characters of each symbol, read by a recurrent network of their own: once for each different symbol of a batch.

In running text half of the words stand there more than once, and what their characters say of them is always the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqloom.nn.kernels.static import is_static
from seqloom.nn.recurrent import RecurrentStack
from seqloom.types import PADDING


class CharacterEncoder(nn.Module):
    """The last states of both directions of an LSTM over a symbol's characters (Lample et al. 2016, §4.1).

    A symbol without characters gives zeros.
    """

    def __init__(self, characters: int, embedding_size: int, hidden_size: int, *, plain: bool = False) -> None:
        """characters: number of ids; plain: see RecurrentLayer."""
        super().__init__()
        self.embedding = nn.Embedding(characters, embedding_size, padding_idx=PADDING)
        self.recurrent = RecurrentStack("lstm", embedding_size, hidden_size, bidirectional=True, plain=plain)
        self.output_size = self.recurrent.output_size

    def forward(self, characters: Int[Tensor, "B S W"]) -> Float[Tensor, "B S C"]:
        """Ids, PADDING behind each symbol's end → a vector for each symbol."""
        B, S, W = characters.shape
        rows = characters.reshape(B * S, W)
        if is_static():  # how many are different, and how long they are, only the device knows
            return self._last_states(rows).view(B, S, -1)
        words, places = torch.unique(rows, dim=0, return_inverse=True)
        lengths, order = (words != PADDING).sum(1).sort(stable=True)
        vectors = torch.cat([self._last_states(words[order[begin:end], :max(1, int(lengths[end - 1]))])
                             for begin, end in short_and_long(lengths)])
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(len(order), device=order.device)
        return vectors[ranks[places]].view(B, S, -1)

    def _last_states(self, words: Int[Tensor, "N W"]) -> Float[Tensor, "N C"]:
        hidden: Tensor = self.recurrent(self.embedding(words), words != PADDING).hidden
        return hidden[:, 0]


def short_and_long(lengths: Int[Tensor, " N"]) -> list[tuple[int, int]]:
    """Where to cut N words, sorted by length, in two (begin, end) so that together the padded parts are smallest; one
    part where no cut helps. A single address of the web would else make every word as long as itself.
    """
    count = len(lengths)
    below = torch.arange(1, count + 1, device=lengths.device)
    cut = int((below * lengths + (count - below) * lengths[-1]).argmin()) + 1
    return [(0, cut), (cut, count)] if cut < count else [(0, count)]
