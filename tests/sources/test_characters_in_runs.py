"""Runs that read the characters of each word: trained, resumed, stored, answered step by step, exported.

The tag of a word is told by its last letter and its first one's case; half of the words that are tried were never seen,
and lower-casing makes the others look alike: characters alone can tell.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqloom
from seqloom.engines.onnx import OnnxEngine
from seqloom.engines.torch import TorchEngine
from seqloom.errors import ConfigError, RunFolderError, UsageError
from seqloom.export import export_run
from seqloom.predictor import Stepper
from seqloom.run import open_run
from seqloom.training import loop
from seqloom.training.session import resume_run, train_run
from seqloom.types import END, Record
from tiny import TRIALS, record, tiny
from training_helpers import Killed, at_update, configuration, kill, state_of

SMALL = ["source.embedding_size=6", "encoder.hidden_size=16", "source.tokenizer.min_frequency=2", "training.epochs=8",
         "source.tokenizer.lowercase=true", "source.characters={embedding_size: 8, hidden_size: 8}",
         "training.batch_size=8", "training.learning_rate=0.02", "training.threads=1", "data.valid_fraction=0.2"]
HEADS = {"tags": ["head=tags", "encoder.bidirectional=false"], "label": ["head=label"],
         "sequence": ["decoder.hidden_size=16", "decoder.embedding_size=8", "decoder.context=in_step",
                      "encoder.bidirectional=false", "decoding.beam_size=1"]}


def word(draw: random.Random) -> str:
    made = "".join(draw.choices("abcde", k=draw.randint(1, 5)))
    return made.capitalize() if draw.random() < 0.4 else made


def tag(one: str) -> str:
    return "NAME" if one[0].isupper() else "VOWEL" if one[-1] in "ae" else "OTHER"


def rows(head: str, count: int = 160, seed: int = 3) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    texts = [[word(draw) for _ in range(draw.randint(1, 5))] for _ in range(count)]
    return [(" ".join(text), tag(text[-1]) if head == "label" else " ".join(map(tag, text))) for text in texts]


def write(path: Path, pairs: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=list(HEADS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    data = write(folder / "data.tsv", rows(request.param))
    return seqloom.train(data, out=folder / "run", overrides=[*HEADS[request.param], *SMALL])


def kind_of(run: Path) -> str:
    return str(open_run(run).config.head.kind)


def fresh(run: Path) -> list[tuple[str, str]]:
    return rows(kind_of(run), 40, seed=8)


# --- learned and stored ----------------------------------------------------------------------------------------------


def test_words_that_were_never_seen_are_told_by_their_characters(run: Path, tmp_path: Path) -> None:
    scores = seqloom.evaluate(run, write(tmp_path / "test.tsv", fresh(run))).scores
    if kind_of(run) == "sequence":
        assert scores["exact_match"] > 0.5  # 0.03 without characters
    else:
        assert scores["accuracy"] > 0.85  # 0.4 without characters
    assert seqloom.load(run).predict("Ab ab") != seqloom.load(run).predict("ab ab")


def test_a_copied_folder_answers_the_same(run: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    for path in run.rglob("*"):
        if path.is_file() and "checkpoints" not in path.parts:
            target = tmp_path / "copy" / path.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    inputs = [source for source, _ in fresh(run)]
    before, after = (seqloom.load(folder, engine="torch", device="cpu").predict(inputs)
                     for folder in (run, tmp_path / "copy"))
    assert [one.score for one in before] == [one.score for one in after]
    (tmp_path / "copy" / "source.characters.tokenizer.json").unlink()
    with pytest.raises(RunFolderError, match=r"source.characters.tokenizer.json: the file is missing"):
        seqloom.load(tmp_path / "copy")


def test_answers_do_not_depend_on_their_neighbours(run: Path) -> None:
    inputs = [source for source, _ in fresh(run)]
    for engine in ("torch", "onnx"):
        model = seqloom.load(run, engine=engine, device="cpu")
        for given, expected in zip(inputs, model.predict(inputs), strict=True):
            alone = model.predict(given)
            assert alone.text == expected.text
            np.testing.assert_allclose(alone.token_scores, expected.token_scores, rtol=1e-5, atol=1e-6)


def test_another_training_goes_on_with_the_same_characters(run: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "more.tsv", [(f"{source} xyxy", f"{target} OTHER" if kind_of(run) != "label" else "OTHER")
                                         for source, target in fresh(run)])
    tuned = seqloom.finetune(run, data, out=tmp_path / "tuned", overrides=["training.epochs=1"])
    before, after = open_run(run), open_run(tuned)
    assert after.source.characters.table.symbols == before.source.characters.table.symbols
    changed = [name for name, weight in after.weights().items()
               if "characters" in name and not np.array_equal(weight, before.weights()[name])]
    assert len(changed) == sum("characters" in name for name in before.weights())


# --- exported --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("int8", [False, True])
def test_an_export_answers_as_the_model_does(run: Path, tmp_path: Path, int8: bool) -> None:
    """In fp32 to rounding; in whole numbers nearly: export_run compares, and so does this."""
    out = export_run(run, tmp_path / "onnx", int8=int8).folder
    inputs = [source for source, _ in fresh(run)]
    ours, theirs = (seqloom.load(run, engine="torch", device="cpu"), seqloom.load(out))
    assert isinstance(ours.engine, TorchEngine)
    assert isinstance(theirs.engine, OnnxEngine)
    given, found = ours.predict(inputs), theirs.predict(inputs)
    same = sum(one.text == other.text for one, other in zip(given, found, strict=True))
    assert same == len(inputs) if not int8 else same > 0.9 * len(inputs)
    if not int8:
        for one, other in zip(given, found, strict=True):
            np.testing.assert_allclose(one.token_scores, other.token_scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("int8", [False, True])
def test_each_symbol_is_read_as_if_it_were_alone(int8: bool) -> None:
    """A batch, its rows alone, and among others: the same memory, whatever words there are in it."""
    from exported import onnx_engine

    task = tiny(characters=True, bidirectional=True)
    engine = onnx_engine(task, int8=int8)
    together = engine.encode(task.padded(TRIALS))
    truth = task.engine().encode(task.padded(TRIALS))
    np.testing.assert_allclose(together.states, truth.states, atol=0.1 if int8 else 1e-5)
    for number, example in enumerate(TRIALS):
        alone = engine.encode(task.padded([example]))
        np.testing.assert_allclose(alone.states[0], together.states[number, : alone.states.shape[1]], atol=1e-6)


# --- step by step ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_tags_come_step_by_step(run: Path, engine: str) -> None:
    model = seqloom.load(run, engine=engine, device="cpu")
    if kind_of(run) != "tags":
        with pytest.raises(UsageError):
            Stepper(model).step(Record({"source": "Ab"}))
        return
    for source, _ in fresh(run)[:8]:
        stepper = Stepper(model)
        steps = [stepper.step(Record({"source": one})) for one in source.split()]
        whole = model.predict(source)
        assert [one.text for one in steps] == whole.tokens
        np.testing.assert_allclose([one.score for one in steps], whole.token_scores, rtol=1e-4, atol=1e-5)


# --- resumed ---------------------------------------------------------------------------------------------------------


def test_broken_off_training_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout, and examples in memory-mapped arrays as always."""
    train = write(tmp_path / "train.tsv", rows("sequence", 24))
    valid = write(tmp_path / "valid.tsv", rows("sequence", 6, seed=5))
    config = configuration(train, valid, source={
        "characters": {"embedding_size": 3, "hidden_size": 3}}, encoder={"embedding_dropout": 0.2})
    straight = train_run(config, tmp_path / "straight")
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    at_update(monkeypatch, {5: kill})
    with pytest.raises(Killed):
        train_run(config, tmp_path / "broken")
    monkeypatch.undo()
    resume_run(tmp_path / "broken")
    assert state_of(tmp_path / "broken") == state_of(straight)


