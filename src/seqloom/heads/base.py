"""What every head is: the classes that those in the other files of this folder derive from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from seqloom.config.sections import Config, DecodingConfig
from seqloom.data.labels import Labels
from seqloom.data.storage import read_json, write_json
from seqloom.data.tokenizers import Tokenizer
from seqloom.errors import DataError, UsageError
from seqloom.types import Engine, Ints, Item, Prediction, Record

SetAside = Callable[[Record, str], None]


class Example(NamedTuple):
    """What training sees: the record that it began in, and both sides as numbers."""

    record: Record
    source: Item | None
    target: Item


class HeadBase(ABC):
    """Reads targets into numbers, turns an engine's answers back (NumPy), and builds the module that answers and its
    loss (torch, only then).

    kind:         the name in the configuration, and of the file.
    has_symbols:  whether the field `main` of targets holds ids of symbols, of which some may be unknown.
    metrics:      names of `evaluate` → names in the table of metrics, cheap and usual ones; none: there is nothing to
                  compare answers with, and the likelihood alone tells.
    is_free_text: whether answers are written token by token, so that they can loop, run on, and be scored.
    is_stream:    whether all data is one text that goes on from line to line, read without a source.
    has_classes:  whether the tokens of answers are classes, which can be taken for each other.
    """

    kind: ClassVar[str]
    has_symbols: ClassVar[bool] = False
    metrics: ClassVar[Mapping[str, str]] = {}
    is_free_text: ClassVar[bool] = False
    is_stream: ClassVar[bool] = False
    has_classes: ClassVar[bool] = False

    config: Any

    # --- reading ---

    @classmethod
    @abstractmethod
    def fit(cls, config: Config, records: Iterable[Record]) -> Self:
        """Learn from training records what reading needs."""

    @property
    def shared_tokenizer(self) -> Tokenizer | None:
        """A tokenizer that is to serve the source too."""
        return None

    def adopt(self, source: Any) -> None:
        """Told the source that was made with `shared_tokenizer`."""
        return

    def link(self, source: Item) -> Item:
        """The source with what this head needs beside it."""
        return source

    @abstractmethod
    def read(self, record: Record, source: Item | None) -> Item:
        """The target of a record. Raises DataError with file:line."""

    def texts_of(self, record: Record) -> list[str]:
        """The targets as they stand in a record, the first one that counts."""
        return record.texts("target")

    def tokens_of(self, text: str) -> list[str]:
        """A target's tokens, for counting those that are right."""
        return text.split()

    def mismatch(self, record: Record, prediction: Prediction) -> str:
        """Why an answer cannot be compared with the target of its record; "" where it can."""
        return ""

    def unknown_classes(self, record: Record) -> list[str]:
        """The classes in a record's targets that no answer can have."""
        return []

    def streamed(self, engine: Engine[Any], step: Item, state: Any) -> tuple[Any, Any]:
        """The raw answer to one more step of an input, and the state to hand in with the next one.

        Raises UsageError where answers do not come step by step.
        """
        raise UsageError(f"answers step by step are asked for, but this run answers with {self.describe()}",
                         fix="leave --stream out; a run with head.kind tags answers each step")

    def examples(self, source: Any, records: Iterable[Record], set_aside: SetAside) -> Iterator[Example]:
        """Records as numbers; one that cannot be read is told to `set_aside` with the reason."""
        for record in records:
            try:
                item = self.link(source.read(record))
                yield Example(record, item, self.read(record, item))
            except DataError as error:
                set_aside(record, error.message)

    # --- telling ---

    @property
    def roles(self) -> tuple[str, ...]:
        """Columns that reading needs beside the source's."""
        return tuple(self.config.roles)

    @property
    @abstractmethod
    def metric(self) -> str:
        """What decides which checkpoint is best, by default: one of `metrics`, or loss."""

    @property
    def usual_metrics(self) -> list[str]:
        """Those of `metrics` that say something about these answers."""
        return list(self.metrics)

    def check_metrics(self, names: Sequence[str]) -> None:
        """Raise UsageError for one that is asked for by name and says nothing about these answers."""
        vain = [name for name in names if name in self.metrics and name not in self.usual_metrics]
        if vain:
            raise UsageError(f"{', '.join(vain)} would be the same whatever these {self.kind} are: they have nothing "
                             "that it looks at", fix=f"use one of: {', '.join(self.usual_metrics)}")

    @property
    def bleu_tokenize(self) -> str:
        """sacreBLEU's tokenizer for these answers: none where they are tokenised already."""
        return "none"

    @property
    @abstractmethod
    def size(self) -> int:
        """Symbols, or labels: graphs and weights of another size belong to another run."""

    @property
    @abstractmethod
    def symbols(self) -> list[str]:
        """What two runs must have in common to be averaged or to answer together."""

    def ids_in(self, other: HeadBase) -> Ints:
        """[V] the id in `other` of each of this head's symbols, -1 where it has none: how two runs answer together.

        Raises UsageError where symbols of the two cannot be told to be the same.
        """
        raise UsageError(f"one answers with {self.describe()}, the other with {other.describe()}",
                         fix="use runs that were trained on the same data with the same tokenizers")

    @abstractmethod
    def describe(self) -> str:
        """What is answered, in a few words: "44 symbols (character)"."""

    # --- the network ---

    @abstractmethod
    def build(self, config: Config, encoder: Any) -> Any:
        """The module that reads this encoder's memory: see model.Model."""

    def tie(self, model: Any) -> None:
        """Share matrices of a model that was just initialised."""
        return

    def insert_pretrained(self, module: Any, *, fresh: bool) -> list[str]:
        """Put pretrained weights into a fresh module and freeze what is to stay; of another only the freezing.

        Returns lines for people.
        """
        return []

    # --- answering ---

    @abstractmethod
    def answer(self, engine: Engine[Any], sources: Sequence[Item], options: DecodingConfig, *, lines: Ints,
               attention: bool = False, prefixes: Sequence[Ints] | None = None) -> list[list[Any]]:
        """Raw answers to each source, best first."""

    @abstractmethod
    def prediction(self, answer: Any, source: Item, source_tokens: list[str], options: DecodingConfig, *,
                   attention: bool = True) -> Prediction:
        """A raw answer for people."""

    def prefix_ids(self, text: str, source: Item) -> Ints:
        """What an answer is to begin with. Raises UsageError where answers have no beginning."""
        raise UsageError(f"a prefix is given, but this run answers with {self.describe()}, not with a text",
                         fix="leave the prefix out")

    def alternatives(self, engine: Engine[Any], source: Item, answer: Any, count: int
                     ) -> list[list[tuple[str, float]]]:
        """For each step of an answer the `count` best tokens with their probabilities."""
        raise UsageError(f"alternatives are asked for, but this run answers with {self.describe()}, not with a text",
                         fix="leave them out: `probabilities` of a jsonl answer has all of them")

    @abstractmethod
    def score(self, engine: Engine[Any], sources: Sequence[Item], targets: Sequence[Item], *, lines: Ints,
              attention: bool = False, candidates: int = 0) -> list[Prediction]:
        """Given targets (as `read` gives them), as predictions: log-probability in sum and of each token; with their
        attention and `candidates` alternatives for each token where asked for."""

    # --- storage ---

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write target.json (at least kind, size), and what else reading and answering need."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: Any) -> Self:
        """Read what `save` wrote. Raises RunFolderError."""


