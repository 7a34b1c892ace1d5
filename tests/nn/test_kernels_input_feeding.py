"""The kernel of input-feeding decoders: the numbers of the plain steps in value and gradient, and when it serves."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from pairs import covering_cases
from seqloom.nn.cells import CELLS, TanhRecurrence
from seqloom.nn.contexts import AttentionContext
from seqloom.nn.decoders import Outputs, RecurrentDecoder
from seqloom.nn.kernels import input_feeding
from seqloom.nn.memory import Memory, real_positions
from seqloom.nn.normalization import NORMALIZATIONS
from seqloom.nn.scores import SCORES, Concat, General
from tiny import config_of, normal, randomise, settings

SYMBOLS, S = 9, 6
LENGTHS = torch.tensor([4, 1, 6, 3])
MASK = real_positions(LENGTHS, S)
TOKENS = torch.tensor([[2, 5, 4, 7, 6], [2, 8, 8, 4, 1], [2, 4, 6, 5, 8], [2, 7, 7, 1, 4]])

FACTORS: dict[str, list[Any]] = {
    "cell": list(CELLS),
    "score": [name for name, score in SCORES.items() if not score.uses_last],  # the others go step by step
    "query": ["current", "previous"], "combination": ["tanh", "concat"],
    "layers": [1, 2, 3], "residual": [False, True], "copying": [True, False],
    "normalization": list(NORMALIZATIONS)}
PAIRS, _ = covering_cases(FACTORS, lambda case: True)
PRODUCT = [dict(zip(FACTORS, values, strict=True)) for values in product(*FACTORS.values())]


def name_of(case: dict[str, Any]) -> str:
    return " ".join(value if isinstance(value, str) else f"{name}={value}" for name, value in case.items())


all_pairs = pytest.mark.parametrize("case", PAIRS, ids=name_of)


def decoder_of(options: dict[str, Any], **sections: Any) -> RecurrentDecoder:
    config = config_of(settings(**options, **sections))
    memory = config.encoder.hidden_size * (2 if config.encoder.bidirectional else 1)
    decoder = RecurrentDecoder(SYMBOLS, memory, config.encoder.cell == "lstm", config).double()
    randomise(decoder)
    return decoder


def memory_of(decoder: RecurrentDecoder, dtype: torch.dtype = torch.float64) -> Memory:
    """Random; what stands at padding is large, and must not matter."""
    size, layers = int(decoder.bridge.hidden.in_features), 2
    values = normal(4, S, size) + 100.0 * ~MASK.unsqueeze(2)
    parts = [part.to(dtype).requires_grad_() for part in
             (values, normal(4, layers, size, seed=2), normal(4, layers, size, seed=3))]
    return Memory(parts[0], MASK, parts[1], parts[2])


def unrolled(decoder: RecurrentDecoder, memory: Memory, kernel: bool) -> Outputs:
    ready, state = decoder.begin(memory)
    if not kernel:
        return decoder.unroll_stepwise(ready, state, TOKENS)
    assert input_feeding.serves(decoder.context, decoder.recurrent)
    return decoder.unroll(ready, state, TOKENS)


def weighed(outputs: Outputs) -> Tensor:
    """One number that depends on everything there is, each element with a weight of its own."""
    total = torch.zeros((), dtype=torch.float64)
    for seed, part in enumerate(outputs):
        if part is not None:
            total = total + (part.double() * normal(*part.shape, seed=seed)).sum()
    return total


def all_numbers(decoder: RecurrentDecoder, memory: Memory, kernel: bool) -> dict[str, Tensor]:
    """Outputs and all gradients by name."""
    outputs = unrolled(decoder, memory, kernel)
    found = {name: part.detach() for name, part in outputs._asdict().items() if part is not None}
    wanted = dict(decoder.named_parameters())
    wanted.update({f"memory.{name}": getattr(memory, name) for name in ("values", "hidden", "cell")})
    gradients = torch.autograd.grad(weighed(outputs), list(wanted.values()), allow_unused=True)
    found.update({f"gradient of {name}": gradient for name, gradient in zip(wanted, gradients, strict=True)
                  if gradient is not None})
    return found


def errors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Relative differences, in norm."""
    assert found.keys() == expected.keys()
    return {name: float((found[name].double() - right.double()).norm() / right.double().norm().clamp(min=1e-12))
            for name, right in expected.items()}


