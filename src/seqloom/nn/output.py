"""From a decoder's outputs to a distribution over the next token: generation, and copying from the source."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqloom.nn.alignment import AlignmentLoss
from seqloom.nn.decoders import Choose, DecoderState, InStepDecoder, Outputs, RecurrentDecoder
from seqloom.nn.kernels.cross_entropy import linear_cross_entropy
from seqloom.nn.kernels.static import is_static
from seqloom.nn.memory import Memory, real_positions
from seqloom.nn.normalization import NORMALIZATIONS
from seqloom.types import Loss, Padded

# Probabilities below this count as this in a mixture; the logarithm of an impossible copy stays finite.
TINY = 1e-12


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
        log_probabilities = self._log_probabilities(memory, outputs)
        smoothing = self.label_smoothing if self.training else 0.0
        picked = log_probabilities.gather(2, gold.unsqueeze(2)).squeeze(2)
        smooth = log_probabilities[..., : self.symbols].mean(2) if smoothing else picked
        total = -((1 - smoothing) * picked + smoothing * smooth)[mask].sum()
        return total, (log_probabilities.argmax(2) == gold)[mask].sum()

    def _best(self, memory: Memory, outputs: Outputs) -> Int[Tensor, "B K"]:
        with torch.no_grad():
            return self._log_probabilities(memory, outputs).argmax(2)

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
        assert memory.copy_ids is not None
        assert outputs.weights is not None
        assert outputs.copy_gate is not None
        B, T, V = logits.shape
        extra = max(0, int(memory.copy_ids.max()) + 1 - V)
        weights = at_least_fp32(outputs.weights) * (memory.copy_ids >= 0).unsqueeze(1)
        weights = weights / weights.sum(2, keepdim=True).clamp(min=TINY)
        gate = at_least_fp32(outputs.copy_gate).unsqueeze(2)
        generated = torch.cat([gate * logits.softmax(2), logits.new_zeros(B, T, extra)], 2)
        positions = memory.copy_ids.clamp(min=0).unsqueeze(1).expand(-1, T, -1)
        mixed = generated.scatter_add(2, positions, (1 - gate) * weights).clamp(min=TINY).log()
        own = memory.copy_ids.max(1).values.clamp(min=V - 1).view(B, 1, 1)
        return mixed.masked_fill(torch.arange(V + extra, device=mixed.device) > own, -torch.inf)


def at_least_fp32(tensor: Tensor) -> Tensor:
    """Probabilities are computed in fp32 where the network runs in less."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
