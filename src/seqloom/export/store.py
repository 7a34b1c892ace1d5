"""The large arrays of a model's graphs, each kept once, in one file that all of them refer to.

The file is safetensors, so that whoever reads weights can read it; a graph names a part of it by offset and length,
as ONNX has it for external data, so that whoever runs graphs from files can run them as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

# Number types of NumPy as safetensors names them.
TYPES = {"<f4": "F32", "|i1": "I8", "|u1": "U8", "<i4": "I32", "<i8": "I64", "|b1": "BOOL"}
# Below this many bytes an array stands in the graph itself.
SMALLEST_STORED = 1024


class Place(NamedTuple):
    """Where an array stands in the file, in bytes."""

    offset: int
    length: int


class Store:
    """Arrays by name. The same numbers given twice, by one graph or by two, are kept once."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, array: np.ndarray[Any, Any], name: str) -> str:
        """Keep an array; the name under which graphs know it."""
        array = np.ascontiguousarray(array)
        key = (array.dtype.str, array.shape, hashlib.sha256(array.data).digest())
        if key not in self._known:
            self._known[key] = f"stored_{name}_{len(self.arrays)}"
            self.arrays[self._known[key]] = array
        return self._known[key]

    def serialised(self, names: Collection[str], metadata: Mapping[str, str]) -> tuple[bytes, dict[str, Place]]:
        """The file with these arrays, and where each stands in it.

        Written here, because the library puts metadata in an order that changes from call to call.
        """
        header: dict[str, Any] = {"__metadata__": dict(metadata)}
        parts, offset = [], 0
        # Largest numbers first: all stay aligned.
        for name, array in sorted(self.arrays.items(), key=lambda item: -item[1].itemsize):
            if name in names:
                header[name] = {"dtype": TYPES[array.dtype.str], "shape": list(array.shape),
                                "data_offsets": [offset, offset + array.nbytes]}
                parts.append(array.tobytes())
                offset += array.nbytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        start = 8 + len(text)
        places = {name: Place(start + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0])
                  for name, entry in header.items() if name != "__metadata__"}
        return b"".join([len(text).to_bytes(8, "little"), text, *parts]), places
