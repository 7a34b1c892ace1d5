"""Claims of the literature, each tried in a minute: one small trial, one table, one rule. A leaf of the package.

CLAIMS, at the foot, is what `seqloom claims` runs and `docs/claims.md` shows.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqloom.claims.claim import Claim
from seqloom.claims.forcing import FORCING_CLAIMS
from seqloom.claims.lab import MINUTE, Lab, Scale
from seqloom.claims.length import LENGTH_CLAIMS
from seqloom.claims.looking import LOOKING_CLAIMS
from seqloom.claims.memory import MEMORY_CLAIMS
from seqloom.claims.order import ORDER_CLAIMS
from seqloom.claims.quality import QUALITY_CLAIMS
from seqloom.claims.tables import Table, Verdict, verdict_of
from seqloom.claims.tasks import Pair
from seqloom.errors import Interrupted, UsageError
from seqloom.progress import Reporter

__all__ = ["CLAIMS", "Finding", "chosen_claims", "try_claim"]


@dataclass(frozen=True)
class Finding:
    """What a trial found, and the processor seconds it took. The verdict comes from the numbers, when asked for."""

    name: str
    table: Table
    seconds: float

    @property
    def claim(self) -> Claim:
        return CLAIMS[self.name]

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.claim.judge(self.table))


def chosen_claims(only: Sequence[str], *, real: bool = False) -> list[str]:
    """The names that were asked for, in the order of the page; all when none was.

    Raises UsageError for an unknown name, and for one that cannot be tried on real data (when none was asked for, such
    claims are left out).
    """
    unknown = [name for name in only if name not in CLAIMS]
    if unknown:
        raise UsageError(f"unknown claim '{unknown[0]}'", fix=f"use one of: {', '.join(CLAIMS)}")
    if real:
        for name in only:
            if CLAIMS[name].not_on_real:
                raise UsageError(f"claim '{name}' is not tried on real data: {CLAIMS[name].not_on_real}",
                                 fix="leave --full out")
    return [name for name, claim in CLAIMS.items()
            if (name in only or not only) and not (real and claim.not_on_real)]


def try_claim(name: str, scale: Scale = MINUTE, *, real: list[Pair] | None = None, reporter: Reporter | None = None
              ) -> Finding:
    """Train and measure what one claim needs, in a temporary folder. Raises UsageError, TrainingError, Interrupted."""
    reporter = reporter or Reporter()
    began = time.process_time()
    folder = Path(tempfile.mkdtemp(prefix="seqloom-claims-"))
    try:
        table = CLAIMS[name].measure(Lab(folder, scale, real, reporter))
    except Interrupted:  # its own words are of a run that could be resumed
        raise Interrupted(f"claim '{name}' was stopped, and what it had trained is gone; claims before it are in the "
                          "page that was asked for", fix=f"seqloom claims --only {name}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Finding(name, table, time.process_time() - began)


CLAIMS: dict[str, Claim] = {
    **LENGTH_CLAIMS, **ORDER_CLAIMS, **MEMORY_CLAIMS, **FORCING_CLAIMS, **LOOKING_CLAIMS, **QUALITY_CLAIMS,
}
