"""Training for the minimum risk: the expected error of the model's own answers, not the likelihood of the targets.

For each sentence x with target y* some candidates C are searched for with the present weights, and

    R(x) = Σ_{y in C} Q(y) Δ(y, y*),   Q(y) = p(y|x)^α / Σ_{y' in C} p(y'|x)^α    (Shen et al. 2016, §3)

is made small, weighed against −log p(y*|x) (Edunov et al. 2018 find the mixture better than the risk alone). Candidates
come from the run's own search, without dropout; their probabilities from one pass of the training model, with dropout,
over all of them. Nothing goes backward through the search: Δ and C are constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqloom.config.sections import Config, DecodingConfig, ObjectiveConfig
from seqloom.data.batching import pad
from seqloom.engines.torch import TorchEngine, to_tensors
from seqloom.metrics.sentences import sentence_errors
from seqloom.model import Model
from seqloom.nn.memory import real_positions
from seqloom.search import search
from seqloom.training.seeds import derived_seed
from seqloom.types import END, START, Batch, Ints, Item, Loss, Padded

# Candidates are cut at this many times the target's length and so many more: an early model's answers do not end.
LENGTHS, MORE = 2, 10
# Stands for a symbol that was copied from the source and has no id of its own, the first of as many as are needed: a
# character of the private use area, which is no other symbol.
COPIED = 0xE000


def expected_risk(log_probabilities: Float[Tensor, "B C"], errors: Float[Tensor, "B C"], there: Bool[Tensor, "B C"],
                  sharpness: float) -> Float[Tensor, " B"]:
    """R of each of B sentences with up to C candidates; `there`: which of them exist, one in each row at least."""
    scores = (sharpness * log_probabilities).masked_fill(~there, -torch.inf)
    return (scores.softmax(1) * errors.masked_fill(~there, 0.0)).sum(1)


class MinimumRisk:
    """The loss of a batch, which `Gradients` asks for in place of the model's; `step`: number of the update, set first.
    """

    def __init__(self, options: ObjectiveConfig, decoding: DecodingConfig, model: Model, head: Any, seed: int) -> None:
        self.options, self.decoding, self.model, self.head, self.seed = options, decoding, model, head, seed
        self.step = 0

    def __call__(self, batch: Batch, own: Tensor | None = None) -> Loss:
        """Of tensors on the model's device; `own`: see SequenceModule.loss.

        total: w·(−log p of the targets, smoothed as ever) + (1 − w)·Σ R in sum over sentences.
        """
        weight = self.options.likelihood_weight
        candidates = self.candidates(batch)
        assert batch.source is not None
        memory = self.model.encode(batch.source)
        with torch.set_grad_enabled(weight > 0):
            loss: Loss = self.model.head.loss(memory, batch.target, own)  # type: ignore[operator]
        risk = self.risk(memory, batch, candidates).sum()
        total = (1 - weight) * risk + weight * loss.total if weight else risk
        return Loss(total, loss.count, loss.correct, risk=risk.detach())

    def risk(self, memory: Any, batch: Batch, candidates: Sequence[Sequence[Ints]]) -> Float[Tensor, " B"]:
        """R of each sentence over these candidates: their ids, as rows <s> … of `SequenceModule.log_probabilities`."""
        counts = torch.tensor([len(some) for some in candidates])
        rows = torch.arange(len(candidates)).repeat_interleave(counts).to(memory.mask.device)
        there = real_positions(counts, int(counts.max())).to(memory.mask.device)
        listed = to_tensors(pad([Item({"main": ids}) for some in candidates for ids in some]), memory.mask.device)
        memory, state = self.model.head.begin(memory)  # type: ignore[operator]
        scores = self.model.head.log_probabilities(  # type: ignore[operator]
            memory.keep(rows), state.keep(rows), listed)
        errors = torch.from_numpy(self.errors(batch, candidates)).to(scores)
        return expected_risk(torch.zeros(there.shape).to(scores).masked_scatter(there, scores),
                             torch.zeros(there.shape).to(scores).masked_scatter(there, errors), there,
                             self.options.sharpness)

    def candidates(self, batch: Batch) -> list[list[Ints]]:
        """Different ids <s> … of each sentence, with </s> where an answer ended by itself. Leaves the model's mode."""
        assert batch.source is not None
        count, beam = self.options.candidates, self.options.candidate_search == "beam"
        options = DecodingConfig(
            strategy="beam" if beam and count > 1 else "greedy" if beam else "sampling", beam_size=count, n_best=count,
            max_length=self.decoding.max_length, length_penalty=self.decoding.length_penalty,
            length_penalty_kind=self.decoding.length_penalty_kind,
            seed=derived_seed(self.seed, self.step, "candidates"))
        targets = [ids[:length] for ids, length in zip(_array(batch.target.main), _array(batch.target.lengths),
                                                       strict=True)]
        limits = np.array([min(self.decoding.max_length, LENGTHS * len(ids) + MORE) for ids in targets])
        source = Padded({name: _array(tensor) for name, tensor in batch.source.fields.items()},
                        _array(batch.source.lengths))
        training = self.model.training
        # Not in the products of autocast, which would keep weights for later that no gradient reaches.
        with torch.autocast(batch.target.main.device.type, enabled=False):
            found = search(TorchEngine(self.model), source, options, lines=np.asarray(batch.indices), limits=limits)
        self.model.train(training)
        listed: list[list[Ints]] = []
        for target, hypotheses in zip(targets, found, strict=True):
            some: list[Ints] = [np.array([START, *hypothesis.ids, *([END] if hypothesis.finished else [])], np.int64)
                                for hypothesis in hypotheses]
            if self.options.include_target or not some:
                some.append(target)
            listed.append(list({ids.tobytes(): ids for ids in some}.values()))
        return listed

    def errors(self, batch: Batch, candidates: Sequence[Sequence[Ints]]) -> Any:
        """Δ of all candidates, one sentence after the other [N], between the texts of their ids and of the target's.

        A copied symbol that the vocabulary does not have counts as one character.
        """
        targets = [self._text(ids[:length]) for ids, length in zip(_array(batch.target.main),
                                                                   _array(batch.target.lengths), strict=True)]
        outputs = [self._text(ids) for some in candidates for ids in some]
        references = [target for target, some in zip(targets, candidates, strict=True) for _ in some]
        return sentence_errors(self.options.risk, outputs, references, tokenize=self.head.bleu_tokenize)

    def _text(self, ids: Ints) -> str:
        tokenizer = self.head.tokenizer
        return str(tokenizer.decode([tokenizer.token(number) if number < tokenizer.size else
                                     chr(COPIED + number - tokenizer.size)
                                     for number in ids.tolist() if number not in (START, END)]))


def minimum_risk(config: Config, model: Model, head: Any) -> MinimumRisk | None:
    """The configured objective where it is the risk; None where it is the likelihood."""
    objective = config.training.objective
    if objective.kind != "minimum_risk":
        return None
    return MinimumRisk(objective, config.decoding, model, head, config.training.seed)


def _array(values: Any) -> Any:
    return values.cpu().numpy()
