"""The risk: against enumeration of every answer there is, by hand, and as `train` and `finetune` use it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqloom.config.sections import DecodingConfig, ObjectiveConfig
from seqloom.data.batching import pad
from seqloom.engines.torch import to_tensors
from seqloom.nn import output as output_module
from seqloom.search import search
from seqloom.training.minimum_risk import MinimumRisk, expected_risk, minimum_risk
from seqloom.types import END, PADDING, START, UNKNOWN, Item
from tiny import CPU, TRIALS, Tiny, gradients, normal, record, tiny

FEW = [record("a b", "b a"), record("b a b", "a"), record("a", "b b")]  # two letters: all answers can be listed
LONGEST = 3  # tokens, </s> among them
MODELS: dict[str, dict[str, Any]] = {
    "input feeding": {},
    "no feeding, gru": {"feeding": False, "cell": "gru", "combination": "concat"},
    "previous query, coverage": {"query": "previous", "coverage": True},
    "summary at every step": {"context": "every_step", "layers": 2},
    "first state alone": {"context": "initial"},
    "copying": {"copying": True},
    "in step": {"context": "in_step"},
    "hard attention": {"kind": "hard", "feeding": False},
    "hard monotonic attention, copying": {"kind": "hard_monotonic", "feeding": False, "copying": True},
}


def risk_of(made: Tiny, **options: Any) -> MinimumRisk:
    return MinimumRisk(ObjectiveConfig(**{"likelihood_weight": 0.0, **options}), made.config.decoding, made.model,
                       made.head, seed=1)


def ids_of(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array([START, *numbers], np.int64)


def stepwise(made: Tiny, row: int, ids: np.ndarray[Any, Any], examples: Any) -> Tensor:
    """log p of ids behind <s>, one step of one sentence after the other."""
    source = to_tensors(made.padded([examples[row]]), CPU)
    memory, state = made.model.begin(source)
    total = torch.zeros((), dtype=torch.float64)
    for token, following in itertools.pairwise(ids.tolist()):
        scores, _, state = made.model.head.step(memory, state, torch.tensor([[token]]))  # type: ignore[operator]
        total = total + scores[0, 0, following]
    return total


def all_answers(made: Tiny) -> Iterator[tuple[int, ...]]:
    """Every answer of at most LONGEST tokens: those that end, and those that are cut."""
    symbols = [UNKNOWN, *range(END + 1, made.head.size)]
    for length in range(LONGEST):
        for ids in itertools.product(symbols, repeat=length):
            yield *ids, END
    yield from itertools.product(symbols, repeat=LONGEST)


@pytest.fixture(scope="module")
def two_letters() -> Tiny:
    """A model of two letters that never writes padding or <s>, as a search never does."""
    made = tiny(training=FEW, dtype=torch.float64)
    with torch.no_grad():
        made.model.head.output.bias[[PADDING, START]] = -torch.inf  # type: ignore[union-attr, index]
    return made.model.eval() and made


# --- the formula -----------------------------------------------------------------------------------------------------


def test_expected_risk_by_hand() -> None:
    scores, errors = normal(3, 4), normal(3, 4, seed=2)
    there = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    for sharpness in (1.0, 0.3, 2.0):
        found = expected_risk(scores, errors, there, sharpness)
        for row, count in enumerate((4, 2, 1)):
            weights = [math.exp(sharpness * scores[row, number].item()) for number in range(count)]
            by_hand = sum(weight * errors[row, number].item() for number, weight in enumerate(weights)) / sum(weights)
            assert found[row].item() == pytest.approx(by_hand, rel=1e-12)


def test_gradient_of_expected_risk() -> None:
    errors, there = normal(3, 4, seed=2), torch.tensor([[True] * 4, [True, True, False, False], [True] + [False] * 3])
    scores = normal(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: expected_risk(given, errors, there, 0.7), (scores,))
    (found,) = torch.autograd.grad(expected_risk(scores, errors, there, 0.7).sum(), scores)
    assert (found[~there] == 0).all()
    assert (found[2] == 0).all()  # a single candidate has all of the probability, whatever the model does


# --- probabilities of whole sequences --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_log_probabilities_are_those_of_the_steps(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In value and gradient, padded beside others, several of one sentence, and in chunks of two positions."""
    made = tiny(dtype=torch.float64, **options)
    made.model.eval()
    monkeypatch.setattr(output_module, "SCORED_LOGITS", 2 * made.head.size)
    rows = [0, 0, 1, 3, 3, 3]
    listed = [ids_of(4, 5, END), ids_of(END), ids_of(6, 7, 8, 9, END), ids_of(5, 5), ids_of(4), ids_of(9, 4, 4, END)]
    memory, state = made.model.begin(to_tensors(made.padded(TRIALS), CPU))
    kept = torch.tensor(rows)
    found = made.model.head.log_probabilities(  # type: ignore[operator]
        memory.keep(kept), state.keep(kept), to_tensors(pad([Item({"main": ids}) for ids in listed]), CPU))
    expected = torch.stack([stepwise(made, row, ids, TRIALS) for row, ids in zip(rows, listed, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    weights = normal(len(rows), seed=3)
    ours, theirs = gradients(weights @ found, made.model), gradients(weights @ expected, made.model)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-7, atol=1e-9, msg=name)


def test_a_copied_symbol_has_the_probability_of_the_copy() -> None:
    made = tiny(copying=True, dtype=torch.float64)
    made.model.eval()
    copied = ids_of(made.head.size, made.head.size + 1, END)  # x and y of the third sentence, which no target has
    memory, state = made.model.begin(to_tensors(made.padded(TRIALS[2:3]), CPU))
    found = made.model.head.log_probabilities(  # type: ignore[operator]
        memory, state, to_tensors(pad([Item({"main": copied})]), CPU))
    assert found.item() == pytest.approx(stepwise(made, 2, copied, TRIALS).item(), rel=1e-9)
    assert found.item() > -20


# --- the truth: every answer there is --------------------------------------------------------------------------------


@pytest.mark.parametrize("risk", ["exact_match", "cer", "wer", "chrf"])
def test_risk_over_all_answers_is_the_expected_error(two_letters: Tiny, risk: str) -> None:
    """With every answer a candidate, Q is the model's own distribution: R = Σ p(y) Δ(y), in value and gradient."""
    from rapidfuzz.distance import Levenshtein
    from sacrebleu import sentence_chrf

    made = two_letters
    answers = [ids_of(*ids) for ids in all_answers(made)]
    assert len(answers) == len(set(map(bytes, answers))) == 1 + 3 + 9 + 27
    batch = made.batch(FEW)
    expected, risks = torch.zeros((), dtype=torch.float64), {
        "exact_match": lambda text, right: float(text != right),
        "cer": lambda text, right: Levenshtein.distance(text, right) / len(right),
        "wer": lambda text, right: Levenshtein.distance(text.split(), right.split()) / len(right.split()),
        "chrf": lambda text, right: 1 - sentence_chrf(text, [right]).score / 100}
    for row, example in enumerate(FEW):
        scores = torch.stack([stepwise(made, row, ids, FEW) for ids in answers])
        assert scores.exp().sum().item() == pytest.approx(1, abs=1e-9)
        texts = [" ".join(made.head.tokenizer.token(number) for number in ids[1:].tolist() if number != END)
                 for ids in answers]
        errors = torch.tensor([risks[risk](text, example.text("target")) for text in texts])
        expected = expected + (scores.exp() * errors).sum()
    assert batch.source is not None
    found = risk_of(made, risk=risk).risk(made.model.encode(batch.source), batch, [answers] * len(FEW)).sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    theirs = gradients(expected, made.model)
    for name, value in gradients(found, made.model).items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-8, msg=name)


def test_many_draws_are_all_answers(two_letters: Tiny) -> None:
    """So many that not one of forty answers is missing: the loss of a batch is then the truth above."""
    made = two_letters
    made = made._replace(config=made.config.model_copy(update={"decoding": DecodingConfig(max_length=LONGEST)}))
    drawn = risk_of(made, candidate_search="sampling", candidates=20_000).candidates(made.batch(FEW))
    answers = {bytes(ids_of(*ids)) for ids in all_answers(made)}
    for row, some in enumerate(drawn):
        likely = {bytes(ids) for ids in (ids_of(*ids) for ids in all_answers(made))
                  if stepwise(made, row, ids, FEW).item() > math.log(1e-3)}
        assert likely <= set(map(bytes, some)) <= answers
        assert len(set(map(bytes, some))) == len(some)


# --- candidates and the loss of a batch -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["beam", "sampling"])
@pytest.mark.parametrize("target", [True, False])
def test_candidates_are_what_the_search_finds(way: str, target: bool) -> None:
    """Without copies, the target among them where asked, dropout neither used nor switched off for training."""
    made = tiny(encoder={"dropout": 0.5}, decoder={"dropout": 0.5})
    made.model.train()
    batch = made.batch(TRIALS)
    drawn = torch.get_rng_state()
    risk = risk_of(made, candidate_search=way, candidates=4, include_target=target)
    found = risk.candidates(batch)
    assert made.model.training
    assert torch.equal(torch.get_rng_state(), drawn)
    assert [list(map(bytes, some)) for some in found] == [list(map(bytes, some)) for some in risk.candidates(batch)]
    options = DecodingConfig(strategy=way, beam_size=4, n_best=4, max_length=6)  # type: ignore[arg-type]
    for row, some in enumerate(found):
        gold = batch.target.main[row, : batch.target.lengths[row]].numpy()
        limit = min(6, 2 * len(gold) + 10)
        listed = [bytes(ids) for ids in some]
        assert len(set(listed)) == len(listed) <= 4 + target
        assert bytes(gold) in listed or not target
        if way == "beam":
            answers = search(made.engine(), made.padded([TRIALS[row]]), options, limits=np.array([limit]))[0]
            expected = {bytes(ids_of(*answer.ids, *([END] * answer.finished))) for answer in answers}
            assert set(listed) == expected | ({bytes(gold)} if target else set())
        for ids in some:
            assert ids[0] == START
            assert START not in ids[1:]
            assert END not in ids[1:-1]
            assert len(ids) - 1 <= limit or bytes(ids) == bytes(gold)


def test_draws_belong_to_update_and_example() -> None:
    """Alone or beside others an example draws the same; in the next update others."""
    made = tiny()
    risk = risk_of(made, candidate_search="sampling", candidates=6)
    whole = risk.candidates(made.batch(TRIALS))
    half = made.batch(TRIALS[4:])
    assert list(map(len, risk.candidates(half._replace(indices=np.arange(4, len(TRIALS)))))) == list(
        map(len, whole[4:]))
    risk.step = 1
    assert [list(map(bytes, some)) for some in risk.candidates(made.batch(TRIALS))] != [
        list(map(bytes, some)) for some in whole]


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_loss_of_a_batch(weight: float) -> None:
    """w · cross-entropy + (1 − w) · risk, counted in target tokens; the gradient is that of the sum."""
    made = tiny(dtype=torch.float64, smoothing=0.1)
    batch = made.batch(TRIALS)
    risk = risk_of(made, likelihood_weight=weight, candidates=3)
    loss = risk(batch)
    likelihood = made.model(batch)
    assert batch.source is not None
    risks = risk.risk(made.model.encode(batch.source), batch, risk.candidates(batch))
    total = weight * likelihood.total + (1 - weight) * risks.sum()
    assert loss.total.item() == pytest.approx(total.item(), rel=1e-9)
    assert loss.risk.item() == pytest.approx(risks.sum().item(), rel=1e-9)
    assert (loss.count, loss.correct) == (likelihood.count, likelihood.correct)
    theirs = gradients(total, made.model)
    for name, value in gradients(loss.total, made.model).items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-7, atol=1e-9, msg=name)


