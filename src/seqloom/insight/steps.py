"""Attention in four steps, for each output token: scores, softmax, weighted sum, combination; with every number.

The steps of an answer are its tokens fed again, one by one, through the NumPy reference (`network.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqloom.insight.attention import PREFIX, cosines
from seqloom.insight.network import DECODER, Edit, Encoded, Network, StepTrace, copy_shares
from seqloom.insight.weights import OUTPUT
from seqloom.types import END, SPECIAL_NAMES, START, Floats, Item

CANDIDATES = 8  # best next tokens that are kept of each step


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A possible next token: its id, logit, and probability. A copied symbol that has no id of its own has no logit.

    generated and copied: its parts in a pointer-generator's mixture (See et al. 2017, eq. 9); elsewhere copied is 0.
    """

    token: str
    number: int
    logit: float | None
    probability: float
    generated: float
    copied: float


@dataclass(frozen=True, slots=True, eq=False)
class AttentionStep:
    """What one query made of S keys.

    query [Q]; asking [H]: the query as it meets the keys; scores, cosines, norms, weights [S]; value [M];
    last [S], coverage [S]: the previous step's weights and the sum of all so far, for scores that use them; threshold:
    τ of a sparse normalization; centre: the position in the middle of a local window.
    """

    query: Floats
    asking: Floats
    scores: Floats
    cosines: Floats
    norms: Floats
    weights: Floats
    value: Floats
    last: Floats | None
    coverage: Floats | None
    threshold: float | None
    centre: float | None

    @property
    def disagrees(self) -> bool:
        """Whether the position with the highest weight is not the one with the highest cosine."""
        return bool(self.weights.argmax() != self.cosines.argmax())


@dataclass(frozen=True, slots=True, eq=False)
class OutputStep:
    """One output token.

    history, token: what was read and what was written; state [H]: the decoder's top layer; attention: None without;
    outputs [O]: what the output layer reads; candidates: best first, the token among them; highest: the largest logit;
    rest: sum of exp(logit − highest) over all symbols that are no candidates, of a sparse output of their
    probabilities; threshold: τ of a sparse output; copy_gate: probability of generating.
    """

    history: str
    token: str
    number: int
    state: Floats
    attention: AttentionStep | None
    outputs: Floats
    candidates: list[Candidate]
    highest: float
    rest: float
    threshold: float | None
    copy_gate: float | None

    @property
    def probability(self) -> float:
        """Of the token that was written."""
        return next(one.probability for one in self.candidates if one.number == self.number)


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """All steps of one answer, and what is the same in all of them.

    source_tokens [S]; tokens [T]; context: how the source reaches the decoder; score, formula: of the attention;
    values [S M], keys [S H]; parameters: arrays that a score needs beside them; coverage_weight; summary [N] with
    context every_step; combination [H, M+H]: the tanh layer; rows, biases: the output layer's, of all candidates;
    normalization and output_normalization: what makes weights of scores, and probabilities of logits; local_window: D.
    """

    source_tokens: list[str]
    tokens: list[str]
    context: str
    steps: list[OutputStep]
    score: str = ""
    formula: str = ""
    bilinear: bool = True
    query: str = ""
    values: Floats | None = None
    keys: Floats | None = None
    parameters: dict[str, Floats] = field(default_factory=dict)
    coverage_weight: float | None = None
    summary: Floats | None = None
    combination: Floats | None = None
    rows: dict[int, Floats] = field(default_factory=dict)
    biases: dict[int, float] = field(default_factory=dict)
    copy_ids: list[int] | None = None
    normalization: str = "softmax"
    local_window: int | None = None
    output_normalization: str = "softmax"

    @property
    def note(self) -> str:
        """Why there is no attention to show; "" where there is."""
        return {"attention": "",
                "every_step": "This model has no attention: every step reads the same summary of the source "
                              "(decoder.context: every_step), so there are no scores, weights, or weighted sums.",
                "initial": "This model has no attention: the source reaches the decoder in its first state alone "
                           "(decoder.context: initial), so there are no scores, weights, or weighted sums.",
                "in_step": "This model has no decoder and no attention: step t reads the encoder at position t "
                           "(decoder.context: in_step).",
                }[self.context]


def trace(network: Network, encoded: Encoded, written: Sequence[int], edits: dict[int, Edit] | None = None
          ) -> Iterator[StepTrace]:
    """A StepTrace for each id that was written, each after the ids before it; `edits` change weights by step."""
    keys, state, history = network.keys(encoded), network.begin(encoded), START
    for number, token in enumerate(written):
        step, state = network.step(encoded, keys, state, history, (edits or {}).get(number))
        yield step
        history = int(token)


