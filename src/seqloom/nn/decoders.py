"""Decoders: from a memory and a target history to what the output layer reads.

`begin` → state, `step` for one token of every hypothesis, `unroll` for a whole known target. The reference `unroll`
is `step` in a loop; where no step needs the result of another beyond the cell's state, the whole sequence goes
through at once, and for input feeding a kernel with a hand-written backward pass serves (`kernels/input_feeding.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from seqloom.config.sections import Config, DecoderConfig
from seqloom.nn.bridge import BRIDGES
from seqloom.nn.cells import CELLS, Cell, CellState
from seqloom.nn.contexts import AttentionContext, Combined, Context, ContextState, Fed, SummaryContext
from seqloom.nn.dropout import drop_symbols, mask_of, symbol_factors
from seqloom.nn.hard_attention import HardAttentionContext
from seqloom.nn.kernels import input_feeding
from seqloom.nn.memory import Memory
from seqloom.nn.recurrent import RecurrentStack
from seqloom.types import PADDING

# Chooses the next token from a step's Outputs; used where training feeds the model's own history.
Choose = Callable[["Outputs"], Int[Tensor, "B K"]]


class DecoderState(NamedTuple):
    """State of B·K hypotheses; every part's first two axes are sentence and hypothesis.

    hidden, cell [B K L H]; context: see ContextState; position [B K] counts steps, for the in-step baseline.
    """

    hidden: Float[Tensor, "B K L H"]
    cell: Float[Tensor, "B K L H"] | None
    context: ContextState = ContextState()
    position: Int[Tensor, "B K"] | None = None

    def parts(self) -> list[Tensor | None]:
        return [self.hidden, self.cell, *self.context, self.position]

    @classmethod
    def of(cls, parts: list[Tensor | None]) -> DecoderState:
        hidden, cell, feed, last, coverage, position = parts
        assert hidden is not None
        return cls(hidden, cell, ContextState(feed, last, coverage), position)

    def gather(self, parents: Int[Tensor, "B K2"]) -> DecoderState:
        """The state of K2 hypotheses that continue rows `parents` of their sentence."""
        rows = torch.arange(parents.shape[0], device=parents.device).unsqueeze(1)
        return self.of([None if part is None else part[rows, parents] for part in self.parts()])

    def keep(self, sentences: Int[Tensor, " B2"]) -> DecoderState:
        """The state of these sentences only."""
        return self.of([None if part is None else part.index_select(0, sentences) for part in self.parts()])


class Outputs(NamedTuple):
    """What the output layer reads, for K hypotheses or T positions.

    values [B T O]; weights [B T S] attention; copy_gate [B T] probability of generating, not copying (See et al.
    2017, eq. 8); coverage_loss [B T] (ibid., eq. 12).
    """

    values: Float[Tensor, "B T O"]
    weights: Float[Tensor, "B T S"] | None = None
    copy_gate: Float[Tensor, "B T"] | None = None
    coverage_loss: Float[Tensor, "B T"] | None = None

    @staticmethod
    def join(steps: list[Outputs]) -> Outputs:
        """Steps of one position each, side by side."""
        columns = zip(*steps, strict=True)
        return Outputs._make(None if column[0] is None else torch.cat(column, 1) for column in columns)


class Drawn(NamedTuple):
    """What dropout draws once for whole sequences; None: each position for itself, or nothing.

    cells: of each layer; symbols: factors of the embeddings; embedded, outputs, between (below each layer but the
    first): factors of all positions.
    """

    cells: list[Cell]
    symbols: Float[Tensor, " V"] | None = None
    embedded: Float[Tensor, "B 1 E"] | None = None
    outputs: Float[Tensor, "B 1 O"] | None = None
    between: list[Float[Tensor, "B 1 H"]] | None = None


class RecurrentDecoder(nn.Module):
    """Recurrent decoder with one of three contexts. N: encoder state size, M: memory size."""

    def __init__(self, symbols: int, memory_size: int, memory_cell: bool, config: Config) -> None:
        super().__init__()
        options: DecoderConfig = config.decoder
        self.embedding = nn.Embedding(symbols, options.embedding_size, padding_idx=PADDING)
        self.context = _build_context(options, memory_size)
        self.recurrent = RecurrentStack.configured(options, options.embedding_size + self.context.feed_size)
        self.bridge = BRIDGES[config.bridge.kind](
            memory_size, options.hidden_size, options.layers,
            cell_state=CELLS[options.cell].has_cell_state, memory_cell=memory_cell)
        # The source as the first of the inputs, before <s>: "show and tell" (Vinyals et al. 2015, eq. 10).
        self.first_input = nn.Linear(memory_size, options.embedding_size) if options.first_input else None
        self.output_size = self.context.output_size
        gate_inputs = memory_size + options.hidden_size + options.embedding_size
        self.copy_gate = nn.Linear(gate_inputs, 1) if options.copy_source else None
        self.symbols = symbols
        self.embedding_dropout = options.embedding_dropout
        self.dropout = options.dropout
        self.symbol_dropout = options.symbol_dropout
        self.use_kernel = True

    def cells(self) -> list[Cell]:
        """The cell of each layer."""
        return [layer.cells[0] for layer in self.recurrent.layers]  # type: ignore[index, misc]

    def begin(self, memory: Memory) -> tuple[Memory, DecoderState]:
        """The memory with the attention's keys, and the state before the first step (K = 1)."""
        memory = self.context.prepare(memory)
        hidden, cell = self.bridge(memory)
        start = None if cell is None else cell.unsqueeze(1)
        state = DecoderState(hidden.unsqueeze(1), start, self.context.start(memory))
        if self.first_input is not None:  # before what is drawn for the sequence: no weight of this step is dropped
            shown = self.first_input(memory.summary).unsqueeze(1)
            _, hidden, start = self._recur(state, shown, self._project(shown), Drawn(self.cells()))
            state = state._replace(hidden=hidden, cell=start)
        return memory, state

    def draw(self, rows: int, *, cells: bool = True) -> Drawn:
        """What dropout leaves of this many sequences, in training; everything otherwise.

        cells: False where the stack goes over whole sequences, and draws its own.
        """
        stack, weight = self.recurrent, self.embedding.weight
        drawn_cells = [layer.drawn()[0] for layer in stack.layers] if cells else []  # type: ignore[operator]
        symbols = symbol_factors(weight, self.symbols, self.symbol_dropout, self.training)
        if not self.training or not stack.variational:
            return Drawn(drawn_cells, symbols)
        above = len(stack.layers) - 1 if cells else 0
        sizes = [weight.shape[1], self.output_size, *[stack.output_size] * above]
        rates = [self.embedding_dropout, self.dropout, *[stack.dropout] * above]
        embedded, outputs, *between = (mask_of(weight.new_empty(rows, 1, size), rate)
                                       for size, rate in zip(sizes, rates, strict=True))
        return Drawn(drawn_cells, symbols, embedded, outputs, between)

    def embed(self, tokens: Int[Tensor, "B T"], drawn: Drawn) -> Float[Tensor, "B T E"]:
        """Embedded history. A copied symbol has no embedding of its own and counts as unknown."""
        known = torch.where(tokens < self.symbols, tokens, torch.ones_like(tokens)) if self.copy_gate else tokens
        embedded = drop_symbols(self.embedding(known), known, drawn.symbols)
        return self._dropped(embedded, self.embedding_dropout, drawn.embedded)

    def _dropped(self, values: Float[Tensor, "B T F"], rate: float, factors: Tensor | None) -> Float[Tensor, "B T F"]:
        return functional.dropout(values, rate, self.training) if factors is None else \
            values * factors.to(values.dtype)

    def step(self, memory: Memory, state: DecoderState, tokens: Int[Tensor, "B K"]) -> tuple[Outputs, DecoderState]:
        """One token of each hypothesis."""
        drawn = self.draw(tokens.shape[0])
        embedded = self.embed(tokens, drawn)
        return self._advance(memory, state, embedded, self._project(embedded), drawn)

    def _project(self, embedded: Float[Tensor, "B T E"]) -> Float[Tensor, "B T G"]:
        """The embedded token's part of the first cell's gates: all positions at once, before the loop."""
        first = self.cells()[0]
        return functional.linear(embedded, first.weight_input[:, : embedded.shape[2]], first.bias_input)

    def _advance(self, memory: Memory, state: DecoderState, embedded: Float[Tensor, "B K E"],
                 projected: Float[Tensor, "B K G"], drawn: Drawn) -> tuple[Outputs, DecoderState]:
        previous = state.hidden[:, :, -1]
        fed = self.context.feed(memory, state.context, previous)
        if fed.addition is not None:
            weight = self.cells()[0].weight_input[:, embedded.shape[2]:]
            projected = projected + functional.linear(fed.addition, weight)
        below, states, cell_states = self._recur(state, embedded, projected, drawn)
        outputs, context = self._combine(memory, below, previous, state.context, fed, embedded, drawn)
        return outputs, DecoderState(states, cell_states, context)

    def _recur(self, state: DecoderState, below: Float[Tensor, "B K E"], projected: Float[Tensor, "B K G"],
               drawn: Drawn,
               ) -> tuple[Float[Tensor, "B K H"], Float[Tensor, "B K L H"], Float[Tensor, "B K L H"] | None]:
        """One step of every layer: the top layer's output, and the new hidden and cell states."""
        hidden, cell_states = [], []
        for layer, cell in enumerate(drawn.cells):
            if layer:
                below = self._dropped(below, self.recurrent.dropout,
                                      None if drawn.between is None else drawn.between[layer - 1])
                projected = cell.project(below)
            before = CellState(state.hidden[:, :, layer], None if state.cell is None else state.cell[:, :, layer])
            after = cell.advance(projected, before)
            hidden.append(after.hidden)
            cell_states.append(after.cell)
            below = after.hidden + below if self.recurrent.residual and layer else after.hidden
        kept = [cell_state for cell_state in cell_states if cell_state is not None]
        return below, torch.stack(hidden, 2), torch.stack(kept, 2) if kept else None

    def _combine(self, memory: Memory, hidden: Float[Tensor, "B K H"], previous: Float[Tensor, "B K H"],
                 state: ContextState, fed: Fed, embedded: Float[Tensor, "B K E"], drawn: Drawn
                 ) -> tuple[Outputs, ContextState]:
        combined = self.context.combine(memory, hidden, previous, state, fed)
        return self._finish(combined, hidden, embedded, drawn), combined.state

    def _finish(self, combined: Combined, hidden: Float[Tensor, "B K H"], embedded: Float[Tensor, "B K E"],
                drawn: Drawn) -> Outputs:
        """What follows the context's result and feeds back into no step."""
        values = self._dropped(combined.outputs, self.dropout, drawn.outputs)
        gate = coverage_loss = None
        if self.copy_gate is not None:
            assert combined.values is not None  # copying needs attention (config/checks.py)
            gate = self.copy_gate(torch.cat([combined.values, hidden, embedded], 2)).squeeze(2).sigmoid()
        if combined.covered is not None and combined.weights is not None:
            coverage_loss = torch.minimum(combined.weights, combined.covered).sum(2)
        return Outputs(values, combined.weights, gate, coverage_loss)

    def unroll(self, memory: Memory, state: DecoderState, tokens: Int[Tensor, "B T"],
               own: Bool[Tensor, "B T"] | None = None, choose: Choose | None = None) -> Outputs:
        """Outputs at T positions of a known history `tokens` (<s> first).

        Where `own` is True the token is what `choose` makes of the previous step's outputs instead.
        """
        if own is None or choose is None:
            if not self.is_sequential():
                return self._unroll_at_once(memory, state, tokens)
            if self.use_kernel and input_feeding.serves(self.context, self.recurrent):
                return self._unroll_fused(memory, state, tokens)
        return self.unroll_stepwise(memory, state, tokens, own, choose)

    def unroll_stepwise(self, memory: Memory, state: DecoderState, tokens: Int[Tensor, "B T"],
                        own: Bool[Tensor, "B T"] | None = None, choose: Choose | None = None) -> Outputs:
        """The reference: `step` in a loop, the embedded tokens' projection before it where they are all known."""
        steps: list[Outputs] = []
        drawn = self.draw(tokens.shape[0])
        embedded = self.embed(tokens, drawn)
        projected = self._project(embedded)
        for t in range(tokens.shape[1]):
            now, now_projected = embedded[:, t : t + 1], projected[:, t : t + 1]
            if t and own is not None and choose is not None:
                chosen = torch.where(own[:, t : t + 1], choose(steps[-1]), tokens[:, t : t + 1])
                now = self.embed(chosen, drawn)
                now_projected = self._project(now)
            outputs, state = self._advance(memory, state, now, now_projected, drawn)
            steps.append(outputs)
        return Outputs.join(steps)

    def _unroll_fused(self, memory: Memory, state: DecoderState, tokens: Int[Tensor, "B T"]) -> Outputs:
        """The kernel with the hand-written backward pass."""
        drawn = self.draw(tokens.shape[0])
        turned = drawn if drawn.embedded is None else drawn._replace(embedded=drawn.embedded.transpose(0, 1))
        embedded = self.embed(tokens.t(), turned)
        start = input_feeding.Start(
            state.hidden[:, 0], None if state.cell is None else state.cell[:, 0],
            None if state.context.feed is None else state.context.feed[:, 0])
        assert isinstance(self.context, AttentionContext)  # input_feeding.serves
        combined, hidden = input_feeding.unroll(self.context, self.recurrent, memory, start, embedded, drawn.cells,
                                                drawn.between)
        return self._finish(combined, hidden, embedded.transpose(0, 1), drawn)

    def is_sequential(self) -> bool:
        """Whether a step needs more of the previous step than the cells' states, as the whole-sequence call has them.

        With residual layers that call gives the top layer's output, which is then not the state that asks.
        """
        asks_previous = isinstance(self.context, AttentionContext) and self.context.query_previous
        residual_top = self.recurrent.residual and len(self.recurrent.layers) > 1
        return self.context.sequential or (asks_previous and residual_top)

    def _unroll_at_once(self, memory: Memory, state: DecoderState, tokens: Int[Tensor, "B T"]) -> Outputs:
        """The whole recurrence in one call, then all attention together, K = T."""
        drawn = self.draw(tokens.shape[0], cells=False)
        embedded = self.embed(tokens, drawn)
        first = state.hidden[:, 0]
        states = [CellState(first[:, layer].contiguous(),
                            None if state.cell is None else state.cell[:, 0, layer].contiguous())
                  for layer in range(first.shape[1])]
        fed = self.context.feed(memory, state.context, first[:, -1:].expand(-1, tokens.shape[1], -1))
        inputs = embedded if fed.addition is None else torch.cat([embedded, fed.addition.to(embedded.dtype)], 2)
        everywhere = torch.ones_like(tokens, dtype=torch.bool)
        hidden = self.recurrent(inputs, everywhere, states).outputs
        previous = torch.cat([first[:, -1:].to(hidden.dtype), hidden[:, :-1]], 1)
        return self._combine(memory, hidden, previous, state.context, Fed(fed.addition), embedded, drawn)[0]


