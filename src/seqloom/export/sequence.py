"""The graphs of head.kind sequence: an encoder with the decoder's first state, steps of the decoder, a whole search."""

from __future__ import annotations

from seqloom.config.sections import Config
from seqloom.export.builder import check_part
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.contexts import Part
from seqloom.export.decoders import InStepDecoder, RecurrentDecoder
from seqloom.export.encoders import Encoded
from seqloom.export.graph import Array, Graph
from seqloom.export.hard_attention import HardAttentionDecoder
from seqloom.export.normalization import EXPORTED_NORMALIZATIONS
from seqloom.export.output import normalization_of
from seqloom.export.products import quantised
from seqloom.export.scores import EXPORTED_SCORES
from seqloom.export.searching import add_search, encoded_here, given_back
from seqloom.export.stepping import SteppingBuilder
from seqloom.export.weights import OUTPUT, Weights


class SequenceBuilder(SteppingBuilder):
    """encoder, best, step; and listed, and the searches where the symbols are the same for all sentences."""

    decoder: RecurrentDecoder | InStepDecoder

    def __init__(self, config: Config, weights: Weights, symbols: int, *, int8: bool = False) -> None:
        super().__init__(config, weights, symbols, int8=int8)
        decoder = config.decoder
        self.hard = decoder.context == "attention" and decoder.attention.kind != "soft"
        kind = InStepDecoder if decoder.context == "in_step" else \
            HardAttentionDecoder if self.hard else RecurrentDecoder
        self.decoder = kind(config, weights, symbols)

    @classmethod
    def check(cls, config: Config) -> None:
        super().check(config)
        check_part("cell", config.decoder.cell, EXPORTED_CELLS, "cells")
        check_part("score", config.decoder.attention.score, EXPORTED_SCORES, "scores")
        for kind in (config.decoder.attention.normalization, normalization_of(config)):
            check_part("normalization", kind, EXPORTED_NORMALIZATIONS, "normalization")

    def graphs(self) -> dict[str, Graph]:
        graph = self.graph("encoder")
        made = {"encoder": self.encoder(graph, *self.begin(graph)), "best": self.step("best"),
                "step": self.step("step")}
        # With copying the symbols are not the same for all sentences.
        if self.config.decoder.copy_source:
            return made
        if self.hard:  # the distribution is a sum over positions, of which no rows can be left out
            return {**made, **{name: self.search(name) for name in ("greedy", "search")}}
        return {**made, "listed": self.step("listed"),
                **{name: self.search(name) for name in ("greedy", "greedy_listed", "search", "search_listed")}}

    def shared(self) -> dict[str, str]:
        """The output layer: matrix, bias, and scales of whole numbers. A shortlist takes rows of it."""
        weight, bias = self.weights.linear(OUTPUT)
        assert bias is not None
        parts: dict[str, Array] = {"output_bias": bias}
        if self.int8:
            matrix = quantised(weight.T)
            parts |= {"output_rows": matrix.values, "output_scales": matrix.scales}
        else:
            parts["output_rows"] = weight
        return {name: self.store.add(part, "output") for name, part in parts.items()}

    # --- parts ---

    def begin(self, graph: Graph) -> tuple[Encoded, dict[str, Part], dict[str, Part]]:
        """The encoder with its inputs; memory and first state of the decoder."""
        encoded = self.encoded(graph)
        return encoded, *self.decoder.begin(graph, encoded)

    def search(self, name: str) -> Graph:
        """greedy encodes its sentences, search goes on from what was encoded; …_listed: over a shortlist."""
        graph = self.graph(name)
        limits = graph.input("limits", "int64", ["B"])
        if name.startswith("search"):
            return add_search(self, graph, limits, given_back(self, graph))
        encoded, memory, state = self.begin(graph)
        add_search(self, graph, limits, encoded_here(graph, memory, state, graph.op("Shape", limits)))
        if self.config.source.kind != "text":
            graph.output("positions", encoded.lengths, "int64", ["B"])
        return graph
