"""From a decoder's outputs to a distribution over the next token: generation, and copying from the source."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqloom.nn.alignment import AlignmentLoss
from seqloom.nn.decoders import Choose, DecoderState, InStepDecoder, Outputs, RecurrentDecoder
from seqloom.nn.kernels.cross_entropy import linear_cross_entropy
from seqloom.nn.kernels.static import is_static
from seqloom.nn.memory import Memory, real_positions
from seqloom.nn.normalization import NORMALIZATIONS
from seqloom.types import Loss, Padded

# Probabilities below this count as this in a mixture; the logarithm of an impossible copy stays finite.
TINY = 1e-12
# Numbers of logits that are kept at once where sequences are scored; the others are made again in the backward pass.
SCORED_LOGITS = 2**22


class SequenceModule(nn.Module):
    """A decoder and its output layer: target sequences <s> … </s> in training, one step at a time in search."""

    def __init__(self, decoder: RecurrentDecoder | InStepDecoder, symbols: int, *, label_smoothing: float = 0.0,
                 coverage_loss: float = 0.0, alignment: AlignmentLoss | None = None,
                 normalization: str = "softmax") -> None:
        super().__init__()
        self.decoder = decoder
        self.symbols = symbols
        self.output = nn.Linear(decoder.output_size, symbols)
        self.label_smoothing = label_smoothing
        self.coverage_loss = coverage_loss
        self.alignment = alignment
        self.normalization = normalization

    # --- training ---

    def loss(self, memory: Memory, target: Padded, own: Bool[Tensor, "B T"] | None = None) -> Loss:
        """Cross-entropy, or a sparse distribution's loss, over the real positions of `target` [B T+1]: <s> … </s>.

        own [B T]: positions at which the model's own best token, not the gold one, is the history.
        """
        ids = target.main
        mask = real_positions(target.lengths - 1, ids.shape[1] - 1)
        memory, state = self.decoder.begin(memory)
        choose: Choose | None = None if own is None else lambda outputs: self._best(memory, outputs)
        outputs = self.decoder.unroll(memory, state, ids[:, :-1], own, choose)
        gold = ids[:, 1:]
        if outputs.copy_gate is not None:
            total, correct = self._copying_loss(memory, outputs, gold, mask)
        else:
            static = is_static()
            values, gold = (outputs.values.flatten(0, 1), gold.flatten()) if static else (
                outputs.values[mask], gold[mask])
            total, correct = linear_cross_entropy(
                values, self.output.weight, self.output.bias, gold, self.label_smoothing if self.training else 0.0,
                mask.flatten() if static else None, self.normalization)
        if outputs.coverage_loss is not None and self.training:
            total = total + self.coverage_loss * (outputs.coverage_loss * mask).sum()
        if self.alignment is not None and self.training:
            total = total + self.alignment(memory, target)
        return Loss(total, mask.sum(), correct)

    def _copying_loss(self, memory: Memory, outputs: Outputs, gold: Int[Tensor, "B T"],
                      mask: Bool[Tensor, "B T"]) -> tuple[Tensor, Tensor]:
        """Of the mixture, whose probabilities of other tokens than the gold one no gradient needs: only the real
        positions, and of what is copied only what is gold. Smoothing needs them all.
        """
        smoothing = self.label_smoothing if self.training else 0.0
        if smoothing:
            everything = self._log_probabilities(memory, outputs)
            picked = everything.gather(2, gold.unsqueeze(2)).squeeze(2)
            smooth = everything[..., : self.symbols].mean(2)
            return (-((1 - smoothing) * picked + smoothing * smooth)[mask].sum(),
                    (everything.argmax(2) == gold)[mask].sum())
        gate, weights, positions = self._copying(memory, outputs)
        copied_ids = positions.expand(-1, mask.shape[1], -1)[mask]
        gate, copied, gold = gate[mask], ((1 - gate) * weights)[mask], gold[mask].unsqueeze(1)
        generated = at_least_fp32(self.output(outputs.values[mask])).log_softmax(1)
        known = gold < self.symbols
        one = gate * generated.gather(1, torch.where(known, gold, 0)).exp() * known
        total = -(one + (copied * (copied_ids == gold)).sum(1, keepdim=True)).clamp(min=TINY).log().sum()
        with torch.no_grad():
            mixed = generated.new_zeros(len(generated), max(self.symbols, int(positions.max()) + 1))
            torch.exp(generated, out=mixed[:, : self.symbols]).mul_(gate)
            correct = mixed.scatter_add_(1, copied_ids, copied).argmax(1, keepdim=True) == gold
        return total, correct.sum()

    def _best(self, memory: Memory, outputs: Outputs) -> Int[Tensor, "B K"]:
        with torch.no_grad():
            return self._log_probabilities(memory, outputs).argmax(2)

    # --- whole sequences ---

    def log_probabilities(self, memory: Memory, state: DecoderState, target: Padded) -> Float[Tensor, " B"]:
        """log p of each sequence in `target` [B T+1], given what `begin` returned.

        A sequence <s> … </s> is an answer; one that does not end with </s> is all answers that begin so.
        """
        ids = target.main
        gold, mask = ids[:, 1:], real_positions(target.lengths - 1, ids.shape[1] - 1)
        outputs = self.decoder.unroll(memory, state, ids[:, :-1])
        if outputs.copy_gate is not None:
            picked = self._picked(memory, outputs, gold)
        else:
            rows = max(1, SCORED_LOGITS // self.symbols)
            parts = [checkpoint(self._picked, memory, Outputs(values.unsqueeze(0)), some.unsqueeze(0),
                                use_reentrant=False, preserve_rng_state=False).squeeze(0)
                     for values, some in zip(torch.split(outputs.values[mask], rows), torch.split(gold[mask], rows),
                                             strict=True)]
            joined = torch.cat(parts)
            picked = joined.new_zeros(mask.shape).masked_scatter(mask, joined)
        return picked.masked_fill(~mask, 0.0).sum(1)

    def _picked(self, memory: Memory, outputs: Outputs, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return self._log_probabilities(memory, outputs).gather(2, ids.unsqueeze(2)).squeeze(2)

    # --- one step at a time ---

    def begin(self, memory: Memory) -> tuple[Memory, DecoderState]:
        """See Decoder.begin."""
        return self.decoder.begin(memory)

    def step(self, memory: Memory, state: DecoderState,
             tokens: Int[Tensor, "B K"], allowed: Bool[Tensor, "B 1 V"] | None = None,
             ) -> tuple[Float[Tensor, "B K V"], Float[Tensor, "B K S"] | None, DecoderState]:
        """Log-probabilities of the next token (ids ≥ `symbols` are copies), attention weights, and the new state.

        allowed: the only ids there are to be, where none are copied; the probabilities of these sum to 1.
        """
        outputs, state = self.decoder.step(memory, state, tokens)
        return self._log_probabilities(memory, outputs, allowed), outputs.weights, state

    def _log_probabilities(self, memory: Memory, outputs: Outputs, allowed: Bool[Tensor, "B 1 V"] | None = None,
                           ) -> Float[Tensor, "B T V"]:
        logits = at_least_fp32(self.output(outputs.values))
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        if outputs.copy_gate is None:
            return NORMALIZATIONS[self.normalization].logarithm(logits)
        return self._mixture(memory, outputs, logits)

    def _mixture(self, memory: Memory, outputs: Outputs,
                 logits: Float[Tensor, "B T V"]) -> Float[Tensor, "B T V2"]:
        """log(g·p_generate + (1 − g)·p_copy) (See et al. 2017, eq. 9), over V ids and this batch's copied symbols.

        Positions that cannot be copied (features) lose their weight to the others. Ids beyond a sentence's own symbols
        are there because of its neighbours in the batch: for this sentence they are impossible.
        """
        B, T, V = logits.shape
        gate, weights, ids = self._copying(memory, outputs)
        extra = max(0, int(ids.max()) + 1 - V)
        generated = torch.cat([gate * logits.softmax(2), logits.new_zeros(B, T, extra)], 2)
        mixed = generated.scatter_add(2, ids.expand(-1, T, -1), (1 - gate) * weights).clamp(min=TINY).log()
        own = ids.amax(2).clamp(min=V - 1).view(B, 1, 1)
        return mixed.masked_fill(torch.arange(V + extra, device=mixed.device) > own, -torch.inf)

    def _copying(self, memory: Memory, outputs: Outputs
                 ) -> tuple[Float[Tensor, "B T 1"], Float[Tensor, "B T S"], Int[Tensor, "B 1 S"]]:
        """The gate, the weights of positions that can be copied, which sum to 1, and the ids of all positions."""
        assert memory.copy_ids is not None
        assert outputs.weights is not None
        assert outputs.copy_gate is not None
        weights = at_least_fp32(outputs.weights) * (memory.copy_ids >= 0).unsqueeze(1)
        weights = weights / weights.sum(2, keepdim=True).clamp(min=TINY)
        return at_least_fp32(outputs.copy_gate).unsqueeze(2), weights, memory.copy_ids.clamp(min=0).unsqueeze(1)


def at_least_fp32(tensor: Tensor) -> Tensor:
    """Probabilities are computed in fp32 where the network runs in less."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
