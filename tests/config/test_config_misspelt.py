"""A misspelt key is told the right one: every key, every section, every kind of slip."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqloom.config import load_config
from seqloom.config.aliases import ALIASES, SECTION_ALIASES
from seqloom.config.keys import corpus_keys, keys, nearest, sections, unique_names
from seqloom.errors import ConfigError

READ = {*keys(), *sections(), *unique_names(), *ALIASES, *SECTION_ALIASES}
READ |= {f"{key.rpartition('.')[0]}.{alias.name}" for alias in ALIASES.values() for key in alias.keys}
READ |= {f"{above}.{alias.name}" for alias in ALIASES.values() for key in alias.keys for above in sections()
         if key.startswith(f"{above}.")}


def misspellings(path: str) -> list[str]:
    """One letter left out, doubled, swapped with the next, or changed, in the middle of the last name."""
    section, dot, name = path.rpartition(".")
    middle = len(name) // 2
    changed = [name[:middle] + name[middle + 1:], name[:middle] + name[middle] + name[middle:],
               name[:middle - 1] + name[middle:middle + 1] + name[middle - 1:middle] + name[middle + 1:],
               name[:middle] + "q" + name[middle + 1:]]
    return [section + dot + word for word in changed if word and section + dot + word not in READ]


@pytest.mark.parametrize("path", [*keys(), *sections()])
def test_a_misspelt_key_is_told_the_right_one(path: str) -> None:
    tried = misspellings(path)
    assert tried or len(path.rpartition(".")[2]) == 1
    for wrong in tried:
        with pytest.raises(ConfigError, match=rf"unknown key '{re.escape(wrong)}'; did you mean .*\b{path}\b"):
            load_config(overrides=[f"{wrong}=1"])


@settings(deadline=None)
@given(st.sampled_from(sorted(keys())), st.integers(0, 100), st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
def test_any_misspelling_of_a_path_is_told_the_right_one(path: str, position: int, letter: str) -> None:
    position %= len(path)
    wrong = path[:position] + letter + path[position + 1:]
    if wrong in READ or path[position] == "." or wrong.partition(".")[0] in SECTION_ALIASES:
        return
    with pytest.raises(ConfigError, match=rf"unknown key '.*'; did you mean .*\b{path}\b"):
        load_config(overrides=[f"{wrong}=1"])


@pytest.mark.parametrize("name", corpus_keys())
def test_a_misspelt_key_of_a_corpus(name: str) -> None:
    wrong = name[:-2] + name[-1] + name[-2]
    with pytest.raises(ConfigError, match=rf"unknown key 'data.valid.0.{wrong}'; did you mean {name}\?"):
        load_config(values={"data": {"valid": [{wrong: 1}]}})


def test_a_misspelt_section_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("trainng:\n  epochs: 3\n  patience: 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config.yaml:1: unknown key 'trainng'; did you mean training\?") as caught:
        load_config(path)
    assert "things are wrong" not in str(caught.value)


def test_a_word_like_no_key_is_told_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'encoder.zzzzzz'; the nearest is \S+\n  fix: the keys of "
                                          r"encoder are: cell, layers"):
        load_config(overrides=["encoder.zzzzzz=1"])
    with pytest.raises(ConfigError, match=r"unknown key 'qqqqqqqq.zzzzzzzz'; the nearest is .*\n  fix: the keys at the "
                                          r"top are: data, source"):
        load_config(overrides=["qqqqqqqq.zzzzzzzz=1"])


def test_nearest() -> None:
    assert nearest("beam_sizes", ["beam_size", "n_best"]) == ["beam_size"]
    assert nearest("top_x", ["top_k", "top_p", "seed"]) == ["top_k", "top_p"]
    assert nearest("zzzz", ["beam_size"]) == []
    assert nearest("zzzz", ["beam_size"], always=True) == ["beam_size"]
    assert nearest("zzzz", []) == []
