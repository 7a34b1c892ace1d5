"""The ways the source reaches a decoder at each step: not at all, its summary, or attention.

A context says what it adds to the cell's input (`feed`) and what it makes of the cell's new state (`combine`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqloom.config.sections import AttentionConfig
from seqloom.nn.attention import Attention
from seqloom.nn.memory import Memory


class ContextState(NamedTuple):
    """What a context carries from step to step, one row per hypothesis; parts it does not need are None.

    feed: the previous step's result, fed to the cell; last: its attention weights; coverage: the sum of all weights.
    """

    feed: Float[Tensor, "B K F"] | None = None
    last: Float[Tensor, "B K S"] | None = None
    coverage: Float[Tensor, "B K S"] | None = None


class Combined(NamedTuple):
    """A context's result: outputs [B K O] for the output layer, weights [B K S], attention values [B K M].

    covered: the coverage before each of K hypotheses, or positions.
    """

    outputs: Float[Tensor, "B K O"]
    weights: Float[Tensor, "B K S"] | None
    values: Float[Tensor, "B K M"] | None
    state: ContextState
    covered: Float[Tensor, "B K S"] | None = None


# Attention values [B K M] and weights [B K S].
Attended = tuple[Float[Tensor, "B K M"], Float[Tensor, "B K S"]]


class Fed(NamedTuple):
    """addition: what joins the cell's input [B K F]; attended: the attention, where that made it already."""

    addition: Float[Tensor, "B K F"] | None = None
    attended: Attended | None = None


class Context(nn.Module):
    """context: initial — the source is in the first state only; the output is the cell's state."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.feed_size = 0
        self.output_size = hidden_size
        self.sequential = False  # True: a step needs the previous step's result, beyond the cell's state

    def prepare(self, memory: Memory) -> Memory:
        """What is needed once per source."""
        return memory

    def start(self, memory: Memory) -> ContextState:
        """The state before the first step, K = 1."""
        return ContextState()

    def feed(self, memory: Memory, state: ContextState, previous: Float[Tensor, "B K H"]) -> Fed:
        """Addition to the cell's input; `previous` is the top state before the step."""
        return Fed()

    def combine(self, memory: Memory, hidden: Float[Tensor, "B K H"], previous: Float[Tensor, "B K H"],
                state: ContextState, fed: Fed) -> Combined:
        """From the top state after the step, `hidden`, and the one before it, `previous`."""
        return Combined(hidden, None, None, state)


class SummaryContext(Context):
    """context: every_step — the summary goes to the cell and to the output layer (Cho et al. 2014, eqs. 2-3)."""

    def __init__(self, hidden_size: int, memory_size: int) -> None:
        super().__init__(hidden_size)
        self.feed_size = memory_size
        self.output_size = hidden_size + memory_size

    def _summary(self, memory: Memory, K: int) -> Float[Tensor, "B K N"]:
        return memory.summary.unsqueeze(1).expand(-1, K, -1)

    def feed(self, memory: Memory, state: ContextState, previous: Float[Tensor, "B K H"]) -> Fed:
        return Fed(self._summary(memory, previous.shape[1]))

    def combine(self, memory: Memory, hidden: Float[Tensor, "B K H"], previous: Float[Tensor, "B K H"],
                state: ContextState, fed: Fed) -> Combined:
        return Combined(torch.cat([hidden, self._summary(memory, hidden.shape[1])], 2), None, None, state)


class AttentionContext(Context):
    """context: attention, in the forms of AttentionConfig.

    query current (Luong et al. 2015): attention value from the new state; with input feeding the step's result (the
    tanh layer's, else the attention value) joins the next step's input. query previous (Bahdanau et al. 2015): value
    from the state before; with input feeding it joins this step's input, as there.
    """

    def __init__(self, hidden_size: int, memory_size: int, config: AttentionConfig) -> None:
        super().__init__(hidden_size)
        self.attention = Attention(config.score, hidden_size, memory_size, layers=config.score_layers,
                                   hidden_size=config.hidden_size or hidden_size, coverage=config.coverage,
                                   normalization=config.normalization, window=config.local_window)
        combined = memory_size + hidden_size
        self.combination = nn.Linear(combined, hidden_size, bias=False) if config.combination == "tanh" else None
        self.output_size = hidden_size if self.combination else combined
        self.query_previous = config.query == "previous"
        self.input_feeding = config.input_feeding
        if config.input_feeding:
            self.feed_size = memory_size if self.query_previous or not self.combination else hidden_size
        self.coverage = config.coverage
        self.uses_last = self.attention.score.uses_last
        self.sequential = config.input_feeding or self.uses_last  # coverage: the scores do not need it

    def prepare(self, memory: Memory) -> Memory:
        values = memory.values.contiguous()  # every product with the weights would copy them
        return memory._replace(values=values, keys=self.attention.keys(values))

    def start(self, memory: Memory) -> ContextState:
        B, S = memory.mask.shape
        none = memory.values.new_zeros(B, 1, S)
        fed = self.input_feeding and not self.query_previous
        return ContextState(memory.values.new_zeros(B, 1, self.feed_size) if fed else None,
                            none if self.uses_last else None, none if self.coverage else None)

    def attend(self, memory: Memory, query: Float[Tensor, "B K H"], state: ContextState) -> Attended:
        """Attention of K queries for each sentence."""
        assert memory.keys is not None
        attended: Attended = self.attention(
            query, memory.keys, memory.values, memory.mask, state.last, state.coverage)
        return attended

    def feed(self, memory: Memory, state: ContextState, previous: Float[Tensor, "B K H"]) -> Fed:
        if not (self.query_previous and self.input_feeding):
            return Fed(state.feed)
        attended = self.attend(memory, previous, state)
        return Fed(attended[0], attended)

    def combine(self, memory: Memory, hidden: Float[Tensor, "B K H"], previous: Float[Tensor, "B K H"],
                state: ContextState, fed: Fed) -> Combined:
        query = previous if self.query_previous else hidden
        values, weights = fed.attended or self.attend(memory, query, state)
        outputs = torch.cat([values, hidden], 2)
        if self.combination is not None:
            outputs = torch.tanh(self.combination(outputs))
        feed = None if state.feed is None else outputs if self.combination is not None else values
        covered, coverage = state.coverage, None
        if covered is not None:
            in_order = covered.shape[1] < weights.shape[1]
            coverage = covered + (weights.cumsum(1) if in_order else weights)
            covered = coverage - weights if in_order else covered
        return Combined(outputs, weights, values, ContextState(feed, weights if self.uses_last else None, coverage),
                        covered)