def test_a_step_down_the_gradient_lowers_the_risk() -> None:
    made = tiny(dtype=torch.float64)
    batch = made.batch(TRIALS)
    risk = risk_of(made, include_target=False)
    fixed = risk.candidates(batch)

    def value() -> Tensor:
        assert batch.source is not None
        return risk.risk(made.model.encode(batch.source), batch, fixed).sum()

    before = value()
    found = gradients(before, made.model)
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            parameter -= 1e-3 * found[name]
    after = value()
    slope = sum(float(part.square().sum()) for part in found.values())
    assert before.item() - after.item() == pytest.approx(1e-3 * slope, rel=0.05)


def test_products_in_half_precision() -> None:
    """What autocast keeps of the weights is not what the search has seen without gradients."""
    made = tiny()
    batch = made.batch(TRIALS)
    with torch.autocast("cpu", torch.bfloat16):
        loss = risk_of(made, likelihood_weight=0.3)(batch)
        loss.total.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in made.model.parameters())
    assert loss.risk.item() == pytest.approx(risk_of(made)(batch).risk.item(), rel=0.05)


def test_copied_symbols_are_compared_as_symbols_of_their_own() -> None:
    made = tiny(copying=True)
    risk, batch = risk_of(made, risk="wer"), made.batch(TRIALS[2:3])  # x y d
    x, y = made.head.size + 1, made.head.size + 2  # behind cafe
    d = made.head.tokenizer.id("d")
    found = risk.errors(batch, [[ids_of(x, y, d, END), ids_of(x, x, d, END), ids_of(d, END)]])
    assert found == pytest.approx([0, 1 / 3, 2 / 3])


def test_the_likelihood_needs_no_risk() -> None:
    made = tiny()
    assert minimum_risk(made.config, made.model, made.head) is None
