"""Reading and writing YAML: what plain words mean, what is refused, and that what is written reads back."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqloom.config import Config, dump_config, load_config, save_config
from seqloom.config.head_sections import SETTINGS
from seqloom.config.keys import keys, keys_of, kinds_with, sections
from seqloom.config.yaml_files import MAX_BYTES, flow, parse_yaml, plain_scalar, read_yaml_file
from seqloom.errors import ConfigError, UsageError

WORDS: list[tuple[str, Any]] = [
    ("1", 1), ("-3", -3), ("+3", 3), ("10_000", 10000), ("0x10", 16), ("0", 0), ("2.5", 2.5), (".5", 0.5), ("5.", 5.0),
    ("1e-3", 0.001), ("1E3", 1000.0), ("-1.5e+2", -150.0), (".inf", math.inf), ("-.inf", -math.inf),
    ("true", True), ("Yes", True), ("on", True), ("FALSE", False), ("no", False), ("off", False),
    ("", None), ("~", None), ("Null", None), ("none", "none"), ("010", "010"), ("1:30", "1:30"),
    ("2001-01-01", "2001-01-01"), ("1.2.3", "1.2.3"), ("=", "="), ("e5", "e5"), ("y", "y"), ("9" * 40, "9" * 40),
]


@pytest.mark.parametrize(("word", "value"), WORDS)
def test_plain_words(word: str, value: Any) -> None:
    assert plain_scalar(word) == value
    assert type(plain_scalar(word)) is type(value)
    assert parse_yaml(f"key: {word}\n", "f").value == {"key": value}


def test_not_a_number() -> None:
    value = plain_scalar(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


@settings(deadline=None)
@given(st.integers(-10**18, 10**18) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.text())
def test_agrees_with_the_yaml_library_on_what_that_writes(value: Any) -> None:
    text = yaml.safe_dump({"key": value}, allow_unicode=True)
    assert parse_yaml(text, "f").value == yaml.safe_load(text)


def test_lines_of_keys() -> None:
    document = parse_yaml("a:\n  b: 1\n  c:\n    - 1\n    - {d: 2}\ne: 3\n", "f")
    assert document.lines == {"a": 1, "a.b": 2, "a.c": 3, "a.c.0": 4, "a.c.1": 5, "a.c.1.d": 5, "e": 6}


def test_empty_text() -> None:
    assert parse_yaml("", "f").value is None
    assert parse_yaml("# nothing\n", "f").value is None


# --- refused ---------------------------------------------------------------------------------------------------------

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True))

HOSTILE = {
    "object": ("a: 1\nb: !!python/object/apply:os.system ['true']\n", r"f:2: the tag !!python/object/apply:os.sys"),
    "module": ("!!python/module:os {}\n", r"f:1: the tag !!python/module:os is not allowed"),
    "own tag": ("a: !mine 3\n", r"f:1: the tag !mine is not allowed"),
    "binary": ("a: !!binary aGVsbG8=\n", r"f:1: the tag !!binary is not allowed"),
    "laughs": (LAUGHS, r"f:\d+: more than 20000 values once aliases \(\*name\) are written out"),
    "endless": ("a: &a\n  b: *a\n", r"f:1: an alias \(\*name\) stands inside the value that it names"),
    "deep": ("[" * 100_000, r"f:1: nested more than 16 levels deep"),
    "deep below": ("a:\n" + "".join("  " * depth + "b:\n" for depth in range(1, 40)), r"f:\d+: nested more than 16"),
    "twice": ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", r"f:5: the key 'b.c' stands twice, first in line 3"),
    "list as key": ("a: 1\n[b]: 2\n", r"f:2: given a list or a mapping as a key, expected a word"),
    "colons": ("a: b: c\n", r"f:1: not valid YAML: mapping values are not allowed here"),
    "open quote": ("a: 'b\n", r"not valid YAML: .*quoted scalar.*\n  fix: check indentation, colons and quotes"),
    "tab": ("a:\n\tb: 1\n", r"f:2: not valid YAML: .*cannot start any token"),
    "two documents": ("a: 1\n---\nb: 1\n", r"f:2: not valid YAML: expected a single document"),
    "control": ("a: 1\nb: \x07\n", r"f:2: not valid YAML: the control character U\+0007"),
    "unknown alias": ("a: *b\n", r"f:1: not valid YAML: found undefined alias 'b'"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused(name: str) -> None:
    text, message = HOSTILE[name]
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "f")


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("{}[]:,-&*!|>'\"#%@ \na", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_yaml(text, "f")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match=r"config.yaml: there is no such file"):
        read_yaml_file(path)
    with pytest.raises(ConfigError, match=r"given a folder, expected a YAML file\n  fix: a run folder's configuration"):
        read_yaml_file(tmp_path)
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"config.yaml:2: byte 0xe9 is not UTF-8"):
        read_yaml_file(path)
    path.write_bytes(b"a: 1\n" * MAX_BYTES)
    with pytest.raises(ConfigError, match=r"config.yaml: given more than 256 KiB, expected a configuration"):
        read_yaml_file(path)
    long_name = tmp_path / ("x" * 300)
    with pytest.raises(ConfigError, match=r"cannot be read: File name too long\n  fix: check the permissions"):
        read_yaml_file(long_name)


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("﻿training:\r\n  epochs: 3\r\n".encode())
    assert load_config(path)[0].training.epochs == 3


# --- written ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@example("\x85")
@example("a\u2028b")
@example("\ufeff")
@example({"yes": "no", "": "1e-3"})
@given(st.recursive(st.none() | st.booleans() | st.integers(-10**18, 10**18) | st.text()
                    | st.floats(allow_nan=False), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6))
def test_flow_reads_back(value: Any) -> None:
    line = flow(value)
    assert "\n" not in line
    assert parse_yaml(f"key: {line}\n", "f").value == {"key": value}


PAIRS = [(source, head) for source, heads in SETTINGS.items() for head in heads
         if source in sections()["source"].models]


def default(source: str, head: str) -> Config:
    return load_config(values={"source": {"kind": source}, "head": {"kind": head}})[0]


def keys_that_are_there(source: str, head: str) -> set[str]:
    """All that no section which may be empty holds, and that these kinds have."""
    optional = {path for path, section in sections().items() if section.optional}
    kinds = {"source": source, "head": head}
    return {path for path in keys() if path.rpartition(".")[0] not in optional
            and (not (section := kinds_with(path)[0]) or kinds[section] in kinds_with(path)[1])}


@pytest.mark.parametrize(("source", "head"), PAIRS)
def test_every_value_is_written(source: str, head: str) -> None:
    config = default(source, head)
    written = parse_yaml(dump_config(config, comments=False), "f")
    assert keys_that_are_there(source, head) <= set(written.lines)
    assert written.value == config.model_dump(mode="json")


def test_other_readers_agree() -> None:
    """The YAML library, which follows YAML 1.1, reads the same values."""
    paths = ["no", "1e-3", "x: y", "a\nb", "010", "날짜 # 1.tsv"]
    config = load_config(preset="inflect", overrides=["training.learning_rate=1e-5"],
                         values={"data": {"train": paths}})[0]
    for comments in (True, False):
        read = yaml.safe_load(dump_config(config, comments))
        assert [corpus["path"] for corpus in read["data"]["train"]] == paths
        assert read["training"] == config.model_dump(mode="json")["training"]


@pytest.mark.parametrize(("source", "head"), PAIRS)
def test_comments_hold_every_description(source: str, head: str) -> None:
    lines = dump_config(default(source, head)).splitlines()
    page = " ".join(line.strip().lstrip("# ") for line in lines if "#" in line)
    kinds = {"source": source, "head": head}
    for path in keys_that_are_there(source, head):
        section = kinds_with(path)[0]
        found = keys_of(section, kinds[section]).get(path, keys()[path]) if section else keys()[path]
        if not path.endswith(".kind") or path.count(".") != 1:
            assert " ".join((found.field.description or "").split()) in page, path
    assert max(map(len, lines)) <= 120


def test_save_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the configuration cannot be written: No such file or directory\n  fix: "):
        save_config(Config(), tmp_path / "nowhere" / "config.yaml")
