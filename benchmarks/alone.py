"""What the scripts that stand alone have in common: what they are asked, and where their figures go."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any


class Parser(argparse.ArgumentParser):
    """The command line of benchmarks.NAME, with `--out`."""

    def __init__(self, name: str, about: str) -> None:
        super().__init__(prog=f"python -m benchmarks.{name}", description=about)
        self.add_argument("--out", type=Path, help="JSON file for all figures")

    def known(self, what: str, given: Iterable[str], names: Collection[str]) -> list[str]:
        """The given names; ends the program where one is unknown."""
        asked = list(given)
        if unknown := [name for name in asked if name not in names]:
            self.error(f"no {what} {', '.join(unknown)}: there are {', '.join(names)}")
        return asked


def keep(out: Path | None, figures: Any) -> None:
    """Write the figures where `--out` says."""
    if out is not None:
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
