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
from seqloom.errors import DataError

FORMAT_VERSION = 2
AGAIN = "try the claims again whose trial or rule has changed, or remove the file and try all"


@dataclass
class Findings:
    """Findings by name, in the order of CLAIMS, all on the same data.

    data: name of the real file, "" for generated tasks; pairs: how many it has.
    """

    data: str = ""
    found: dict[str, Finding] = field(default_factory=dict)
    made_with: str = ""
    pairs: int = 0

    def put(self, finding: Finding) -> None:
        """Add a finding, or put it in the place of an older one."""
        both = {**self.found, finding.name: finding}
        self.found = {name: both[name] for name in CLAIMS if name in both}
        self.made_with = versions()

    @property
    def seconds(self) -> float:
        """Processor time of all of them."""
        return sum(finding.seconds for finding in self.found.values())


@dataclass
class Record:
    """All that one page has: findings on generated tasks first, then those on real files."""

    sheets: list[Findings] = field(default_factory=list)

    def sheet(self, data: str, pairs: int = 0) -> Findings:
        """The findings on this data, which are none yet where the data is new."""
        found = next((one for one in self.sheets if one.data == data), None)
        if found is None:
            found = Findings(data)
            self.sheets = sorted([*self.sheets, found], key=lambda one: one.data != "")
        found.pairs = pairs
        return found


def versions() -> str:
    """What the numbers depend on."""
    try:
        return f"seqloom {__version__}, torch {version('torch').partition('+')[0]}, one thread of a CPU"
    except PackageNotFoundError:
        return f"seqloom {__version__}"


def to_json(record: Record) -> str:
    """For each data the claims: verdict, checks, and the numbers of every seed."""
    return json.dumps({"format_version": FORMAT_VERSION, "trials": [
        {"data": sheet.data, "pairs": sheet.pairs, "made_with": sheet.made_with,
         "claims": {name: _entry(finding) for name, finding in sheet.found.items()}}
        for sheet in record.sheets if sheet.found]}, ensure_ascii=False, indent=1) + "\n"


def _entry(finding: Finding) -> dict[str, Any]:
    table, verdict = finding.table, finding.verdict
    return {"claim": finding.claim.title, "verdict": verdict.word, "seconds": round(finding.seconds, 1),
            "checks": [{"statement": check.statement, "met": check.met, "numbers": check.numbers}
                       for check in verdict.checks],
            "corner": table.corner, "rows": table.rows, "columns": table.columns,
            "values": [[[round(value, 5) for value in table.values[row, column]] for column in table.columns]
                       for row in table.rows]}


def read_record(path: Path, data: str, again: Sequence[str] = ()) -> Record:
    """The findings of a file; none when there is no such file. Claims that exist no longer are left out.

    again: claims that are tried again on `data`, whose older numbers, perhaps of another trial, are not read. Raises
    DataError for a damaged file.
    """
    if not path.exists():
        return Record()
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        if given["format_version"] != FORMAT_VERSION:
            raise DataError(f"format_version {given['format_version']}, expected {FORMAT_VERSION}", where=str(path),
                            fix=AGAIN)
        return Record([_sheet(one, again if one["data"] == data else ()) for one in given["trials"]])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"not a file of `seqloom claims`: {type(error).__name__}: {error}", where=str(path), fix=AGAIN
                        ) from None


def _sheet(given: Mapping[str, Any], again: Sequence[str]) -> Findings:
    found = {name: _finding(name, given["claims"][name]) for name in CLAIMS
             if name in given["claims"] and name not in again}
    return Findings(str(given["data"]), found, str(given["made_with"]), int(given["pairs"]))


def _finding(name: str, given: Mapping[str, Any]) -> Finding:
    table = Table(str(given["corner"]), [], [])
    for row, cells in zip(given["rows"], given["values"], strict=True):
        for column, values in zip(given["columns"], cells, strict=True):
            for value in values:
                table.add(str(row), str(column), float(value))
    finding = Finding(name, table, float(given["seconds"]))
    assert finding.verdict.checks  # the table has the rows and columns that the rule reads, or this is a KeyError
    return finding
