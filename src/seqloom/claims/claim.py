"""What a claim is: a sentence of the literature, how it is tried, and what decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seqloom.claims.lab import Lab
from seqloom.claims.tables import Check, Table

# The ways of the source to the decoder, by the names that the tables use.
ATTENTION: Mapping[str, Any] = {"decoder": {"context": "attention", "attention": {"input_feeding": False}}}
FIXED: Mapping[str, Any] = {"decoder": {"context": "initial"}}
EVERY_STEP: Mapping[str, Any] = {"decoder": {"context": "every_step"}}
WITH, WITHOUT = "attention", "fixed vector"


@dataclass(frozen=True)
class Claim:
    """One claim.

    title: the claim as a sentence; sources: paper and section; trial: what is done; measure: does it; judge: the
    checks, all of which must be met for the claim to hold; axis: what the columns are, where they are drawn as a curve;
    real: whether real pairs can stand in for the generated ones, and if not why.
    """

    title: str
    sources: tuple[str, ...]
    trial: str
    measure: Callable[[Lab], Table]
    judge: Callable[[Table], list[Check]]
    axis: str = ""
    not_on_real: str = ""