# --- read ------------------------------------------------------------------------------------------------------------


def letters_of(source: Any, row: np.ndarray) -> str:
    return "".join(source.characters.table.token(int(number)) for number in row[row > 0])


def test_features_and_the_end_have_no_characters() -> None:
    source = tiny(characters=True, features="symbols").source
    item = source.read(record("fab c", features="SG;PST"))
    assert [letters_of(source, row) for row in item.fields["characters"]] == ["", "", "fab", "c", ""]
    assert item.fields["main"][-1] == END
    assert item.fields["characters"].shape == (item.length, 3)
    apart = tiny(characters=True, features="encoder").source.read(record("fab c", features="SG"))
    assert len(apart.fields["characters"]) == apart.length == 3


def test_a_reversed_source_has_its_words_reversed_and_not_their_letters() -> None:
    source = tiny(characters=True, source={
        "reverse": True, "characters": {"max_length": 9}, "tokenizer": {"lowercase": True}}).source
    item = source.read(record("ab cfe"))
    assert item.tokens == ["cfe", "ab", "</s>"]
    assert [letters_of(source, row) for row in item.fields["characters"]] == ["cfe", "ab", ""]


def test_a_shared_vocabulary_has_the_characters_of_the_source() -> None:
    source = tiny(characters=True, tie="all").source
    assert set(source.characters.table.symbols) <= set("abcdef")
    assert letters_of(source, source.read(record("beaf")).fields["characters"][0]) == "bef"
    assert source.describe() == "10 symbols (word), of 5 characters"
    assert source.symbols[-1] == source.characters.table.symbols[-1]


