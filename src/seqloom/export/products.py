"""Products with weights, and embeddings: in fp32, or with both sides in whole numbers.

int8: weights have one scale for each output. Activations that are known to lie between −1 and 1 (states of LSTMs and
GRUs, tanh layers, attention over them) have that range as their scale, which costs one operation; embeddings are
stored in whole numbers, a scale for each column, which goes into the weights they meet. Anything else gets a scale for
each row when the graph runs. No scale depends on other rows, so an answer does not depend on its neighbours in the
batch. A number x is x ≈ scale · (q − 128), q in 1 … 255; unsigned, because processors multiply unsigned with signed
numbers (Jacob et al. 2018, §2.2, with the zero point in the middle).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqloom.export.graph import CONTRIBUTED, Graph, Whole
from seqloom.types import Floats, Ints

LEVELS = 127  # of a whole number, on each side of zero
MIDDLE = 128  # the unsigned number that stands for zero
SMALLEST = 1e-20  # scale of a row of zeros


class Quantised(NamedTuple):
    """values [… N] int8 and scales [N]: a matrix is values · scales."""

    values: Ints
    scales: Floats


def quantised(weight: Floats) -> Quantised:
    """A matrix [I O] in whole numbers, one scale for each output."""
    scales = np.maximum(np.abs(weight).max(0) / LEVELS, SMALLEST).astype(np.float32)
    return Quantised(np.rint(weight / scales).astype(np.int8), scales)


def linear(graph: Graph, parts: str | list[str], weight: Floats, bias: Floats | None = None, *, rank: int = 2) -> str:
    """value [… I] · weightᵀ [I O] + bias [O], of parts that stand side by side; `rank` is the number of axes."""
    values = [parts] if isinstance(parts, str) else parts
    if graph.int8:
        known = [_whole(graph, value) for value in values]
        if all(known):
            return _fixed_scale(graph, [one for one in known if one], weight, bias, rank)
        return _scale_of_each_row(graph, graph.join(*values, axis=rank - 1), weight, bias)
    value = graph.join(*values, axis=rank - 1)
    if rank == 2:
        inputs = [value, graph.constant(weight, name="weight")]
        return graph.op("Gemm", *inputs, *([] if bias is None else [graph.constant(bias, name="bias")]), transB=1)
    product = graph.op("MatMul", value, graph.constant(weight.T, name="weight"))
    return product if bias is None else graph.op("Add", product, graph.constant(bias, name="bias"))


def _whole(graph: Graph, value: str) -> Whole | None:
    """A bounded value, or an embedding, in whole numbers; None for others."""
    if value not in graph.whole and value in graph.bounded:
        graph.whole[value] = Whole(graph.op("QuantizeLinear", value, graph.number(1 / LEVELS),
                                            graph.constant(MIDDLE, "uint8")))
    return graph.whole.get(value)


def _fixed_scale(graph: Graph, parts: list[Whole], weight: Floats, bias: Floats | None, rank: int) -> str:
    for number, part in enumerate(parts):
        if part.columns is not None:  # an embedding is the first part or the last one
            assert number in (0, len(parts) - 1)
            first = weight.shape[1] - len(part.columns) if number else 0
            weight = weight.copy()
            weight[:, first:first + len(part.columns)] *= part.columns
    matrix = quantised(weight.T)
    return graph.op("MatMulIntegerToFloat", graph.join(*(part.whole for part in parts), axis=rank - 1),
                    graph.constant(matrix.values, name="weight"), graph.number(1 / LEVELS),
                    graph.constant(matrix.scales, name="scale"), graph.constant(MIDDLE, "uint8"), "",
                    *([] if bias is None else [graph.constant(bias, name="bias")]), domain=CONTRIBUTED)


def _scale_of_each_row(graph: Graph, value: str, weight: Floats, bias: Floats | None) -> str:
    matrix = quantised(weight.T)
    whole, scale = quantise_rows(graph, value)
    product = graph.op("MatMulIntegerToFloat", whole, graph.constant(matrix.values, name="weight"), graph.number(1.0),
                       graph.constant(matrix.scales, name="scale"), graph.constant(MIDDLE, "uint8"),
                       domain=CONTRIBUTED)
    product = graph.op("Mul", product, scale)
    return product if bias is None else graph.op("Add", product, graph.constant(bias, name="bias"))


def rows_product(graph: Graph, value: str, rows: str, scales: str, bias: str) -> str:
    """As `linear` in whole numbers, with a matrix [I O] that is known only when the graph runs."""
    known = _whole(graph, value)
    if known is None:
        whole, scale = quantise_rows(graph, value)
        product = graph.op("MatMulIntegerToFloat", whole, rows, graph.number(1.0), scales,
                           graph.constant(MIDDLE, "uint8"), domain=CONTRIBUTED)
        return graph.op("Add", graph.op("Mul", product, scale), bias)
    return graph.op("MatMulIntegerToFloat", known.whole, rows, graph.number(1 / LEVELS), scales,
                    graph.constant(MIDDLE, "uint8"), "", bias, domain=CONTRIBUTED)


def quantise_rows(graph: Graph, value: str) -> tuple[str, str]:
    """value [… I] as unsigned whole numbers, and the scale [… 1] of each row."""
    largest = graph.op("ReduceMax", graph.op("Abs", value), graph.ids(-1))
    scale = graph.op("Max", graph.op("Mul", largest, graph.number(1 / LEVELS)), graph.number(SMALLEST))
    # Casting cuts the fraction off: half a step more rounds to the nearest.
    shifted = graph.op("Add", graph.op("Div", value, scale), graph.number(MIDDLE + 0.5))
    return graph.op("Cast", shifted, to=2), scale


def embedding(graph: Graph, ids: str, weight: Floats) -> str:
    """Rows of a matrix [V E] for ids of any shape."""
    if not graph.int8:
        return graph.op("Gather", graph.constant(weight, name="embedding"), ids)
    matrix = quantised(weight)
    table = (matrix.values.astype(np.int16) + MIDDLE).astype(np.uint8)
    whole = graph.op("Gather", graph.constant(table, name="embedding"), ids)
    value = graph.op("DequantizeLinear", whole, graph.constant(matrix.scales, name="scale"),
                     graph.constant(np.full(len(matrix.scales), MIDDLE, np.uint8)), axis=-1)
    graph.whole[value] = Whole(whole, matrix.scales * LEVELS)
    return value
