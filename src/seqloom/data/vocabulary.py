"""What every tokenizer is: symbols with ids, learned by counting, stored as JSON. The kinds are in `tokenizers.py`.

Ids are the four special ones of `seqloom.types`, then the symbols of the text from 4 on, then feature symbols, which
no text can produce. Tokens are strings for people: what `tokens` returns is what pictures show and what `decode` puts
together again, also where a token has no id. Knows no start or end of a sequence, no padding, and no network.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, final

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from seqloom.config.sections import TokenizerConfig
from seqloom.data.storage import write_json
from seqloom.errors import DataError
from seqloom.types import SPECIAL_NAMES, UNKNOWN

FIRST_SYMBOL = len(SPECIAL_NAMES)


class Learned(BaseModel):
    """What training text taught: everything that a tokenizer is, beside its configuration.

    symbols: in id order, from id 4. counts: how often each was seen in training (empty for bpe and unigram).
    seen: distinct words, characters … of the training text, before `min_frequency` and `vocab_size`; characters for bpe
    and unigram. coverage: share of the running ones that are known. merges: bpe, "left right". scores: unigram, nats.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    symbols: list[str] = Field(min_length=1)
    counts: list[int] = []
    seen: int = Field(ge=0)
    coverage: float = Field(ge=0, le=1)
    merges: list[str] = []
    scores: list[FiniteFloat] = []


class Stored(BaseModel):
    """The file `<stem>.tokenizer.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["seqloom tokenizer"]
    format_version: Literal[1]
    config: TokenizerConfig
    features: Annotated[list[str], Field(strict=True)]
    learned: Learned


class Tokenizer(ABC):
    """A way to write text as symbols, with the vocabulary that training text gave it.

    For every kind, `len(tokens(text)) == len(encode(text))`, and `decode(tokens(text))` is the normalised text: exactly
    for character, jamo, bytes, bpe and unigram; with single spaces between the tokens for word.
    """

    unit: ClassVar[str] = "symbols"  # what is counted, in the plural, for people

    def __init__(self, config: TokenizerConfig, learned: Learned | None, features: Iterable[str] = ()) -> None:
        self.config = config
        self.learned = learned or Learned.model_construct(symbols=[], seen=0, coverage=0.0)
        self._ids = {symbol: number for number, symbol in enumerate(self.symbols, FIRST_SYMBOL)}
        self._names = [*SPECIAL_NAMES, *self.symbols]
        self._feature_ids: dict[str, int] = {}
        self._append_features(features)

    @classmethod
    def fit(cls, config: TokenizerConfig, texts: Iterable[str], features: Iterable[str] = ()) -> Self:
        """Learn the vocabulary from training texts, read once; memory grows with distinct symbols only.

        features: names of the feature symbols ("PST"), in any order, repeated or not.
        Errors: DataError when there is no text, or when no symbol is frequent enough.
        """
        untaught = cls(config, None)
        return cls(config, untaught.learn(map(untaught.normalize, texts)), sorted(set(features)))

    @abstractmethod
    def learn(self, texts: Iterable[str]) -> Learned:
        """Vocabulary of normalised texts, under the configuration's `min_frequency` and `vocab_size`."""

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """Tokens of a normalised text."""

    @abstractmethod
    def decode(self, tokens: Sequence[str]) -> str:
        """Text of any tokens, also of such that are not in the vocabulary; never fails."""

    @final
    def normalize(self, text: str) -> str:
        """The text in the configuration's normal form and case. Errors: DataError for half a surrogate pair."""
        config = self.config
        if text.isascii():
            return text.lower() if config.lowercase else text
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"the text holds U+{ord(text[error.start]):04X} at character {error.start + 1}, half of a "
                            "surrogate pair, which is no character", fix="write the text as valid Unicode") from None
        if config.normalization != "none":
            text = unicodedata.normalize(config.normalization, text)
        if config.lowercase:
            text = text.lower()
            if config.normalization != "none":  # lower-casing can leave the normal form, as in "ǰ" ← "J̌"
                text = unicodedata.normalize(config.normalization, text)
        return text

    @final
    def tokens(self, text: str) -> list[str]:
        """The tokens of a text as people see them, one for each id of `encode`."""
        return self.split(self.normalize(text))

    @final
    def encode(self, text: str) -> list[int]:
        """Ids of a text, without start and end; UNKNOWN for what is not in the vocabulary."""
        return self.ids(self.split(self.normalize(text)))

    @final
    def ids(self, tokens: Iterable[str]) -> list[int]:
        """Id of each token: `encode` for those who have called `tokens` already."""
        get = self._ids.get
        return [get(token, UNKNOWN) for token in tokens]

    @property
    def symbols(self) -> list[str]:
        """The symbols of the text, in id order: symbols[0] has id 4."""
        return self.learned.symbols

    @property
    def features(self) -> list[str]:
        """Names of the feature symbols, in id order, behind the symbols of the text."""
        return list(self._feature_ids)

    @property
    def size(self) -> int:
        """Number of ids: special ones, symbols, features."""
        return len(self._names)

    @final
    def id(self, token: str) -> int:
        """Id of a symbol of the text, UNKNOWN without one. "<s>" is looked up as text, like any other token."""
        return self._ids.get(token, UNKNOWN)

    @final
    def token(self, number: int) -> str:
        """The token of an id; special ids and features have names for display. Errors: IndexError outside the ids."""
        if not 0 <= number < self.size:
            raise IndexError(f"id {number} is outside 0 … {self.size - 1}")
        return self._names[number]

    @final
    def feature_id(self, name: str) -> int:
        """Id of a feature symbol, UNKNOWN for one that was not in the training data."""
        return self._feature_ids.get(name, UNKNOWN)

    @staticmethod
    def feature_token(name: str) -> str:
        """How a feature is shown."""
        return f"⟨{name.strip()}⟩"

    @final
    def add_features(self, names: Iterable[str]) -> None:
        """Give ids to further feature symbols, new ones in sorted order behind all others; no other id moves."""
        self._append_features(sorted({*names}.difference(self._feature_ids)))

    def _append_features(self, names: Iterable[str]) -> None:
        for name in names:
            self._feature_ids[name] = self.size
            self._names.append(self.feature_token(name))

    @final
    def describe(self) -> str:
        """One line for people: sizes, and how much of the training text is known."""
        features = f", {len(self.features):,} features" if self.features else ""
        return (f"{self.config.kind}: {self.size:,} ids ({len(SPECIAL_NAMES)} special, {len(self.symbols):,} symbols"
                f"{features}); {self.learned.coverage:.2%} of the training text is known, "
                f"with {self.learned.seen:,} distinct {self.unit}")

    @final
    def save(self, folder: str | Path, stem: str) -> Path:
        """Write `<stem>.tokenizer.json`, and nothing else. Errors: UsageError where it cannot be written."""
        path = tokenizer_path(folder, stem)
        stored = Stored(format="seqloom tokenizer", format_version=1, config=self.config, features=self.features,
                        learned=self.learned)
        write_json(path, stored.model_dump())
        return path