def test_runs_with_other_characters_are_not_averaged(tmp_path: Path) -> None:
    runs = []
    for number, text in enumerate(("ab ba", "ab bc")):  # the same words would be known, the letters not
        data = write(tmp_path / f"{number}.tsv", [(text, "X Y"), (text.upper(), "Y X"), ("ab ab", "X X")] * 4)
        runs.append(seqloom.train(data, out=tmp_path / f"run{number}", overrides=[
            *HEADS["tags"], *SMALL, "source.tokenizer.vocab_size=1", "training.max_steps=1"]))
    with pytest.raises(UsageError, match="different source vocabularies"):
        seqloom.average(runs, tmp_path / "mean")


def test_symbols_that_are_characters_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"(?s)source.characters is given, but source.tokenizer.kind is character.*"
                                          r"fix: set source.characters to null"):
        tiny(characters=True, source={"tokenizer": {"kind": "character"}, "characters": {}})


# --- spans -----------------------------------------------------------------------------------------------------------


def test_evaluate_tells_the_f1_of_spans(tmp_path: Path) -> None:
    """Against a count of entities by their definition: from a B- as far as I- of the same type go on."""
    draw = random.Random(2)
    pairs = []
    for _ in range(150):
        words, tags = [], []
        while len(words) < 5:
            name = draw.random() < 0.4
            first = word(draw).capitalize() if name else word(draw).lower()
            words.append(first)
            tags.append(("B-PER" if first[-1] in "ae" else "B-ORG") if name else "O")
            while name and draw.random() < 0.4:
                words.append(word(draw).capitalize())
                tags.append(tags[-1].replace("B-", "I-"))
        pairs.append((" ".join(words), " ".join(tags)))
    run = seqloom.train(write(tmp_path / "data.tsv", pairs[:120]), out=tmp_path / "run", overrides=[
        "head=tags", *SMALL, "training.epochs=3"])
    scores = seqloom.evaluate(run, write(tmp_path / "test.tsv", pairs[120:])).scores
    answers = seqloom.load(run).predict([source for source, _ in pairs[120:]])

    def entities(text: str) -> set[tuple[int, int, str]]:
        tags = text.split()
        return {(i, j, tags[i][2:]) for i in range(len(tags)) for j in range(i, len(tags))
                if starts(tags, i) and tags[i + 1:j + 1] == [f"I-{tags[i][2:]}"] * (j - i)
                and (j + 1 == len(tags) or tags[j + 1] != f"I-{tags[i][2:]}")}

    def starts(tags: list[str], place: int) -> bool:
        before = tags[place - 1] if place else "O"
        return tags[place][0] == "B" or (tags[place][0] == "I" and before[1:] != tags[place][1:])

    counts = np.zeros(3)
    for (_, truth), answer in zip(pairs[120:], answers, strict=True):
        gold, own = entities(truth), entities(answer.text)
        counts += [len(gold & own), len(own), len(gold)]
    precision, recall = counts[0] / counts[1], counts[0] / counts[2]
    assert scores["span_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert 0.2 < scores["span_f1"] < 1
    assert json.loads((run / "target.json").read_text())["size"] == 5
