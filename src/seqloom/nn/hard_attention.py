"""Hard attention: each target token comes from one source position, and the loss sums over all choices exactly.

Let e_tj be the score of state s_t and source position j, and p(y | t, j) what the output layer makes of s_t and the
encoder at j alone. The alignment a_1 … a_T is never given:

- `hard` (Wu, Shapiro & Cotterell 2018, §4, zeroth order): positions are chosen independently of one another,
  p(y) = Π_t Σ_j softmax_j(e_t) p(y_t | t, j);
- `hard_monotonic` (Wu & Cotterell 2019, §3): position j follows position i only if j ≥ i, with probability
  softmax over j ≥ i of e_tj + d_(j−i), and the forward algorithm sums over all alignments. d is a learned preference
  for a jump's width (cf. Vogel et al. 1996, eq. 5); with no such preference it is the zeroth-order model of that paper,
  with them first-order. Before the first token the position is 0.

The decoder's state does not depend on the alignment, so all T · S distributions are computed together. Impossible
things have the logarithm IMPOSSIBLE, not −∞, so that sums of nothing but them have a gradient, zero.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from seqloom.config.sections import AttentionConfig
from seqloom.nn.contexts import AttentionContext, Combined, ContextState, Fed
from seqloom.nn.memory import Memory

# The logarithm of what cannot be; a few thousand of them still add up within fp32.
IMPOSSIBLE = -1e30
# Transitions [B T S S] of all steps are made together up to this size, else step by step, again in the backward pass.
TRANSITION_BYTES = 64 * 2**20


class Marginal(NamedTuple):
    """likelihood [B]: Σ_t log p(y_t | y_<t); priors [B T S]: log p(a_t = j | y_<t), before y_t is known."""

    likelihood: Float[Tensor, " B"]
    priors: Float[Tensor, "B T S"]


class HardAttentionContext(AttentionContext):
    """context: attention, kind hard or hard_monotonic.

    `combine` hands out scores, not weights, and the cell's state as it is: what follows needs the output layer (see
    nn/hard_output.py). `prepare` leaves in the memory's values what the tanh layer makes of each of them.

    ContextState between two steps of `hard_monotonic`, from which the next token tells where it came from: feed, the
    state s_t [B K H]; last, log p(a_t = j, token generated | y_<t) − log Σ_v exp(logit_jv) [B K S]; coverage, with
    copying, log p(a_t = j, token copied | y_<t) [B K S].
    """

    def __init__(self, hidden_size: int, memory_size: int, config: AttentionConfig, *, copying: bool) -> None:
        super().__init__(hidden_size, memory_size, config)
        self.memory_size = memory_size
        self.monotonic = config.kind == "hard_monotonic"
        self.jumps = nn.Parameter(torch.zeros(config.jumps)) if self.monotonic and config.jumps else None
        self.copying = copying

    def prepare(self, memory: Memory) -> Memory:
        memory = super().prepare(memory)
        if self.combination is None:
            return memory
        weight = self.combination.weight[:, : self.memory_size]
        return memory._replace(values=functional.linear(memory.values, weight))

    def start(self, memory: Memory) -> ContextState:
        if not self.monotonic:
            return ContextState()
        B, S = memory.mask.shape
        nowhere = memory.values.new_full((B, 1, S), IMPOSSIBLE)
        first = nowhere.clone()
        first[:, :, 0] = 0
        return ContextState(memory.values.new_zeros(B, 1, self.output_size if self.combination is not None else
                                                    self.output_size - self.memory_size), first,
                            nowhere if self.copying else None)

    def feed(self, memory: Memory, state: ContextState, previous: Float[Tensor, "B K H"]) -> Fed:
        return Fed()

    def combine(self, memory: Memory, hidden: Float[Tensor, "B K H"], previous: Float[Tensor, "B K H"],
                state: ContextState, fed: Fed) -> Combined:
        assert memory.keys is not None
        scores = self.attention.score(hidden, memory.keys, None)
        exact = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return Combined(hidden, exact.masked_fill(~memory.mask.unsqueeze(1), IMPOSSIBLE), None,
                        ContextState())

    def at_positions(self, values: Float[Tensor, "B S X"], hidden: Float[Tensor, "B K H"]
                     ) -> Float[Tensor, "B K S O"]:
        """What the output layer reads, were it certain that each position is the one; `values` as `prepare` left them.
        """
        if self.combination is None:
            B, K, H = hidden.shape
            S = values.shape[1]
            return torch.cat([values.unsqueeze(1).expand(B, K, S, -1), hidden.unsqueeze(2).expand(B, K, S, H)], 3)
        own = functional.linear(hidden, self.combination.weight[:, self.memory_size:])
        return torch.tanh(values.unsqueeze(1) + own.unsqueeze(2))

    # --- alignments ---

    def preferences(self, size: int) -> Float[Tensor, "S S"]:
        """Of a jump from position i (rows) to j: d_(j−i), zero for wide jumps, IMPOSSIBLE for those that go back."""
        device = None if self.jumps is None else self.jumps.device
        places = torch.arange(size, device=device)
        width = places.unsqueeze(0) - places.unsqueeze(1)
        known = torch.zeros(1, device=device) if self.jumps is None else functional.pad(self.jumps, (0, 1))
        return known[width.clamp(0, len(known) - 1)].masked_fill(width < 0, IMPOSSIBLE)

    def next_positions(self, scores: Float[Tensor, "B K S"], before: Float[Tensor, "B K S"] | None
                       ) -> Float[Tensor, "B K S"]:
        """log p(a_t = j) from the scores, and from log p(a_(t−1) = i) where that matters."""
        if before is None:
            return scores.log_softmax(2)
        jumps = self.preferences(scores.shape[2]).to(device=scores.device)
        return forward_step(before, log_transitions(scores, jumps))

    def marginal(self, scores: Float[Tensor, "B T S"], emissions: Float[Tensor, "B T S"], real: Bool[Tensor, "B T"]
                 ) -> Marginal:
        """Sum over all alignments. emissions: log p(y_t | t, j); `real` steps count, the others come after them."""
        if self.monotonic:
            return monotonic_marginal(scores, emissions, real, self.preferences(scores.shape[2]).to(scores.device))
        priors = scores.log_softmax(2)
        return Marginal(((priors + emissions).logsumexp(2) * real).sum(1), priors)


def log_transitions(scores: Float[Tensor, "*b S"], preferences: Float[Tensor, "S S"]) -> Float[Tensor, "*b S S"]:
    """log p(a_t = j | a_(t−1) = i) [… i j]: the scores of the step, and what each jump is preferred by."""
    return (scores.unsqueeze(-2) + preferences).log_softmax(-1)


def forward_step(before: Float[Tensor, "*b S"], transitions: Float[Tensor, "*b S S"]) -> Float[Tensor, "*b S"]:
    """log Σ_i exp(before_i + transitions_ij)."""
    return (before.unsqueeze(-1) + transitions).logsumexp(-2)


def monotonic_marginal(scores: Float[Tensor, "B T S"], emissions: Float[Tensor, "B T S"], real: Bool[Tensor, "B T"],
                       preferences: Float[Tensor, "S S"]) -> Marginal:
    """The forward algorithm (Rabiner 1989, eqs. 19-21) over T steps, in logarithms."""
    B, T, S = scores.shape
    at_once = B * T * S * S * scores.element_size() <= TRANSITION_BYTES
    transitions = log_transitions(scores, preferences) if at_once else None
    forward = torch.full_like(scores[:, 0], IMPOSSIBLE)
    forward[:, 0] = 0
    priors = []
    for t in range(T):
        if transitions is not None:
            reached = forward_step(forward, transitions[:, t])
        elif torch.is_grad_enabled():
            reached = checkpoint(_reached, forward, scores[:, t], preferences, use_reentrant=False)
        else:
            reached = _reached(forward, scores[:, t], preferences)
        priors.append(reached)
        forward = torch.where(real[:, t : t + 1], reached + emissions[:, t], forward)
    return Marginal(forward.logsumexp(1), torch.stack(priors, 1).log_softmax(2))


def _reached(before: Tensor, scores: Tensor, preferences: Tensor) -> Tensor:
    return forward_step(before, log_transitions(scores, preferences))
