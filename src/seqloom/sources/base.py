"""What every source is: the class that those in the other files of this folder derive from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from seqloom.config.base import Column
from seqloom.config.sections import Config
from seqloom.errors import UsageError
from seqloom.types import Item, Record


class SourceBase(ABC):
    """Turns a record into numbers (NumPy), and builds the network that makes a Memory of them (torch, only then).

    kind:        the name in the configuration, and of the file.
    has_symbols: whether the field `main` holds ids of symbols, of which some may be unknown.
    window:      at most this many inputs are read, sorted by length and answered together: it bounds their memory.
    """

    kind: ClassVar[str]
    has_symbols: ClassVar[bool] = False
    window: ClassVar[int] = 10_000

    config: Any

    # --- reading ---

    @classmethod
    @abstractmethod
    def fit(cls, config: Any, records: Iterable[Record], shared: Any = None) -> Self:
        """Learn from training records what reading needs; `shared`: a tokenizer of both sides, which serves instead."""

    @abstractmethod
    def read(self, record: Record) -> Item:
        """The numbers of a record. Raises DataError with file:line for what cannot be read."""

    @property
    def reads_steps(self) -> bool:
        """Whether the encoder can go on from the steps before, so that inputs may come step by step."""
        return False

    def read_step(self, record: Record) -> Item:
        """The numbers of one step of an input that goes on: no end stands behind it."""
        return self.read(record)

    def measure(self, item: Item) -> int:
        """The length that `data.max_source_length` is compared with."""
        return item.length

    @abstractmethod
    def memory_tokens(self, item: Item, record: Record) -> list[str]:
        """A name for every position of the memory."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Columns that reading needs; what Python code gives without a name is the first."""
        return tuple(self.config.roles)

    @property
    def columns(self) -> dict[str, Column]:
        """Columns that the configuration of this source names itself."""
        return dict(self.config.columns)

    def in_language(self, language: str) -> Self:
        """The same source for inputs in this language. Raises UsageError where none is read, or another."""
        raise UsageError(f"the language '{language}' is given, but this run was trained without languages",
                         fix="leave it out; data.md says how to train on several")

    # --- telling ---

    @property
    @abstractmethod
    def size(self) -> int:
        """Symbols, or dimensions: graphs and weights of another size belong to another run."""

    @property
    def symbols(self) -> list[str]:
        """What two runs must have in common to be averaged or to answer together, beside the size."""
        return []

    @property
    def reading(self) -> list[Any]:
        """All that the numbers of a record depend on: where it is equal, one reading serves two runs."""
        return [self.kind, self.size, self.symbols, self.config.model_dump()]

    @abstractmethod
    def describe(self) -> str:
        """What is read, in a few words: "44 symbols (character)"."""

    def made_up(self, draw: np.random.Generator) -> dict[str, str] | None:
        """The columns of an input that was made up, to try a model on where no data is left; None for no such thing."""
        return None

    # --- the network ---

    @abstractmethod
    def build(self, config: Config) -> Any:
        """The encoder: a module with `memory_size` and forward(Padded) → Memory; where steps can be read as they come,
        forward(Padded, Memory) goes on from the last states of that memory."""

    def insert_pretrained(self, encoder: Any, *, fresh: bool) -> list[str]:
        """Put pretrained weights into a fresh encoder and freeze what is to stay; of another only the freezing.

        Returns lines for people.
        """
        return []

    # --- storage ---

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write source.json (at least kind, roles, size), and what else reading needs."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: Any) -> Self:
        """Read what `save` wrote. Raises RunFolderError."""