class CountedTokenizer(Tokenizer, ABC):
    """A fixed way to split; the vocabulary is the tokens that are frequent enough."""

    alphabet: ClassVar[tuple[str, ...]] = ()  # symbols known before any text is read

    @final
    def learn(self, texts: Iterable[str]) -> Learned:
        counts = Counter(dict.fromkeys(self.alphabet, 0))
        for text in texts:
            counts.update(self.split(text))
        check_counts(counts, self.config)
        symbols = most_frequent(counts, self.config.min_frequency, self.config.vocab_size)
        kept = [counts[symbol] for symbol in symbols]
        return Learned(symbols=symbols, counts=kept, seen=len(+counts), coverage=sum(kept) / counts.total())


def most_frequent(counts: Mapping[str, int], minimum: int, limit: int | None) -> list[str]:
    """Symbols seen at least `minimum` times, most frequent first, ties by symbol; at most `limit` of them.

    A minimum of 1 asks nothing, so that a symbol known beforehand (count 0) stays.
    """
    least = minimum if minimum > 1 else 0
    ranked = sorted((symbol for symbol, count in counts.items() if count >= least), key=lambda s: (-counts[s], s))
    return ranked[:limit]


def check_counts(counts: Counter[str], config: TokenizerConfig) -> None:
    """Errors: DataError when nothing was counted, or nothing often enough."""
    if counts.total() == 0:
        raise DataError("the training data has no text to make a vocabulary from: every line of this side is empty",
                        fix="check that the right column is read")
    (symbol, most), = counts.most_common(1)
    if most < config.min_frequency:
        raise DataError(f"min_frequency is {config.min_frequency}, and no symbol is seen that often: the most frequent "
                        f"one, '{symbol}', is seen {most} times", fix=f"lower min_frequency to {most} or less")


def tokenizer_path(folder: str | Path, stem: str) -> Path:
    """Where a tokenizer stands in a run folder."""
    return Path(folder) / f"{stem}.tokenizer.json"