class SymbolsHead(HeadBase):
    """A head that answers with a row of a tokenizer's symbols."""

    has_symbols = True
    tokenizer: Tokenizer

    @property
    def size(self) -> int:
        """Number of symbols."""
        return self.tokenizer.size

    @property
    def symbols(self) -> list[str]:
        return self.tokenizer.symbols

    def describe(self) -> str:
        return f"{self.size:,} symbols ({self.config.tokenizer.kind})"


class ClassesHead(HeadBase):
    """A head that answers with one of the classes that training data had: labels or tags."""

    has_classes = True
    what: ClassVar[str]  # for people: "labels"

    def __init__(self, config: Any, labels: Labels) -> None:
        self.config = config
        self.labels = labels

    @property
    def metric(self) -> str:
        return "accuracy"

    @property
    def size(self) -> int:
        """Number of classes."""
        return len(self.labels.names)

    @property
    def symbols(self) -> list[str]:
        return self.labels.names

    def unknown_classes(self, record: Record) -> list[str]:
        known = set(self.labels.names)
        return [name for text in self.texts_of(record) for name in self.tokens_of(text) if name not in known]

    def ids_in(self, other: HeadBase) -> Ints:
        """The same ids, where the classes are the same: their order is that of their names."""
        if not isinstance(other, ClassesHead) or other.kind != self.kind:
            return super().ids_in(other)
        alone = sorted({*other.labels.names} ^ {*self.labels.names})
        if alone:
            raise UsageError(f"one of them alone has {', '.join(alone[:5])}{', …' if len(alone) > 5 else ''} among its "
                             f"{self.what}", fix="use runs of the same classes")
        return np.arange(self.size)

    def describe(self) -> str:
        shown = ", ".join(self.labels.names[:5]) + (", …" if self.size > 5 else "")
        return f"one of {self.size:,} {self.what} ({shown})"

    def save(self, folder: Path) -> None:
        """Write target.json, with the classes and their counts."""
        write_json(folder / "target.json", {"kind": self.kind, "size": self.size, **self.labels.to_json()})

    @classmethod
    def load(cls, folder: Path, config: Any) -> Self:
        """Read what `save` wrote. Raises RunFolderError."""
        path = folder / "target.json"
        return cls(config, Labels.stored(read_json(path, "kind", "labels", "counts"), str(path)))
