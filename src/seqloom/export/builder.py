"""What the graphs of every model have in common: one store of large arrays, and an encoder for each kind of source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from seqloom.config.sections import Config
from seqloom.engines.artifacts import Models
from seqloom.errors import UsageError
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.contexts import MEMORY, STATE, Part
from seqloom.export.encoders import Encoded, text_encoder
from seqloom.export.graph import Graph
from seqloom.export.media import frame_encoder, frames_encoder, image_encoder
from seqloom.export.recurrent import Before
from seqloom.export.store import Store
from seqloom.export.weights import Weights

NEXT = "next."

# From a source's kind to what builds its encoder, which goes on from states of its layers where some are given.
EXPORTED_SOURCES: dict[str, Callable[[Graph, Config, Weights, Before | None], Encoded]] = {
    "text": text_encoder,
    "image": image_encoder,
    "audio": frame_encoder,
    "features": frame_encoder,
    "frames": frames_encoder,
}


class Builder(ABC):
    """Makes the graphs of one model. symbols: of the target, or classes."""

    def __init__(self, config: Config, weights: Weights, symbols: int, *, int8: bool = False) -> None:
        self.config = config
        self.weights = weights
        self.symbols = symbols
        self.int8 = int8
        self.store = Store()

    @classmethod
    def check(cls, config: Config) -> None:
        """Raise UsageError when a part of the model is not one that can be exported, such as a newly written cell."""
        check_part("cell", config.encoder.cell, EXPORTED_CELLS, "cells")

    @abstractmethod
    def graphs(self) -> dict[str, Graph]:
        """All graphs that this model has, by name."""

    def shared(self) -> dict[str, str]:
        """Arrays that no graph may have and the engine reads itself: what they are for → their names in the store."""
        return {}

    def graph(self, name: str) -> Graph:
        """An empty graph."""
        return Graph(name, int8=self.int8, store=self.store)

    def encoded(self, graph: Graph, before: Before | None = None) -> Encoded:
        """The source's encoder with its inputs."""
        return EXPORTED_SOURCES[self.config.source.kind](graph, self.config, self.weights, before)

    def encoder(self, graph: Graph, encoded: Encoded, memory: Mapping[str, Part], state: Mapping[str, Part]) -> Graph:
        """The graph that hands out the memory and a decoder's first state."""
        size = self.config.encoder.hidden_size * (1 + self.config.encoder.bidirectional)
        graph.output("summary", encoded.summary, "float32", ["B", size])
        if self.config.source.kind != "text":  # elsewhere the source's own length tells
            graph.output("positions", encoded.lengths, "int64", ["B"])
        if "values" not in memory:
            graph.output("states", encoded.values, "float32", ["B", "S2", size])
        for prefix, parts in ((MEMORY, memory), (STATE, state)):
            for name, part in parts.items():
                shape = ["S2" if axis == "S" else axis for axis in part.shape]
                graph.output(prefix + name, part.value, part.dtype, ["B", *shape])
        return graph

    def serialised(self, metadata: dict[str, str], location: str) -> Models:
        """All graphs, and the arrays they share, which are to stand in the file `location` beside them."""
        graphs = self.graphs()
        shared = self.shared()
        taken = {name: graph.stored_names() for name, graph in graphs.items()}
        used = {one for names in (*taken.values(), shared.values()) for one in names}
        content, places = self.store.serialised(used, {
            **{name: " ".join(names) for name, names in taken.items()}, **shared, "symbols": str(self.symbols)})
        return Models({name: graph.serialised(metadata, places, location) for name, graph in graphs.items()}, content)


def check_part(kind: str, name: str, table: Mapping[str, object], file: str) -> None:
    """Raise UsageError for a part without a builder in the table of export/<file>.py."""
    if name not in table:
        raise UsageError(f"the {kind} '{name}' cannot be exported: it has no builder",
                         fix=f"predict with --engine torch, or add it to export/{file}.py")
