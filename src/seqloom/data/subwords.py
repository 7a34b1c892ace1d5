"""Pieces of words: byte-pair encoding and unigram models, segmented by the `tokenizers` library.

The library sees text in which a space is written "▁" and another "▁" stands in front, so that a word looks the same at
the start of a line and inside it; joining the pieces and undoing that gives the text back exactly, whatever it was.
Before any merging the text is cut into words, numbers and punctuation. This module keeps no state and writes no files;
`tokenizers` is imported inside its functions, so that character models never load it.
"""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, final

from seqloom.data.unigram import train_unigram
from seqloom.data.vocabulary import Learned, Tokenizer, check_counts, most_frequent
from seqloom.types import SPECIAL_NAMES, UNKNOWN

DEFAULT_PIECES = 8000
SPACE = "▁"
# A space, or nothing, and then a run of letters, of digits, or of anything else; further spaces stand alone.
WORDS = rf"{SPACE}?[\p{{L}}\p{{M}}]+|{SPACE}?\p{{N}}+|{SPACE}?[^{SPACE}\p{{L}}\p{{M}}\p{{N}}]+|{SPACE}"
# In training runs are cut at this many characters: the library's time grows with the square of a word's length.
LONGEST_WORD = 64
# A "▁" of the text itself is written with an escape sign, and so is that sign.
ESCAPED = {"␛": "␛0", SPACE: "␛1"}
RESTORED = {escaped: plain for plain, escaped in ESCAPED.items()}
NEEDS_ESCAPE = re.compile(f"[␛{SPACE}]")
ESCAPES = re.compile("␛[01]")
# The library wants its own names for the special ids; no piece holds a space, so none of them can be met in text.
RESERVED = tuple(f" {name}" for name in SPECIAL_NAMES)


def escape(text: str) -> str:
    """The text as the library sees it; "" stays ""."""
    if not text:
        return ""
    if NEEDS_ESCAPE.search(text):
        text = NEEDS_ESCAPE.sub(lambda match: ESCAPED[match[0]], text)
    return SPACE + text.replace(" ", SPACE)


def unescape(pieces: Sequence[str]) -> str:
    """The text of any sequence of pieces; the exact inverse of `escape` for pieces that join to its result."""
    text = "".join(pieces).removeprefix(SPACE).replace(SPACE, " ")
    return ESCAPES.sub(lambda match: RESTORED[match[0]], text) if "␛" in text else text


def segment(model: Any, text: str) -> list[str]:
    """Pieces of a text, joining to `escape(text)`; what the model does not know is a piece of its own."""
    if not text:
        return []
    escaped = escape(text)
    encoding = model.encode(escaped, add_special_tokens=False)
    pieces: list[str] = encoding.tokens
    if UNKNOWN in (ids := encoding.ids):
        spans = zip(ids, pieces, encoding.offsets, strict=True)
        pieces = [escaped[start:end] if number == UNKNOWN else piece for number, piece, (start, end) in spans]
    return pieces


class PieceTokenizer(Tokenizer, ABC):
    """Pieces of words, "▁" at the start of a word; segmented by the `tokenizers` library."""

    unit = "characters"

    @abstractmethod
    def build(self) -> Any:
        """The library's segmenter for what was learned."""

    @cached_property
    def segmenter(self) -> Any:
        return self.build()

    @final
    def split(self, text: str) -> list[str]:
        return segment(self.segmenter, text)

    @final
    def decode(self, tokens: Sequence[str]) -> str:
        return unescape(tokens)

    @final
    def taught(self, characters: Counter[str], symbols: list[str], **learned: Any) -> Learned:
        check_counts(characters, self.config)
        known = sum(characters[symbol] for symbol in symbols if len(symbol) == 1)
        return Learned(symbols=symbols, seen=len(characters), coverage=known / characters.total(), **learned)


class BpeTokenizer(PieceTokenizer):
    """Byte-pair encoding over characters (Sennrich et al. 2016)."""

    def learn(self, texts: Iterable[str]) -> Learned:
        characters: Counter[str] = Counter()
        pieces, merges = learn_bpe(map(escape, texts), characters, self.config.min_frequency,
                                            self.config.vocab_size or DEFAULT_PIECES)
        return self.taught(characters, pieces, merges=merges)

    def build(self) -> Any:
        return build_bpe(self.symbols, self.learned.merges)


