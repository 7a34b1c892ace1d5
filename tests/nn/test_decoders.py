"""Decoders against a reference written from the papers, sentence by sentence without padding; their states by hand."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from reference_decoder import ReferenceDecoder, Trace
from torch import Tensor

from seqloom.nn.contexts import ContextState
from seqloom.nn.decoders import DecoderState, InStepDecoder, Outputs, RecurrentDecoder
from seqloom.nn.memory import Memory, real_positions
from tiny import config_of, normal, randomise, settings

SYMBOLS, M = 9, 8
LENGTHS = torch.tensor([4, 1, 6])
MASK = real_positions(LENGTHS, 6)
TOKENS = torch.tensor([[2, 5, 4, 7, 6], [2, 8, 8, 4, 1], [2, 4, 6, 5, 8]])
EXACT = {"rtol": 0, "atol": 1e-12}

ATTENTION = {f"{query}-{combination}-{'fed' if feeding else 'unfed'}": {
    "query": query, "combination": combination, "feeding": feeding}
    for query, combination, feeding in product(("current", "previous"), ("tanh", "concat"), (True, False))}
CASES: dict[str, dict[str, Any]] = {
    **{f"{name}-general-lstm": {**options, "score": "general"} for name, options in ATTENTION.items()},
    **{f"{name}-concat-gru": {**options, "score": "concat", "cell": "gru", "layers": 2, "residual": True}
       for name, options in ATTENTION.items()},
    **{f"{name}-coverage-copy": {**options, "coverage": True, "copying": True, "cell": "rnn_tanh", "layers": 2}
       for name, options in ATTENTION.items()},
    "entmax15": {"normalization": "entmax15"},
    "entmax15, previous": {"normalization": "entmax15", "query": "previous", "copying": True, "score": "concat"},
    "sparsemax, unfed": {"normalization": "sparsemax", "feeding": False, "cell": "gru"},
    "sparsemax, coverage": {"normalization": "sparsemax", "coverage": True, "layers": 2},
    "local": {"window": 1}, "local, unfed": {"window": 2, "feeding": False, "copying": True},
    "local, sparse": {"window": 2, "normalization": "entmax15", "query": "previous", "coverage": True},
    "every step": {"context": "every_step", "cell": "gru"},
    "every step, deep": {"context": "every_step", "layers": 2, "residual": True},
    "initial": {"context": "initial"},
    "initial, deep": {"context": "initial", "layers": 3, "cell": "gru"},
}
every_case = pytest.mark.parametrize("case", CASES)


def decoder_of(**options: Any) -> RecurrentDecoder:
    config = config_of(settings(**options))
    decoder = RecurrentDecoder(SYMBOLS, M, config.encoder.cell == "lstm", config).double()
    randomise(decoder)
    return decoder


def options_of(case: str) -> Any:
    return config_of(settings(**CASES[case])).decoder


def memory_of(cell: bool = True, layers: int = 1) -> Memory:
    return Memory(normal(3, 6, M), MASK, normal(3, layers, M, seed=2), normal(3, layers, M, seed=3) if cell else None)


def begin(decoder: RecurrentDecoder, case: str) -> tuple[Memory, DecoderState]:
    options = options_of(case)
    found: tuple[Memory, DecoderState] = decoder.begin(memory_of(options.cell == "lstm", options.layers))
    return found


def reference(decoder: RecurrentDecoder, case: str, row: int) -> Trace:
    """The reference over one sentence, from the states that the bridge made."""
    memory, state = begin(decoder, case)
    layers = range(state.hidden.shape[2])
    states = [(state.hidden[row, 0, layer], state.cell[row, 0, layer]) if state.cell is not None
              else (state.hidden[row, 0, layer],) for layer in layers]
    real = memory.values[row, : LENGTHS[row]]
    return ReferenceDecoder(decoder.state_dict(), options_of(case)).run(
        TOKENS[row].tolist(), real, memory.summary[row], states)


@every_case
def test_decoder_is_the_reference(case: str) -> None:
    """Whole sequences, the loop of steps inside, and steps as a search takes them: all are the reference."""
    decoder = decoder_of(**CASES[case])
    memory, state = begin(decoder, case)
    found = {"unroll": decoder.unroll(memory, state, TOKENS),
             "unroll_stepwise": decoder.unroll_stepwise(memory, state, TOKENS), "step": stepped(decoder, memory, state)}
    for row, length in enumerate(LENGTHS.tolist()):
        trace = reference(decoder, case, row)
        for outputs in found.values():
            torch.testing.assert_close(outputs.values[row], torch.stack(trace.outputs), **EXACT)
            if trace.weights:
                assert outputs.weights is not None
                torch.testing.assert_close(outputs.weights[row, :, :length], torch.stack(trace.weights), **EXACT)
                assert not outputs.weights[row, :, length:].any()
            if trace.gates:
                assert outputs.copy_gate is not None
                torch.testing.assert_close(outputs.copy_gate[row], torch.stack(trace.gates), **EXACT)
            if CASES[case].get("coverage"):
                assert outputs.coverage_loss is not None
                torch.testing.assert_close(outputs.coverage_loss[row], torch.stack(trace.coverage_losses), **EXACT)


@pytest.mark.parametrize("case", [case for case in CASES if "-unfed-coverage" in case])
def test_coverage_in_one_call_has_the_gradient_of_steps(case: str) -> None:
    decoder = decoder_of(**CASES[case])
    assert not decoder.is_sequential() or "previous" in case
    memory, state = begin(decoder, case)
    found = []
    for unroll in (decoder.unroll, decoder.unroll_stepwise):
        outputs = unroll(memory, state, TOKENS)
        total = sum((part * normal(*part.shape, seed=9)).sum() for part in outputs if part is not None)
        found.append(torch.autograd.grad(total, list(decoder.context.parameters()), allow_unused=True,  # type: ignore[arg-type]
                                         retain_graph=True))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def stepped(decoder: RecurrentDecoder, memory: Memory, state: DecoderState) -> Outputs:
    steps = []
    for t in range(TOKENS.shape[1]):
        outputs, state = decoder.step(memory, state, TOKENS[:, t : t + 1])
        steps.append(outputs)
    return Outputs.join(steps)


@pytest.mark.parametrize("case", [*list(CASES)[::5], "every step", "initial"])
def test_parts_that_are_not_asked_for_are_none(case: str) -> None:
    decoder, given = decoder_of(**CASES[case]), CASES[case]
    outputs = decoder.unroll(*begin(decoder, case), TOKENS)
    assert (outputs.weights is None) == (given.get("context", "attention") != "attention")
    assert (outputs.copy_gate is None) == ("copying" not in given)
    assert (outputs.coverage_loss is None) == ("coverage" not in given)
    assert outputs.values.shape[2] == decoder.output_size


@pytest.mark.parametrize("case", [*list(CASES)[::5], "every step", "initial"])
def test_several_hypotheses_are_each_on_its_own(case: str) -> None:
    """K hypotheses of one sentence step as K sentences with the same memory would."""
    decoder = decoder_of(**CASES[case])
    memory, state = begin(decoder, case)
    _, state = decoder.step(memory, state, TOKENS[:, :1])
    tokens = torch.tensor([[4, 5], [6, 7], [8, 4]])
    wide, after = decoder.step(memory, state.gather(torch.zeros(3, 2, dtype=torch.long)), tokens)
    _, last = decoder.step(memory, after, tokens.flip(1))
    for k in range(2):
        single, other = decoder.step(memory, state, tokens[:, k : k + 1])
        _, other = decoder.step(memory, other, tokens.flip(1)[:, k : k + 1])
        for mine, theirs in zip(wide, single, strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                torch.testing.assert_close(mine[:, k : k + 1], theirs, **EXACT)
        for mine, theirs in zip(last.parts(), other.parts(), strict=True):
            if mine is not None:
                torch.testing.assert_close(mine[:, k : k + 1], theirs, **EXACT)


# --- the model's own history -----------------------------------------------------------------------------------------

OWN_CASES = pytest.mark.parametrize("case", ["current-tanh-fed-general-lstm", "previous-concat-unfed-general-lstm",
                                             "current-concat-fed-coverage-copy", "every step", "initial, deep"])


def best(outputs: Outputs) -> Tensor:
    """Some choice that depends on the step's result."""
    return 4 + (outputs.values.sum(2) * 1e4).long() % 5


