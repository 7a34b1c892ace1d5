"""Kinds of tokenizers, and the door to them: `fit_tokenizer`, `load_tokenizer`.

What they have in common is `vocabulary.py`. A new kind is a class here and a line in the table at the foot: a
`CountedTokenizer` says how to split a text and how to put tokens together, all else follows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import ValidationError

from seqloom.config.sections import TokenizerConfig
from seqloom.data import jamo
from seqloom.data.storage import read_json
from seqloom.data.subwords import BpeTokenizer, PieceTokenizer, UnigramTokenizer
from seqloom.data.vocabulary import CountedTokenizer, Stored, Tokenizer, tokenizer_path
from seqloom.errors import RunFolderError

__all__ = ["TOKENIZERS", "Tokenizer", "fit_tokenizer", "load_tokenizer"]


class WordTokenizer(CountedTokenizer):
    """Words between white space; with `split: punctuation` also every sign that is neither letter nor digit alone."""

    unit = "words"

    def split(self, text: str) -> list[str]:
        return text.split() if self.config.split == "space" else words_and_signs().findall(text)

    def decode(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)


class CharacterTokenizer(CountedTokenizer):
    """Unicode code points, the space among them."""

    unit = "characters"

    def split(self, text: str) -> list[str]:
        return list(text)

    def decode(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)


class JamoTokenizer(CountedTokenizer):
    """Code points, Hangul syllables taken apart into jamo."""

    unit = "jamo and characters"

    def split(self, text: str) -> list[str]:
        return jamo.take_apart(text)

    def decode(self, tokens: Sequence[str]) -> str:
        return jamo.put_together(tokens)


class BytesTokenizer(CountedTokenizer):
    """UTF-8 bytes, all 256 of them known; printable ASCII shows as itself, the others as "<0xE3>"."""

    unit = "bytes"
    alphabet = tuple(chr(byte) if 0x20 <= byte < 0x7F else f"<0x{byte:02X}>" for byte in range(256))
    values: ClassVar[Mapping[str, bytes]] = {symbol: bytes([byte]) for byte, symbol in enumerate(alphabet)}

    def split(self, text: str) -> list[str]:
        return [self.alphabet[byte] for byte in text.encode()]

    def decode(self, tokens: Sequence[str]) -> str:
        known = (self.values.get(token) or token.encode(errors="replace") for token in tokens)
        return b"".join(known).decode(errors="replace")


@cache
def words_and_signs() -> re.Pattern[str]:
    """`\\w+|[^\\w\\s]`, with combining marks and joiners counted as part of the word they stand in.

    Python's `\\w` leaves out the vowel signs of Indic scripts and the accents of decomposed text.
    """
    marks = "".join(c for c in map(chr, range(0x300, 0x1F000)) if unicodedata.category(c)[0] == "M")
    return re.compile(rf"\w[\w{marks}\u200c\u200d]*|[^\w\s]")


def fit_tokenizer(config: TokenizerConfig, texts: Iterable[str], features: Iterable[str] = ()) -> Tokenizer:
    """A tokenizer of the configured kind, taught by the texts, which are read once. See `Tokenizer.fit`."""
    return TOKENIZERS[config.kind].fit(config, texts, features)


def load_tokenizer(folder: str | Path, stem: str) -> Tokenizer:
    """Read `<stem>.tokenizer.json`. Errors: RunFolderError for a missing, truncated, foreign or contradictory file."""
    path = tokenizer_path(folder, stem)
    value = read_json(path)
    again = "the file is damaged or of another version: copy the run folder again, or train again"
    try:
        stored = Stored.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunFolderError(f"not a tokenizer file of this version: {place}: {first['msg']}",
                             where=str(path), fix=again) from None
    for problem in contradictions(stored):
        raise RunFolderError(f"the tokenizer contradicts itself: {problem}", where=str(path), fix=again)
    return TOKENIZERS[stored.config.kind](stored.config, stored.learned, stored.features)


def contradictions(stored: Stored) -> Iterator[str]:
    """What is wrong with a file whose types are right."""
    kind, learned = stored.config.kind, stored.learned
    symbols = set(learned.symbols)
    pieces = issubclass(TOKENIZERS[kind], PieceTokenizer)
    if len(symbols) < len(learned.symbols):
        yield "a symbol stands twice"
    if len(set(stored.features)) < len(stored.features):
        yield "a feature stands twice"
    if learned.counts and len(learned.counts) != len(learned.symbols):
        yield f"{len(learned.symbols)} symbols and {len(learned.counts)} counts"
    if pieces and any(" " in symbol or not symbol for symbol in symbols):
        yield "a piece is empty or holds a space"
    if kind == "unigram" and len(learned.scores) != len(learned.symbols):
        yield f"{len(learned.symbols)} pieces and {len(learned.scores)} scores"
    for merge in learned.merges:
        parts = merge.split(" ")
        if len(parts) != 2 or not symbols.issuperset((*parts, "".join(parts))):
            yield f"merge '{merge}' is not of two pieces that make a third"


TOKENIZERS: dict[str, type[Tokenizer]] = {
    "word": WordTokenizer,
    "character": CharacterTokenizer,
    "jamo": JamoTokenizer,
    "bytes": BytesTokenizer,
    "bpe": BpeTokenizer,
    "unigram": UnigramTokenizer,
}
