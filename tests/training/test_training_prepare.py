"""From files to examples: what is held out, set aside, learned from and seen how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqloom
from seqloom.data.doctor import source_fingerprint
from seqloom.errors import DataError, TrainingError
from seqloom.progress import Reporter
from seqloom.run import open_run
from seqloom.training.corpora import Corpora, Locations, choose_held_out, seeded_hash
from seqloom.training.loop import Trainer
from seqloom.training.prepare import Prepared, examine, prepare, roles_of
from seqloom.training.session import resume_run, train_run
from seqloom.types import END, START, Record
from training_helpers import Files, Told, configuration, letters, state_of, trainer_of, write_pairs


def prepared(folder: Path, config: Any) -> Prepared:
    folder.mkdir(exist_ok=True)
    return prepare(config, folder, Reporter())


def sources_of(data: Prepared) -> list[str]:
    """The sources of the training examples as text, from their ids."""
    token = data.source.tokenizer.token
    pairs = [data.store.get(index) for index in range(len(data.store))]
    return [" ".join(token(int(number)) for number in source.fields["main"][:-1])
            for source, _ in pairs if source is not None]


def held_out(data: Prepared) -> list[str]:
    return [record.text("source") for record in data.valid_records]


# --- holding out -----------------------------------------------------------------------------------------------------


@pytest.fixture
def repeated(tmp_path: Path) -> Path:
    """120 lines of 40 sources, each with three targets, not beside each other."""
    sources = letters(40, seed=3) * 3
    targets = [f"{source[::-1]} {'abc'[number // 40]}" for number, source in enumerate(sources)]
    return write_pairs(tmp_path / "repeated.tsv", sources, targets)


def test_no_source_is_on_both_sides(repeated: Path, tmp_path: Path) -> None:
    """And together both sides are all there is, a tenth of it held out, sources whole."""
    data = prepared(tmp_path / "run", configuration(repeated))
    train, valid = sources_of(data), held_out(data)
    assert not set(train) & set(valid)
    assert Counter(train + valid) == Counter(dict.fromkeys(letters(40, seed=3), 3))
    assert len(valid) == 12


@pytest.mark.parametrize(("data", "count"), [
    ({"valid_fraction": 0.5}, 60), ({"valid_fraction": 0.3, "valid_limit": 7}, 6), ({"valid_limit": 3}, 3),
    ({"valid_fraction": 0.001}, 3), ({"valid_fraction": 0.999}, 117)])
def test_how_much_is_held_out(data: dict[str, Any], count: int, repeated: Path, tmp_path: Path) -> None:
    """At most the limit; at least one source; never all sources."""
    made = prepared(tmp_path / "run", configuration(repeated, data=data))
    assert len(made.valid_records) == count
    assert len(made.store) == 120 - count


def test_what_is_held_out_depends_on_the_sources_alone(repeated: Path, tmp_path: Path) -> None:
    """Not on the seed, and not on the order of the lines."""
    first, other = (held_out(prepared(tmp_path / str(seed), configuration(repeated, training={"seed": seed})))
                    for seed in (1, 2))
    assert first == other
    shuffled = repeated.read_text(encoding="utf-8").splitlines(keepends=True)[::-1]
    (tmp_path / "shuffled.tsv").write_text("".join(shuffled), encoding="utf-8")
    assert set(held_out(prepared(tmp_path / "3", configuration(tmp_path / "shuffled.tsv")))) == set(first)


def test_more_data_moves_few_examples() -> None:
    before = choose_held_out(range(1000), fraction=0.1, limit=10**6, seed=5)
    after = choose_held_out(range(1100), fraction=0.1, limit=10**6, seed=5)
    assert len(before) == 100
    assert len(after) == 110
    assert len(before & after) > 80


def test_the_choice_is_the_smallest_of_all_hashes_in_bounded_memory() -> None:
    """Against sorting them all; what has more records than there is room for stays in training."""
    draw = np.random.default_rng(1)
    marks = draw.integers(0, 300, 2000).tolist()
    counts = Counter(marks)
    for limit, fraction in ((10, 0.5), (40, 0.5), (500, 0.1), (1, 0.9), (10**4, 0.3)):
        room = min(limit, max(1, round(len(marks) * fraction)))
        ordered = sorted(counts, key=lambda mark: seeded_hash(mark, 9))
        expected, left = set(), room
        for mark in ordered[: limit + 1][: len(counts) - 1]:
            if counts[mark] <= left:
                expected.add(mark)
                left -= counts[mark]
        found = choose_held_out(marks, fraction=fraction, limit=limit, seed=9)
        assert found == (expected or found)
        assert sum(counts[mark] for mark in found) <= room or len(found) == 1


@pytest.mark.parametrize(("lines", "said", "fix"), [
    (["a\tb"] * 5, "only 1 usable source, too few to hold out", "--valid"),
    (["a", "b"], r"few\.tsv:1: not one line can be used; the first: missing column: 1 column", "seqloom doctor")])
def test_too_little_to_hold_out(lines: list[str], said: str, fix: str, tmp_path: Path) -> None:
    path = tmp_path / "few.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=said) as error:
        prepared(tmp_path / "run", configuration(path))
    assert fix in error.value.fix


def test_features_are_part_of_a_source(tmp_path: Path) -> None:
    """One lemma with two feature sets is two sources."""
    path = tmp_path / "inflect.tsv"
    path.write_text("".join(f"w {letter}\tx\t{feature}\n" for letter in "abcdefgh" for feature in ("PL", "SG")))
    config = configuration(path, source={"features": {"column": 3}}, data={"valid_fraction": 0.4})
    data = prepared(tmp_path / "run", config)
    both = [(record.text("source"), record.text("features")) for record in data.valid_records]
    assert len(both) == len(set(both)) == 6
    assert (roles_of(config), config.source.columns) == (("source", "features", "target"), {"features": 3})


def test_training_data_is_needed(tmp_path: Path, files: Files) -> None:
    config = configuration(files.train)
    empty = config.model_copy(update={"data": config.data.model_copy(update={"train": []})})
    with pytest.raises(DataError, match="no training data is given"):
        prepared(tmp_path / "run", empty)


# --- what is left out ------------------------------------------------------------------------------------------------


def test_what_is_too_long_or_bad_is_set_aside_with_the_reason(tmp_path: Path, files: Files) -> None:
    """The limits count tokens, not </s>; validation has no limits."""
    lines = ["a b c\tc b a", "a b c d\tx", "a\tb c d e", "no tab", "\tempty source", "a b\tb a", "b c a\ta"]
    train = tmp_path / "train.tsv"
    train.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = configuration(train, files.valid, data={"max_source_length": 3, "max_target_length": 3})
    data = prepared(tmp_path / "run", config)
    assert sources_of(data) == ["a b c", "a b", "b c a"]
    assert [data.where(index) for index in range(3)] == [f"{train}:1", f"{train}:6", f"{train}:7"]
    rows = [row.split("\t") for row in (tmp_path / "run" / "quarantine.tsv").read_text(encoding="utf-8").splitlines()]
    reasons = {row[0]: row[1] for row in rows}
    assert reasons[f"{train}:2"] == "too long: 4 source tokens, at most 3"
    assert reasons[f"{train}:3"] == "too long: 4 target tokens, at most 3"
    assert set(reasons) == {f"{train}:{line}" for line in (2, 3, 4, 5)}
    assert data.report.train.usable == 3
    assert data.report.train.bad_lines == 4
    assert len(data.valid_records) == 6


def test_duplicates_are_dropped_when_asked(tmp_path: Path, files: Files) -> None:
    train = write_pairs(tmp_path / "train.tsv", ["a b", "c d", "a b", "a b"], ["b a", "d c", "b a", "other"])
    for drop, expected in ((False, ["a b", "c d", "a b", "a b"]), (True, ["a b", "c d", "a b"])):
        data = prepared(tmp_path / "run", configuration(train, files.valid, data={"drop_duplicates": drop}))
        assert sources_of(data) == expected
        assert data.report.train.usable == len(expected)
        assert [data.where(index)[-1] for index in range(len(expected))] == list("1234" if not drop else "124")


def test_nothing_usable(tmp_path: Path, files: Files) -> None:
    long = write_pairs(tmp_path / "long.tsv", ["a b c", "a b d"])
    with pytest.raises(DataError, match="no training example is usable") as error:
        prepared(tmp_path / "run", configuration(long, files.valid, data={"max_source_length": 2}))
    assert error.value.where == str(long)
    assert "seqloom doctor" in error.value.fix
    bad = tmp_path / "bad.tsv"
    bad.write_text("no tab\n", encoding="utf-8")
    with pytest.raises(DataError, match="no validation example is usable"):
        prepared(tmp_path / "run", configuration(files.train, bad))


# --- symbols ---------------------------------------------------------------------------------------------------------


def test_symbols_come_from_training_data_only(tmp_path: Path) -> None:
    train = write_pairs(tmp_path / "train.tsv", ["a b", "b a b"], ["x", "x y"])
    valid = write_pairs(tmp_path / "valid.tsv", ["a z"], ["x q"])
    data = prepared(tmp_path / "run", configuration(train, valid))
    assert sorted(data.source.tokenizer.symbols) == ["a", "b"]
    assert sorted(data.head.tokenizer.symbols) == ["x", "y"]
    assert data.report.unknown["source"].unknown == data.report.unknown["target"].unknown == 1


def test_symbols_of_what_is_held_out_are_unknown(tmp_path: Path) -> None:
    """Every source has a letter of its own."""
    alphabet = [chr(0x4E00 + number) for number in range(30)]
    path = write_pairs(tmp_path / "own.tsv", [f"a {letter}" for letter in alphabet], ["x"] * 30)
    data = prepared(tmp_path / "run", configuration(path))
    unseen = {record.text("source")[-1] for record in data.valid_records}
    assert set(data.source.tokenizer.symbols) == {"a", *alphabet} - unseen
    assert data.report.unknown["source"].unknown == len(unseen) == 3


def test_one_vocabulary_for_both_sides(tmp_path: Path, files: Files) -> None:
    train = write_pairs(tmp_path / "train.tsv", ["a b", "b"], ["x", "x y"])
    data = prepared(tmp_path / "run", configuration(train, files.valid, head={"share_vocabulary": True}))
    assert data.source.tokenizer.symbols == data.head.tokenizer.symbols
    assert set(data.source.tokenizer.symbols) == {"a", "b", "x", "y"}


def test_features_get_symbols_of_their_own(tmp_path: Path) -> None:
    train, valid = tmp_path / "train.tsv", tmp_path / "valid.tsv"
    train.write_text("a b\tb\tPL;X\nb\ta\tSG\n", encoding="utf-8")
    valid.write_text("a\tb\tPL\n", encoding="utf-8")
    data = prepared(tmp_path / "run", configuration(train, valid, source={"features": {"column": 3}}))
    assert data.source.tokenizer.features == ["PL", "SG", "X"]
    source, _ = data.store.get(0)
    known = data.source.tokenizer
    assert source is not None
    assert source.fields["main"].tolist() == [known.feature_id("PL"), known.feature_id("X"), known.id("a"),
                                              known.id("b"), END]


def test_copied_symbols_have_ids_behind_the_vocabulary(tmp_path: Path) -> None:
    """min_frequency 2 leaves x and y unknown: they are ids V, V + 1 of their sentence, in the order they stand."""
    train = write_pairs(tmp_path / "train.tsv", ["a y x y b", "a b"], ["b x y a", "b a"])
    valid = write_pairs(tmp_path / "valid.tsv", ["q a"], ["a q r"])
    config = configuration(train, valid, decoder={"context": "attention", "copy_source": True},
                           head={"tokenizer": {"min_frequency": 2}})
    data = prepared(tmp_path / "run", config)
    a, b, V = data.head.tokenizer.id("a"), data.head.tokenizer.id("b"), data.head.tokenizer.size
    assert V == 6
    source, target = data.store.get(0)
    assert source is not None
    assert source.fields["copy"].tolist() == [a, V, V + 1, V, b, END]
    assert target.fields["main"].tolist() == [START, b, V + 1, V, a, END]
    source, target = data.valid_items[0]
    assert source.fields["copy"].tolist() == [V, a, END]
    assert target.fields["main"].tolist() == [START, a, V, 1, END]


# --- how often, and in what order ------------------------------------------------------------------------------------


def test_weights_say_how_often_a_corpus_is_seen(tmp_path: Path, files: Files) -> None:
    """Weight 2: twice an epoch; weight 0.5: in every other epoch."""
    often, seldom = (write_pairs(tmp_path / f"{name}.tsv", letters(12, seed=seed))
                     for name, seed in (("often", 8), ("seldom", 9)))
    config = configuration(files.train, files.valid, data={"train": [
        {"path": str(files.train)}, {"path": str(often), "weight": 2}, {"path": str(seldom), "weight": 0.5}]})
    data = prepared(tmp_path / "run", config)
    seen = Counter(int(index) for epoch in (0, 1) for batch in data.batches.plan(epoch) for index in batch)
    assert [seen[index] for index in range(48)] == [2] * 24 + [4] * 12 + [1] * 12
    assert data.where(24) == f"{often}:1"
    assert data.where(47) == f"{seldom}:12"


def test_all_weights_alike_are_no_weights(tmp_path: Path, files: Files) -> None:
    data = prepared(tmp_path / "run", configuration(*files))
    assert sorted(np.concatenate(data.batches.plan(0)).tolist()) == list(range(24))


def test_the_fingerprint_sees_content_order_and_weight(tmp_path: Path, files: Files) -> None:
    lines = files.train.read_text(encoding="utf-8").splitlines(keepends=True)

    def fingerprint(name: str, text: Sequence[str], **entry: Any) -> str:
        path = tmp_path / name
        path.write_text("".join(text), encoding="utf-8")
        config = configuration(path, files.valid, data={"train": [{"path": str(path), **entry}]})
        return prepared(tmp_path / "run", config).fingerprint

    prints = [fingerprint("one", lines), fingerprint("two", lines), fingerprint("three", lines[::-1]),
              fingerprint("four", ["ab"[lines[0][0] == "a"] + lines[0][1:], *lines[1:]]),
              fingerprint("five", lines, weight=2)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_places_and_weights_of_examples() -> None:
    places, given = Locations(), [("a", 3, 1.0), ("a", 4, 1.0), ("a", 9, 1.0), ("b", 10, 0.5), ("b", 11, 0.5),
                                  ("a", 12, 0.5), ("c", 12, 2.0)]
    for path, line, weight in given:
        assert places.weights() is None or weight != 1
        places.add(Record({}, path, line), weight)
    assert [places.where(index) for index in range(len(given))] == [f"{path}:{line}" for path, line, _ in given]
    weights = places.weights()
    assert weights is not None
    assert weights.tolist() == [weight for *_, weight in given]


def test_runs_of_several_seeds_answer_together(files: Files, tmp_path: Path) -> None:
    """With another part held out they would have other symbols, in another order."""
    runs = [train_run(configuration(files.train, training={"epochs": 1, "seed": seed}), tmp_path / f"run-{seed}")
            for seed in (1, 2)]
    assert seqloom.load(runs).predict(["ab"])


def test_the_held_out_part_is_read_from_the_training_files(repeated: Path) -> None:
    corpora = Corpora(configuration(repeated), ("source", "target"), {})
    valid = [record for record in corpora.valid() if isinstance(record, Record)]
    train = [record for record, _ in corpora.train() if isinstance(record, Record)]
    assert {source_fingerprint(record) for record in valid} == set(corpora.held_out)
    assert len(valid) + len(train) == 120
    assert all(corpora.is_held_out(record) for record in valid)


# --- metrics, doctor -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokenizer", "metric", "bleu"), [
    ({"kind": "character"}, "exact_match", "13a"), ({"kind": "jamo"}, "exact_match", "13a"),
    ({"kind": "word"}, "bleu", "none"), ({"kind": "word", "split": "punctuation"}, "bleu", "13a"),
    ({"kind": "bytes"}, "exact_match", "13a")])
def test_the_metric_that_decides(tokenizer: dict[str, Any], metric: str, bleu: str, tmp_path: Path,
                                 files: Files) -> None:
    config = configuration(*files, head={"tokenizer": tokenizer}, training={"metric": "auto"})
    data = prepared(tmp_path / "run", config)
    assert (data.metric, data.head.bleu_tokenize) == (metric, bleu)


def test_the_doctor_measures_unknown_symbols_of_validation_files(tmp_path: Path) -> None:
    train = write_pairs(tmp_path / "train.tsv", ["a b", "b a"], ["x", "y"])
    valid = write_pairs(tmp_path / "valid.tsv", ["a z z", "b"], ["x", "q"])
    report = examine(configuration(train, valid), Reporter())
    assert (report.unknown["source"].unknown, report.unknown["source"].symbols) == (2, 4)
    assert (report.unknown["target"].unknown, report.unknown["target"].symbols) == (1, 2)
    assert examine(configuration(train), Reporter()).unknown == {}


# --- pretrained vectors ----------------------------------------------------------------------------------------------


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.vec"
    path.write_text("3 6\na 1 2 3 4 5 6\nb 6 5 4 3 2 1\nzz 0 0 0 0 0 1\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("freeze", [True, False])
def test_pretrained_vectors_and_whether_they_move(freeze: bool, vectors: Path, tmp_path: Path, files: Files) -> None:
    """The coverage is said; frozen rows are after training what they were; a resumed run needs no vectors."""
    told = Told()
    pretrained = {"pretrained": {"path": str(vectors), "freeze": freeze}}
    config = configuration(*files, source=pretrained, head=pretrained, training={"epochs": 1, "weight_decay": 0.1})
    out = train_run(config, tmp_path / "run", reporter=told)
    assert any("source embeddings: found 2 of 6 tokens of the vocabulary" in line for line in told.lines)
    assert any("target embeddings: found 2 of 6" in line for line in told.lines)
    run = open_run(out)
    for name, tokenizer in (("encoder.embedding.weight", run.source.tokenizer),
                            ("head.decoder.embedding.weight", run.head.tokenizer)):
        rows = run.weights()[name]
        same = np.array_equal(rows[tokenizer.id("a")], np.arange(1, 7)) and np.array_equal(rows[tokenizer.id("b")],
                                                                                             np.arange(6, 0, -1))
        assert same == freeze, name
    before = state_of(out)
    vectors.unlink()
    resume_run(out)
    assert state_of(out) == before


def test_vectors_of_another_size(vectors: Path, tmp_path: Path, files: Files) -> None:
    config = configuration(*files, source={"embedding_size": 5, "pretrained": {"path": str(vectors)}})
    with pytest.raises(DataError, match="vectors of size 6, but embedding_size is 5"):
        train_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_frozen_embeddings_stay_frozen_in_a_resumed_run(vectors: Path, tmp_path: Path, files: Files) -> None:
    config = configuration(*files, source={"pretrained": {"path": str(vectors), "freeze": True}})
    trainer = trainer_of(config, tmp_path / "run")
    frozen = [name for name, weight in trainer.model.named_parameters() if not weight.requires_grad]
    assert frozen == ["encoder.embedding.weight"]
    assert len(trainer.optimizer.param_groups[0]["params"]) == len(list(trainer.model.parameters())) - 1
    weights = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    again = Trainer(config, trainer.data, tmp_path / "run", Reporter(), start=weights)
    assert [name for name, weight in again.model.named_parameters() if not weight.requires_grad] == frozen
    assert torch.equal(again.model.state_dict()["encoder.embedding.weight"], weights["encoder.embedding.weight"])


def test_a_full_disk_in_preparation(tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store of examples is a folder that cannot be written: nothing is left behind."""
    original = Path.mkdir

    def mkdir(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name == "cache":
            raise OSError(28, "No space left on device")
        original(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(TrainingError, match="examples cannot be written: No space left on device"):
        train_run(configuration(*files), tmp_path / "run")
    assert not (tmp_path / "run").exists()
