"""A small layer over onnx: nodes, constants, inputs and outputs of one graph, collected as plain data.

Values are names. Everything is numbered in the order it is made, so the same model gives the same bytes. Large arrays
go to a store that several graphs share. What no output needs is left out. The package `onnx` is needed only at the
end, by `Graph.serialised`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqloom._version import __version__
from seqloom.errors import MissingExtraError
from seqloom.export.store import SMALLEST_STORED, Place, Store
from seqloom.types import Floats, Ints

OPSET = 21  # the first that quantises to a named type
IR_VERSION = 10  # what ONNX Runtime 1.18 reads
CONTRIBUTED = "com.microsoft"

Array = Floats | Ints
Shape = Sequence[str | int]


class Node(NamedTuple):
    """One operation; `attributes` by name, subgraphs as Graph."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    domain: str


class Port(NamedTuple):
    """An input or an output of a graph: a number type of NumPy, and sizes, where names are free."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]


class Whole(NamedTuple):
    """A value in unsigned whole numbers: value ≈ columns · (whole − 128) / 127; columns: [I], None for ones."""

    whole: str
    columns: Floats | None = None


class Graph:
    """A graph under construction.

    int8:   products with weights are made in whole numbers (see `products`).
    store:  where large arrays go.
    parent: the graph in which this one is the body of a loop; large arrays are the outer graph's.

    bounded: values known to lie between −1 and 1; whole: values that are there in whole numbers too.
    """

    def __init__(self, name: str, *, int8: bool = False, store: Store | None = None,
                 parent: Graph | None = None) -> None:
        self.name = name
        self.int8: bool = int8 if parent is None else parent.int8
        self.parent = parent
        self.store: Store = parent.store if parent is not None else store or Store()
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.stored: dict[str, None] = {}
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self.results: list[str] = []
        self.prefix: str = "" if parent is None else f"{parent.prefix}{name}_"
        self.bounded: set[str] = set()
        self.whole: dict[str, Whole] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    # --- making ---

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        """A value that the caller gives."""
        self.inputs.append(Port(name, dtype, tuple(shape)))
        return name

    def output(self, name: str, value: str, dtype: str, shape: Shape) -> None:
        """Hand a value to the caller under a name of its own."""
        self.outputs.append(Port(name, dtype, tuple(shape)))
        self.results.append(value)

    def constant(self, value: Any, dtype: str | None = None, name: str = "") -> str:
        """A fixed array; equal ones are kept once."""
        array = np.ascontiguousarray(np.asarray(value, dtype))
        if array.ndim == 0 or np.ndim(value) == 0:
            array = array.reshape(())
        if array.nbytes >= SMALLEST_STORED:
            stored = self.store.add(array, name or "constant")
            outermost = self
            while outermost.parent is not None:
                outermost = outermost.parent
            outermost.stored[stored] = None
            return stored
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"{self.prefix}{name or 'constant'}_{len(self.constants)}"
            self.constants[self._known[key]] = array
        return self._known[key]

    def node(self, operation: str, *inputs: str, outputs: int = 1, domain: str = "",
             **attributes: Any) -> tuple[str, ...]:
        """An operation with several outputs; an input that is left out is ""."""
        number = len(self.nodes)
        names = tuple(f"{self.prefix}{operation}_{number}" + (f"_{index}" if outputs > 1 else "")
                      for index in range(outputs))
        self.nodes.append(Node(operation, inputs, names, attributes, domain))
        return names

    def op(self, operation: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """An operation with one output."""
        return self.node(operation, *inputs, domain=domain, **attributes)[0]

    def bound(self, value: str, known: bool = True) -> str:
        """The value itself, noted as lying between −1 and 1 where that is `known`."""
        if known:
            self.bounded.add(value)
        return value

    # --- shapes ---

    def sizes(self, value: str, start: int, end: int) -> str:
        """Sizes of the axes start … end − 1, as a vector."""
        return self.op("Shape", value, start=start, end=end)

    def join(self, *values: str, axis: int) -> str:
        """Side by side along an axis."""
        if len(values) == 1:
            return values[0]
        return self.bound(self.op("Concat", *values, axis=axis), self.bounded.issuperset(values))

    def ids(self, *values: int) -> str:
        """A vector of whole numbers."""
        return self.constant(list(values), "int64")

    def number(self, value: float) -> str:
        """One fp32 number."""
        return self.constant(value, "float32")

    def reshape(self, value: str, *sizes: str | int) -> str:
        """A new shape; parts are numbers, or vectors of sizes."""
        parts: list[str] = []
        numbers: list[int] = []
        for size in sizes:
            if isinstance(size, int):
                numbers.append(size)
                continue
            parts += [self.ids(*numbers)] if numbers else []
            numbers = []
            parts.append(size)
        parts += [self.ids(*numbers)] if numbers else []
        return self.bound(self.op("Reshape", value, self.join(*parts, axis=0)), value in self.bounded)

    def zeros(self, *sizes: str | int, dtype: str = "float32") -> str:
        """Zeros of a shape that is known when the graph runs."""
        parts = [self.ids(size) if isinstance(size, int) else size for size in sizes]
        return self.bound(self.op("ConstantOfShape", self.join(*parts, axis=0), value=np.zeros(1, dtype)))

    # --- storing ---

    def serialised(self, metadata: Mapping[str, str], places: Mapping[str, Place] | None = None,
                   location: str = "") -> bytes:
        """The model as bytes, checked. places: of stored arrays in the file `location`; without, they stand inside.

        Raises MissingExtraError without the package onnx.
        """
        try:
            import onnx
            from onnx import helper
        except ImportError:
            raise MissingExtraError("onnx", "train", "exporting a model") from None
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIBUTED, 1)]
        model = helper.make_model(self._proto(), opset_imports=opsets, ir_version=IR_VERSION,
                                  producer_name="seqloom", producer_version=__version__)
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        if places is not None:
            _put_outside(model.graph.initializer, places, location)
        return bytes(model.SerializeToString(deterministic=True))

    def _needed(self) -> list[Node]:
        """The nodes that outputs depend on, in order."""
        needed, kept = set(self.results), []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
                for value in node.attributes.values():
                    if isinstance(value, Graph):
                        needed.update(value.mentioned())
        return kept[::-1]

    def mentioned(self) -> Iterator[str]:
        """Names that this graph's outputs depend on, its own and those of graphs around it."""
        yield from self.results
        for node in self._needed():
            yield from node.inputs
            for value in node.attributes.values():
                if isinstance(value, Graph):
                    yield from value.mentioned()

    def stored_names(self) -> list[str]:
        """Names of the stored arrays that it takes."""
        used = set(self.mentioned())
        return [name for name in self.stored if name in used]

    def _proto(self) -> Any:
        from onnx import helper, numpy_helper

        def port(described: Port) -> Any:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(described.dtype))
            return helper.make_tensor_value_info(described.name, kind, described.shape)

        def attribute(value: Any) -> Any:
            if isinstance(value, Graph):
                return value._proto()
            return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value

        nodes = self._needed()
        # A value that one node makes takes the name of its output; others are handed out by a node of their own.
        made = {name for node in nodes for name in node.outputs}
        renamed: dict[str, str] = {}
        for one, value in zip(self.outputs, self.results, strict=True):
            if value in made and value not in renamed and not self._inside(nodes, value):
                renamed[value] = one.name
            else:
                nodes.append(Node("Identity", (value,), (one.name,), {}, ""))
        protos = [helper.make_node(node.operation, [renamed.get(name, name) for name in node.inputs],
                                   [renamed.get(name, name) for name in node.outputs], name=node.outputs[0],
                                   domain=node.domain,
                                   **{name: attribute(value) for name, value in node.attributes.items()})
                  for node in nodes]
        used = set(self.mentioned())
        arrays = {name: array for name, array in self.constants.items() if name in used}
        arrays |= {name: self.store.arrays[name] for name in self.stored_names()}
        constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
        return helper.make_graph(protos, self.name, [port(one) for one in self.inputs],
                                 [port(one) for one in self.outputs], constants)

    @staticmethod
    def _inside(nodes: Sequence[Node], value: str) -> bool:
        """Whether a loop's body mentions this value, which it knows by the old name."""
        return any(value in graph.mentioned() for node in nodes for graph in node.attributes.values()
                   if isinstance(graph, Graph))


def _put_outside(constants: Any, places: Mapping[str, Place], location: str) -> None:
    """Replace the numbers of stored arrays by the place in a file where they stand."""
    from onnx import TensorProto
    from onnx.external_data_helper import set_external_data

    for tensor in constants:
        if tensor.name in places:
            set_external_data(tensor, location, *places[tensor.name])
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
