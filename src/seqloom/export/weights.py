"""The stored weights of a run, handed out by name: what a graph does not take is noticed at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from seqloom.config.sections import Config
from seqloom.errors import RunFolderError
from seqloom.types import Floats

DECODER = "head.decoder"
OUTPUT = "head.output"
TRAINING_ONLY = "head.alignment."  # weights of a loss, which no answer needs
EMBEDDING = "head.embedding"  # of a language model
# With tied embeddings the matrix is stored once, under the name that comes first in the model.
TIED: dict[str, dict[str, list[str]]] = {
    "none": {},
    "output": {f"{OUTPUT}.weight": [f"{DECODER}.embedding.weight", f"{EMBEDDING}.weight"],
               f"{DECODER}.embedding.weight": [f"{OUTPUT}.weight"], f"{EMBEDDING}.weight": [f"{OUTPUT}.weight"]},
    "all": {name: ["encoder.embedding.weight", f"{DECODER}.embedding.weight", f"{OUTPUT}.weight"]
            for name in ("encoder.embedding.weight", f"{DECODER}.embedding.weight", f"{OUTPUT}.weight")},
}


class Weights:
    """Arrays by the names of the torch model's parameters, fp32."""

    def __init__(self, arrays: Mapping[str, np.ndarray[Any, Any]], config: Config, where: str) -> None:
        self.arrays = arrays
        self.where = where
        self.aliases = TIED[getattr(config.head, "tie_embeddings", "none")]
        self.taken: set[str] = set()

    def take(self, name: str) -> Floats:
        """A weight. Raises RunFolderError when the run has none of this name."""
        for stored in [name, *self.aliases.get(name, [])]:
            if stored in self.arrays:
                self.taken.add(stored)
                return np.asarray(self.arrays[stored], np.float32)
        raise RunFolderError(f"weights do not fit the configuration: {name} is missing", where=self.where,
                             fix="config.yaml was changed after training, or files of two runs are mixed: restore them")

    def has(self, name: str) -> bool:
        """Whether the run has a weight of this name."""
        return any(stored in self.arrays for stored in [name, *self.aliases.get(name, [])])

    def linear(self, name: str) -> tuple[Floats, Floats | None]:
        """Matrix [O I] and bias [O] of a linear layer."""
        bias = f"{name}.bias"
        return self.take(f"{name}.weight"), self.take(bias) if self.has(bias) else None

    def check_all_taken(self, unused: Iterable[str] = ()) -> None:
        """Raise RunFolderError when the run holds weights that no graph uses, `unused` apart."""
        left = sorted(name for name in set(self.arrays) - self.taken - set(unused)
                      if not name.startswith(TRAINING_ONLY))
        if left:
            raise RunFolderError(f"weights do not fit the configuration: unexpected {left[:3]}", where=self.where,
                                 fix="config.yaml was changed after training, or files of two runs are mixed: "
                                     "restore them")
