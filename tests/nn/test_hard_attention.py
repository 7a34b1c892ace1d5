"""Hard attention: the loss against a sum over every alignment, written out; gradients; steps; memory."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqloom.nn import hard_attention, hard_output
from seqloom.nn.hard_attention import IMPOSSIBLE, Marginal, monotonic_marginal
from seqloom.nn.hard_output import HardAttentionModule
from seqloom.nn.memory import real_positions
from seqloom.predictor import Predictor
from seqloom.types import START
from tiny import TRIALS, Tiny, gradients, normal, one_thread, randomise, tiny

__all__ = ["one_thread"]

CASES: dict[str, dict[str, Any]] = {
    "hard": {"kind": "hard"},
    "hard, concat, copying": {"kind": "hard", "combination": "concat", "copying": True},
    "monotonic": {"kind": "hard_monotonic"},
    "monotonic, no preferences": {"kind": "hard_monotonic", "jumps": 0},
    "monotonic, concat": {"kind": "hard_monotonic", "combination": "concat", "score": "concat"},
    "monotonic, copying": {"kind": "hard_monotonic", "copying": True, "features": "symbols"},
    "monotonic, copying, features": {"kind": "hard_monotonic", "copying": True, "features": "encoder", "layers": 2},
}
every_case = pytest.mark.parametrize("case", CASES)
EXACT = {"rtol": 0, "atol": 1e-9}
SHORT = [one for one in TRIALS if len(one.text("source").split()) <= 5 and len(one.text("target").split()) <= 4]


def task_of(case: str, *, dtype: torch.dtype = torch.float64, **options: Any) -> Tiny:
    return tiny(dtype=dtype, feeding=False, **{**CASES[case], **options})


def module_of(task: Tiny) -> HardAttentionModule:
    module = task.model.head
    assert isinstance(module, HardAttentionModule)
    return module


# --- truth: every alignment, one after another -----------------------------------------------------------------------


def every_alignment(task: Tiny, number: int) -> float:
    """−log Σ over alignments of Π_t p(a_t | a_(t−1)) p(y_t | t, a_t), in Python's numbers, of one sentence."""
    batch = task.batch(SHORT[number : number + 1])
    module, weights = module_of(task), task.model.head.state_dict()
    with torch.no_grad():
        memory = task.model.encode(batch.source)
        read, state = module.decoder.begin(memory)
        gold = batch.target.main[0, 1:].tolist()
        states = module.decoder.unroll(read, state, batch.target.main[:, :-1]).values[0]
        embedded = module.decoder.embed(batch.target.main[:, :-1], module.decoder.draw(1))[0]
        scores = module.decoder.context.attention.score(states[None], read.keys, None)[0]
    S, T = memory.values.shape[1], len(gold)
    emitted = [[_emission(task, weights, memory.values[0, j], states[t], embedded[t], gold[t],
                          None if memory.copy_ids is None else int(memory.copy_ids[0, j])) for j in range(S)]
               for t in range(T)]
    monotonic = task.config.decoder.attention.kind == "hard_monotonic"
    jumps = weights["decoder.context.jumps"].tolist() if "decoder.context.jumps" in weights else []

    def moved(t: int, i: int, j: int) -> float:
        if not monotonic:
            return math.exp(scores[t, j]) / sum(math.exp(scores[t, k]) for k in range(S))
        preferred = [math.exp(float(scores[t, k]) + (jumps[k - i] if k - i < len(jumps) else 0)) for k in range(i, S)]
        return preferred[j - i] / sum(preferred) if j >= i else 0.0

    total = 0.0
    for path in product(range(S), repeat=T):
        chance, before = 1.0, 0
        for t, j in enumerate(path):
            chance *= moved(t, before, j) * emitted[t][j]
            before = j
        total += chance
    return -math.log(total)


