"""Products with weights, and embeddings: in fp32, or with both sides in whole numbers.

int8: weights have one scale for each output, activations one for each row, so that an answer does not depend on its
neighbours in the batch. A row x is x ≈ scale · (q − 128), q in 1 … 255; unsigned, because processors multiply unsigned
with signed numbers (Jacob et al. 2018, §2.2, with the zero point in the middle).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqloom.export.graph import CONTRIBUTED, Graph
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


def linear(graph: Graph, value: str, weight: Floats, bias: Floats | None = None, *, rank: int = 2) -> str:
    """value [… I] · weightᵀ [I O] + bias [O]; `rank` is the number of value's axes."""
    if graph.int8:
        return _whole_number_linear(graph, value, weight, bias)
    if rank == 2:
        inputs = [value, graph.shared(weight, "weight")]
        return graph.op("Gemm", *inputs, *([] if bias is None else [graph.constant(bias, name="bias")]), transB=1)
    product = graph.op("MatMul", value, graph.constant(weight.T, name="weight"))
    return product if bias is None else graph.op("Add", product, graph.constant(bias, name="bias"))


def _whole_number_linear(graph: Graph, value: str, weight: Floats, bias: Floats | None) -> str:
    matrix = quantised(weight.T)
    whole, scale = quantise_rows(graph, value)
    product = graph.op("MatMulIntegerToFloat", whole, graph.shared(matrix.values, "weight"), graph.number(1.0),
                       graph.constant(matrix.scales, name="scale"), graph.constant(MIDDLE, "uint8"),
                       domain=CONTRIBUTED)
    product = graph.op("Mul", product, scale)
    return product if bias is None else graph.op("Add", product, graph.constant(bias, name="bias"))


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
        return graph.op("Gather", graph.shared(weight, "weight"), ids)
    matrix = quantised(weight.T)
    rows = graph.op("Cast", graph.op("Gather", graph.shared(np.ascontiguousarray(matrix.values.T), "embedding"), ids),
                    to=1)
    scales = graph.op("Gather", graph.constant(matrix.scales[:, None], name="scale"), ids)
    return graph.op("Mul", rows, scales)
