"""Every entry of TOKENIZERS, on arbitrary Unicode; each kind against what Python itself says; storage."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqloom.config.sections import TokenizerConfig
from seqloom.data.jamo import put_together, take_apart
from seqloom.data.tokenizers import TOKENIZERS, Tokenizer, fit_tokenizer, load_tokenizer
from seqloom.data.vocabulary import CountedTokenizer
from seqloom.errors import DataError, RunFolderError, UsageError
from seqloom.types import END, PADDING, SPECIAL_NAMES, START, UNKNOWN

KINDS = list(TOKENIZERS)
EXACT = ["character", "jamo", "bytes", "bpe", "unigram"]
LINES = ["Zwei junge, weiße Männer sind im Freien.", "Ein Mann schläft.  Ein Hund schläft auch!",
         "안녕하세요 각 값 ㅋㅋㅋ", "don't <s> </s> <unk> <pad>", "ein 12 ▁ ␛ x", "Ein Mann, ein Hund; ein Mann."]

# Text in which tokenizers go wrong: syllables beside stray jamo, joiners, marks, the signs used for escaping.
CHARACTERS = st.one_of(
    st.characters(codec="utf-8"),
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3),
    st.characters(min_codepoint=0x1100, max_codepoint=0x11FF),
    st.sampled_from("aeo ABO  \t\n\u0301\u0308\u200c\u200d▁␛01<>⟨⟩�각가ᄀ\u1161\u11a8ㅋㅏ한글👩👧ßİςﬁ\u00a0"),
)
TEXTS = st.text(CHARACTERS, max_size=30)


@cache
def fitted(kind: str, **options: Any) -> Tokenizer:
    return fit_tokenizer(TokenizerConfig(kind=kind, **options), LINES)


def squeezed(text: str) -> str:
    return "".join(text.split())


# --- the contract of the table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"normalization": "none"}, {"normalization": "NFD", "lowercase": True},
                                     {"normalization": "NFKC", "min_frequency": 2}, {"vocab_size": 5}],
                         ids=["default", "none", "NFD", "NFKC", "five"])
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60)
@given(text=TEXTS)
def test_contract(kind: str, options: dict[str, Any], text: str) -> None:
    tokenizer = fitted(kind, **options)
    tokens, ids, normalized = tokenizer.tokens(text), tokenizer.encode(text), tokenizer.normalize(text)
    assert len(tokens) == len(ids)
    assert ids == tokenizer.ids(tokens) == [tokenizer.id(token) for token in tokens]
    assert all(number == UNKNOWN or len(SPECIAL_NAMES) <= number < tokenizer.size for number in ids)
    assert [tokenizer.token(number) for number in ids if number != UNKNOWN] == [
        token for token, number in zip(tokens, ids, strict=True) if number != UNKNOWN]
    assert squeezed(tokenizer.decode(tokens)) == squeezed(normalized)
    if kind in EXACT:
        assert tokenizer.decode(tokens) == normalized


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60)
@given(tokens=st.lists(st.one_of(TEXTS, st.sampled_from([*SPECIAL_NAMES, "<0xE3>", "<0xFF>", "▁", "ᄀ", "\u1161"]))))
def test_decode_takes_any_tokens(kind: str, tokens: list[str]) -> None:
    assert isinstance(fitted(kind).decode(tokens), str)


@pytest.mark.parametrize("kind", KINDS)
def test_any_ids_decode(kind: str) -> None:
    tokenizer = fitted(kind)
    assert isinstance(tokenizer.decode([tokenizer.token(number) for number in range(tokenizer.size)]), str)
    assert tokenizer.encode("") == tokenizer.tokens("") == []
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_same_data_same_tokenizer(kind: str, tmp_path: Path) -> None:
    config = TokenizerConfig(kind=kind)
    for stem in ("a", "b"):
        fit_tokenizer(config, iter(LINES), iter(["V", "PST", "V"])).save(tmp_path, stem)
    assert (tmp_path / "a.tokenizer.json").read_bytes() == (tmp_path / "b.tokenizer.json").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(kind: str, tmp_path: Path) -> None:
    tokenizer = fit_tokenizer(TokenizerConfig(kind=kind, lowercase=True, split="punctuation"), LINES, ["PST"])
    tokenizer.add_features(["A"])
    path = tokenizer.save(tmp_path, "source")
    assert [file.name for file in tmp_path.iterdir()] == [path.name] == ["source.tokenizer.json"]
    loaded = load_tokenizer(tmp_path, "source")
    assert type(loaded) is type(tokenizer)
    assert loaded.config == tokenizer.config
    assert [loaded.token(number) for number in range(loaded.size)] == [
        tokenizer.token(number) for number in range(tokenizer.size)]
    texts = [*LINES, "etwas ganz Neues 漢字!"]
    assert [loaded.encode(text) for text in texts] == [tokenizer.encode(text) for text in texts]
    assert loaded.feature_id("A") == tokenizer.feature_id("A")
    assert loaded.learned == tokenizer.learned


@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_the_vocabulary(kind: str) -> None:
    everything = fitted(kind)
    assert everything.size == len(SPECIAL_NAMES) + len(everything.symbols)
    assert len(set(everything.symbols)) == len(everything.symbols)
    assert UNKNOWN not in [number for line in LINES for number in everything.encode(line)]
    small = fitted(kind, vocab_size=7)
    assert len(small.symbols) == 7
    frequent = fitted(kind, min_frequency=3)
    seen = Counter(token for line in LINES for token in frequent.tokens(line))
    assert 0 < len(frequent.symbols) < len(everything.symbols)
    if issubclass(TOKENIZERS[kind], CountedTokenizer):
        assert frequent.learned.counts == [seen[symbol] for symbol in frequent.symbols]
        assert {symbol for symbol, count in seen.items() if count >= 3} == set(frequent.symbols)
        assert frequent.symbols == sorted(frequent.symbols, key=lambda symbol: (-seen[symbol], symbol))
        assert small.symbols == everything.symbols[:7]
    assert everything.learned.coverage == 1
    assert 0 < frequent.learned.coverage < 1


@pytest.mark.parametrize("kind", KINDS)
def test_special_names_in_text_are_text(kind: str) -> None:
    tokenizer = fitted(kind)
    ids = tokenizer.encode("<s> </s> <unk> <pad>")
    assert not {PADDING, UNKNOWN, START, END} & set(ids)
    assert tuple(map(tokenizer.token, range(4))) == SPECIAL_NAMES


@pytest.mark.parametrize("kind", KINDS)
def test_features_have_ids_of_their_own(kind: str) -> None:
    tokenizer = fit_tokenizer(TokenizerConfig(kind=kind), [*LINES, "PST ⟨PST⟩"], ["V", "PST", "V"])
    first = tokenizer.size - 2
    assert tokenizer.features == ["PST", "V"]
    assert (tokenizer.feature_id("PST"), tokenizer.feature_id("V")) == (first, first + 1)
    tokenizer.add_features(iter(["V", "SG", "ACC"]))
    assert [tokenizer.token(first + place) for place in range(4)] == ["⟨PST⟩", "⟨V⟩", "⟨ACC⟩", "⟨SG⟩"]
    assert tokenizer.feature_id("FUT") == UNKNOWN
    assert tokenizer.feature_token("FUT") == "⟨FUT⟩"
    assert max(tokenizer.encode("PST ⟨PST⟩")) < first


@pytest.mark.parametrize("kind", KINDS)
def test_describe_says_sizes(kind: str) -> None:
    tokenizer = fit_tokenizer(TokenizerConfig(kind=kind), LINES, ["V"])
    symbols = len(tokenizer.symbols)
    assert tokenizer.describe().startswith(
        f"{kind}: {symbols + 5:,} ids (4 special, {symbols:,} symbols, 1 features); 100.00% of the training text")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_no_text_is_an_error(kind: str, texts: list[str]) -> None:
    with pytest.raises(DataError, match="no text to make a vocabulary from") as caught:
        fit_tokenizer(TokenizerConfig(kind=kind), texts)
    assert "right column" in caught.value.fix


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_frequent_enough_is_an_error(kind: str) -> None:
    with pytest.raises(DataError, match=r"min_frequency is 99, and no symbol is seen that often: .* is seen 2 times"):
        fit_tokenizer(TokenizerConfig(kind=kind, min_frequency=99), ["ab", "ab"])


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_surrogate_pair_is_an_error(kind: str) -> None:
    with pytest.raises(DataError, match=r"U\+D83D at character 3, half of a surrogate pair"):
        fitted(kind).encode("ab\ud83d")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [-1, 10**6])
def test_ids_outside_are_an_error(kind: str, number: int) -> None:
    with pytest.raises(IndexError, match=f"id {number} is outside 0 … "):
        fitted(kind).token(number)


# --- normalisation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@given(text=TEXTS)
def test_normal_forms_are_those_of_unicode(form: Any, text: str) -> None:
    assert fitted("character", normalization=form).normalize(text) == unicodedata.normalize(form, text)
    lowered = fitted("character", normalization=form, lowercase=True).normalize(text)
    assert unicodedata.is_normalized(form, lowered)
    assert fitted("character", normalization="none").normalize(text) == text
    assert fitted("character", normalization="none", lowercase=True).normalize(text) == text.lower()


# --- word ------------------------------------------------------------------------------------------------------------


def test_words() -> None:
    assert fitted("word").tokens(" ein  Mann,\tein\u00a0Hund ") == ["ein", "Mann,", "ein", "Hund"]
    tokenizer = fitted("word", split="punctuation")
    assert tokenizer.tokens("Mann (3,5 m) don't.") == ["Mann", "(", "3", ",", "5", "m", ")", "don", "'", "t", "."]
    assert tokenizer.decode(["Der", "Mann", "."]) == "Der Mann ."


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["M", "Cf"])))
def test_punctuation_split_is_the_plain_expression_without_marks(text: str) -> None:
    assert fitted("word", split="punctuation", normalization="none").tokens(text) == re.findall(r"\w+|[^\w\s]", text)


@pytest.mark.parametrize("word", ["हिन्दी", "cafe\u0301", "می\u200cخواهم", "ภาษาไทย"])
def test_marks_and_joiners_stay_in_their_word(word: str) -> None:
    assert fitted("word", split="punctuation", normalization="none").tokens(f"({word})!") == ["(", word, ")", "!"]


# --- jamo ------------------------------------------------------------------------------------------------------------


def test_all_syllables_as_unicode_takes_them_apart() -> None:
    syllables = "".join(map(chr, range(0xAC00, 0xD7A4)))
    jamo = unicodedata.normalize("NFD", syllables)
    assert take_apart(syllables) == list(jamo)
    assert put_together(jamo) == unicodedata.normalize("NFC", jamo) == syllables


@settings(max_examples=300)
@given(tokens=st.lists(st.characters(min_codepoint=0x1100, max_codepoint=0x11FF)))
def test_jamo_join_as_unicode_joins_them(tokens: list[str]) -> None:
    assert put_together(tokens) == unicodedata.normalize("NFC", "".join(tokens))


def test_stray_jamo_never_join() -> None:
    tokenizer = fitted("jamo", normalization="none")
    text = "가\u11a8ᄀ\u1161각 \u11a8ㅋㅋ"
    assert len(tokenizer.tokens(text)) == 12
    assert tokenizer.decode(tokenizer.tokens(text)) == text
    assert tokenizer.decode(["가", "\u11a8"]) == "가\u11a8"  # a copied word does not join with a jamo of the model


# --- bytes -----------------------------------------------------------------------------------------------------------


@given(data=st.binary())
def test_bytes_decode_as_python_does(data: bytes) -> None:
    tokenizer = fitted("bytes")
    ids = [tokenizer.id(chr(byte) if 0x20 <= byte < 0x7F else f"<0x{byte:02X}>") for byte in data]
    assert UNKNOWN not in ids
    assert tokenizer.size == 260
    assert tokenizer.decode([tokenizer.token(number) for number in ids]) == data.decode(errors="replace")


def test_bytes_of_text_are_its_utf8() -> None:
    assert fitted("bytes").tokens("é<0x41>") == ["<0xC3>", "<0xA9>", *"<0x41>"]
    assert fitted("bytes").decode(["<0xC3>", "Wort", "é"]) == "�Worté"


# --- storage ---------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        fitted("word").save(tmp_path / "file", "source")


def damaged(kind: str, folder: Path, change: Callable[[dict[str, Any]], Any]) -> str:
    """What loading says after `change` has worked on the stored object."""
    path = fitted(kind).save(folder, "source")
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(RunFolderError) as caught:
        load_tokenizer(folder, "source")
    assert str(path) in str(caught.value)
    assert "fix:" in str(caught.value)
    return caught.value.message


@pytest.mark.parametrize(("change", "message"), [
    (lambda value: value.pop("format"), "format: Field required"),
    (lambda value: value.update(format="other"), "format: Input should be 'seqloom tokenizer'"),
    (lambda value: value.update(format_version=2), "format_version: Input should be 1"),
    (lambda value: value["config"].update(kind="words"), "config.kind: .*unknown name 'words'"),
    (lambda value: value.pop("learned"), "learned: Field required"),
    (lambda value: value["learned"].update(symbols=[]), "learned.symbols: .*at least 1 item"),
    (lambda value: value["learned"]["symbols"].append(7), "learned.symbols.[0-9]+: Input should be a valid string"),
    (lambda value: value.update(features="V"), "features: Input should be a valid list"),
    (lambda value: value.update(surprise=1), "surprise: Extra inputs are not permitted"),
    (lambda value: value["learned"]["symbols"].append("Mann"), "a symbol stands twice"),
    (lambda value: value["learned"]["symbols"].append("neu"), "[0-9]+ symbols and [0-9]+ counts"),
    (lambda value: value.update(features=["V", "V"]), "a feature stands twice"),
])
def test_foreign_files_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    assert re.search(message, damaged("word", tmp_path, change))


@pytest.mark.parametrize(("kind", "change", "message"), [
    ("bpe", lambda learned: learned["merges"].append("x unheardof"), "merge 'x unheardof' is not of two pieces"),
    ("bpe", lambda learned: learned["merges"].append("abc"), "merge 'abc' is not of two pieces"),
    ("bpe", lambda learned: learned["symbols"].append("a b"), "a piece is empty or holds a space"),
    ("unigram", lambda learned: learned["symbols"].append(""), "a piece is empty or holds a space"),
    ("unigram", lambda learned: learned["scores"].pop(), "pieces and [0-9]+ scores"),
    ("unigram", lambda learned: learned["scores"].__setitem__(0, float("nan")), "scores.0: Input should be a finite"),
])
def test_contradictory_pieces_are_refused(tmp_path: Path, kind: str, change: Any, message: str) -> None:
    assert re.search(message, damaged(kind, tmp_path, lambda value: change(value["learned"])))


@pytest.mark.parametrize(("content", "message"), [
    (None, "the file is missing"), (b"", "not readable as JSON"), (b'{"format": "seq', "not readable as JSON"),
    (b"\xff\xfe", "not readable as JSON"), (b"[" * 100_000, "not readable as JSON"), (b"[]", "lacks a JSON object")])
def test_missing_and_truncated_files_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "source.tokenizer.json").write_bytes(content)
    with pytest.raises(RunFolderError, match=message):
        load_tokenizer(tmp_path, "source")


def test_character_models_never_load_the_library() -> None:
    program = ("import sys\nfrom seqloom.data.tokenizers import fit_tokenizer\n"
               "from seqloom.config.sections import TokenizerConfig\n"
               "for kind in ('word', 'character', 'jamo', 'bytes'):\n"
               "    fit_tokenizer(TokenizerConfig(kind=kind), ['ab c']).encode('a')\n"
               "print('tokenizers' in sys.modules, 'torch' in sys.modules)\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
