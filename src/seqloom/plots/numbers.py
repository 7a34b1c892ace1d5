"""Arrays inside documents: as lists of numbers in JSON for people and programs, packed in pages."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

DIGITS = 9  # significant digits: what float32 needs to come back exactly


def rounded(value: float) -> float:
    """A number with as many digits as float32 holds. Numbers that are not finite have no place in JSON: null."""
    return float(f"{value:.{DIGITS}g}")


def as_lists(value: Any) -> Any:
    """The same document with arrays as nested lists, numbers rounded, and what is not finite as None."""
    if isinstance(value, np.ndarray):
        return as_lists(value.tolist())
    if isinstance(value, float | np.floating):
        return rounded(float(value)) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, dict):
        return {str(name): as_lists(part) for name, part in value.items()}
    return [as_lists(part) for part in value] if isinstance(value, list | tuple) else value


def as_packed(value: Any) -> Any:
    """The same document with each array as {"packed": base64 of little-endian float32, "shape": […]}."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        data = base64.b64encode(np.ascontiguousarray(value, "<f4").tobytes()).decode("ascii")
        return {"packed": data, "shape": list(value.shape)}
    if isinstance(value, dict):
        return {str(name): as_packed(part) for name, part in value.items()}
    return [as_packed(part) for part in value] if isinstance(value, list | tuple) else as_lists(value)


def json_bytes(document: Any) -> bytes:
    """One JSON object (RFC 8259) in ASCII."""
    return (json.dumps(as_lists(document), allow_nan=False) + "\n").encode("ascii")


def data_block(document: Any) -> str:
    """A document for the inside of a page: a block of data, which no content security policy runs."""
    text = json.dumps(as_packed(document), allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    for unsafe, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(unsafe, escape)
    return f'<script type="application/json" id="data">{text}</script>'


# Reads what `data_block` wrote: arrays become {data: Float32Array, shape}.
READER = """
const read = (text) => JSON.parse(text, (name, value) => {
  if (!value || typeof value !== 'object' || typeof value.packed !== 'string') return value;
  const bytes = Uint8Array.from(atob(value.packed), (letter) => letter.charCodeAt(0));
  return { data: new Float32Array(bytes.buffer), shape: value.shape };
});
"""