@OWN_CASES
def test_own_history_nowhere_is_teacher_forcing(case: str) -> None:
    decoder = decoder_of(**CASES[case])
    forced = decoder.unroll(*begin(decoder, case), TOKENS)
    nowhere = decoder.unroll(*begin(decoder, case), TOKENS, torch.zeros_like(TOKENS, dtype=torch.bool), best)
    for mine, theirs in zip(forced, nowhere, strict=True):
        if mine is not None:
            torch.testing.assert_close(mine, theirs, **EXACT)


@OWN_CASES
@pytest.mark.parametrize("where", ["everywhere", "in places"])
def test_own_history_feeds_what_the_model_chose(case: str, where: str) -> None:
    """Against `step` by hand; the first token is <s> in any case."""
    decoder = decoder_of(**CASES[case])
    own = torch.ones_like(TOKENS, dtype=torch.bool)
    if where == "in places":
        own = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 0, 1]]).bool()
    outputs = decoder.unroll(*begin(decoder, case), TOKENS, own, best)
    memory, state = begin(decoder, case)
    tokens = TOKENS[:, :1]
    steps = []
    for t in range(TOKENS.shape[1]):
        if t:
            chosen = best(steps[-1])
            tokens = torch.tensor([[chosen[row, 0] if own[row, t] else TOKENS[row, t]] for row in range(3)])
        one, state = decoder.step(memory, state, tokens)
        steps.append(one)
    for mine, theirs in zip(outputs, Outputs.join(steps), strict=True):
        if mine is not None:
            torch.testing.assert_close(mine, theirs, **EXACT)