class UnigramTokenizer(PieceTokenizer):
    """The most probable segmentation under a unigram model of pieces (Kudo 2018)."""

    def learn(self, texts: Iterable[str]) -> Learned:
        characters: Counter[str] = Counter()
        pieces, scores = learn_unigram(map(escape, texts), characters, self.config.min_frequency,
                                                self.config.vocab_size or DEFAULT_PIECES)
        return self.taught(characters, pieces, scores=scores)

    def build(self) -> Any:
        return build_unigram(self.symbols, self.learned.scores)


def learn_bpe(texts: Iterable[str], characters: Counter[str], minimum: int, limit: int) -> tuple[list[str], list[str]]:
    """Byte-pair encoding (Sennrich et al. 2016, §3.2): pieces and merges ("left right", in order of learning).

    texts: escaped; streamed. characters: filled with the count of every character. Pieces seen once teach nothing, so
    a merge is seen at least max(2, minimum) times; there are at most `limit` pieces, fewer where the data has no more.
    Characters below `minimum`, or too many for `limit`, are left out. The trainer breaks ties by piece order.
    """
    from tokenizers import Tokenizer, models, trainers

    def counted() -> Iterator[str]:
        for text in texts:
            characters.update(text)
            yield text

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = words_splitter(LONGEST_WORD)
    trainer = trainers.BpeTrainer(vocab_size=limit, min_frequency=max(2, minimum), show_progress=False)
    with single_thread():
        learner.train_from_iterator(counted(), trainer)
    learned = json.loads(learner.to_str())["model"]
    known = frozenset(most_frequent(characters, minimum, limit))
    pieces = [piece for piece in sorted(learned["vocab"], key=learned["vocab"].__getitem__) if known.issuperset(piece)]
    # Merges are pairs in newer versions of the library and "left right" in older ones.
    merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in learned["merges"])
    return pieces, [merge for merge in merges if known.issuperset(merge.replace(" ", ""))]


def learn_unigram(texts: Iterable[str], characters: Counter[str], minimum: int,
                  limit: int) -> tuple[list[str], list[float]]:
    """Unigram model (Kudo 2018, §3.2): pieces, best first, and their log-probabilities. Arguments as in `learn_bpe`."""
    splitter = words_splitter(LONGEST_WORD)
    words: Counter[str] = Counter()
    for text in texts:
        characters.update(text)
        words.update(word for word, _ in splitter.pre_tokenize_str(text))
    return train_unigram(words, most_frequent(characters, minimum, limit), limit, max(2, minimum))


def build_bpe(pieces: Sequence[str], merges: Sequence[str]) -> Any:
    """The library's segmenter; its ids are ours: special ids 0-3, then the pieces."""
    from tokenizers import Tokenizer, models

    vocabulary = {piece: number for number, piece in enumerate((*RESERVED, *pieces))}
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    model = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, unk_token=RESERVED[UNKNOWN]))
    model.pre_tokenizer = words_splitter()
    return model


def build_unigram(pieces: Sequence[str], scores: Sequence[float]) -> Any:
    """The library's segmenter (Viterbi); its ids are ours: special ids 0-3, then the pieces."""
    from tokenizers import Tokenizer, models

    # The special pieces take the worst score: the library reckons the price of the unknown from the smallest one.
    reserved = [(name, min(scores)) for name in RESERVED]
    model = Tokenizer(models.Unigram([*reserved, *zip(pieces, scores, strict=True)], UNKNOWN))
    model.pre_tokenizer = words_splitter()
    return model


def words_splitter(longest: int | None = None) -> Any:
    """Cuts escaped text into words with their leading space, numbers, and punctuation; runs at most `longest` long."""
    from tokenizers import Regex, pre_tokenizers

    pattern = WORDS if longest is None else WORDS.replace("+", f"{{1,{longest}}}")
    return pre_tokenizers.Split(Regex(pattern), "isolated")


@contextmanager
def single_thread() -> Iterator[None]:
    """Keeps the library on this thread: it is as fast, repeatable, and does not warn when a process forks later."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
