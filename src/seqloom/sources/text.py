"""kind: text — text in, as symbols, with or without features beside it and characters inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqloom.config.problems import show
from seqloom.config.sections import Config, PretrainedConfig, TextSourceConfig
from seqloom.data.characters import CharacterCounter, Characters
from seqloom.data.embeddings import load_vectors
from seqloom.data.storage import read_json, write_json
from seqloom.data.tokenizers import Tokenizer, fit_tokenizer, load_tokenizer
from seqloom.errors import DataError, RunFolderError, UsageError
from seqloom.sources.base import SourceBase
from seqloom.types import END, SPECIAL_NAMES, UNKNOWN, Item, Record

if TYPE_CHECKING:
    from seqloom.nn.encoders import TextEncoder

STEM = "source"


class Source(SourceBase):
    """Reads text into ids: features (mode symbols) first, then the text's symbols, then </s>."""

    kind = "text"
    has_symbols = True

    def __init__(self, config: TextSourceConfig, tokenizer: Tokenizer, characters: Characters | None = None,
                 languages: Sequence[str] = (), language: str | None = None) -> None:
        """languages: those of the training data, sorted; language: the one of every record that says none itself."""
        self.config = config
        self.tokenizer = tokenizer
        self.characters = characters
        self.languages = list(languages)
        self.language = language

    # --- reading ---

    @classmethod
    def fit(cls, config: TextSourceConfig, records: Iterable[Record], shared: Tokenizer | None = None) -> Source:
        """Learn the symbols from training records; `shared` is a tokenizer of both sides that serves instead."""
        names: dict[str, None] = {}
        languages: set[str] = set()
        counter = None if config.characters is None else CharacterCounter(
            config.characters, config.tokenizer if shared is None else shared.config)

        def texts() -> Iterable[str]:
            for record in records:
                names.update(dict.fromkeys(split_features(record, config)))
                languages.update(filter(None, [language_in(record)] if config.language else []))
                text = record.text("source")
                if counter is not None:
                    counter.add(text)
                yield text

        if shared is None:
            tokenizer = fit_tokenizer(config.tokenizer, texts())
        else:
            # One of its own with the same ids: features are symbols of the source, and nothing to be answered.
            tokenizer = type(shared)(shared.config, shared.learned)
            if config.features is not None or config.language is not None or counter is not None:
                for _ in texts():
                    pass
        tokenizer.add_features(names)
        tokenizer.add_features(map(language_symbol, languages))
        return cls(config, tokenizer, None if counter is None else counter.characters(), sorted(languages))

    def read(self, record: Record) -> Item:
        """Ids [S] with </s> last, and the tokens; with characters their ids [S W], none for </s> and features.

        Raises DataError for a record without any symbol.
        """
        text = record.text("source")
        tokens = self.tokenizer.tokens(text)
        if not tokens:
            raise DataError("the source is empty", where=record.where, fix="give some text, or remove the line")
        ids = self.tokenizer.ids(tokens)
        inside = None if self.characters is None else self.characters.read(self.tokenizer, text, tokens)
        if self.config.reverse:
            ids, tokens, inside = ids[::-1], tokens[::-1], None if inside is None else inside[::-1]
        names = split_features(record, self.config)
        feature_ids = [self.tokenizer.feature_id(name) for name in names]
        fields: dict[str, Any] = {}
        leading = 0
        language = self._language_of(record)
        mode = "symbols" if self.config.features is None else self.config.features.mode
        if mode != "symbols":
            fields["features" if mode == "encoder" else "added"] = np.asarray(feature_ids, np.int64)
        elif names:
            ids, leading = feature_ids + ids, len(names)
            tokens = [self.tokenizer.feature_token(name) for name in names] + tokens
        if self.config.language == "symbol":
            ids, leading = [self.tokenizer.feature_id(language), *ids], leading + 1
            tokens = [self.tokenizer.feature_token(language), *tokens]
        elif language:
            fields["language"] = np.full(len(ids) + 1, self.tokenizer.feature_id(language), np.int64)
        fields["main"] = np.asarray([*ids, END], np.int64)
        if inside is not None:
            fields["characters"] = np.pad(inside, ((leading, 1), (0, 0)))
        return Item(fields, [*tokens, SPECIAL_NAMES[END]], leading)

    def _language_of(self, record: Record) -> str:
        """The symbol of a record's language; "" where none is read. Raises DataError for one that is not known."""
        if self.config.language is None:
            return ""
        given = language_in(record) if "language" in record.fields else self.language or ""
        if given not in self.languages:
            raise DataError(f"unknown language '{given}', expected one of: {', '.join(self.languages)}" if given else
                            f"no language is given, expected one of: {', '.join(self.languages)}", where=record.where,
                            fix="give a language that the run was trained on")
        return language_symbol(given)

    def in_language(self, language: str) -> Source:
        """The same source for inputs of this language, which need not say it. Raises UsageError for an unknown one."""
        if self.config.language is None:
            return super().in_language(language)
        if language not in self.languages:
            raise UsageError(f"unknown language '{language}', expected one of: {', '.join(self.languages)}",
                             fix="give a language that the run was trained on")
        return Source(self.config, self.tokenizer, self.characters, self.languages, language)

    @property
    def roles(self) -> tuple[str, ...]:
        """Columns that reading needs; without the language's where it is said already."""
        return tuple(role for role in self.config.roles if role != "language" or self.language is None)

    def memory_tokens(self, item: Item, record: Record) -> list[str]:
        """A name for every position of the memory: the tokens, then features that are encoded apart."""
        if "features" not in item.fields:
            return item.tokens
        names = split_features(record, self.config)
        return item.tokens + [self.tokenizer.feature_token(name) for name in names]

    @property
    def reads_steps(self) -> bool:
        return self.config.features is None and self.config.language is None and not self.config.reverse

    def read_step(self, record: Record) -> Item:
        """The same without the end symbol. Raises DataError for a step that is not one symbol."""
        item = self.read(record)
        if item.length != 2:
            raise DataError(f"a step of {item.length - 1} symbols, expected one", where=record.where,
                            fix="give one symbol a line, and an empty line behind the last one of an input")
        return Item({name: values[:1] for name, values in item.fields.items()}, item.tokens[:1])

    def measure(self, item: Item) -> int:
        """Symbols of the text, without features and </s>."""
        return item.length - item.leading_features - 1

    # --- telling ---

    @property
    def size(self) -> int:
        """Number of symbols."""
        return self.tokenizer.size

    @property
    def symbols(self) -> list[str]:
        inside = [] if self.characters is None else self.characters.table.symbols
        return self.tokenizer.symbols + self.languages + inside

    @property
    def reading(self) -> list[Any]:
        learned = self.tokenizer.learned.model_dump(include={"symbols", "merges", "scores"})
        network = {"embedding_size": True, "pretrained": True, "symbol_dropout": True,
                   "tokenizer": {"min_frequency", "vocab_size"}, "characters": {"embedding_size", "hidden_size"}}
        return [self.kind, learned, self.tokenizer.features, self.symbols, self.config.model_dump(exclude=network)]

    def describe(self) -> str:
        inside = "" if self.characters is None else f", of {len(self.characters.table.symbols):,} characters"
        languages = f", {len(self.languages)} languages" if self.config.language else ""
        return f"{self.size:,} symbols ({self.tokenizer.config.kind}){inside}{languages}"

    def made_up(self, draw: np.random.Generator) -> dict[str, str]:
        """Up to nineteen symbols in a row, without features."""
        symbols = self.tokenizer.symbols
        picked = [symbols[index] for index in draw.integers(0, len(symbols), draw.integers(1, 20))]
        language = str(draw.choice(self.languages)) if self.languages else ""
        return {role: {"source": self.tokenizer.decode(picked), "language": language}.get(role, "")
                for role in self.roles}

    # --- the network ---

    def build(self, config: Config) -> TextEncoder:
        """The encoder, with pretrained vectors in its embeddings where the configuration asks for them."""
        from seqloom.nn.characters import CharacterEncoder
        from seqloom.nn.encoders import TextEncoder

        features = self.config.features is not None and self.config.features.mode == "encoder"
        options, inside = self.config.characters, None
        if options is not None and self.characters is not None:
            inside = CharacterEncoder(self.characters.table.size, options.embedding_size, options.hidden_size)
        return TextEncoder(self.tokenizer.size, self.config.embedding_size, config.encoder, features=features,
                           characters=inside, symbol_dropout=self.config.symbol_dropout)

    def insert_pretrained(self, encoder: TextEncoder, *, fresh: bool) -> list[str]:
        """Vectors into the embeddings. Raises DataError where their size is not the embedding's."""
        return insert_rows(self.config.pretrained, self.tokenizer, encoder.embedding, "source", fresh=fresh)

    # --- storage ---

    def save(self, folder: Path) -> None:
        """Write source.json, its tokenizer, and the table of its characters."""
        self.tokenizer.save(folder, STEM)
        if self.characters is not None:
            self.characters.save(folder, STEM)
        said = {"languages": self.languages} if self.config.language else {}
        write_json(folder / "source.json",
                   {"kind": self.kind, "roles": list(self.config.roles), "size": self.tokenizer.size, **said})

    @classmethod
    def load(cls, folder: Path, config: TextSourceConfig) -> Source:
        """Read what `save` wrote. Raises RunFolderError."""
        described = read_json(folder / "source.json", "kind", "roles", *["languages"] * (config.language is not None))
        characters = None if config.characters is None else Characters.load(folder, STEM, config.characters)
        tokenizer = load_tokenizer(folder, STEM)
        languages = described.get("languages", [])
        if not isinstance(languages, list) or any(
                not isinstance(name, str) or tokenizer.feature_id(language_symbol(name)) == UNKNOWN
                for name in languages):
            raise RunFolderError("the languages are not those of the tokenizer", where=str(folder / "source.json"),
                                 fix="files of two runs are mixed: copy one again")
        return cls(config, tokenizer, characters, languages)


