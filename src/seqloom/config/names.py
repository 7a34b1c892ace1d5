"""Names that a configuration may use, read from the tables at the foot of the modules that define them.

A new attention score is one new class and one new line in the table of `nn/scores.py`; nothing here changes. The
tables stand in modules that import torch, and checking a configuration must not, so the keys are read from the
source with `ast` and nothing is executed.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

PACKAGE = Path(__file__).parents[1]


@cache
def listed_names(module: str, table: str) -> tuple[str, ...]:
    """Keys of the dictionary literal `table` in a module file such as "nn/scores.py"."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        value = getattr(node, "value", None)
        if isinstance(value, ast.Dict) and any(isinstance(t, ast.Name) and t.id == table for t in targets):
            return tuple(key.value for key in value.keys
                         if isinstance(key, ast.Constant) and isinstance(key.value, str))
    raise LookupError(f"{module} has no dictionary named {table}")


@dataclass(frozen=True)
class Listed:
    """A pydantic check that a string is a key of a table, or one of `also`; `names()` is the list."""

    module: str
    table: str
    also: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Every name that is accepted, in the order of the table."""
        return (*self.also, *listed_names(self.module, self.table))

    def check(self, value: str) -> str:
        """The value itself; ValueError when it is not listed."""
        if value not in self.names():
            raise ValueError(f"unknown name '{value}', expected one of: {', '.join(self.names())}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


def listed(module: str, table: str, *also: str) -> Listed:
    """Annotation of a field that holds a name of that table, or one of `also`."""
    return Listed(module, table, also)
