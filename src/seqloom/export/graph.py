"""A small layer over onnx: nodes, constants, inputs and outputs of one graph, collected as plain data.

Values are names. Everything is numbered in the order it is made, so the same model gives the same bytes. The package
`onnx` is needed only at the end, by `Graph.serialised`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqloom._version import __version__
from seqloom.errors import MissingExtraError
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


class Graph:
    """A graph under construction. `int8`: products with weights are made in whole numbers (see `products`)."""

    def __init__(self, name: str, *, int8: bool = False) -> None:
        self.name = name
        self.int8 = int8
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self.prefix = ""
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    # --- making ---

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        """A value that the caller gives."""
        self.inputs.append(Port(name, dtype, tuple(shape)))
        return name

    def output(self, name: str, value: str, dtype: str, shape: Shape) -> None:
        """Hand a value to the caller under a name of its own."""
        self.nodes.append(Node("Identity", (value,), (name,), {}, ""))
        self.outputs.append(Port(name, dtype, tuple(shape)))

    def constant(self, value: Any, dtype: str | None = None, name: str = "") -> str:
        """A fixed array; equal small ones are kept once."""
        array = np.ascontiguousarray(np.asarray(value, dtype))
        if array.ndim == 0 or np.ndim(value) == 0:
            array = array.reshape(())
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 64 else None
        if key is not None and key in self._known:
            return self._known[key]
        made = f"{self.prefix}{name or 'constant'}_{len(self.constants)}"
        self.constants[made] = array
        if key is not None:
            self._known[key] = made
        return made

    def shared(self, array: np.ndarray[Any, Any], name: str) -> str:
        """A large fixed array; one that was given before, with the same numbers, is kept once (tied embeddings)."""
        key = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._known:
            self._known[key] = self.constant(array, name=name)
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

    # --- shapes ---

    def sizes(self, value: str, start: int, end: int) -> str:
        """Sizes of the axes start … end − 1, as a vector."""
        return self.op("Shape", value, start=start, end=end)

    def join(self, *values: str, axis: int) -> str:
        """Side by side along an axis."""
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis)

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
        return self.op("Reshape", value, self.join(*parts, axis=0))

    def zeros(self, *sizes: str | int, dtype: str = "float32") -> str:
        """Zeros of a shape that is known when the graph runs."""
        parts = [self.ids(size) if isinstance(size, int) else size for size in sizes]
        return self.op("ConstantOfShape", self.join(*parts, axis=0), value=np.zeros(1, dtype))

    # --- storing ---

    def serialised(self, metadata: Mapping[str, str]) -> bytes:
        """The model as bytes, checked. Raises MissingExtraError without the package onnx."""
        try:
            import onnx
            from onnx import helper
        except ImportError:
            raise MissingExtraError("onnx", "train", "exporting a model") from None
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain for node in self.nodes):
            opsets.append(helper.make_opsetid(CONTRIBUTED, 1))
        model = helper.make_model(self._proto(), opset_imports=opsets, ir_version=IR_VERSION,
                                  producer_name="seqloom", producer_version=__version__)
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    def _proto(self) -> Any:
        from onnx import helper, numpy_helper

        def port(described: Port) -> Any:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(described.dtype))
            return helper.make_tensor_value_info(described.name, kind, described.shape)

        def attribute(value: Any) -> Any:
            if isinstance(value, Graph):
                return value._proto()
            return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value

        nodes = [helper.make_node(node.operation, node.inputs, node.outputs, name=node.outputs[0], domain=node.domain,
                                  **{name: attribute(value) for name, value in node.attributes.items()})
                 for node in self.nodes]
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        return helper.make_graph(nodes, self.name, [port(one) for one in self.inputs],
                                 [port(one) for one in self.outputs], constants)