def _emission(task: Tiny, weights: dict[str, Tensor], value: Tensor, state: Tensor, embedded: Tensor, gold: int,
              copy: int | None) -> float:
    """p(gold | this position), from the weights by their names."""
    read = torch.cat([value, state])
    if task.config.decoder.attention.combination == "tanh":
        read = torch.tanh(weights["decoder.context.combination.weight"] @ read)
    logits = weights["output.weight"] @ read + weights["output.bias"]
    generated = float(logits.softmax(0)[gold]) if gold < len(logits) else 0.0
    if copy is None or copy < 0:
        return generated
    asked = weights["decoder.copy_gate.weight"][0] @ torch.cat([value, state, embedded])
    gate = 1 / (1 + math.exp(-float(asked + weights["decoder.copy_gate.bias"])))
    return gate * generated + (1 - gate) * (copy == gold)


@every_case
def test_loss_sums_over_every_alignment(case: str) -> None:
    task = task_of(case)
    task.model.eval()
    for number in range(len(SHORT)):
        found = task.model(task.batch(SHORT[number : number + 1]))
        assert found.total.item() == pytest.approx(every_alignment(task, number), abs=1e-9)


@every_case
def test_loss_does_not_depend_on_neighbours_and_padding(case: str) -> None:
    task = task_of(case)
    task.model.eval()
    alone = [task.model(task.batch([one])) for one in TRIALS]
    together = task.model(task.batch(TRIALS))
    torch.testing.assert_close(together.total, sum(loss.total for loss in alone), **EXACT)
    assert int(together.count) == sum(int(loss.count) for loss in alone)
    assert int(together.correct) == sum(int(loss.correct) for loss in alone)


def test_smoothing_is_that_of_each_position() -> None:
    """With one source position there is one alignment, and the loss is the smoothed cross-entropy of torch."""
    task = task_of("monotonic", smoothing=0.2)
    batch = task.batch(TRIALS[:1])
    module = module_of(task).train()
    memory = task.model.encode(batch.source)
    memory = memory._replace(values=memory.values[:, :1], mask=memory.mask[:, :1])
    read, state = module.decoder.begin(memory)
    states = module.decoder.unroll(read, state, batch.target.main[:, :-1]).values
    logits = module.output(module.decoder.context.at_positions(read.values, states))[0, :, 0]
    expected = torch.nn.functional.cross_entropy(logits, batch.target.main[0, 1:], reduction="sum", label_smoothing=0.2)
    torch.testing.assert_close(module.loss(memory, batch.target).total, expected, **EXACT)


# --- gradients -------------------------------------------------------------------------------------------------------


@every_case
def test_gradient_is_the_numeric_one_and_reaches_every_parameter(case: str) -> None:
    task = task_of(case, smoothing=0.1)
    task.model.train()
    batch = task.batch(TRIALS[:4])
    found = gradients(task.model(batch).total, task.model)
    idle = [name for name, gradient in found.items() if not gradient.any()]
    assert idle == []
    direction = {name: normal(*gradient.shape, seed=5) for name, gradient in found.items()}
    expected = sum((found[name] * direction[name]).sum() for name in found)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for name, parameter in task.model.named_parameters():
                parameter.add_(direction[name], alpha=sign * 1e-6)
            values.append(task.model(batch).total)
            for name, parameter in task.model.named_parameters():
                parameter.add_(direction[name], alpha=-sign * 1e-6)
    torch.testing.assert_close(expected, (values[0] - values[1]) / 2e-6, rtol=1e-6, atol=1e-5)


def test_forward_algorithm_passes_gradcheck() -> None:
    scores, emissions = normal(2, 3, 4).requires_grad_(), normal(2, 3, 4, seed=2).requires_grad_()
    preferences = normal(4, 4, seed=3).triu() + torch.full((4, 4), IMPOSSIBLE, dtype=torch.float64).tril(-1)
    real = real_positions(torch.tensor([3, 2]), 3)

    def likelihood(*parts: Tensor) -> Marginal:
        return monotonic_marginal(parts[0], parts[1], real, parts[2])

    assert torch.autograd.gradcheck(likelihood, (scores, emissions, preferences.requires_grad_()))


