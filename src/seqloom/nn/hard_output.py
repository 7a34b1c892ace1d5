"""Decoder and output layer of hard attention: a mixture over source positions of what each of them would write.

See nn/hard_attention.py for the model. With copying a position either generates, or writes its own source symbol:
p(y | t, j) = g_tj softmax(logits_tj)_y + (1 − g_tj) [x_j = y], the pointer-generator (See et al. 2017, eqs. 8-9) with
one position in place of an attention value. Positions that cannot be copied generate.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from seqloom.nn.contexts import ContextState, Fed
from seqloom.nn.decoders import DecoderState, Drawn, Outputs, RecurrentDecoder
from seqloom.nn.dropout import mask_of
from seqloom.nn.hard_attention import IMPOSSIBLE, HardAttentionContext
from seqloom.nn.memory import Memory, real_positions
from seqloom.nn.output import TINY, SequenceModule, at_least_fp32
from seqloom.types import Loss, Padded

# Steps and positions are taken in pieces whose activations fit in this.
PIECE_BYTES = 128 * 2**20


class HardAttentionDecoder(RecurrentDecoder):
    """`RecurrentDecoder` whose Outputs are raw: values [B T H], the cell's states; weights [B T S], scores before the
    softmax; copy_gate [B T], the part of the gate's logit that state and history make.
    """

    context: HardAttentionContext

    def begin(self, memory: Memory) -> tuple[Memory, DecoderState]:
        """See RecurrentDecoder; with copying the memory's values end with each position's part of the gate's logit."""
        raw = memory.values
        memory, state = super().begin(memory)
        if self.copy_gate is not None:
            gates = functional.linear(raw, self.copy_gate.weight[:, : raw.shape[2]])
            memory = memory._replace(values=torch.cat([memory.values, gates.to(memory.values.dtype)], 2))
        return memory, state

    def _combine(self, memory: Memory, hidden: Float[Tensor, "B K H"], previous: Float[Tensor, "B K H"],
                 state: ContextState, fed: Fed, embedded: Float[Tensor, "B K E"], drawn: Drawn
                 ) -> tuple[Outputs, ContextState]:
        combined, gate = self.context.combine(memory, hidden, previous, state, fed), None
        if self.copy_gate is not None:
            weight = self.copy_gate.weight[:, self.context.memory_size:]
            gate = functional.linear(torch.cat([hidden, embedded], 2), weight, self.copy_gate.bias).squeeze(2)
        return Outputs(hidden, combined.weights, gate), combined.state


