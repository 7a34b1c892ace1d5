"""From a decoder's outputs to a distribution over the next token, and what of it is shown. Mirrors nn/output.py."""

from __future__ import annotations

from typing import NamedTuple

from seqloom.config.sections import Config, SequenceHeadConfig
from seqloom.export.contexts import StepInputs
from seqloom.export.decoders import Outputs
from seqloom.export.graph import Graph
from seqloom.export.normalization import logarithm
from seqloom.export.products import linear, rows_product
from seqloom.export.weights import OUTPUT, Weights

TINY = 1e-12  # as nn.output.TINY


class Rows(NamedTuple):
    """The rows of the output layer that a batch chooses among, and where each hypothesis finds its own.

    rows: [U O], in whole numbers [O U]; bias [U]; scales [U] of whole numbers, or ""; places [R L] among the U.
    """

    rows: str
    bias: str
    scales: str
    places: str


def normalization_of(config: Config) -> str:
    """What makes probabilities of logits."""
    return config.head.normalization if isinstance(config.head, SequenceHeadConfig) else "softmax"


def log_probabilities(graph: Graph, given: StepInputs, outputs: Outputs, weights: Weights, symbols: int,
                      normalization: str) -> str:
    """Log-probabilities [R V] of the next token; with copying over V ids and the batch's copied symbols."""
    if outputs.log_probabilities:
        return outputs.log_probabilities
    logits = linear(graph, outputs.values, *weights.linear(OUTPUT))
    if not outputs.copy_gate:
        return logarithm(graph, logits, normalization)
    return mixture(graph, given, outputs, logits, symbols)


def listed_log_probabilities(graph: Graph, outputs: Outputs, rows: Rows, normalization: str) -> str:
    """Log-probabilities [R L] over each hypothesis's own list of symbols: they sum to one over that."""
    if graph.int8:
        logits = rows_product(graph, outputs.values, rows.rows, rows.scales, rows.bias)
    else:
        logits = graph.op("Gemm", outputs.values, rows.rows, rows.bias, transB=1)
    return logarithm(graph, graph.op("GatherElements", logits, rows.places, axis=1), normalization)


def mixture(graph: Graph, given: StepInputs, outputs: Outputs, logits: str, symbols: int) -> str:
    """Generation and copying, [R V2]; see nn.output.SequenceModule._mixture."""
    copy = given.memory["copy"]
    copyable = graph.op("Cast", graph.op("GreaterOrEqual", copy, graph.constant(0, "int64")), to=1)
    weights = graph.op("Mul", outputs.weights, graph.op("Unsqueeze", copyable, graph.ids(1)))
    # One after another: ReduceSum would round differently with more padding.
    sums = graph.op("CumSum", weights, graph.constant(2, "int64"))
    last = graph.op("Slice", sums, graph.ids(-1), graph.ids(2**31 - 1), graph.ids(2))
    total = graph.op("Max", last, graph.number(TINY))
    gate = graph.reshape(outputs.copy_gate, given.sizes, 1)
    copied = graph.op("Mul", graph.op("Sub", graph.number(1.0), gate), graph.op("Div", weights, total))
    generated = graph.op("Mul", graph.op("Softmax", graph.reshape(logits, given.sizes, -1), axis=2), gate)
    own = graph.op("Max", graph.op("ReduceMax", copy, graph.ids(1)), graph.constant(symbols - 1, "int64"))
    extra = graph.op("Sub", graph.op("ReduceMax", own, keepdims=0), graph.constant(symbols - 1, "int64"))
    room = graph.zeros(given.sizes, graph.op("Unsqueeze", extra, graph.ids(0)))
    places = graph.op("Unsqueeze", graph.op("Max", copy, graph.constant(0, "int64")), graph.ids(1))
    mixed = graph.op("ScatterElements", graph.join(generated, room, axis=2),
                     graph.op("Expand", places, graph.op("Shape", copied)), copied, axis=2, reduction="add")
    logarithms = graph.op("Log", graph.op("Max", mixed, graph.number(TINY)))
    every = graph.op("Range", graph.constant(0, "int64"), graph.op("Add", extra, graph.constant(symbols, "int64")),
                     graph.constant(1, "int64"))
    impossible = graph.op("Greater", every, graph.op("Unsqueeze", own, graph.ids(2)))
    masked = graph.op("Where", impossible, graph.number(float("-inf")), logarithms)
    rows = graph.op("ReduceProd", given.sizes)
    return graph.reshape(masked, rows, -1)


def best(graph: Graph, scores: str, candidates: str) -> tuple[str, str]:
    """The `candidates` [1] best of each row [R V], ties to the lower place: scores and places [R C]."""
    count = graph.op("Min", candidates, graph.sizes(scores, 1, 2))
    values, places = graph.node("TopK", scores, count, outputs=2, axis=1)
    return values, places