def written_ids(ids: Sequence[int], *, finished: bool) -> list[int]:
    """The ids of an answer with the end symbol, where the model wrote one."""
    return [*map(int, ids), *([END] if finished else [])]


def steps_of(network: Network, head: Any, item: Item, source_tokens: list[str], ids: Sequence[int], *, finished: bool,
             candidates: int = CANDIDATES) -> Steps:
    """The steps by which `ids` were written (without start and end symbol; `finished`: the end symbol came last)."""
    encoded = network.encode(item)
    written = written_ids(ids, finished=finished)
    return assembled(network, head, item, source_tokens, encoded, written,
                     trace(network, encoded, written), candidates)


def assembled(network: Network, head: Any, item: Item, source_tokens: list[str], encoded: Encoded,
              written: Sequence[int], traces: Iterator[StepTrace], candidates: int) -> Steps:
    """Steps from traces that were made with these written ids."""
    own, keys = head.copied_tokens(item), network.keys(encoded)
    steps, history = [], SPECIAL_NAMES[START]
    for number, step in zip(written, traces, strict=True):
        token = SPECIAL_NAMES[END] if number == END else head.token(number, own)
        found = _candidates(network, head, own, encoded, step, number, candidates)
        shown = [one.number for one in found if one.logit is not None]
        highest = float(step.logits.max())
        threshold = network.answering.threshold(step.logits)
        others = np.exp(step.logits - highest) if threshold is None else network.answering.weights(step.logits)
        steps.append(OutputStep(
            history, token, number, step.state, _attention_step(step, keys), step.outputs, found, highest,
            float(np.delete(others, shown).sum()), threshold, step.copy_gate))
        history = token
    kept = sorted({one.number for step in steps for one in step.candidates if one.logit is not None})
    weights = network.weights
    matrix, bias = weights.take(OUTPUT), weights.take("head.output.bias")
    common: dict[str, Any] = {}
    if network.scorer is not None:
        options, combination = network.options.attention, f"{DECODER}.context.combination.weight"
        common = {"score": options.score, "formula": network.scorer.formula, "bilinear": network.scorer.bilinear,
                  "query": options.query, "values": encoded.values, "keys": keys,
                  "parameters": network.scorer.shown(),
                  "coverage_weight": float(weights.take(f"{PREFIX}.coverage_weight")) if options.coverage else None,
                  "combination": weights.take(combination) if weights.has(combination) else None,
                  "normalization": options.normalization, "local_window": options.local_window}
    return Steps(
        source_tokens, [step.token for step in steps], network.context, steps,
        summary=encoded.summary if network.context == "every_step" else None,
        rows={number: matrix[number] for number in kept}, biases={number: float(bias[number]) for number in kept},
        copy_ids=None if encoded.copy_ids is None else encoded.copy_ids.tolist(),
        output_normalization=network.config.head.normalization, **common)  # type: ignore[union-attr]


def _attention_step(step: StepTrace, keys: Floats | None) -> AttentionStep | None:
    attended = step.attended
    if attended is None or keys is None or step.query is None:
        return None
    return AttentionStep(step.query, attended.asking, attended.scores, cosines(attended.asking, keys),
                         np.linalg.norm(keys, axis=1), attended.weights, attended.value, step.last, step.coverage,
                         attended.threshold, attended.centre)


def _candidates(network: Network, head: Any, own: list[str], encoded: Encoded, step: StepTrace, written: int,
                count: int) -> list[Candidate]:
    """The best next tokens, ties to the lower id, and the one that was written."""
    shares, size = step.log_probabilities, len(step.logits)
    # Of a sparse output the logits tell which of those that have nothing were the nearest.
    order = step.logits if network.answering.threshold(step.logits) is not None else shares
    best = [int(number) for number in np.argsort(-order, kind="stable")[:count]]
    if written not in best:
        best = [*best[: max(count - 1, 0)], written]
    generated = network.answering.weights(step.logits)
    found = []
    for number in best:
        copied = 0.0
        if step.copy_gate is not None and step.weights is not None and encoded.copy_ids is not None:
            copied = float(copy_shares(encoded, step.weights)[encoded.copy_ids == number].sum())
        name = SPECIAL_NAMES[number] if number < len(SPECIAL_NAMES) else head.token(number, own)
        found.append(Candidate(name, number, float(step.logits[number]) if number < size else None,
                               float(np.exp(shares[number])), float(generated[number]) if number < size else 0.0,
                               copied))
    return found
