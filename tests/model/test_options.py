"""Contracts of the whole model over all pairs of options: cells, scores, contexts, bridges, copying, features …

What every combination must keep: each parameter learns, nothing stays on the modules, the whole-sequence ways equal the
step by step one, and an answer does not depend on its neighbours in the batch. Tables are read when tests are
collected, so a new cell or score is tried by its being listed. The full product is in the slow tier.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pairs import Case, Pair, covering_cases, every_pair, pairs_of
from seqloom.errors import ConfigError
from seqloom.nn.cells import CELLS
from seqloom.nn.decoders import RecurrentDecoder
from seqloom.nn.normalization import NORMALIZATIONS
from seqloom.nn.scores import SCORES
from seqloom.types import Prediction
from tiny import TRIALS, Tiny, config_of, gradients, settings, tiny

FACTORS: dict[str, list[Any]] = {
    "context": ["attention", "every_step", "initial", "in_step"],
    "cell": list(CELLS),
    "decoder_cell": list(CELLS),
    "score": list(SCORES),
    "score_layers": [1, 2],
    "combination": ["tanh", "concat"],
    "query": ["current", "previous"],
    "feeding": [True, False],
    "bridge": ["affine", "copy", "zero"],
    "layers": [1, 2],
    "bidirectional": [False, True],
    "residual": [False, True],
    "copying": [False, True],
    "coverage": [False, True],
    "features": ["none", "symbols", "encoder", "embedding"],
    "tie": ["none", "output", "all"],
    "characters": [False, True],
    "normalization": list(NORMALIZATIONS),
    "window": [None, 2],
    "output": list(NORMALIZATIONS),
}
# What a configuration refuses, whatever the other options are.
REFUSED = {
    (("context", "in_step"), ("bidirectional", True)),
    (("context", "in_step"), ("tie", "output")),
    (("context", "in_step"), ("tie", "all")),
    (("context", "in_step"), ("features", "encoder")),
    (("context", "initial"), ("bridge", "zero")),
    (("features", "symbols"), ("tie", "all")),
    (("features", "embedding"), ("tie", "all")),
    (("copying", True), ("output", "sparsemax")),
    (("copying", True), ("output", "entmax15")),
    *((("context", context), (option, True)) for context in ("every_step", "initial", "in_step")
      for option in ("copying", "coverage")),
}
CASE_LIMIT = 40
# Padding in a batch changes how products are summed, in float32; that also bounds what a large score can keep.
SCORE = {"abs": 1e-5, "rel": 3e-6}
# Of a sparse output the logarithm of what is nearly 0 makes much of that.
SPARSE_SCORE = {"abs": 1e-3, "rel": 3e-6}


def valid(case: Case) -> bool:
    try:
        config_of(settings(**case))  # type: ignore[arg-type]
    except ConfigError:
        return False
    return True


def name_of(case: Case) -> str:
    return "-".join(str(value) if isinstance(value, str) else f"{name}={value}" for name, value in case.items())


CASES, IMPOSSIBLE = covering_cases(FACTORS, valid)
all_pairs = pytest.mark.parametrize("case", CASES, ids=name_of)


@cache
def built(name: str) -> Tiny:
    """Each model once for all of its tests, in float32 and evaluation mode."""
    return tiny(**next(case for case in CASES if name_of(case) == name))  # type: ignore[arg-type]


# --- the cases -------------------------------------------------------------------------------------------------------


def test_every_pair_is_tried_or_refused() -> None:
    held: set[Pair] = set().union(*map(pairs_of, CASES))
    assert set(IMPOSSIBLE) == REFUSED
    assert held | REFUSED == set(every_pair(FACTORS))
    assert not held & REFUSED
    assert len(CASES) <= CASE_LIMIT


# --- learning --------------------------------------------------------------------------------------------------------


def assert_every_parameter_learns(task: Tiny) -> None:
    loss = task.model.train()(task.batch(TRIALS))
    assert loss.total.isfinite()
    for name, gradient in gradients(loss.total, task.model).items():
        assert gradient.isfinite().all(), name
        assert gradient.any(), f"{name} learns nothing"


@all_pairs
def test_every_parameter_gets_a_gradient(case: Case) -> None:
    assert_every_parameter_learns(tiny(**case))  # type: ignore[arg-type]


# --- nothing is kept -------------------------------------------------------------------------------------------------


def everything_on(model: nn.Module) -> dict[str, Any]:
    """Every attribute of every module: the same objects before and after a call, or something was kept."""
    return {f"{name}.{key}": value if isinstance(value, int | float | str | bool | None) else id(value)
            for name, module in model.named_modules() for key, value in vars(module).items() if key != "training"}


def tensors_in(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_in(value)


@all_pairs
def test_nothing_is_kept_between_calls(case: Case) -> None:
    """A, B, A again: the last equals the first bit for bit, in loss, gradient, and each step's state."""
    task = tiny(**case)  # type: ignore[arg-type]
    first, other = task.batch(TRIALS[:5]), task.batch(TRIALS[3:])
    before = everything_on(task.model)
    results = []
    for batch in (first, other, first):
        assert batch.source is not None
        loss = task.model.train()(batch)
        memory, state = task.model.head.begin(task.model.encode(batch.source))
        step = task.model.head.step(memory, state, batch.target.main[:, :1])
        results.append([loss.total, *gradients(loss.total, task.model).values(), *tensors_in(step)])
    assert everything_on(task.model) == before
    assert all(torch.equal(a, c) for a, c in zip(results[0], results[2], strict=True))
    assert not torch.equal(results[0][0], results[1][0])


