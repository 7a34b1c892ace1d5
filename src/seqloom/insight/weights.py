"""The stored weights of a run by name, in float64; a tied matrix is found under each of its names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from seqloom.config.sections import Config, LanguageHeadConfig, SequenceHeadConfig
from seqloom.errors import RunFolderError
from seqloom.types import Floats

TARGET, OUTPUT, SOURCE = "head.decoder.embedding.weight", "head.output.weight", "encoder.embedding.weight"
TIED: dict[str, tuple[str, ...]] = {"none": (), "output": (TARGET, OUTPUT), "all": (SOURCE, TARGET, OUTPUT)}
TIED_LANGUAGE: dict[str, tuple[str, ...]] = {"none": (), "output": ("head.embedding.weight", OUTPUT)}


class Weights:
    """Arrays by the names of the model's parameters."""

    def __init__(self, arrays: Mapping[str, np.ndarray[Any, Any]], config: Config, where: str = "") -> None:
        self.arrays, self.where, self.tied = arrays, where, tied_names(config)
        self._wide: dict[str, Floats] = {}  # a conversion at every step would take longer than the step

    def has(self, name: str) -> bool:
        """Whether there is a weight of this name."""
        return name in self.arrays or (name in self.tied and any(other in self.arrays for other in self.tied))

    def take(self, name: str) -> Floats:
        """A weight. Raises RunFolderError when the run has none of this name."""
        for stored in (name, *(self.tied if name in self.tied else ())):
            if stored in self.arrays:
                if stored not in self._wide:
                    self._wide[stored] = np.asarray(self.arrays[stored], np.float64)
                return self._wide[stored]
        raise RunFolderError(f"weights do not fit the configuration: {name} is missing", where=self.where,
                             fix="config.yaml was changed after training, or files of two runs are mixed: restore them")

    def linear(self, name: str, inputs: Floats) -> Floats:
        """W x + b for vectors in the last axis of `inputs` [… I] → [… O]; a layer without bias has none."""
        product: Floats = inputs @ self.take(f"{name}.weight").T
        return product + self.take(f"{name}.bias") if self.has(f"{name}.bias") else product


def tied_names(config: Config) -> tuple[str, ...]:
    """Names of one and the same matrix, where the configuration shares it."""
    if isinstance(config.head, SequenceHeadConfig):
        return TIED[config.head.tie_embeddings]
    return TIED_LANGUAGE[config.head.tie_embeddings] if isinstance(config.head, LanguageHeadConfig) else ()
