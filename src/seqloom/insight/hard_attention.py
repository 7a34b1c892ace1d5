"""The network of `network.py` with hard attention: a sum over source positions of what each of them would write.

Mirrors nn/hard_attention.py and nn/hard_output.py for one sentence and one hypothesis.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from seqloom.config.sections import Config
from seqloom.insight.network import DECODER, TINY, DecoderState, Edit, Encoded, Network, StepTrace
from seqloom.insight.weights import OUTPUT
from seqloom.types import Floats

IMPOSSIBLE = -1e30  # as in nn/hard_attention.py
SMALLEST = 1e-300  # probability of a position whose weight is set to 0


class HardAttentionNetwork(Network):
    """`Network` for decoder.attention.kind hard and hard_monotonic.

    DecoderState.last is log p(a_t = j, y_t = v | y_<t) [S V+copied] of the step before: its column of the token that
    was written tells where it came from. In a StepTrace `weights` are p(a_t = j | y_<t), before the token is known;
    `outputs` and `logits` are of the likeliest position; `copy_gate` is its mean over positions.
    """

    @property
    def monotonic(self) -> bool:
        return self.options.attention.kind == "hard_monotonic"

    def step(self, encoded: Encoded, keys: Floats | None, state: DecoderState, token: int, edit: Edit | None = None
             ) -> tuple[StepTrace, DecoderState]:
        """See Network.step; `edit` changes the probabilities of positions."""
        assert keys is not None
        assert self.scorer is not None
        embedded = self.embed(token)
        below, steps = self._recur(state, embedded)
        scores = self.scorer.scores(below, keys, None)
        scores[encoded.length : len(encoded.ids)] = IMPOSSIBLE
        prior = self._positions(scores, state, token)
        if edit is not None:
            prior = np.log(np.maximum(edit(np.exp(prior)), SMALLEST))
        read = self._read(encoded, below)
        logits = self.weights.linear(OUTPUT.removesuffix(".weight"), read)
        joint, gates = self._joint(encoded, prior, _log_softmax(logits), below, embedded)
        found = _summed(joint)
        weights, best = np.exp(prior), int(prior.argmax())
        gate = None if gates is None else float(weights @ gates)
        if gate is not None:
            found = np.log(np.maximum(np.exp(found), TINY))
        trace = StepTrace(token, embedded, None, steps, below, below, None, weights, None, None, read[best],
                          logits[best], gate, found)
        return trace, replace(self._after(state, steps), last=joint if self.monotonic else None,
                              position=state.position + 1)

    def _positions(self, scores: Floats, state: DecoderState, token: int) -> Floats:
        """log p(a_t = j | y_<t) [S]: forward from where the token before came from, or from scores alone."""
        if not self.monotonic:
            return _log_softmax(scores)
        if state.last is None:  # before the first token the position is 0
            before = np.full(len(scores), IMPOSSIBLE)
            before[0] = 0.0
        else:
            before = _log_softmax(state.last[:, token])
        away = np.arange(len(scores))[None, :] - np.arange(len(scores))[:, None]
        name = f"{DECODER}.context.jumps"
        known = np.append(self.weights.take(name) if self.weights.has(name) else np.zeros(0), 0.0)
        preferred = np.where(away < 0, IMPOSSIBLE, known[np.clip(away, 0, len(known) - 1)])
        return _summed(before[:, None] + _log_softmax(scores[None, :] + preferred))

    def _read(self, encoded: Encoded, below: Floats) -> Floats:
        """What the output layer reads [S O], were it certain that each position is the one."""
        joined = np.concatenate([encoded.values, np.broadcast_to(below, (len(encoded.values), len(below)))], 1)
        if self.options.attention.combination != "tanh":
            return joined
        return np.tanh(self.weights.linear(f"{DECODER}.context.combination", joined))

    def _joint(self, encoded: Encoded, prior: Floats, generated: Floats, below: Floats, embedded: Floats
               ) -> tuple[Floats, Floats | None]:
        """log p(a_t = j, y_t = v | y_<t) [S V], and each position's probability of generating, with copying."""
        joint: Floats = prior[:, None] + generated
        if not self.options.copy_source:
            return joint, None
        assert encoded.copy_ids is not None
        S, V = joint.shape
        known = np.broadcast_to(np.concatenate([below, embedded]), (S, len(below) + len(embedded)))
        asked = self.weights.linear(f"{DECODER}.copy_gate", np.concatenate([encoded.values, known], 1))[:, 0]
        can = encoded.copy_ids >= 0
        generates = np.where(can, -np.logaddexp(0, -asked), 0.0)
        extra = np.full((S, max(0, int(encoded.copy_ids.max()) + 1 - V)), IMPOSSIBLE)
        joint = np.concatenate([joint + generates[:, None], extra], 1)
        places, ids = np.flatnonzero(can), encoded.copy_ids[can]
        joint[places, ids] = np.logaddexp(joint[places, ids], (prior - np.logaddexp(0, asked))[can])
        return joint, np.exp(generates)


def _log_softmax(values: Floats) -> Floats:
    """Over the last axis."""
    shifted = values - values.max(-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


def _summed(values: Floats) -> Floats:
    """log Σ_j exp of the first axis."""
    highest = values.max(0)
    result: Floats = highest + np.log(np.exp(values - highest).sum(0))
    return result


def network_of(config: Config, weights: Any) -> Network:
    """The network of a configuration with these weights."""
    hard = config.decoder.context == "attention" and config.decoder.attention.kind != "soft"
    return (HardAttentionNetwork if hard and config.head.kind == "sequence" else Network)(config, weights)
