"""Characters of symbols: which ones each symbol has, in the case they were written in, and the table of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.config.sections import CharactersConfig, TokenizerConfig
from seqloom.data.characters import CharacterCounter, Characters, cut_alike
from seqloom.data.tokenizers import Tokenizer, fit_tokenizer
from seqloom.errors import DataError, RunFolderError
from seqloom.types import UNKNOWN

TEXTS = ["The cat sat on the mat", "THE END of the matter", "a cat and a hat, the end"]


def fitted(texts: list[str] = TEXTS, tokenizer: dict[str, object] | None = None,
           **options: object) -> tuple[Tokenizer, Characters]:
    config = TokenizerConfig.model_validate(tokenizer or {})
    counter = CharacterCounter(CharactersConfig.model_validate(options), config)
    for text in texts:
        counter.add(text)
    return fit_tokenizer(config, texts), counter.characters()


def spelt(characters: Characters, row: np.ndarray) -> str:
    return "".join(characters.table.token(int(number)) for number in row[row > 0])


# --- the table -------------------------------------------------------------------------------------------------------


def test_a_table_holds_the_characters_that_are_frequent_enough() -> None:
    _, characters = fitted(["ab ba", "ac A"])
    assert characters.table.symbols == ["a", "b"]
    assert fitted(["ab ba", "ac A"], min_frequency=1)[1].table.symbols == ["a", "b", "A", "c"]
    assert characters.table.learned.coverage == pytest.approx(5 / 7)  # spaces are between words
    with pytest.raises(DataError, match=r"(?s)min_frequency is 3, and no symbol is seen that often.*fix: lower"):
        fitted(["ab ba"], min_frequency=3)


def test_a_table_is_stored(tmp_path: Path) -> None:
    tokenizer, characters = fitted()
    characters.save(tmp_path, "source")
    again = Characters.load(tmp_path, "source", characters.config)
    tokens = tokenizer.tokens(TEXTS[1])
    np.testing.assert_array_equal(characters.read(tokenizer, TEXTS[1], tokens), again.read(tokenizer, TEXTS[1], tokens))
    (tmp_path / "source.characters.tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"source.characters.tokenizer.json.*: not a tokenizer file"):
        Characters.load(tmp_path, "source", characters.config)


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_row_for_each_symbol() -> None:
    tokenizer, characters = fitted(max_length=5)
    found = characters.read(tokenizer, "The hat?", tokenizer.tokens("The hat?"))
    assert found.dtype == np.int32
    assert found.tolist() == [[*map(characters.table.id, "The"), 0, 0], [*map(characters.table.id, "hat"), UNKNOWN, 0]]


@pytest.mark.parametrize(("most", "kept"), [(1, "a"), (2, "ah"), (3, "abh"), (5, "abcgh"), (8, "abcdefgh"),
                                            (9, "abcdefgh")])
def test_of_a_long_symbol_the_beginning_and_the_end_are_read(most: int, kept: str) -> None:
    tokenizer, characters = fitted(["abcdefgh"], max_length=most, min_frequency=1)
    row = characters.read(tokenizer, "abcdefgh", ["abcdefgh"])[0]
    assert len(row) == most
    assert spelt(characters, row) == kept


def test_lower_case_is_for_the_symbols_alone() -> None:
    tokenizer, characters = fitted(tokenizer={"lowercase": True}, min_frequency=1)
    tokens = tokenizer.tokens("The END of THE")
    assert tokens == ["the", "end", "of", "the"]
    rows = characters.read(tokenizer, "The END of THE", tokens)
    assert [spelt(characters, row) for row in rows] == ["The", "END", "of", "THE"]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_pieces_have_characters_too(kind: str, lowercase: bool) -> None:
    """The pieces' characters side by side are the text, a space before each word written as the piece has it."""
    tokenizer, characters = fitted(TEXTS * 3, {"kind": kind, "vocab_size": 24, "lowercase": lowercase}, min_frequency=1)
    text = "The END that a cat"
    rows = characters.read(tokenizer, text, tokenizer.tokens(text))
    assert "".join(spelt(characters, row) for row in rows) == "▁The▁END▁that▁a▁cat"
    assert len(rows) < len(text)


# --- case ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("written", "lowered", "tokens", "expected"), [
    ("A B", "a b", ["a", "b"], ["A", "B"]),
    ("İstanbul AB", "i̇stanbul ab", ["i̇stanbul", "ab"], ["İstanbul", "AB"]),  # one character becomes two
    ("J̌A B", "ǰa b", ["ǰa", "b"], ["J̌A", "B"]),  # two become one in normal form: words are told by spaces
    ("J̌A.B", "ǰa.b", ["ǰa", ".", "b"], ["ǰa", ".", "b"]),  # nothing tells
    ("ΑΣ Σ", "ας σ", ["ας", "σ"], ["ΑΣ", "Σ"]),
    ("aB", "ab", ["\u1100"], ["aB"]),  # what stands for other characters cannot be found
    ("a", "a", ["a"], ["a"]),
])
def test_tokens_as_they_were_written(written: str, lowered: str, tokens: list[str], expected: list[str]) -> None:
    assert cut_alike(written, lowered, tokens) == expected


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1), min_size=1))
def test_every_word_keeps_its_case(words: list[str]) -> None:
    """Against a tokenizer that does not lower-case: word t of one is word t of the other, letter by letter."""
    text = " ".join(words)
    lower, plain = (fit_tokenizer(TokenizerConfig(lowercase=lowercase), [text]) for lowercase in (True, False))
    counter = CharacterCounter(CharactersConfig(min_frequency=1), lower.config)
    counter.add(text)
    assert counter.characters().as_written(lower, text, lower.tokens(text)) == plain.tokens(text)
