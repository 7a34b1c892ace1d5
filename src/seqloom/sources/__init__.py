"""Sources: one file for each kind of input. The file's name is the name in the configuration.

A source reads a record into numbers (NumPy), and builds the encoder that turns them into a Memory (torch, imported
only then).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def source_class(kind: str) -> Any:
    """The class `Source` of sources/<kind>.py."""
    return import_module(f"seqloom.sources.{kind}").Source
