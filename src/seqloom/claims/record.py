"""Findings as JSON, and back: the numbers beside the page, so that single claims can be tried again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from seqloom._version import __version__
from seqloom.claims import CLAIMS, Finding
from seqloom.claims.tables import Table
from seqloom.errors import DataError, UsageError

FORMAT_VERSION = 1
AGAIN = "try the claims again whose trial or rule has changed, or remove the file and try all"


@dataclass
class Findings:
    """Findings by name, in the order of CLAIMS; `data` is the name of the real file, "" for generated tasks."""

    data: str = ""
    found: dict[str, Finding] = field(default_factory=dict)
    made_with: str = ""

    def put(self, finding: Finding) -> None:
        """Add a finding, or put it in the place of an older one."""
        both = {**self.found, finding.name: finding}
        self.found = {name: both[name] for name in CLAIMS if name in both}
        self.made_with = versions()


def versions() -> str:
    """What the numbers depend on."""
    try:
        return f"seqloom {__version__}, torch {version('torch').partition('+')[0]}, one thread of a CPU"
    except PackageNotFoundError:
        return f"seqloom {__version__}"


def to_json(findings: Findings) -> str:
    """One object: for each claim its verdict, its checks, and the numbers of every seed."""
    claims = {}
    for name, finding in findings.found.items():
        table, verdict = finding.table, finding.verdict
        claims[name] = {
            "claim": finding.claim.title, "verdict": verdict.word, "seconds": round(finding.seconds, 1),
            "checks": [{"statement": check.statement, "met": check.met, "numbers": check.numbers}
                       for check in verdict.checks],
            "corner": table.corner, "rows": table.rows, "columns": table.columns,
            "values": [[[round(value, 5) for value in table.values[row, column]] for column in table.columns]
                       for row in table.rows],
        }
    return json.dumps({"format_version": FORMAT_VERSION, "data": findings.data, "made_with": findings.made_with,
                       "claims": claims}, ensure_ascii=False, indent=1) + "\n"


def read_findings(path: Path, data: str, again: Sequence[str] = ()) -> Findings:
    """The findings of a file; none when there is no such file. Claims that exist no longer are left out.

    data: what the caller tries its claims on; again: claims that are tried again, whose older numbers, perhaps of
    another trial, are not read. Raises DataError for a damaged file, UsageError for one of other data.
    """
    if not path.exists():
        return Findings(data)
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        if given["format_version"] != FORMAT_VERSION:
            raise DataError(f"format_version {given['format_version']}, expected {FORMAT_VERSION}", where=str(path),
                            fix=AGAIN)
        found = {name: _finding(name, given["claims"][name]) for name in CLAIMS
                 if name in given["claims"] and name not in again}
        stored = Findings(str(given["data"]), found, str(given["made_with"]))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"not a file of `seqloom claims`: {type(error).__name__}: {error}", where=str(path), fix=AGAIN
                        ) from None
    if stored.data != data:
        raise UsageError(f"{path} has findings on {_named(stored.data)}, but these are on {_named(data)}",
                         fix="choose another --out")
    return stored


def _named(data: str) -> str:
    return data or "generated tasks"


def _finding(name: str, given: Mapping[str, Any]) -> Finding:
    table = Table(str(given["corner"]), [], [])
    for row, cells in zip(given["rows"], given["values"], strict=True):
        for column, values in zip(given["columns"], cells, strict=True):
            for value in values:
                table.add(str(row), str(column), float(value))
    finding = Finding(name, table, float(given["seconds"]))
    assert finding.verdict.checks  # the table has the rows and columns that the rule reads, or this is a KeyError
    return finding