def together(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The relative difference of everything as one vector."""
    left, right = (torch.cat([side[name].double().flatten() for name in expected]) for side in (found, expected))
    return float((left - right).norm() / right.norm())


def worst(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    return max(errors(found, expected).values())


# --- the same numbers ------------------------------------------------------------------------------------------------


def equals_the_steps(case: dict[str, Any]) -> None:
    decoder = decoder_of(case)
    memory = memory_of(decoder)
    assert worst(all_numbers(decoder, memory, True), all_numbers(decoder, memory, False)) < 1e-11


@all_pairs
def test_equals_the_steps(case: dict[str, Any]) -> None:
    equals_the_steps(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", PRODUCT, ids=name_of)
def test_equals_the_steps_in_every_case(case: dict[str, Any]) -> None:
    equals_the_steps(case)


@all_pairs
def test_gradient_is_the_slope(case: dict[str, Any]) -> None:
    decoder = decoder_of(case)
    memory = memory_of(decoder)
    inputs = [memory.values, memory.hidden, memory.cell, *decoder.parameters()]

    def result(*_: Tensor) -> Tensor:  # gradcheck moves the very parameters that the decoder holds
        return weighed(unrolled(decoder, memory, True))

    assert torch.autograd.gradcheck(result, inputs, fast_mode=True)


@all_pairs
def test_fp32_errs_as_the_steps_do(case: dict[str, Any]) -> None:
    """A little more, where tanh comes from the sigmoid; numbers that nearly cancel are inexact in both."""
    exact = decoder_of(case)
    single = copy.deepcopy(exact).float()
    memory, expected = memory_of(single, torch.float32), all_numbers(exact, memory_of(exact), False)
    found, steps = (errors(all_numbers(single, memory, kernel), expected) for kernel in (True, False))
    assert {name: error for name, error in found.items() if error > max(4 * steps[name], 3e-6)} == {}


@all_pairs
def test_bf16_products_err_as_those_of_the_steps_do(case: dict[str, Any]) -> None:
    exact = decoder_of(case)
    single = copy.deepcopy(exact).float()
    memory, expected = memory_of(single, torch.float32), all_numbers(exact, memory_of(exact), False)
    with torch.autocast("cpu", torch.bfloat16):
        kernel, steps = (all_numbers(single, memory, kernel) for kernel in (True, False))
    assert {part.dtype for name, part in kernel.items() if name.startswith("gradient")} == {torch.float32}
    assert errors(kernel, expected)["values"] < 2 * errors(steps, expected)["values"]
    # A rectifier may flip, and a position may enter or leave the support: then a gradient jumps.
    jumps = 1.5 if case["normalization"] == "softmax" else 3.0
    assert together(kernel, expected) < max(jumps * together(steps, expected), 0.05)


def test_weights_are_zero_on_padding_and_what_stands_there_does_not_matter() -> None:
    decoder = decoder_of({})
    memory = memory_of(decoder)
    outputs = unrolled(decoder, memory, True)
    assert outputs.weights is not None
    padding = ~MASK.unsqueeze(1).expand_as(outputs.weights)
    assert not outputs.weights[padding].any()
    torch.testing.assert_close(outputs.weights.sum(2), torch.ones(TOKENS.shape, dtype=torch.float64))
    gradient, = torch.autograd.grad(weighed(outputs), memory.values)
    assert not gradient[~MASK].any()
    assert gradient[MASK].all()


def test_starts_from_any_state() -> None:
    """From the middle of a sentence the rest comes out as in one go."""
    decoder = decoder_of({"layers": 2})
    memory, state = decoder.begin(memory_of(decoder))
    whole = decoder.unroll(memory, state, TOKENS)
    for t in range(2):
        _, state = decoder.step(memory, state, TOKENS[:, t : t + 1])
    torch.testing.assert_close(decoder.unroll(memory, state, TOKENS[:, 2:]).values, whole.values[:, 2:])


def test_dropout_between_layers_is_that_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same factors: steps draw them one layer of one step after the other, the kernel all at once."""
    decoder = decoder_of({"layers": 3, "residual": True}, decoder={"dropout": 0.5})
    memory = memory_of(decoder)
    factors, calls = (normal(2, 5, 4, 6, seed=9) > 0) * 2.0, iter(range(100))

    def drop(inputs: Tensor, rate: float, training: bool = True) -> Tensor:
        if not rate:
            return inputs
        if inputs.ndim == 4:
            return inputs * factors
        if inputs.shape[1] != 1:
            return inputs  # of the outputs, all at once
        t, place = divmod(next(calls), 3)
        return inputs if place == 2 else inputs * factors[place, t].unsqueeze(1)

    monkeypatch.setattr("torch.nn.functional.dropout", drop)
    assert worst(all_numbers(decoder, memory, True), all_numbers(decoder, memory, False)) < 1e-12
    assert next(calls) == 15


def test_dropout_has_the_configured_rate_and_none_in_evaluation() -> None:
    decoder = decoder_of({"layers": 2}, decoder={"dropout": 0.25})
    memory = memory_of(decoder)
    torch.manual_seed(3)
    first, second = (unrolled(decoder, memory, True) for _ in range(2))
    assert first.weights is not None
    assert second.weights is not None
    assert not torch.equal(first.weights, second.weights)
    decoder.eval()
    torch.testing.assert_close(unrolled(decoder, memory, True), unrolled(decoder, memory, False))


# --- as a node of the graph ------------------------------------------------------------------------------------------


def test_backward_twice_is_the_same_twice() -> None:
    decoder = decoder_of({"score": "concat"})
    total = weighed(unrolled(decoder, memory_of(decoder), True))
    first = torch.autograd.grad(total, list(decoder.parameters()), retain_graph=True)
    for left, right in zip(first, torch.autograd.grad(total, list(decoder.parameters())), strict=True):
        assert torch.equal(left, right)


def test_gradients_of_gradients_are_refused() -> None:
    decoder = decoder_of({})
    memory = memory_of(decoder)
    total = weighed(unrolled(decoder, memory, True))
    with pytest.raises(RuntimeError, match=r"not a gradient of its gradient.*\n  fix: set decoder.use_kernel = False"):
        torch.autograd.grad(total, memory.values, create_graph=True)


def test_changed_weights_are_noticed() -> None:
    """Between the passes a weight must stay what it was."""
    decoder = decoder_of({})
    total = weighed(unrolled(decoder, memory_of(decoder), True))
    with torch.no_grad():
        decoder.cells()[0].weight_hidden.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("score", ["general", "concat"])
def test_training_takes_the_same_course(score: str) -> None:
    curves = []
    for kernel in (True, False):
        decoder = decoder_of({"score": score}).float()
        decoder.use_kernel = kernel
        memory = memory_of(decoder, torch.float32)
        goal = normal(4, 5, 6, seed=7).float().tanh()
        optimizer = torch.optim.Adam(decoder.parameters(), 0.01)
        curve = []
        for _ in range(20):
            ready, state = decoder.begin(memory)
            loss = (decoder.unroll(ready, state, TOKENS).values - goal).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        curves.append(curve)
    assert curves[0][-1] < 0.8 * curves[0][0]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


# --- when it serves --------------------------------------------------------------------------------------------------


class OwnScore(General):
    """A score from elsewhere that is no inner product."""

    bilinear = False


class OwnAdditive(Concat):
    """One that only looks like the additive score."""


class OwnCell(TanhRecurrence):
    """A cell from elsewhere."""


class OwnContext(AttentionContext):
    """A context from elsewhere."""


def with_score(score: type) -> RecurrentDecoder:
    decoder = decoder_of({})
    decoder.context.attention.score = score(6, 8, hidden_size=7, layers=1).double()
    return decoder


def with_cell() -> RecurrentDecoder:
    decoder = decoder_of({"cell": "rnn_tanh"})
    layer = decoder.recurrent.layers[0]
    layer.cells[0] = OwnCell(layer.cells[0].input_size, 6).double()
    return decoder


def with_context() -> RecurrentDecoder:
    decoder = decoder_of({})
    decoder.context.__class__ = OwnContext
    return decoder


NOT_SERVED = {
    "coverage": lambda: decoder_of({"coverage": True}),
    "a local window": lambda: decoder_of({"window": 2}),
    "two layers of a score": lambda: decoder_of({"score": "concat", "score_layers": 2}),
    "another score": lambda: with_score(OwnScore),
    "another additive score": lambda: with_score(OwnAdditive),
    "another cell": with_cell,
    "another context": with_context,
}


@pytest.mark.parametrize("reason", NOT_SERVED)
def test_what_is_not_served_goes_step_by_step(reason: str) -> None:
    decoder = NOT_SERVED[reason]()
    assert not input_feeding.serves(decoder.context, decoder.recurrent)
    memory, state = decoder.begin(memory_of(decoder))
    torch.testing.assert_close(decoder.unroll(memory, state, TOKENS), decoder.unroll_stepwise(memory, state, TOKENS),
                               rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"context": "initial"}, {"context": "every_step"}, {"feeding": False}], ids=str)
def test_what_needs_no_steps_is_not_its_business(options: dict[str, Any]) -> None:
    decoder = decoder_of(options)
    assert not input_feeding.serves(decoder.context, decoder.recurrent)


def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = decoder_of({})
    memory, state = decoder.begin(memory_of(decoder))
    expected = decoder.unroll_stepwise(memory, state, TOKENS)
    monkeypatch.setattr(input_feeding, "unroll", None)
    decoder.use_kernel = False
    torch.testing.assert_close(decoder.unroll(memory, state, TOKENS), expected, rtol=0, atol=0)
