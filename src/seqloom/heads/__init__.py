"""Heads: one file for each kind of answer. The file's name is the name in the configuration.

A head reads targets into numbers and turns an engine's answers back (NumPy), and builds the module that answers and
its loss (torch, imported only then).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def head_class(kind: str) -> Any:
    """The class `Head` of heads/<kind>.py."""
    return import_module(f"seqloom.heads.{kind}").Head
