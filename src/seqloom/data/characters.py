"""The characters of each symbol of a text, as they were written, with a table of their own.

Lower-casing is for looking symbols up; characters keep their case. Knows no network and no special symbols: whoever has
one with nothing written behind it gives it a row of padding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from seqloom.config.sections import CharactersConfig, TokenizerConfig
from seqloom.data.subwords import PieceTokenizer, escape
from seqloom.data.tokenizers import TOKENIZERS, CharacterTokenizer, load_tokenizer
from seqloom.data.vocabulary import Learned, Tokenizer, check_counts, most_frequent
from seqloom.types import Ints


class Characters:
    """Reads the characters of symbols into ids; `table` holds the characters that training text had."""

    def __init__(self, config: CharactersConfig, table: Tokenizer) -> None:
        self.config = config
        self.table = table

    def read(self, tokenizer: Tokenizer, text: str, tokens: Sequence[str]) -> Ints:
        """Ids [S W] int32 for the S tokens that `tokenizer` made of a text, W being `max_length` always; 0 behind a
        symbol's end.
        """
        W = self.config.max_length
        first = (W + 1) // 2
        found = np.zeros((len(tokens), W), np.int32)
        for row, word in zip(found, self.as_written(tokenizer, text, tokens), strict=True):
            if len(word) > W:
                word = word[:first] + word[len(word) - (W - first):]
            row[:len(word)] = self.table.ids(word)
        return found

    def as_written(self, tokenizer: Tokenizer, text: str, tokens: Sequence[str]) -> list[str]:
        """The tokens of a text in the case that they were written in."""
        if not tokenizer.config.lowercase:
            return list(tokens)
        written, lowered = self.table.normalize(text), tokenizer.normalize(text)
        if isinstance(tokenizer, PieceTokenizer):
            written, lowered = escape(written), escape(lowered)
        return cut_alike(written, lowered, tokens)

    def save(self, folder: Path, stem: str) -> None:
        """Write `<stem>.characters.tokenizer.json`. Errors: UsageError where it cannot be written."""
        self.table.save(folder, f"{stem}.characters")

    @classmethod
    def load(cls, folder: Path, stem: str, config: CharactersConfig) -> Characters:
        """Read what `save` wrote. Errors: RunFolderError."""
        return cls(config, load_tokenizer(folder, f"{stem}.characters"))


class CharacterCounter:
    """Learns a table of characters from texts as they pass by."""

    def __init__(self, config: CharactersConfig, tokenizer: TokenizerConfig) -> None:
        """tokenizer: of the symbols that the characters belong to."""
        self.config = config
        self._options = TokenizerConfig(kind="character", normalization=tokenizer.normalization,
                                        min_frequency=config.min_frequency)
        self._untaught = CharacterTokenizer(self._options, None)
        self._escapes = issubclass(TOKENIZERS[tokenizer.kind], PieceTokenizer)
        self._counts: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Count a training text. Errors: DataError for half a surrogate pair."""
        text = self._untaught.normalize(text)
        self._counts.update(escape(text) if self._escapes else text)

    def characters(self) -> Characters:
        """What was learned. Errors: DataError when no character is frequent enough."""
        counts = Counter({one: count for one, count in self._counts.items() if not one.isspace()})
        check_counts(counts, self._options)
        symbols = most_frequent(counts, self.config.min_frequency, None)
        kept = [counts[symbol] for symbol in symbols]
        learned = Learned(symbols=symbols, counts=kept, seen=len(counts), coverage=sum(kept) / counts.total())
        return Characters(self.config, CharacterTokenizer(self._options, learned))


def cut_alike(written: str, lowered: str, tokens: Iterable[str]) -> list[str]:
    """The parts of a text that became these tokens, which stand in its lower-case form one after the other.

    One character may become several ("İ" → "i̇"). Where the normal form of the lower-case text joins what was apart
    ("J̌" → "ǰ"), words between spaces still tell; else the tokens stand for themselves.
    """
    given = list(tokens)
    if written == lowered:
        return given
    origin = [number for number, character in enumerate(written) for _ in character.lower()]
    words = written.split()
    found, place = [], 0
    for token in given:
        start = lowered.find(token, place) if len(origin) == len(lowered) else -1
        if start < 0:
            return words if len(words) == len(given) else given
        place = start + len(token)
        found.append(written[origin[start]:origin[place - 1] + 1])
    return found
