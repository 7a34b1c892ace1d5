"""Several runs that answer as one: each reads the input in its own way, and symbols of one spelling are one symbol.

Runs of one vocabulary and one way of reading share both. Others, say of one language and of fifteen, read each for
itself, and their answers are made of the first run's symbols. See decision 0020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from seqloom.config.base import Column
from seqloom.engines.ensemble import EnsembleEngine
from seqloom.engines.renamed import RenamedEngine
from seqloom.errors import UsageError
from seqloom.predictor import Predictor
from seqloom.types import SPECIAL_NAMES, Item, Record


class JointSource:
    """Reads a record as several runs do: the first run's numbers, and the others' beside them.

    All that is asked of a source in answering, and nothing of training. `kind`, `config`, `size` and what it shows are
    the first one's.
    """

    reads_steps = False

    def __init__(self, first: Any, others: Sequence[Any]) -> None:
        self.first = first
        self.others = tuple(others)
        self.kind, self.config, self.size, self.has_symbols = first.kind, first.config, first.size, first.has_symbols
        self.window = min(source.window for source in (first, *others))

    @property
    def roles(self) -> tuple[str, ...]:
        """Columns that any of them needs."""
        return tuple(dict.fromkeys(role for source in (self.first, *self.others) for role in source.roles))

    @property
    def columns(self) -> dict[str, Column]:
        """Columns that their configurations name; the first one's where two name one differently."""
        return {role: column for source in (*self.others, self.first) for role, column in source.columns.items()}

    def read(self, record: Record) -> Item:
        """The first one's numbers, with the others'. Raises DataError for what one of them cannot read."""
        item: Item = self.first.read(record)
        return replace(item, others=tuple(source.read(record) for source in self.others))

    def memory_tokens(self, item: Item, record: Record) -> list[str]:
        """A name for every position of the first one's memory."""
        found: list[str] = self.first.memory_tokens(item, record)
        return found

    def in_language(self, language: str) -> JointSource:
        """The same for inputs in this language, told to those that know languages.

        Raises UsageError where none does, or one of them not this one.
        """
        sources = (self.first, *self.others)
        if not any("language" in source.config.roles for source in sources):
            self.first.in_language(language)  # says so
        told = [source.in_language(language) if "language" in source.config.roles else source for source in sources]
        return JointSource(told[0], told[1:])


def together(members: Sequence[Predictor], names: Sequence[str], say: Callable[[str], None] | None = None
             ) -> Predictor:
    """One predictor of several runs; decoding options, and what answers look like, are the first one's.

    say: told of each run that does not know all symbols that answers are made of.
    Raises UsageError, with the two names, for runs that cannot answer together.
    """
    first = members[0]
    if len(members) == 1:
        return first
    engines: list[Any] = [first.engine]
    others: list[Any] = []
    for member, name in zip(members[1:], names[1:], strict=True):
        shared = member.source.reading == first.source.reading
        known = (first.head.size, first.head.symbols) == (member.head.size, member.head.symbols)
        try:
            if not shared:
                _check_apart(first, member)
                others.append(member.source)
            ids = None if known and shared else first.head.ids_in(member.head)
        except UsageError as error:
            raise UsageError(f"{names[0]} and {name} cannot answer together: {error.message}", fix=error.fix) from None
        engines.append(member.engine if ids is None else
                       RenamedEngine(member.engine, ids, None if shared else len(others) - 1))
        if say is not None and ids is not None and (ids < 0).any():
            said, asked = (ids >= 0).sum() - len(SPECIAL_NAMES), first.head.size - len(SPECIAL_NAMES)
            say(f"{name} knows {said:,} of the {asked:,} symbols that answers are made of, those of {names[0]}")
    source = JointSource(first.source, others) if others else first.source
    found = Predictor(source, first.head, EnsembleEngine(engines), first.decoding, first.run)
    found.attends = any(member.attends and member.source.reading == first.source.reading for member in members)
    return found


def _check_apart(first: Predictor, other: Predictor) -> None:
    """Raise UsageError for two that read in different ways and answer at each position of what they read."""
    if first.head.is_stream or other.head.is_stream:
        raise UsageError("a language model goes on from symbols of its own",
                         fix="use language models that were trained on the same data with the same tokenizers")
    if all(member.head.kind != "tags" and (member.run is None or member.run.config.decoder.context != "in_step")
           for member in (first, other)):
        return
    if _steps(first.source) is None or _steps(first.source) != _steps(other.source):
        raise UsageError("they answer at each step of the input, and cut it into steps in different ways",
                         fix="use runs of one source tokenizer of kind word, character, jamo or bytes")


def _steps(source: Any) -> Any:
    """What says into which steps a text is cut; None where it is learned, where features or a language stand before
    the text, and for what is no text."""
    if source.kind != "text" or source.config.features is not None or source.config.language == "symbol":
        return None
    spelling = source.config.tokenizer.spelling
    return None if spelling is None else (spelling, source.config.reverse)