def language_in(record: Record) -> str:
    """The language that a record says, "" for a blank one."""
    return record.text("language").strip()


def language_symbol(name: str) -> str:
    """The tokenizer's name of a language: no feature is called so, since features have no space at their ends."""
    return f" {name}"


def split_features(record: Record, config: TextSourceConfig) -> list[str]:
    """The features of a record, in the order they stand there; none where the configuration has none."""
    if config.features is None:
        return []
    return [name for part in record.text("features").split(config.features.separator) if (name := part.strip())]


def insert_rows(options: PretrainedConfig | None, tokenizer: Tokenizer, embedding: Any, side: str, *,
                fresh: bool) -> list[str]:
    """Pretrained vectors into a fresh embedding, with a report; of any other only the freezing.

    A frozen embedding has no gradient at all: rows without a vector keep their random start.
    """
    if options is None:
        return []
    from seqloom.nn.pretrained import insert_vectors

    lines: list[str] = []
    if fresh:
        vectors = pretrained_rows(options.path, tokenizer, embedding.embedding_dim)
        insert_vectors(embedding, vectors.matrix, vectors.found, len(SPECIAL_NAMES))
        lines = vectors.report()
    embedding.weight.requires_grad_(not options.freeze)
    return [f"{side} embeddings: {line}" for line in lines]