# --- two ways, one result --------------------------------------------------------------------------------------------


@all_pairs
def test_whole_sequences_equal_the_loop_of_steps(case: Case) -> None:
    """unroll and unroll_stepwise, in value and in every gradient, also that of the memory (float64)."""
    task = tiny(**case, dtype=torch.float64)  # type: ignore[arg-type]
    decoder = task.model.head.decoder
    if not isinstance(decoder, RecurrentDecoder):
        return  # the baseline in step has one way only
    batch = task.batch(TRIALS)
    assert batch.source is not None
    found = []
    for unroll in (decoder.unroll, decoder.unroll_stepwise):
        encoded = task.model.encode(batch.source)
        memory, state = decoder.begin(encoded)
        outputs = unroll(memory, state, batch.target.main[:, :-1])
        draw = torch.Generator().manual_seed(1)
        total = sum(((part * torch.randn(part.shape, generator=draw, dtype=torch.float64)).sum()
                     for part in outputs if part is not None), torch.zeros((), dtype=torch.float64))
        read = [part for part in (encoded.values, encoded.hidden, encoded.cell) if part is not None]
        slopes = torch.autograd.grad(total, read, retain_graph=True, allow_unused=True)
        found.append([*outputs, *slopes, *gradients(total, task.model).values()])
    for whole, steps in zip(*found, strict=True):
        assert (whole is None) == (steps is None)
        if whole is not None:
            torch.testing.assert_close(whole, steps, rtol=0, atol=1e-10)


# --- batch invariance ------------------------------------------------------------------------------------------------


def assert_same_answer(first: Prediction, second: Prediction) -> None:
    assert first.tokens == second.tokens
    assert first.stopped == second.stopped
    assert first.score == pytest.approx(second.score, **SCORE)
    assert first.token_scores == pytest.approx(second.token_scores, **SCORE)
    assert (first.attention is None) == (second.attention is None)
    if first.attention is not None and second.attention is not None:
        assert first.attention.shape == second.attention.shape == (len(first.token_scores), len(first.source_tokens))
        assert first.attention == pytest.approx(second.attention, **SCORE)


def assert_batch_invariant(task: Tiny, *, beam_size: int) -> None:
    """Each sentence alone (batches of one token, so of one sentence), and all together in two orders."""
    predictor = task.predictor()
    options = {"beam_size": beam_size, "max_length": 5}

    def answers(order: list[int], batch_tokens: int) -> list[Prediction]:
        chosen = predictor.options({**options, "batch_tokens": batch_tokens})
        found = list(predictor.predict_records([TRIALS[number] for number in order], chosen, attention=True))
        return [found[order.index(number)] for number in range(len(order))]

    forward = list(range(len(TRIALS)))
    alone, together = answers(forward, 1), answers(forward, 10_000)
    reordered = answers([*forward[::-2], *forward[-2::-2]], 10_000)
    for one, *others in zip(alone, together, reordered, strict=True):
        assert one.stopped != "error", one.error
        for other in others:
            assert_same_answer(one, other)


@all_pairs
def test_answers_do_not_depend_on_the_batch(case: Case) -> None:
    assert_batch_invariant(built(name_of(case)), beam_size=3)


@all_pairs
def test_search_reports_the_score_that_scoring_gives(case: Case) -> None:
    """Every answer of a beam that ended, read again as a given target, costs what the search said."""
    predictor = built(name_of(case)).predictor()
    inputs: Any = [trial.fields for trial in TRIALS]
    answers = predictor.predict(inputs, beam_size=6, n_best=6, max_length=4)
    ended = [(given, answer) for given, best in zip(inputs, answers, strict=True) for answer in best.n_best
             if answer.stopped == "end" and answer.tokens and "<unk>" not in answer.tokens]
    scored = predictor.score([given for given, _ in ended], [answer.text for _, answer in ended])
    close = SCORE if case["output"] == "softmax" else SPARSE_SCORE
    for (_, answer), again in zip(ended, scored, strict=True):
        assert again.score == pytest.approx(answer.score, **close)
        assert again.token_scores == pytest.approx(answer.token_scores, **close)


# --- the full product ------------------------------------------------------------------------------------------------

# Residual connections, layers of a score and ties meet the others in pairs only.
PRODUCT = {name: values for name, values in FACTORS.items()
           if name not in ("context", "decoder_cell", "score", "score_layers", "residual", "tie")}


def full_product(context: str, score: str) -> Iterator[Case]:
    for values in product(*PRODUCT.values()):
        case = dict(zip(PRODUCT, values, strict=True)) | {"context": context, "score": score}
        idle = context != "attention" and not (case["combination"] == "tanh" and case["query"] == "current"
                                               and case["feeding"] and score == "dot")
        if not idle and valid(case):
            yield case


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize(("context", "score"), [*(("attention", score) for score in SCORES), ("every_step", "dot"),
                                                ("initial", "dot"), ("in_step", "dot")])
def test_full_product(context: str, score: str, part: int) -> None:
    """In float64: among so many answers some are so nearly alike that the rounding of float32 decides."""
    base = {"decoder_cell": "", "score_layers": 2, "residual": False, "tie": "none", "dtype": torch.float64}
    for case in islice(full_product(context, score), part, None, 8):
        try:
            task = tiny(**{**base, **case})  # type: ignore[arg-type]
            assert_every_parameter_learns(task)
            assert_batch_invariant(task, beam_size=2)
        except AssertionError as error:
            raise AssertionError(f"{name_of(case)}: {error}") from error
