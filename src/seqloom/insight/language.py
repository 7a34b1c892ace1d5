"""A language model computed again in NumPy: what it made of every symbol of a prompt and of its own answer.

Mikolov et al. 2010, eqs. 1-5, with any cell. There is no source, hence no attention and no summary.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from seqloom.config.sections import Config, LanguageHeadConfig
from seqloom.insight.cells import Layer, scan
from seqloom.insight.weights import Weights
from seqloom.types import Floats, Ints

EMBEDDING, OUTPUT, CELLS = "head.embedding.weight", "head.output", "head.recurrent.layers.{}.cells.0"


class Reading(NamedTuple):
    """ids [T] that were read; embedded [T E]; one Layer for each layer; outputs [T H]: what the output layer reads;
    log_probabilities [T V] of the symbol behind each.
    """

    ids: Ints
    embedded: Floats
    layers: list[Layer]
    outputs: Floats
    log_probabilities: Floats


class LanguageNetwork:
    """The network of a language model with these weights."""

    def __init__(self, config: Config, weights: Weights) -> None:
        assert isinstance(config.head, LanguageHeadConfig)
        self.config, self.weights, self.one_hot = config, weights, config.head.one_hot

    @cached_property
    def symbols(self) -> int:
        """How many symbols there are."""
        return len(self.weights.take(f"{OUTPUT}.weight"))

    def embed(self, ids: Ints) -> Floats:
        """A row of the embedding matrix for each symbol, or a one-hot vector."""
        matrix = np.eye(self.symbols) if self.one_hot else self.weights.take(EMBEDDING)
        rows: Floats = matrix[ids]
        return rows

    def read(self, ids: Ints) -> Reading:
        """Read symbols from the empty state on."""
        options, layers = self.config.decoder, []
        embedded = inputs = self.embed(ids)
        for number in range(options.layers):
            layer = scan(self.weights, CELLS.format(number), options.cell, inputs, len(ids))
            layers.append(layer)
            inputs = layer.hidden + inputs if options.residual and number else layer.hidden
        logits = self.weights.linear(OUTPUT, inputs)
        shifted = logits - logits.max(1, keepdims=True)
        return Reading(ids, embedded, layers, inputs, shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