def pretrained_rows(path: str, tokenizer: Tokenizer, embedding_size: int) -> Any:
    """Vectors for ids 4 … of a tokenizer. Raises DataError when their size is not the embedding's."""
    vectors = load_vectors(path, tokenizer.symbols)
    if vectors.matrix.shape[1] != embedding_size:
        raise DataError(f"vectors of size {vectors.matrix.shape[1]}, but embedding_size is {embedding_size}",
                        where=path, fix=f"set embedding_size to {vectors.matrix.shape[1]}")
    return vectors


def inputs_of(value: str | Mapping[str, str], roles: Sequence[str]) -> dict[str, str]:
    """What Python code gives as one input: text, or a mapping with the source's columns."""
    if not isinstance(value, (str, Mapping)):
        raise DataError(f"the input is {show(value)}, expected text or a mapping",
                        fix=f"give text, or a mapping with the keys {', '.join(roles)}")
    given = {roles[0]: value} if isinstance(value, str) else value
    fields = {role: given[role] for role in roles if role in given}  # others are not the source's
    for role, content in fields.items():
        if not isinstance(content, str):
            raise DataError(f"the input's {role} is {show(content)}, expected text", fix=f"give str({role})")
    missing = [role for role in roles if role not in fields]
    if missing:
        said = ", or language=… for all inputs" if missing == ["language"] else ""
        raise DataError(f"the input has no {' and no '.join(missing)}",
                        fix=f"give a mapping with the keys {', '.join(roles)}{said}")
    return fields
