"""kind: none — no source: a language model goes on from text of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from seqloom.config.sections import Config, NoSourceConfig
from seqloom.data.storage import read_json, write_json
from seqloom.sources.base import SourceBase
from seqloom.types import Item, Record


class Source(SourceBase):
    """Reads nothing: hands the text on to the head, which has the symbols."""

    kind = "none"

    def __init__(self, config: NoSourceConfig) -> None:
        self.config = config

    @classmethod
    def fit(cls, config: NoSourceConfig, records: Iterable[Record], shared: Any = None) -> Source:
        """There is nothing to learn."""
        return cls(config)

    def read(self, record: Record) -> Item:
        """An item without positions, with the text as its one token."""
        text = record.text("text").replace("\r\n", "\n")
        return Item({"main": np.zeros(0, np.int64)}, [text])

    def memory_tokens(self, item: Item, record: Record) -> list[str]:
        """What the head made of the text."""
        return item.tokens

    @property
    def size(self) -> int:
        """Nothing is read."""
        return 0

    def describe(self) -> str:
        return "nothing"

    def build(self, config: Config) -> None:
        """There is no encoder."""

    def save(self, folder: Path) -> None:
        """Write source.json."""
        write_json(folder / "source.json", {"kind": self.kind, "roles": list(self.roles), "size": self.size})

    @classmethod
    def load(cls, folder: Path, config: NoSourceConfig) -> Source:
        """Read what `save` wrote. Raises RunFolderError."""
        read_json(folder / "source.json", "kind", "roles")
        return cls(config)
