"""Outputs that give most symbols probability 0: searched, sampled, scored, shortened, averaged, evaluated.

The truth is the package entmax over the model's logits.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import entmax
import numpy as np
import pytest
import torch

from export.exported import onnx_engine, stored
from seqloom.cli.lines import jsonl_line
from seqloom.config.sections import CorpusConfig, DecodingConfig
from seqloom.engines.ensemble import EnsembleEngine
from seqloom.engines.torch import to_tensors
from seqloom.evaluation import evaluate_files
from seqloom.export import export_run
from seqloom.predictor import Predictor, load_predictor
from seqloom.search import search
from seqloom.search.scoring import score_targets
from seqloom.types import END, START, UNKNOWN, Floats, Ints
from tiny import CPU, TRIALS, Tiny, tiny

KINDS = {"sparsemax": entmax.sparsemax, "entmax15": entmax.entmax15}
ENGINES = ("torch", "onnx", "onnx int8")
every_kind = pytest.mark.parametrize("kind", KINDS)
every_engine = pytest.mark.parametrize("name", ENGINES)


@cache
def made(kind: str, seed: int = 1) -> tuple[Tiny, dict[str, Any]]:
    task = tiny(output=kind, normalization=kind, bidirectional=True, seed=seed)
    with torch.no_grad():  # so that some symbols stay impossible and others compete
        task.model.head.output.weight.mul_(2)  # type: ignore[union-attr, operator]
    return task, {"torch": task.engine(), "onnx": onnx_engine(task), "onnx int8": onnx_engine(task, int8=True)}


def first_probabilities(kind: str, shortlist: Ints | None = None) -> Floats:
    """[B V] of the first step, by the other library; over a list where one is given."""
    task, _ = made(kind)
    head: Any = task.model.eval().head
    with torch.no_grad():
        memory, state = head.begin(task.model.encode(to_tensors(task.padded(TRIALS), CPU)))
        outputs, _ = head.decoder.step(memory, state, torch.full((len(TRIALS), 1), START))
        logits = head.output(outputs.values)[:, 0].double()
    if shortlist is not None:
        allowed = torch.zeros(logits.shape, dtype=torch.bool)
        for row, listed in zip(allowed, shortlist, strict=True):
            row[torch.from_numpy(listed[listed >= 0])] = True
        logits = logits.masked_fill(~allowed, -1e9)
    found: Floats = KINDS[kind](logits, dim=1).numpy()
    return found


def start(count: int) -> tuple[Ints, Ints]:
    return np.full((count, 1), START, np.int64), np.zeros((count, 1), np.int64)


# --- a step ----------------------------------------------------------------------------------------------------------


@every_kind
@every_engine
def test_a_step_has_the_other_librarys_distribution(kind: str, name: str) -> None:
    task, engines = made(kind)
    expected = first_probabilities(kind)
    assert (expected == 0).mean() > 0.3
    engine = engines[name]
    found, _ = engine.step(engine.begin(task.padded(TRIALS)), *start(len(TRIALS)), None)
    np.testing.assert_allclose(np.exp(found.scores[:, 0]), expected, atol=1e-5 if "int8" not in name else 0.15)
    if "int8" not in name:
        assert ((found.scores[:, 0] == -np.inf) == (expected == 0)).all()


@every_kind
@every_engine
def test_a_shortlist_shares_everything_among_its_symbols(kind: str, name: str) -> None:
    """Also where none of them has a probability without it."""
    task, engines = made(kind)
    everywhere = first_probabilities(kind)
    shortlist: Ints = np.full((len(TRIALS), 4), -1, np.int64)
    for row, shares in zip(shortlist, everywhere, strict=True):
        worst = [number for number in np.argsort(shares) if number > UNKNOWN and number not in (START, END)]
        row[:2] = worst[:2]
        row[2] = END
    expected = first_probabilities(kind, shortlist)
    np.testing.assert_allclose(expected.sum(1), 1)
    engine = engines[name]
    found, _ = engine.step(engine.begin(task.padded(TRIALS), shortlist), *start(len(TRIALS)), None)
    np.testing.assert_allclose(np.exp(found.scores[:, 0]), expected, atol=1e-5 if "int8" not in name else 0.15)


# --- searches --------------------------------------------------------------------------------------------------------


@every_kind
@every_engine
@pytest.mark.parametrize("changes", [
    {"beam_size": 1}, {"beam_size": 8, "n_best": 8}, {"strategy": "sampling", "n_best": 6},
    {"strategy": "sampling", "temperature": 2.0, "top_p": 0.9}, {"beam_size": 4, "coverage_penalty": 0.2},
    {"beam_size": 3, "min_length": 3, "no_repeat_ngram_size": 1}], ids=str)
def test_no_answer_holds_what_is_impossible(kind: str, name: str, changes: dict[str, Any]) -> None:
    """Fewer answers come where fewer are possible; each is scored as forced decoding scores it."""
    task, engines = made(kind)
    engine, source = engines[name], task.padded(TRIALS)
    found = search(engine, source, DecodingConfig(max_length=5, **changes), lines=np.arange(len(TRIALS)))
    for row, answers in enumerate(found):
        assert answers
        for one in answers:
            assert np.isfinite(one.token_scores).all()
            if one.finished and not {START, END} & set(one.ids.tolist()):
                again = score_targets(engine, task.padded(TRIALS[row:row + 1]), [one.ids])[0]
                assert again.hypothesis.score == pytest.approx(one.score, abs=5e-3)


@pytest.mark.parametrize("normalization", ["softmax", "entmax15", "sparsemax"])
@pytest.mark.parametrize("name", ["torch", "onnx", "ensemble"])
def test_positions_that_get_no_weight_are_not_covered(normalization: str, name: str) -> None:
    """Where the memory is longer than the text: features stand behind it, and the first step may pass over anything."""
    task = tiny(normalization=normalization, features="encoder", seed=2)
    engine: Any = {"torch": task.engine, "onnx": lambda: onnx_engine(task),
                   "ensemble": lambda: EnsembleEngine([onnx_engine(task), task.engine()])}[name]()
    items = task.items(TRIALS)
    options = DecodingConfig(max_length=5, beam_size=3, n_best=3, length_penalty=0.0, coverage_penalty=0.5)
    nothing = 0
    for item, answers in zip(items, search(engine, task.padded(TRIALS), options, lines=np.arange(len(items)),
                                           weights=True), strict=True):
        for one in answers:
            assert one.weights is not None
            weights = one.weights[:, : item.length + len(item.fields["features"])].astype(np.float64)
            covered = weights.sum(0)
            nothing += int((weights[0] == 0).sum())
            penalty = np.log(np.clip(covered, 1e-10, 1)).sum()
            assert one.ranking_score == pytest.approx(one.score + 0.5 * penalty, abs=1e-3)
    assert (nothing > 0) == (normalization != "softmax")


@every_kind
@every_engine
def test_an_impossible_target_has_the_score_of_one(kind: str, name: str) -> None:
    """−∞, and what the model would have said instead."""
    task, engines = made(kind)
    impossible = [int(np.flatnonzero(row == 0)[-1]) for row in first_probabilities(kind)]
    scored = score_targets(engines[name], task.padded(TRIALS), [np.array([number]) for number in impossible],
                           candidates=3)
    for one in scored:
        if "int8" not in name:
            assert one.hypothesis.token_scores[0] == -np.inf
            assert one.hypothesis.score == -np.inf
        assert not one.correct[0]
        assert not np.isnan(one.hypothesis.token_scores).any()


# --- ensembles -------------------------------------------------------------------------------------------------------


@every_kind
def test_an_ensemble_averages_zeros_too(kind: str) -> None:
    """The arithmetic mean has what any member has, the geometric one what all have."""
    members = [made(kind, seed)[1]["onnx"] for seed in (1, 2)]
    task, _ = made(kind)
    source = task.padded(TRIALS)
    single = [np.exp(engine.step(engine.begin(source), *start(len(TRIALS)), None)[0].scores) for engine in members]
    for average, mean in (("probabilities", (single[0] + single[1]) / 2),
                          ("log_probabilities", np.sqrt(single[0] * single[1]))):
        engine = EnsembleEngine(members, average=average)  # type: ignore[arg-type]
        found, _ = engine.step(engine.begin(source), *start(len(TRIALS)), None)
        whole = mean.sum(2, keepdims=True)
        np.testing.assert_allclose(np.exp(found.scores), np.divide(mean, whole, out=np.zeros_like(mean),
                                                                   where=whole > 0), atol=1e-5)
        for options in (DecodingConfig(max_length=4), DecodingConfig(max_length=4, strategy="sampling")):
            for answers in search(engine, source, options, lines=np.arange(len(TRIALS))):
                assert all(np.isfinite(one.token_scores).all() for one in answers)


# --- files -----------------------------------------------------------------------------------------------------------


@every_kind
def test_evaluation_says_that_targets_are_impossible(kind: str, tmp_path: Path) -> None:
    task, _ = made(kind)
    path = tmp_path / "data.tsv"
    path.write_text("".join(f"{trial.text('source')}\t{trial.text('target')}\n" for trial in TRIALS))
    found = evaluate_files(task.predictor(), [CorpusConfig(path=str(path))])
    assert 0 < found.scores["impossible_rate"] < 1
    assert not {"perplexity", "bits_per_character"} & set(found.scores)
    assert any("have probability 0: perplexity is infinite, and left out" in note for note in found.notes)
    json.dumps(found.scores, allow_nan=False)


@every_kind
def test_a_score_that_is_not_finite_is_null_in_jsonl(kind: str) -> None:
    task, _ = made(kind)
    predictor: Predictor = task.predictor()
    scored = predictor.score([trial.fields for trial in TRIALS], [trial.text("target") for trial in TRIALS])
    lines = [json.loads(jsonl_line(number, one)) for number, one in enumerate(scored)]
    assert None in [line["score"] for line in lines]
    assert all((line["score"] is None) == (None in line["token_scores"]) for line in lines)


@every_kind
def test_an_export_is_compared_by_probabilities(kind: str, tmp_path: Path) -> None:
    task, _ = made(kind)
    path = tmp_path / "data.tsv"
    path.write_text("".join(f"{trial.text('source')}\t{trial.text('target')}\n" for trial in TRIALS))
    (parity,) = export_run(stored(task, tmp_path / "run"), data=[CorpusConfig(path=str(path))]).parity
    assert (parity.sparse, parity.changed) == (True, 0)
    assert 0 < parity.largest < 1e-5
    assert load_predictor(tmp_path / "run").engine.name == "onnx fp32"
