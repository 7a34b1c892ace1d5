"""The torch engine: the protocol of types.Engine, against the model run by hand and against enumeration."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from seqloom.engines.torch import TorchEngine, TorchState, choose_device, to_tensors
from seqloom.errors import UsageError
from seqloom.search import search
from seqloom.types import END, START, Engine, Floats, Ints, Padded, Record, Step
from tiny import CPU, TRIALS, Tiny, record, tiny

MODELS: dict[str, dict[str, Any]] = {
    "attention": {"bidirectional": True, "layers": 2},
    "coverage": {"coverage": True, "score": "concat", "query": "previous"},
    "copying": {"copying": True, "cell": "gru", "features": "encoder"},
    "every step": {"context": "every_step"},
    "in step": {"context": "in_step"},
}
every_model = pytest.mark.parametrize("name", MODELS)
CLOSE = {"rtol": 0, "atol": 1e-5}
FOUR = TRIALS[:4]


@pytest.fixture(scope="module")
def models() -> dict[str, Tiny]:
    return {name: tiny(**options) for name, options in MODELS.items()}


def column(*tokens: int) -> Ints:
    """One hypothesis of each sentence."""
    return np.array(tokens)[:, None]


def first_step(engine: TorchEngine, source: Padded, candidates: int | None = None,
               **asked: Any) -> tuple[Step, TorchState]:
    start = np.full((source.size, 1), START)
    return engine.step(engine.begin(source), start, np.zeros_like(start), candidates, **asked)


def replayed(task: Tiny, example: Record, history: list[int]) -> Floats:
    """Log-probabilities after a history [V], for this sentence alone, through the module."""
    source = to_tensors(task.padded([example]), CPU)
    memory, state = task.model.head.begin(task.model.eval().encode(source))
    for token in [START, *history]:
        scores, _, state = task.model.head.step(memory, state, torch.tensor([[token]]))
    found: Floats = scores[0, 0].detach().numpy()
    return found


def same(wide: Floats, alone: Floats) -> None:
    """A row of a batch may have further ids: symbols of its neighbours, impossible for it."""
    np.testing.assert_allclose(wide[: len(alone)], alone, **CLOSE)
    assert (wide[len(alone):] == -np.inf).all()


# --- steps -----------------------------------------------------------------------------------------------------------


def test_engine_has_the_protocol(models: dict[str, Tiny]) -> None:
    engine: Engine[TorchState] = models["attention"].engine()
    assert (engine.name, engine.end) == ("torch fp32", END)


@every_model
def test_dense_steps_are_the_models_log_probabilities(models: dict[str, Tiny], name: str) -> None:
    task = models[name]
    engine = task.engine()
    found, state = first_step(engine, task.padded(FOUR))
    assert found.tokens is None
    assert found.wanted is None
    assert found.scores.shape[:2] == (4, 1)
    np.testing.assert_allclose(np.exp(found.scores).sum(2), 1, **CLOSE)
    after, _ = engine.step(state, column(4, 5, 6, 7), column(0, 0, 0, 0), None)
    for row, example in enumerate(FOUR):
        same(found.scores[row, 0], replayed(task, example, []))
        same(after.scores[row, 0], replayed(task, example, [4 + row]))


@every_model
@pytest.mark.parametrize("candidates", [1, 2, 5, 100])
def test_candidates_are_the_best_of_the_dense_scores(models: dict[str, Tiny], name: str, candidates: int) -> None:
    task = models[name]
    dense = first_step(task.engine(), task.padded(FOUR))[0].scores
    found = first_step(task.engine(), task.padded(FOUR), candidates)[0]
    best = np.argsort(-dense, axis=2, kind="stable")[:, :, :candidates]
    assert found.tokens is not None
    np.testing.assert_array_equal(found.tokens, best)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(dense, best, 2))


@pytest.mark.parametrize("candidates", [1, 2, 3, 4, 5, 9, 10, 100])
def test_ties_go_to_the_lower_id(candidates: int) -> None:
    """Ids 5 and 9 are best, 4, 6 and 7 next, all others are equal; so ties stand inside and at the edge of every k."""
    task = tiny()
    with torch.no_grad():
        task.model.head.output.weight.zero_()
        task.model.head.output.bias.zero_()
        task.model.head.output.bias[[5, 9]] = 2.0
        task.model.head.output.bias[[4, 6, 7]] = 1.0
    found = first_step(task.engine(), task.padded(FOUR), candidates)[0]
    assert found.tokens is not None
    expected = [5, 9, 4, 6, 7, 0, 1, 2, 3, 8][:candidates]
    assert found.tokens.tolist() == [[expected]] * 4


@pytest.mark.parametrize("candidates", [1, 2, 7, 20, 43])
def test_of_equals_the_lowest_ids_are_taken(candidates: int) -> None:
    """44 ids, all as likely as each other: those that topk happens to leave out must not be the lower ones."""
    words = " ".join(f"w{number:02}" for number in range(40))
    task = tiny(training=[record(words, words)])
    with torch.no_grad():
        task.model.head.output.weight.zero_()
        task.model.head.output.bias.zero_()
    found = first_step(task.engine(), task.padded(FOUR), candidates)[0]
    assert found.tokens is not None
    assert found.tokens.tolist() == [[list(range(candidates))]] * 4


@every_model
def test_wanted_are_the_scores_of_exactly_these_ids(models: dict[str, Tiny], name: str) -> None:
    task = models[name]
    wanted = np.array([[[4, 3, 4]], [[5, 6, 1]], [[0, 2, 3]], [[8, 8, 8]]])
    dense = first_step(task.engine(), task.padded(FOUR))[0].scores
    for candidates in (None, 1):
        found = first_step(task.engine(), task.padded(FOUR), candidates, wanted=wanted)[0]
        np.testing.assert_array_equal(found.wanted, np.take_along_axis(dense, wanted, 2))


# --- states ----------------------------------------------------------------------------------------------------------

# Tokens and parents of three steps: one hypothesis becomes five, then three, then three in another order.
TOKENS = [[[4, 5, 6, 7, 8]] * 4, [[5, 6, 7], [4, 4, 4], [8, 7, 6], [1, 5, 5]], [[4, 5, 6]] * 4]
PARENTS = [[[0] * 5] * 4, [[4, 0, 2], [1, 1, 0], [0, 1, 2], [3, 2, 3]], [[2, 1, 0], [0, 0, 0], [0, 1, 2], [1, 2, 0]]]


def histories() -> list[list[list[int]]]:
    """Tokens of every hypothesis of every sentence after the three steps, by back-pointers written out."""
    told = [[[] for _ in range(1)] for _ in range(4)]
    for tokens, parents in zip(TOKENS, PARENTS, strict=True):
        told = [[[*told[row][parents[row][k]], tokens[row][k]] for k in range(len(tokens[row]))] for row in range(4)]
    return told


@every_model
def test_hypotheses_follow_their_parents(models: dict[str, Tiny], name: str) -> None:
    """Every hypothesis has the scores of its own history replayed from the start."""
    task = models[name]
    engine = task.engine()
    _, state = first_step(engine, task.padded(FOUR))
    for tokens, parents in zip(TOKENS, PARENTS, strict=True):
        found, state = engine.step(state, np.array(tokens), np.array(parents), None)
    for row, example in enumerate(FOUR):
        for k, history in enumerate(histories()[row]):
            same(found.scores[row, k], replayed(task, example, history))


@every_model
def test_finished_sentences_leave(models: dict[str, Tiny], name: str) -> None:
    task = models[name]
    engine = task.engine()
    _, state = first_step(engine, task.padded(FOUR))
    _, state = engine.step(state, np.array(TOKENS[0]), np.array(PARENTS[0]), None)
    kept = engine.keep(state, np.array([3, 1]))
    found, _ = engine.step(kept, np.array(TOKENS[1])[[3, 1]], np.array(PARENTS[1])[[3, 1]], None)
    for position, row in enumerate((3, 1)):
        for k, parent in enumerate(PARENTS[1][row]):
            history = [TOKENS[0][row][parent], TOKENS[1][row][k]]
            same(found.scores[position, k], replayed(task, FOUR[row], history))


@every_model
def test_a_state_can_be_continued_twice(models: dict[str, Tiny], name: str) -> None:
    """A step changes nothing in the state it is given."""
    task = models[name]
    engine = task.engine()
    _, state = first_step(engine, task.padded(FOUR))
    first = engine.step(state, column(4, 4, 4, 4), column(0, 0, 0, 0), None)[0].scores
    engine.step(state, column(5, 6, 7, 8), column(0, 0, 0, 0), 3)
    np.testing.assert_array_equal(engine.step(state, column(4, 4, 4, 4), column(0, 0, 0, 0), None)[0].scores, first)


def test_prediction_is_without_dropout_and_gradients() -> None:
    task = tiny(encoder={"dropout": 0.9, "embedding_dropout": 0.9}, decoder={"dropout": 0.9, "embedding_dropout": 0.9})
    engine = TorchEngine(task.model.train(), CPU)
    first, state = first_step(engine, task.padded(FOUR))
    assert not state.memory.values.requires_grad
    assert not task.model.training
    np.testing.assert_array_equal(first_step(engine, task.padded(FOUR))[0].scores, first.scores)


# --- attention -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attention", "coverage", "copying", "in step"])
def test_weights_sum_to_one_over_real_positions(models: dict[str, Tiny], name: str) -> None:
    task = models[name]
    source = task.padded(FOUR)
    found, state = first_step(task.engine(), source, 2, weights=True)
    more, _ = task.engine().step(state, np.array(TOKENS[0]), np.array(PARENTS[0]), 2, weights=True)
    lengths = source.lengths + source.fields.get("features_lengths", 0)
    for step in (found, more):
        assert step.weights is not None
        assert step.weights.shape == (*step.scores.shape[:2], int(state.memory.mask.shape[1]))
        np.testing.assert_allclose(step.weights.sum(2), 1, **CLOSE)
        for row, length in enumerate(lengths):
            assert not step.weights[row, :, length:].any()


def test_weights_are_fetched_only_when_asked_for(models: dict[str, Tiny]) -> None:
    assert first_step(models["attention"].engine(), models["attention"].padded(FOUR), 2)[0].weights is None
    source = models["every step"].padded(FOUR)
    assert first_step(models["every step"].engine(), source, 2, weights=True)[0].weights is None


def test_encode_hands_out_the_memory(models: dict[str, Tiny]) -> None:
    task = models["attention"]
    source = task.padded(FOUR)
    encoded = task.engine().encode(source)
    assert encoded.summary.shape == (4, 8)
    assert encoded.states.shape == (4, source.main.shape[1], 8)
    assert encoded.mask.sum(1).tolist() == source.lengths.tolist()
    assert not encoded.states[~encoded.mask].any()
    ends = encoded.states[np.arange(4), source.lengths - 1]
    np.testing.assert_array_equal(encoded.summary[:, :4], ends[:, :4])  # forward, at the end
    np.testing.assert_array_equal(encoded.summary[:, 4:], encoded.states[:, 0, 4:])  # backward, at the start


# --- search ----------------------------------------------------------------------------------------------------------

FEW = [record("a b", "b a"), record("b", "a")]  # two symbols, so three tokens with <unk>
LIMIT = 3


def enumerated(task: Tiny, example: Record) -> dict[tuple[int, ...], float]:
    """Score of every answer: up to two tokens and the end symbol, or three tokens and no end."""
    size = task.head.tokenizer.size
    symbols = [1, *range(4, size)]
    scores = {}
    after = cache(lambda history: replayed(task, example, list(history)))
    for length in range(LIMIT + 1):
        for tokens in product(symbols, repeat=length):
            ids = (*tokens, END) if length < LIMIT else tokens
            steps = [after(ids[:t])[ids[t]] for t in range(len(ids))]
            scores[tokens] = float(np.sum(steps, dtype=np.float64))
    return scores


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"context": "initial", "cell": "gru"}])
def test_a_beam_as_wide_as_the_space_finds_every_answer(options: dict[str, Any]) -> None:
    task = tiny(training=FEW, **options)
    wide = {"beam_size": 50, "max_length": LIMIT, "length_penalty": 0.0}
    expected = [enumerated(task, example) for example in FEW]
    n_best = len(expected[0])
    found = search(task.engine(), task.padded(FEW), task.predictor().options({**wide, "n_best": n_best}))
    for scores, hypotheses in zip(expected, found, strict=True):
        best = sorted(scores, key=lambda tokens: -scores[tokens])
        assert len(hypotheses) == n_best == 1 + 3 + 9 + 27
        assert [tuple(hypothesis.ids.tolist()) for hypothesis in hypotheses] == best
        for hypothesis in hypotheses:
            tokens = tuple(hypothesis.ids.tolist())
            assert hypothesis.score == pytest.approx(scores[tokens], abs=1e-5)
            assert hypothesis.finished == (len(tokens) < LIMIT)


# --- devices ---------------------------------------------------------------------------------------------------------


def test_devices_by_name() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta2"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(UsageError, match=rf"(?s)device '{name}' cannot be used: .*fix: use --device auto, or cpu"):
        choose_device(name)
