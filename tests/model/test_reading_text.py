"""What the text source and the sequence head read and write, id by id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqloom.errors import DataError
from seqloom.heads import head_class
from seqloom.heads.sequence import Head
from seqloom.sources import source_class
from seqloom.sources.text import Source
from seqloom.types import END, START, UNKNOWN, Record
from tiny import TRAINING, config_of, record, settings, tiny


def test_classes_are_found_by_the_name_in_the_configuration() -> None:
    assert source_class("text") is Source
    assert head_class("sequence") is Head


# --- sources ---------------------------------------------------------------------------------------------------------


def test_a_source_is_its_symbols_and_the_end() -> None:
    source = tiny().source
    item = source.read(record("a zebra b"))
    a, b = source.tokenizer.id("a"), source.tokenizer.id("b")
    assert item.fields["main"].tolist() == [a, UNKNOWN, b, END]
    assert item.tokens == ["a", "zebra", "b", "</s>"]
    assert (source.roles, source.columns, item.leading_features) == (("source",), {}, 0)
    assert source.memory_tokens(item, record("a zebra b")) == item.tokens


def test_feature_symbols_come_first() -> None:
    source = tiny(features="symbols").source
    example = record("a", features=" SG; PST ;;NEW")
    item = source.read(example)
    names = [source.tokenizer.feature_id(name) for name in ("SG", "PST")]
    assert item.fields["main"].tolist() == [*names, UNKNOWN, source.tokenizer.id("a"), END]
    assert item.tokens == ["⟨SG⟩", "⟨PST⟩", "⟨NEW⟩", "a", "</s>"]
    assert item.leading_features == 3
    assert "features" not in item.fields
    assert (source.roles, source.columns) == (("source", "features"), {"features": 3})


def test_features_apart_stand_in_a_field_of_their_own() -> None:
    source = tiny(features="encoder").source
    example = record("a", features="SG;PST")
    item = source.read(example)
    assert item.fields["main"].tolist() == [source.tokenizer.id("a"), END]
    assert item.fields["features"].tolist() == [source.tokenizer.feature_id(name) for name in ("SG", "PST")]
    assert source.memory_tokens(item, example) == ["a", "</s>", "⟨SG⟩", "⟨PST⟩"]
    assert source.read(record("a")).fields["features"].shape == (0,)


def test_features_that_are_added_stand_at_no_position() -> None:
    source = tiny(features="embedding").source
    example = record("a", features="SG;PST")
    item = source.read(example)
    assert item.fields["main"].tolist() == [source.tokenizer.id("a"), END]
    assert item.fields["added"].tolist() == [source.tokenizer.feature_id(name) for name in ("SG", "PST")]
    assert source.memory_tokens(item, example) == item.tokens == ["a", "</s>"]
    assert source.read(record("a")).fields["added"].shape == (0,)


def test_a_reversed_source_keeps_its_features_first_and_its_end_last() -> None:
    source = tiny(features="symbols", source={"reverse": True}).source
    assert source.read(record("a b c", features="SG")).tokens == ["⟨SG⟩", "c", "b", "a", "</s>"]


def test_an_empty_source_is_refused_with_its_line() -> None:
    with pytest.raises(DataError, match=r"(?s)tiny.tsv:7: the source is empty.*fix: "):
        tiny().source.read(record("  ", line=7))


# --- targets ---------------------------------------------------------------------------------------------------------


def test_a_target_stands_between_start_and_end() -> None:
    head = tiny().head
    item = head.read(record("a", "b zebra"), None)
    assert item.fields["main"].tolist() == [START, head.tokenizer.id("b"), UNKNOWN, END]
    assert item.tokens == ["b", "zebra"]


def test_the_first_of_several_references_is_learned() -> None:
    head = tiny().head
    several = Record({"source": "a", "target": ["b", "c d"]})
    assert head.read(several, None).tokens == ["b"]
    fitted = Head.fit(config_of(settings()), [several])
    assert sorted(fitted.tokenizer.symbols) == ["b", "c", "d"]


def test_an_empty_target_is_refused_with_its_line() -> None:
    with pytest.raises(DataError, match=r"(?s)tiny.tsv:7: the target is empty.*fix: "):
        tiny().head.read(record("a", "", line=7), None)


def test_shared_vocabularies_hold_both_sides() -> None:
    pairs = [record("a b", "c"), record("d", "e f")]
    for shared, symbols in ((True, "abcdef"), (False, "cef")):
        head = Head.fit(config_of(settings(head={"share_vocabulary": shared})), pairs)
        assert sorted(head.tokenizer.symbols) == list(symbols)


@pytest.mark.parametrize(("kind", "expected"), [("character", True), ("jamo", True), ("bytes", True), ("word", False)])
def test_characters_are_judged_by_exact_match(kind: str, expected: bool) -> None:
    config = config_of(settings(head={"tokenizer": {"kind": kind}}))
    assert Head.fit(config, TRAINING).is_character_level == expected


# --- copying ---------------------------------------------------------------------------------------------------------


def test_copies_are_known_ids_or_ids_of_the_sentence() -> None:
    """Known words have their target id; others V, V + 1, … in order of appearance, the same word the same."""
    task = tiny(copying=True, features="symbols")
    V = task.head.tokenizer.size
    source = task.item(record("okapi a zebra okapi", "zebra okapi a lynx", "PST"))
    a = task.head.tokenizer.id("a")
    assert source.fields["copy"].tolist() == [-1, V, a, V + 1, V, END]
    assert task.head.copied_tokens(source) == ["okapi", "zebra"]
    target = task.head.read(record("", "zebra okapi a lynx"), source)
    assert target.fields["main"].tolist() == [START, V + 1, V, a, UNKNOWN, END]
    assert [task.head.token(number, ["okapi", "zebra"]) for number in (a, V, V + 1)] == ["a", "okapi", "zebra"]


def test_without_copying_a_source_is_left_alone() -> None:
    task = tiny()
    source = task.source.read(record("okapi a"))
    assert task.head.link(source) is source
    assert task.head.copied_tokens(source) == []


# --- storage ---------------------------------------------------------------------------------------------------------


def test_both_sides_read_the_same_after_storage(tmp_path: Path) -> None:
    task = tiny(copying=True, features="encoder")
    task.source.save(tmp_path)
    task.head.save(tmp_path)
    source = Source.load(tmp_path, task.config.source)
    head = Head.load(tmp_path, task.config.head)
    example = record("okapi b", "b okapi", "PST;NEW")
    before, after = task.item(example), head.link(source.read(example))
    assert before.tokens == after.tokens
    assert before.fields.keys() == after.fields.keys()
    for name, field in before.fields.items():
        np.testing.assert_array_equal(field, after.fields[name])
    targets = [side.read(example, item).fields["main"] for side, item in ((task.head, before), (head, after))]
    np.testing.assert_array_equal(*targets)