# --- in step ---------------------------------------------------------------------------------------------------------


def test_in_step_reads_the_position_it_answers() -> None:
    """Position t at step t, the last real one from there on, whatever the history."""
    decoder = InStepDecoder(M)
    memory, state = decoder.begin(memory_of())
    unrolled = decoder.unroll(memory, state, TOKENS)
    assert unrolled.weights is not None
    for t in range(TOKENS.shape[1]):
        outputs, state = decoder.step(memory, state, TOKENS[:, t : t + 1])
        for row, length in enumerate(LENGTHS.tolist()):
            position = min(t, length - 1)
            assert torch.equal(outputs.values[row, 0], memory.values[row, position])
            assert torch.equal(unrolled.values[row, t], memory.values[row, position])
            assert unrolled.weights[row, t].tolist() == [float(s == position) for s in range(6)]
    assert not list(decoder.parameters())


# --- states ----------------------------------------------------------------------------------------------------------

PARENTS = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]])


def state_of() -> DecoderState:
    """Two hypotheses of three sentences, every part there, all numbers different."""
    return DecoderState(normal(3, 2, 2, 5), normal(3, 2, 2, 5, seed=2),
                        ContextState(normal(3, 2, 5, seed=3), normal(3, 2, 6, seed=4), normal(3, 2, 6, seed=5)),
                        torch.arange(6).view(3, 2))


def test_gather_takes_the_parents_of_each_sentence() -> None:
    before, after = state_of(), state_of().gather(PARENTS)
    for old, new in zip(before.parts(), after.parts(), strict=True):
        assert old is not None
        assert new is not None
        assert new.shape == (3, 4, *old.shape[2:])
        for sentence, parents in enumerate(PARENTS.tolist()):
            for k, parent in enumerate(parents):
                assert torch.equal(new[sentence, k], old[sentence, parent])


def test_keep_takes_the_listed_sentences() -> None:
    before, after = state_of(), state_of().keep(torch.tensor([2, 0]))
    for old, new in zip(before.parts(), after.parts(), strict=True):
        assert old is not None
        assert new is not None
        assert torch.equal(new[0], old[2])
        assert torch.equal(new[1], old[0])
        assert len(new) == 2


def test_parts_that_are_not_there_stay_away() -> None:
    state = DecoderState(normal(3, 1, 1, 5), None)
    assert state.gather(PARENTS[:, :1] * 0).parts()[1:] == [None] * 5
    assert state.keep(torch.tensor([1])).parts()[1:] == [None] * 5


def test_memory_keeps_the_listed_sentences() -> None:
    memory = memory_of()._replace(copy_ids=torch.arange(18).view(3, 6))
    kept = memory.keep(torch.tensor([2, 0]))
    for old, new in zip(memory, kept, strict=True):
        assert (old is None) == (new is None)
        if old is not None:
            assert torch.equal(new, torch.stack([old[2], old[0]]))