class InStepDecoder(nn.Module):
    """No decoder at all: at step t the output layer reads the encoder at position t (the single RNN that preceded
    encoder-decoders; Sutskever et al. 2014, §2, eq. before (1)).

    It cannot change order, and past the source's end it stays at the last position. The history is not read.
    """

    def __init__(self, memory_size: int) -> None:
        super().__init__()
        self.output_size = memory_size

    def begin(self, memory: Memory) -> tuple[Memory, DecoderState]:
        B = memory.mask.shape[0]
        return memory, DecoderState(memory.values.new_zeros(B, 1, 1, 0), None,
                                    position=torch.zeros(B, 1, dtype=torch.long, device=memory.mask.device))

    def _read(self, memory: Memory, positions: Int[Tensor, "B T"]) -> Outputs:
        positions = torch.minimum(positions, memory.mask.sum(1, keepdim=True) - 1)
        weights = functional.one_hot(positions, memory.mask.shape[1]).to(memory.values.dtype)
        return Outputs(torch.bmm(weights, memory.values), weights)

    def step(self, memory: Memory, state: DecoderState, tokens: Int[Tensor, "B K"]) -> tuple[Outputs, DecoderState]:
        assert state.position is not None
        return self._read(memory, state.position), state._replace(position=state.position + 1)

    def unroll(self, memory: Memory, state: DecoderState, tokens: Int[Tensor, "B T"],
               own: Bool[Tensor, "B T"] | None = None, choose: Choose | None = None) -> Outputs:
        return self._read(memory, torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens))


def _build_context(options: DecoderConfig, memory_size: int) -> Context:
    if options.context == "attention" and options.attention.kind != "soft":
        return HardAttentionContext(options.hidden_size, memory_size, options.attention, copying=options.copy_source)
    if options.context == "attention":
        return AttentionContext(options.hidden_size, memory_size, options.attention)
    if options.context == "every_step":
        return SummaryContext(options.hidden_size, memory_size)
    return Context(options.hidden_size)
