"""One contract over every pair of source and head in the table SETTINGS: listed there, a pair is tried here.

What a source offers to be tried: examples of its own, in MADE below (a kind that stands in SETTINGS and has none there
fails), also for further ways of reading a kind. What a head offers: targets, in TARGETS. A pair without a source has
its examples from the head's own texts.
The contract: an answer does not depend on its neighbours, on padding, or on order; the gradient is the numeric one in
float64 and reaches every parameter; a saved run answers the same; a bad line is answered with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch

from media import LENGTHS, MEDIA
from media import records as media_records
from seqloom.config.head_sections import SETTINGS
from seqloom.data.batching import pad
from seqloom.engines.torch import to_tensors
from seqloom.heads import head_class
from seqloom.model import build_model, load_weights, stored_weights
from seqloom.predictor import Predictor
from seqloom.run import WEIGHTS, open_run, write_description, write_weights
from seqloom.sources import source_class
from seqloom.types import Batch, Item, Loss, Padded, Prediction, Record
from source_tree import PACKAGE
from tiny import CPU, Tiny, config_of, gradients, normal, one_thread, randomise

__all__ = ["one_thread"]

INSIDE = "text with characters"
# Further ways of reading a kind, which stands in the table once. Where positions become fewer, no step has a tag.
WAYS = {INSIDE: "text", **{f"{media.options['kind']}: {name}": media.options["kind"] for name, media in MEDIA.items()
                           if name not in ("image", "features", "frames")}}
PAIRS = [(source, head) for source, heads in ({**SETTINGS, **{way: SETTINGS[kind] for way, kind in WAYS.items()}}
                                              ).items() for head in heads
         if (PACKAGE / "heads" / f"{head}.py").is_file()  # listed is what will be there; a file is what is
         and (head != "tags" or ":" not in source)]
every_pair = pytest.mark.parametrize(("source", "head"), PAIRS)
COUNT = len(LENGTHS)
EPSILON = 1e-6


# --- what sources and heads offer ------------------------------------------------------------------------------------


def text_records(folder: Path, targets: Sequence[str]) -> list[Record]:
    """Five texts of the lengths that the other sources have too."""
    letters = "abcdefg"
    texts = [" ".join(letters[(number + place) % 7] for place in range(length)) for number, length in
             enumerate(LENGTHS)]
    return [Record({"source": text, "target": target}, str(folder / "list.tsv"), line)
            for line, (text, target) in enumerate(zip(texts, targets, strict=True), 1)]


def word_records(folder: Path, targets: Sequence[str]) -> list[Record]:
    """The same, of words of one to four letters."""
    return [Record({**one.fields, "source": " ".join(f"{letter}{'face'[:-ord(letter) % 4]}"
                                                     for letter in one.text("source").split())}, one.path, one.line)
            for one in text_records(folder, targets)]


def media(name: str) -> Callable[[Path, Sequence[str]], list[Record]]:
    return lambda folder, targets: media_records(folder, name, list(targets))


def running_texts(folder: Path, targets: Sequence[str]) -> list[Record]:
    """For heads that read their own text."""
    return [Record({"text": target}, str(folder / "list.txt"), line) for line, target in enumerate(targets, 1)]


# kind of source → (options of its section, what writes examples for five targets)
MADE: Mapping[str, tuple[dict[str, Any], Callable[[Path, Sequence[str]], list[Record]]]] = {
    "text": ({"kind": "text", "embedding_size": 4, "tokenizer": {"kind": "word"}}, text_records),
    INSIDE: ({"kind": "text", "embedding_size": 4, "characters": {"embedding_size": 3, "hidden_size": 2}},
             word_records),
    "image": (MEDIA["image"].options, media("image")),
    "audio": ({**MEDIA["audio"].options, "subsampling": {"kind": "none"}}, media("audio")),
    "features": (MEDIA["features"].options, media("features")),
    "frames": (MEDIA["frames"].options, media("frames")),
    "none": ({"kind": "none"}, running_texts),
    **{way: (MEDIA[way.partition(": ")[2]].options, media(way.partition(": ")[2])) for way in WAYS if way != INSIDE},
}
# kind of head → (options of its section, five targets); tags are as many as LENGTHS says
TARGETS: Mapping[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "sequence": ({}, ("a b", "b a c", "c", "a", "b b b")),
    "label": ({}, ("yes", "no", "yes", "no", "maybe")),
    "tags": ({}, tuple(" ".join("ab"[(number + place) % 2] for place in range(length))
                       for number, length in enumerate(LENGTHS))),
    "language": ({}, ("hello world", "a cab", "bad", "add a dab", "cab")),
}


@cache
def examples_of(source: str, head: str) -> tuple[Record, ...]:
    folder = Path(mkdtemp(prefix=f"seqloom-{source}-"))
    made = MADE[source][1](folder, TARGETS[head][1])
    assert len(made) == COUNT
    return tuple(made)


@cache
def task_of(source: str, head: str, dtype: torch.dtype = torch.float32) -> Tiny:
    pyramid = MADE[source][0].get("subsampling", {}).get("kind") == "pyramid"
    config = config_of({
        "source": MADE[source][0], "head": {"kind": head, **TARGETS[head][0]},
        "encoder": {"hidden_size": 4, "layers": 2 if pyramid else 1},
        "decoder": {"hidden_size": 6, "embedding_size": 5},
        "decoding": {"max_length": 5, "beam_size": 2 if head == "sequence" else 1}})
    examples = examples_of(source, head)
    made = head_class(head).fit(config, examples)
    read = source_class(config.source.kind).fit(config.source, examples, made.shared_tokenizer)
    made.adopt(read)
    model = build_model(config, read, made, seed=1).to(dtype)
    randomise(model, 1, spread=0.5)
    return Tiny(config, read, made, model)


def training_examples(task: Tiny, given: Sequence[Record]) -> tuple[list[Item | None], list[Item]]:
    """As training makes them: the head says what an example is."""
    refused: list[str] = []
    found = list(task.head.examples(task.source, given, lambda record, reason: refused.append(reason)))
    assert not refused
    return [example.source for example in found], [example.target for example in found]


def batch_of(sources: Sequence[Item | None], targets: Sequence[Item]) -> Batch:
    read = [source for source in sources if source is not None]
    padded: Padded | None = to_tensors(pad(read), CPU) if read else None
    return Batch(padded, to_tensors(pad(list(targets)), CPU), np.arange(len(targets)))


def loss_of(task: Tiny, batch: Batch) -> Loss:
    torch.manual_seed(0)
    return task.model(batch)  # type: ignore[no-any-return]


def answers(task: Tiny, given: Sequence[Record]) -> list[Prediction]:
    predictor = Predictor(task.source, task.head, task.engine(), task.config.decoding)
    return list(predictor.predict_records(given, attention=True))


def assert_same(found: Sequence[Prediction], expected: Sequence[Prediction], tolerance: float = 1e-5) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.text, one.tokens, one.stopped) == (other.text, other.tokens, other.stopped)
        assert one.score == pytest.approx(other.score, abs=tolerance, rel=tolerance)
        np.testing.assert_allclose(one.token_scores, other.token_scores, atol=tolerance)
        if one.attention is not None:
            np.testing.assert_allclose(one.attention, other.attention, atol=tolerance)


# --- the contract ----------------------------------------------------------------------------------------------------


def test_every_source_and_head_of_the_table_can_be_tried() -> None:
    assert set(MADE) >= set(SETTINGS), "add examples of the new source to MADE"
    assert set(TARGETS) >= {head for heads in SETTINGS.values() for head in heads}, "add targets to TARGETS"


@every_pair
def test_an_answer_does_not_depend_on_its_neighbours(source: str, head: str) -> None:
    task, given = task_of(source, head), examples_of(source, head)
    together = answers(task, given)
    assert all(answer.stopped != "error" for answer in together), [answer.error for answer in together]
    assert_same(answers(task, given[::-1])[::-1], together)
    assert_same([answers(task, [example])[0] for example in given], together)


@pytest.mark.parametrize(("source", "head"), [(source, head) for source, head in PAIRS if source != "none"])
def test_attention_lies_on_real_positions_and_each_has_a_name(source: str, head: str) -> None:
    task, given = task_of(source, head), examples_of(source, head)
    for example, answer in zip(given, answers(task, given), strict=True):
        encoded = task.model.encode(to_tensors(pad([task.item(example)]), CPU))
        assert len(task.source.memory_tokens(task.item(example), example)) == int(encoded.mask.sum())
        if answer.attention is not None:
            assert answer.attention.shape[1] == len(answer.source_tokens)
            np.testing.assert_allclose(answer.attention.sum(1), 1, atol=1e-5)


@every_pair
def test_padding_does_not_change_a_loss(source: str, head: str) -> None:
    """The loss of a batch is the sum of the losses of its examples alone, which have no padding."""
    task, given = task_of(source, head, torch.float64), examples_of(source, head)
    sources, targets = training_examples(task, given)
    task.model.eval()
    whole = loss_of(task, batch_of(sources, targets))
    alone = [loss_of(task, batch_of([one], [target])) for one, target in zip(sources, targets, strict=True)]
    assert whole.total.item() == pytest.approx(sum(loss.total.item() for loss in alone), rel=1e-9)
    assert int(whole.count) == sum(int(loss.count) for loss in alone)
    assert int(whole.correct) == sum(int(loss.correct) for loss in alone)


@every_pair
def test_every_parameter_gets_a_gradient_and_it_is_the_numeric_one(source: str, head: str) -> None:
    task, given = task_of(source, head, torch.float64), examples_of(source, head)
    batch = batch_of(*training_examples(task, given))
    task.model.train()
    found = gradients(loss_of(task, batch).total, task.model)
    for parameter, gradient in found.items():
        assert gradient.isfinite().all(), parameter
        assert gradient.any(), f"{parameter} learns nothing"
    directions = {parameter: normal(*gradient.shape, seed=number) / gradient.numel() ** 0.5
                  for number, (parameter, gradient) in enumerate(found.items())}
    expected = sum(float((gradient * directions[parameter]).sum()) for parameter, gradient in found.items())
    sides = []
    with torch.no_grad():
        for step in (EPSILON, -2 * EPSILON, EPSILON):
            for parameter, value in task.model.named_parameters():
                value.add_(directions[parameter], alpha=step)
            sides.append(loss_of(task, batch).total.item())
    assert (sides[0] - sides[1]) / (2 * EPSILON) == pytest.approx(expected, rel=2e-4, abs=1e-5)
    task.model.eval()


@every_pair
def test_a_run_folder_keeps_the_answers(source: str, head: str, tmp_path: Path) -> None:
    task, given = task_of(source, head), examples_of(source, head)
    write_description(tmp_path, task.config, task.source, task.head)
    write_weights(tmp_path / WEIGHTS, {key: weight.numpy() for key, weight in stored_weights(task.model).items()})
    run = open_run(tmp_path)
    model = build_model(run.config, run.source, run.head, seed=2)
    load_weights(model, {key: torch.from_numpy(array) for key, array in run.weights().items()}, "")
    again = Tiny(run.config, run.source, run.head, model)
    assert_same(answers(again, given), answers(task, given), tolerance=0)
    loss, other = (loss_of(one, batch_of(*training_examples(one, given))).total.item() for one in (task, again))
    assert loss == other


@every_pair
def test_given_targets_have_the_probability_that_the_loss_says(source: str, head: str) -> None:
    """Scores through the engine, position by position, and the loss of training are the same number."""
    task, given = task_of(source, head), examples_of(source, head)
    task.model.eval()
    scored = list(Predictor(task.source, task.head, task.engine(), task.config.decoding).score_records(given))
    loss = loss_of(task, batch_of(*training_examples(task, given)))
    assert -sum(one.score for one in scored) == pytest.approx(loss.total.item(), rel=1e-4)
    assert sum(len(one.token_scores) for one in scored) == int(loss.count)


@pytest.mark.parametrize(("source", "head"), [(source, head) for source, head in PAIRS if source != "none"])
def test_a_bad_line_is_answered_with_its_reason(source: str, head: str) -> None:
    task, given = task_of(source, head), examples_of(source, head)
    bad = Record({"source": "" if source.startswith("text") else "gone"}, given[0].path, 99)
    found = answers(task, [given[0], bad, given[1]])
    assert [answer.stopped == "error" for answer in found] == [False, True, False]
    assert found[1].where.endswith(":99")
    assert ("gone" in found[1].error) == ("gone" in bad.text("source"))
    assert found[1].error
    assert_same([found[0], found[2]], answers(task, given[:2]))