@every_case
def test_pieces_change_nothing(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory for one step of one sentence, or for a few sentences: the same loss, gradients and hits."""
    task = task_of(case, smoothing=0.1)
    batch = task.batch(TRIALS)
    whole = task.model(batch)
    expected = gradients(whole.total, task.model)
    hits = task.model.eval()(batch).correct
    for size in (1, 12_000, 40_000):
        monkeypatch.setattr(hard_output, "PIECE_BYTES", size)
        monkeypatch.setattr(hard_attention, "TRANSITION_BYTES", size // 40_000 * 10**9)
        cut = task.model.train()(batch)
        torch.testing.assert_close(cut.total, whole.total, **EXACT)
        for name, gradient in gradients(cut.total, task.model).items():
            torch.testing.assert_close(gradient, expected[name], **EXACT)
        assert task.model.eval()(batch).correct == hits


def test_dropout_takes_the_same_units_from_all_positions() -> None:
    task = task_of("monotonic", decoder={"dropout": 0.5})
    module = module_of(task).train()
    seen: list[Tensor] = []
    module.output.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    torch.manual_seed(1)
    module.loss(task.model.encode(task.batch(TRIALS).source), task.batch(TRIALS).target)
    dropped = seen[0] == 0
    assert 0.3 < dropped.double().mean() < 0.7
    assert (dropped == dropped[:, :, :1]).all()
    assert not (dropped[:, :1] == dropped).all()


# --- steps -----------------------------------------------------------------------------------------------------------


@every_case
def test_steps_add_up_to_the_loss(case: str) -> None:
    """Scored one token after the other, the forward vector carried as state, a target has the probability of training.
    """
    task = task_of(case)
    exact = -float(task.model.eval()(task.batch(TRIALS)).total.detach())
    task = task._replace(model=task.model.float())
    scored = Predictor(task.source, task.head, task.engine(), task.config.decoding).score_records(TRIALS)
    assert sum(one.score for one in scored) == pytest.approx(exact, rel=1e-5)


@every_case
def test_steps_give_distributions_and_positions(case: str) -> None:
    """Probabilities of all next tokens sum to one, and so do the weights, which are zero at padding."""
    task = task_of(case, dtype=torch.float32)
    engine, source = task.engine(), task.padded(TRIALS)
    state, draw = engine.begin(source), np.random.default_rng(1)
    tokens, parents = np.full((len(TRIALS), 1), START), np.zeros((len(TRIALS), 1), np.int64)
    for width in (3, 2, 2):
        step, state = engine.step(state, tokens, parents, None, weights=True)
        assert step.weights is not None
        np.testing.assert_allclose(np.exp(step.scores).sum(2), 1, atol=1e-5)
        np.testing.assert_allclose(step.weights.sum(2), 1, atol=1e-5)
        assert (step.weights[~np.broadcast_to(state.memory.mask.numpy()[:, None], step.weights.shape)] == 0).all()
        parents = draw.integers(0, tokens.shape[1], (len(TRIALS), width))
        tokens = draw.integers(4, task.head.size, (len(TRIALS), width))


def test_a_sure_model_walks_along_its_source() -> None:
    """Weights set by hand: every position writes its own symbol, jumps are by one; the answer copies the source."""
    task = task_of("monotonic, copying", dtype=torch.float32, features="none")
    module = module_of(task)
    randomise(module, spread=0.0)
    with torch.no_grad():
        module.decoder.copy_gate.bias.fill_(-30.0)
        jumps = module.decoder.context.jumps
        assert jumps is not None
        jumps.copy_(torch.tensor([-30.0, 30.0, -30.0, -30.0]))
    record = TRIALS[2]
    answer = next(task.predictor().predict_records([record], attention=True))
    # Before the first token the position is 0, so the first symbol written is the second.
    assert answer.tokens == record.text("source").split()[1:7]
    assert answer.attention is not None
    assert answer.attention.argmax(1).tolist() == list(range(1, 1 + len(answer.tokens)))
