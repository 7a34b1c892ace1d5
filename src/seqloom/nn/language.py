"""A language model: the next symbol of a text, from a recurrent network that has read the symbols before.

A text begins behind a line end: the first symbol that is read is `</s>`, in the empty state. Nothing here knows where
a text is cut: the state that a window ends with is handed out, and the next window begins with it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from seqloom.config.sections import DecoderConfig
from seqloom.nn.cells import Cell, CellState
from seqloom.nn.decoders import DecoderState
from seqloom.nn.dropout import drop, drop_symbols, symbol_factors
from seqloom.nn.kernels.cross_entropy import linear_cross_entropy
from seqloom.nn.memory import Memory, real_positions, states_after
from seqloom.nn.output import at_least_fp32
from seqloom.nn.recurrent import RecurrentStack
from seqloom.types import PADDING, START, Loss, Padded


class Prompt(NamedTuple):
    """What a continuation begins with: the last symbol of each text [B], which is not read yet."""

    last: Int[Tensor, " B"]

    def keep(self, sentences: Int[Tensor, " B2"]) -> Prompt:
        """Those of these texts only."""
        return Prompt(self.last[sentences])


class OneHot(nn.Module):
    """Symbols as one-hot vectors: no weights, and as many dimensions as symbols."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.symbols = symbols
        self.anchor: Tensor
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # knows device and type of the numbers

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        return functional.one_hot(ids, self.symbols).to(self.anchor.dtype)


class LanguageModule(nn.Module):
    """Embedding or one-hot vectors, a recurrent stack, and the output layer (Mikolov et al. 2010, eqs. 1-5, with any
    cell); trained by truncated back-propagation through time (Williams & Peng 1990): the state goes on from window to
    window, the gradient does not.
    """

    carries_state = True

    def __init__(self, symbols: int, options: DecoderConfig, *, one_hot: bool, label_smoothing: float) -> None:
        super().__init__()
        self.symbols = symbols
        self.embedding: nn.Embedding | OneHot = OneHot(symbols) if one_hot else nn.Embedding(
            symbols, options.embedding_size, padding_idx=PADDING)
        self.recurrent = RecurrentStack.configured(options, symbols if one_hot else options.embedding_size)
        self.output = nn.Linear(options.hidden_size, symbols)
        self.embedding_dropout = options.embedding_dropout
        self.dropout = options.dropout
        self.symbol_dropout = options.symbol_dropout
        self.variational = options.variational_dropout
        self.label_smoothing = label_smoothing

    def cells(self) -> list[Cell]:
        """The cell of each layer."""
        return [layer.cells[0] for layer in self.recurrent.layers]  # type: ignore[index, misc]

    # --- whole texts ---

    def encode(self, source: Padded, before: Memory | None = None) -> Memory:
        """What was made of every symbol [B T], and the states behind the last; `before`: of the text in front."""
        return self._read(source.main, source.lengths, before)

    def _read(self, ids: Int[Tensor, "B T"], lengths: Int[Tensor, " B"], before: Memory | None = None) -> Memory:
        factors = symbol_factors(self.output.weight, self.symbols, self.symbol_dropout, self.training)
        embedded = drop(drop_symbols(self.embedding(ids), ids, factors), self.embedding_dropout, self.training,
                        variational=self.variational)
        mask = real_positions(lengths, ids.shape[1])
        states = states_after(before)
        outputs, hidden, cell = self.recurrent(embedded, mask, states)
        return Memory(drop(outputs, self.dropout, self.training, variational=self.variational), mask, hidden, cell)

    def answer(self, memory: Memory) -> Float[Tensor, "B T V"]:
        """Log-probabilities of the symbol behind every position."""
        return at_least_fp32(self.output(memory.values)).log_softmax(2)

    def loss(self, state: Memory | None, target: Padded) -> Loss:
        """Cross-entropy of every symbol of a window behind the one before it: `target` [B W+1] begins with the last
        symbol of the window in front, and `state` is what that one left (None at the beginning of a text)."""
        ids, lengths = target.main, target.lengths - 1
        memory = self._read(ids[:, :-1], lengths.clamp(min=1), state)
        mask = real_positions(lengths, ids.shape[1] - 1)
        total, correct = linear_cross_entropy(memory.values[mask], self.output.weight, self.output.bias,
                                              ids[:, 1:][mask], self.label_smoothing if self.training else 0.0)
        return Loss(total, mask.sum(), correct, _carried(memory))

    # --- one symbol at a time ---

    def begin(self, source: Padded) -> tuple[Prompt, DecoderState]:
        """The state before the first step (K = 1): all of a prompt [B T] is read but its last symbol, which the first
        step reads in place of <s>."""
        ids, lengths = source.main, source.lengths
        last = ids.gather(1, (lengths - 1).unsqueeze(1)).squeeze(1)
        B, L, H = ids.shape[0], len(self.recurrent.layers), self.recurrent.output_size
        hidden = self.output.weight.new_zeros(B, L, H)
        cell = hidden if self.cells()[0].has_cell_state else None
        if ids.shape[1] > 1:
            memory = self._read(ids[:, :-1], (lengths - 1).clamp(min=1))
            begun = (lengths > 1).view(B, 1, 1)  # what has one symbol alone has no state yet
            hidden = torch.where(begun, memory.hidden, hidden)
            cell = None if memory.cell is None else torch.where(begun, memory.cell, torch.zeros_like(memory.cell))
        return Prompt(last), DecoderState(hidden.unsqueeze(1), None if cell is None else cell.unsqueeze(1))

    def step(self, prompt: Prompt, state: DecoderState,
             tokens: Int[Tensor, "B K"]) -> tuple[Float[Tensor, "B K V"], None, DecoderState]:
        """Log-probabilities of the next symbol, no attention, and the new state."""
        tokens = torch.where(tokens == START, prompt.last.unsqueeze(1), tokens)
        below = functional.dropout(self.embedding(tokens), self.embedding_dropout, self.training)
        hidden, cell_states = [], []
        for layer, cell in enumerate(self.cells()):
            if layer:
                below = functional.dropout(below, self.recurrent.dropout, self.training)
            before = CellState(state.hidden[:, :, layer], None if state.cell is None else state.cell[:, :, layer])
            after = cell(below, before)
            hidden.append(after.hidden)
            cell_states.append(after.cell)
            below = after.hidden + below if self.recurrent.residual and layer else after.hidden
        kept = [one for one in cell_states if one is not None]
        values = functional.dropout(below, self.dropout, self.training)
        found = at_least_fp32(self.output(values)).log_softmax(2)
        return found, None, DecoderState(torch.stack(hidden, 2), torch.stack(kept, 2) if kept else None)


def _carried(memory: Memory) -> Memory:
    """The last states alone, without what a gradient would need, in the precision of sums."""
    hidden = at_least_fp32(memory.hidden.detach())
    nothing: Bool[Tensor, "B 0"] = memory.mask[:, :0]
    return Memory(hidden[:, :, :0].reshape(hidden.shape[0], 0, 0), nothing, hidden,
                  None if memory.cell is None else at_least_fp32(memory.cell.detach()))
