"""From scores to a distribution over the last axis. Mirrors nn/normalization.py."""

from __future__ import annotations

from collections.abc import Callable

from seqloom.export.graph import Graph

LOWEST = -1.0  # as nn.normalization.LOWEST


def softmax(graph: Graph, scores: str) -> str:
    """See nn.normalization.Softmax."""
    return graph.op("Softmax", scores, axis=-1)


def sparsemax(graph: Graph, scores: str) -> str:
    """See nn.normalization.Sparsemax."""
    shifted = _shifted(graph, scores)
    ordered, sizes = _highest(graph, shifted)
    sums = graph.op("CumSum", ordered, graph.constant(-1, "int64"))
    one = graph.number(1.0)
    inside = graph.op("Greater", graph.op("Add", graph.op("Mul", sizes, ordered), one), sums)
    last = _last(graph, inside, ordered)
    count = graph.op("Add", graph.op("Cast", last, to=1), one)
    excess = graph.op("Sub", graph.op("GatherElements", sums, last, axis=-1), one)
    return graph.op("Relu", graph.op("Sub", shifted, graph.op("Div", excess, count)))


def entmax15(graph: Graph, scores: str) -> str:
    """See nn.normalization.Entmax15."""
    shifted = _shifted(graph, graph.op("Mul", scores, graph.number(0.5)))
    ordered, sizes = _highest(graph, shifted)
    mean, squares = (graph.op("Div", graph.op("CumSum", value, graph.constant(-1, "int64")), sizes)
                     for value in (ordered, graph.op("Mul", ordered, ordered)))
    spread = graph.op("Mul", sizes, graph.op("Sub", squares, graph.op("Mul", mean, mean)))
    rest = graph.op("Relu", graph.op("Div", graph.op("Sub", graph.number(1.0), spread), sizes))
    thresholds = graph.op("Sub", mean, graph.op("Sqrt", rest))
    last = _last(graph, graph.op("LessOrEqual", thresholds, ordered), ordered)
    threshold = graph.op("GatherElements", thresholds, last, axis=-1)
    roots = graph.op("Relu", graph.op("Sub", shifted, threshold))
    return graph.op("Mul", roots, roots)


def _shifted(graph: Graph, scores: str) -> str:
    less = graph.op("Sub", scores, graph.op("ReduceMax", scores, graph.ids(-1)))
    return graph.op("Max", less, graph.number(LOWEST))


def _highest(graph: Graph, shifted: str) -> tuple[str, str]:
    """Scores in falling order, as many as the fullest row has above LOWEST, and the numbers 1 … K."""
    above = graph.op("Cast", graph.op("Greater", shifted, graph.number(LOWEST)), to=7)
    most = graph.op("ReduceMax", graph.op("ReduceSum", above, graph.ids(-1)), keepdims=0)
    ordered = graph.node("TopK", shifted, graph.op("Unsqueeze", most, graph.ids(0)), outputs=2, axis=-1)[0]
    one = graph.number(1.0)
    return ordered, graph.op("Range", one, graph.op("Add", graph.op("Cast", most, to=1), one), one)


def _last(graph: Graph, inside: str, ordered: str) -> str:
    sure = graph.op("And", inside, graph.op("Greater", ordered, graph.number(LOWEST)))
    count = graph.op("ReduceSum", graph.op("Cast", sure, to=7), graph.ids(-1))
    return graph.op("Sub", count, graph.constant(1, "int64"))


EXPORTED_NORMALIZATIONS: dict[str, Callable[[Graph, str], str]] = {
    "softmax": softmax,
    "sparsemax": sparsemax,
    "entmax15": entmax15,
}


def logarithm(graph: Graph, scores: str, kind: str) -> str:
    """Log-probabilities; −∞ where the probability is 0."""
    if kind == "softmax":
        return graph.op("LogSoftmax", scores, axis=-1)
    return graph.op("Log", EXPORTED_NORMALIZATIONS[kind](graph, scores))
