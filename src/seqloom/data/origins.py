"""Where records came from: file and line of each, kept as runs of successive lines of one file."""

from __future__ import annotations

from array import array
from bisect import bisect_right


class Origins:
    """Next to nothing for a file that is used line by line; twelve bytes for each record that does not follow."""

    def __init__(self) -> None:
        self._count = 0
        self._paths: list[str] = []
        self._files = array("I")   # the record with which each file begins
        self._begins = array("I")  # the record with which each run begins …
        self._lines = array("Q")   # … and its line
        self._next = -1

    def __len__(self) -> int:
        return self._count

    def add(self, path: str, line: int) -> None:
        """The next record's place."""
        elsewhere = not self._paths or self._paths[-1] != path
        if elsewhere:
            self._paths.append(path)
            self._files.append(self._count)
        if elsewhere or line != self._next:
            self._begins.append(self._count)
            self._lines.append(line)
        self._next = line + 1
        self._count += 1

    def where(self, index: int) -> str:
        """file:line of a record."""
        run = bisect_right(self._begins, index) - 1
        return f"{self._paths[bisect_right(self._files, index) - 1]}:{self._lines[run] + index - self._begins[run]}"
