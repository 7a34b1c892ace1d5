"""Sessions of ONNX Runtime over graphs that share their large arrays. Each is opened when it is first used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from seqloom.types import Ints

TYPES = {"F32": np.float32, "I8": np.int8, "U8": np.uint8, "I32": np.int32, "I64": np.int64, "BOOL": np.bool_}
OUTPUT_LAYER = ("output_rows", "output_bias", "output_scales")


class Weights(NamedTuple):
    """arrays and metadata by name; values: the arrays as the runtime has them, as soon as a session has asked."""

    arrays: dict[str, Any]
    metadata: dict[str, str]
    values: dict[str, Any]


class Graphs:
    """The graphs of one model, as bytes by name, and their arrays.

    weights: safetensors; its metadata say which arrays each graph takes, and which ones are the output layer's.
    """

    def __init__(self, models: Mapping[str, bytes], weights: bytes | Weights, threads: int) -> None:
        self.threads = threads
        self._models = models
        self._weights = read_weights(weights) if isinstance(weights, bytes) else weights
        self._arrays, self._metadata, self._values = self._weights
        self._sessions: dict[str, Any] = {}
        self._lock = Lock()

    def with_threads(self, threads: int) -> Graphs:
        """The same graphs and arrays, in sessions with another number of threads."""
        return Graphs(self._models, self._weights, threads)

    @property
    def symbols(self) -> int:
        """Number of target symbols V."""
        return int(self._metadata["symbols"])

    def has(self, name: str) -> bool:
        """Whether the model has this graph."""
        return name in self._models

    def inputs(self, name: str) -> list[Any]:
        """The inputs of a graph: name, shape and type of each."""
        found: list[Any] = self.session(name).get_inputs()
        return found

    def output_names(self, name: str) -> list[str]:
        """The outputs of a graph."""
        return [port.name for port in self.session(name).get_outputs()]

    def output_layer(self) -> dict[str, Any]:
        """Matrix, bias, and scales where the matrix is in whole numbers."""
        return {part: self._arrays[self._metadata[part]] for part in OUTPUT_LAYER if part in self._metadata}

    def session(self, name: str) -> Any:
        """The session of a graph."""
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = self._open(name)
            return self._sessions[name]

    def run(self, name: str, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Outputs of a graph, as values of the runtime: what goes on to the next step is never copied."""
        session = self._sessions.get(name) or self.session(name)
        found: list[Any] = session.run_with_ort_values(outputs, feeds)
        return found

    def _open(self, name: str) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads of a session that has nothing to do would wait in a loop, and take a core from the next session's.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        names = self._metadata[name].split()
        for one in names:
            if one not in self._values:
                self._values[one] = as_value(self._arrays[one])  # kept: sessions do not hold the arrays
        options.add_external_initializers(names, [self._values[one] for one in names])
        return onnxruntime.InferenceSession(self._models[name], options, providers=["CPUExecutionProvider"])


def read_weights(content: bytes) -> Weights:
    """The arrays of a safetensors file, without copying them, and its metadata."""
    start = 8 + int.from_bytes(content[:8], "little")
    described = json.loads(content[8:start])
    metadata: dict[str, str] = described.pop("__metadata__", {})
    arrays = {}
    for name, entry in described.items():
        begin, end = entry["data_offsets"]
        dtype = np.dtype(TYPES[entry["dtype"]])
        array = np.frombuffer(content, dtype, (end - begin) // dtype.itemsize, start + begin)
        arrays[name] = array.reshape(entry["shape"])
    return Weights(arrays, metadata, {})


def whole(array: Any) -> Ints:
    """Contiguous 64-bit whole numbers."""
    return np.ascontiguousarray(array, dtype=np.int64)


def as_value(array: Any) -> Any:
    """An array as a value of the runtime, which keeps the array alive and does not copy it."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