class HardAttentionModule(SequenceModule):
    """`SequenceModule` over a HardAttentionDecoder.

    Label smoothing is that of each position's own distribution: its cross-entropy with the smoothed target stands in
    place of −log p(y_t | t, j) in the sum over alignments. Dropout before the output layer takes the same units from
    all positions of a step.
    """

    decoder: HardAttentionDecoder

    # --- training ---

    def loss(self, memory: Memory, target: Padded, own: Bool[Tensor, "B T"] | None = None) -> Loss:
        """−log Σ over alignments of p(y, alignment), as `SequenceModule.loss`. `correct` is counted in evaluation only:
        it needs the whole mixture, which the loss does not.
        """
        assert own is None  # refused by config/checks.py
        ids = target.main
        gold = ids[:, 1:]
        mask = real_positions(target.lengths - 1, gold.shape[1])
        prepared, state = self.decoder.begin(memory)
        outputs = self.decoder.unroll(prepared, state, ids[:, :-1])
        assert outputs.weights is not None
        emissions = self._emissions(prepared, outputs, gold, self.label_smoothing if self.training else 0.0)
        likelihood, priors = self.decoder.context.marginal(outputs.weights, emissions, mask)
        total = -likelihood.sum()
        correct = mask.new_zeros((), dtype=torch.long)
        if not self.training:
            with torch.no_grad():
                best = torch.cat([self._summed(prepared, _step_of(outputs, t), priors[:, t : t + 1])[0].argmax(2)
                                  for t in range(gold.shape[1])], 1)
            correct = (best == gold)[mask].sum()
        if self.alignment is not None and self.training:
            total = total + self.alignment(memory, target)
        return Loss(total, mask.sum(), correct)

    def log_probabilities(self, memory: Memory, state: DecoderState, target: Padded) -> Float[Tensor, " B"]:
        """See SequenceModule.log_probabilities: the sum over alignments, without smoothing."""
        gold, mask = target.main[:, 1:], real_positions(target.lengths - 1, target.main.shape[1] - 1)
        outputs = self.decoder.unroll(memory, state, target.main[:, :-1])
        assert outputs.weights is not None
        return self.decoder.context.marginal(outputs.weights, self._emissions(memory, outputs, gold, 0.0), mask)[0]

    def _emissions(self, memory: Memory, outputs: Outputs, gold: Int[Tensor, "B T"], smoothing: float,
                   ) -> Float[Tensor, "B T S"]:
        """log p(y_t | t, j) of every position, in pieces, which are made again in the backward pass where there are
        several.
        """
        B, T = gold.shape
        found = []
        factors = self._factors(outputs.values)
        pieces = list(self._pieces(memory, B, T))
        for rows, steps in pieces:
            parts = (memory.values[rows], None if memory.copy_ids is None else memory.copy_ids[rows],
                     outputs.values[rows, steps], None if outputs.copy_gate is None else outputs.copy_gate[rows, steps],
                     gold[rows, steps], smoothing, None if factors is None else factors[rows, steps])
            found.append(checkpoint(self._piece, *parts, use_reentrant=False)
                         if len(pieces) > 1 and torch.is_grad_enabled() else self._piece(*parts))
        if len(pieces) == 1:
            return found[0]
        if pieces[0][1] == slice(0, T):  # whole sentences
            return torch.cat(found)
        per_row = len(pieces) // B
        return torch.cat([torch.cat(found[row * per_row : (row + 1) * per_row], 1) for row in range(B)])

    def _factors(self, hidden: Float[Tensor, "B T H"]) -> Float[Tensor, "B T 1 O"] | None:
        """Of what the output layer reads: dropout, drawn once for a step, or once for a sentence."""
        B, T, _ = hidden.shape
        if not self.training or not self.decoder.dropout:
            return None
        drawn = 1 if self.decoder.recurrent.variational else T
        like = hidden.new_empty(B, drawn, 1, self.output.in_features)
        return mask_of(like, self.decoder.dropout).expand(B, T, -1, -1)

    def _pieces(self, memory: Memory, B: int, T: int) -> Iterator[tuple[slice, slice]]:
        """Sentences and steps of each piece: several whole sentences, or some steps of one."""
        cell = 4 * memory.mask.shape[1] * (3 * self.output.in_features + 3 * self.symbols)
        if T * cell <= PIECE_BYTES:
            several = max(1, PIECE_BYTES // (T * cell))
            yield from ((slice(start, start + several), slice(0, T)) for start in range(0, B, several))
            return
        several = max(1, PIECE_BYTES // cell)
        yield from ((slice(row, row + 1), slice(start, start + several))
                    for row in range(B) for start in range(0, T, several))

    def _piece(self, values: Float[Tensor, "B S X"], copy_ids: Int[Tensor, "B S"] | None,
               hidden: Float[Tensor, "B T H"], gate: Float[Tensor, "B T"] | None, gold: Int[Tensor, "B T"],
               smoothing: float, factors: Float[Tensor, "B T 1 O"] | None) -> Float[Tensor, "B T S"]:
        logits, generates, copies = self._at_positions(values, copy_ids, hidden, gate, factors)
        known = gold.clamp(max=self.symbols - 1).view(*gold.shape, 1, 1).expand(-1, -1, logits.shape[2], 1)
        normaliser = logits.logsumexp(3)
        found = logits.gather(3, known).squeeze(3) - normaliser
        spread = logits.mean(3) - normaliser if smoothing else found
        if generates is not None and copies is not None and copy_ids is not None:
            found = found.masked_fill((gold >= self.symbols).unsqueeze(2), IMPOSSIBLE) + generates
            spread = spread + generates
            own = copy_ids.unsqueeze(1) == gold.unsqueeze(2)
            found = torch.logaddexp(found, copies.masked_fill(~own, IMPOSSIBLE))
        return (1 - smoothing) * found + smoothing * spread if smoothing else found

    def _at_positions(self, values: Float[Tensor, "B S X"], copy_ids: Int[Tensor, "B S"] | None,
                      hidden: Float[Tensor, "B T H"], gate: Float[Tensor, "B T"] | None,
                      factors: Float[Tensor, "B T 1 O"] | None = None,
                      ) -> tuple[Float[Tensor, "B T S V"], Float[Tensor, "B T S"] | None,
                                 Float[Tensor, "B T S"] | None]:
        """Logits at every position, and with copying the logarithms of generating and of copying there."""
        generates = copies = None
        if gate is not None and copy_ids is not None:
            asked = at_least_fp32(values[:, :, -1].unsqueeze(1) + gate.unsqueeze(2))
            fixed = (copy_ids < 0).unsqueeze(1)
            generates = functional.logsigmoid(asked).masked_fill(fixed, 0.0)
            copies = functional.logsigmoid(-asked).masked_fill(fixed, IMPOSSIBLE)
            values = values[:, :, :-1]
        read = self.decoder.context.at_positions(values, hidden)
        if factors is not None:
            read = read * factors.to(read.dtype)
        return at_least_fp32(self.output(read)), generates, copies

    # --- one step at a time ---

    def step(self, memory: Memory, state: DecoderState,
             tokens: Int[Tensor, "B K"], allowed: Bool[Tensor, "B 1 V"] | None = None,
             ) -> tuple[Float[Tensor, "B K V"], Float[Tensor, "B K S"] | None, DecoderState]:
        """See SequenceModule; the weights are p(a_t = j | y_<t), and the state carries what the next token needs to
        tell where it came from.
        """
        before = self._aligned(memory, state.context, tokens)
        outputs, state = self.decoder.step(memory, state, tokens)
        assert outputs.weights is not None
        prior = self.decoder.context.next_positions(outputs.weights, before)
        log_probabilities, context = self._summed(memory, outputs, prior)
        if allowed is not None:
            log_probabilities = log_probabilities.masked_fill(~allowed, -torch.inf).log_softmax(2)
        return log_probabilities, prior.exp(), state._replace(context=context)

    def _aligned(self, memory: Memory, state: ContextState, tokens: Int[Tensor, "B K"]
                 ) -> Float[Tensor, "B K S"] | None:
        """log p(a_t = j | y_≤t) of the step before, now that its token is known; None where nothing depends on it."""
        if state.feed is None or state.last is None:
            return None
        values = memory.values if self.decoder.copy_gate is None else memory.values[:, :, :-1]
        read = self.decoder.context.at_positions(values, state.feed)
        known = tokens.clamp(max=self.symbols - 1)
        logits = torch.einsum("bkso,bko->bks", read, self.output.weight[known]) + self.output.bias[known].unsqueeze(2)
        found = at_least_fp32(logits).masked_fill((tokens >= self.symbols).unsqueeze(2), IMPOSSIBLE) + state.last
        if state.coverage is not None and memory.copy_ids is not None:
            own = memory.copy_ids.unsqueeze(1) == tokens.unsqueeze(2)
            found = torch.logaddexp(found, state.coverage.masked_fill(~own, IMPOSSIBLE))
        return found.log_softmax(2)

    def _summed(self, memory: Memory, outputs: Outputs, prior: Float[Tensor, "B T S"]
                ) -> tuple[Float[Tensor, "B T V"], ContextState]:
        """log Σ_j p(a = j) p(y | t, j), some sentences after the others where they are large together; and what
        `HardAttentionContext` says is carried.
        """
        hidden, gate = outputs.values, outputs.copy_gate
        B, T, S = prior.shape
        several = max(1, PIECE_BYTES // (8 * T * S * (self.output.in_features + self.symbols)))
        parts = []
        for start in range(0, B, several):
            rows = slice(start, start + several)
            logits, generates, copies = self._at_positions(
                memory.values[rows], None if memory.copy_ids is None else memory.copy_ids[rows], hidden[rows],
                None if gate is None else gate[rows])
            last = prior[rows] - logits.logsumexp(3) + (0 if generates is None else generates)
            parts.append(((logits + last.unsqueeze(3)).logsumexp(2), last,
                          None if copies is None else copies + prior[rows]))
        generated, last = (torch.cat(part) for part in zip(*((one, two) for one, two, _ in parts), strict=True))
        copied = [part for _, _, part in parts if part is not None]
        carried = torch.cat(copied) if copied else None
        if carried is not None:
            generated = self._with_copies(memory, generated, carried)
        if not self.decoder.context.monotonic:
            return generated, ContextState()
        return generated, ContextState(hidden, last, carried)

    def _with_copies(self, memory: Memory, generated: Float[Tensor, "B T V"], copied: Float[Tensor, "B T S"]
                     ) -> Float[Tensor, "B T V2"]:
        """Ids and this batch's copied symbols; see SequenceModule._mixture for what is impossible."""
        assert memory.copy_ids is not None
        B, T, V = generated.shape
        extra = max(0, int(memory.copy_ids.max()) + 1 - V)
        places = memory.copy_ids.clamp(min=0).unsqueeze(1).expand(-1, T, -1)
        mixed = torch.cat([generated.exp(), generated.new_zeros(B, T, extra)], 2).scatter_add(2, places, copied.exp())
        own = memory.copy_ids.max(1).values.clamp(min=V - 1).view(B, 1, 1)
        impossible = torch.arange(V + extra, device=mixed.device) > own
        return mixed.clamp(min=TINY).log().masked_fill(impossible, -torch.inf)


def _step_of(outputs: Outputs, t: int) -> Outputs:
    """One step of several."""
    return Outputs._make(None if part is None else part[:, t : t + 1] for part in outputs)
