"""Rows and columns: TSV and CSV lines → cells → records, with columns by number or by name in a header.

Knows no files and no other formats (`files.py`). TSV has no quoting, and a header only when a column is given by name;
CSV follows RFC 4180 and always has a header.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from typing import NamedTuple

from seqloom.config.sections import Column
from seqloom.data.lines import MAXIMUM_LINE, TOO_LONG, Line
from seqloom.errors import DataError
from seqloom.types import BadRecord, Record

DEFAULT_COLUMNS = {"source": 1, "target": 2}
UNCLOSED = "unclosed quote: the quoted cell that starts here has no end"
FILLED_ROLES = ("source", "target")  # a blank cell of these makes a record unusable
LANGUAGE = "language"  # the role that says in which of several languages a source is
LANGUAGE_FIX = ("say it for the whole file (predict RUN FILE --language fra; in a configuration beside the path, "
                "language: fra), or name the column that has it, columns: {language: 3}")


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of one file: `roles` in order, and the columns that were given for them.

    `inputs` is True for prediction, where a target may be missing and is not read; `ignored` is then told, once, in
    a sentence, that columns are left unread.
    """

    name: str
    roles: tuple[str, ...]
    columns: Mapping[str, Column] = field(default_factory=dict)
    inputs: bool = False
    ignored: Callable[[str], None] = lambda sentence: None


class Row(NamedTuple):
    """The cells of one record, and where its first line (or its faulty line) stands."""

    number: int
    cells: list[str]
    text: str
    problem: str = ""


def checked_record(fields: Mapping[str, str | list[str]], request: Request, number: int, text: str
                   ) -> Record | BadRecord:
    """A Record, or a BadRecord when its source or a target is blank."""
    for role in FILLED_ROLES:
        if role in fields:
            value = fields[role]
            texts = [value] if isinstance(value, str) else value
            if not texts or any(not one.strip() for one in texts):
                return BadRecord(f"empty {role}", request.name, number, text)
    return Record(fields, request.name, number)


# --- lines → rows ----------------------------------------------------------------------------------------------------


def tsv_rows(lines: Iterator[Line]) -> Iterator[Row]:
    """Cells between tabs; quotes mean nothing."""
    for line in lines:
        yield Row(line.number, line.text.split("\t"), line.text, line.problem)


def csv_rows(lines: Iterator[Line]) -> Iterator[Row]:
    """Records of RFC 4180; a quoted cell may hold commas, quotes and line ends (which become LF).

    A quote that never closes costs its own line alone: the lines after it are read again from their beginning.
    """
    again: deque[Line] = deque()
    while (line := again.popleft() if again else next(lines, None)) is not None:
        if line.problem == TOO_LONG:
            yield Row(line.number, [], line.text, line.problem)
            continue
        record, size, problem = [line], len(line.text), ""
        try:
            cells = _cells(record)
            while cells is None and size <= MAXIMUM_LINE:
                following = again.popleft() if again else next(lines, None)
                if following is None:
                    break
                record.append(following)
                size += len(following.text) + 1
                if '"' in following.text:  # nothing else can close the cell
                    cells = _cells(record)
            if cells is None:
                problem = UNCLOSED
        except csv.Error as error:
            cells, problem = None, f"invalid CSV: {error}" if len(record) == 1 else UNCLOSED
        if cells is None:
            again.extendleft(reversed(record[1:]))
            yield Row(line.number, [], line.text, problem)
            continue
        faulty = next((one for one in record if one.problem), line)
        yield Row(faulty.number, cells, "\n".join(one.text for one in record), faulty.problem)


class _OpenQuote(Exception):  # noqa: N818 - a signal, not an error
    """The csv reader asks for a line that is not there yet."""


def _cells(record: list[Line]) -> list[str] | None:
    """The cells of a record; None when a quoted cell is still open at its end."""

    def feed() -> Iterator[str]:
        for line in record:
            yield line.text + "\n"
        raise _OpenQuote

    try:
        return next(csv.reader(feed(), strict=True))
    except _OpenQuote:
        return None


# --- rows → records --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """Which cell holds which role, from 0.

    positions: as the columns say; None where they are names and there is no header.
    compact:   for inputs with exactly as many cells as roles are wanted: the roles in the order of their columns, so
               that a list of bare sources (one column) is read whatever column the source had in training.
    width:     most cells a row may have: the header's, in CSV, where one more means an unquoted comma.
    """

    positions: Mapping[str, int] | None
    compact: Mapping[str, int] | None = None
    width: int | None = None


def table_records(rows: Iterator[Row], request: Request, *, header: bool) -> Iterator[Record | BadRecord]:
    """Rows → records.

    Args:
        rows: from `tsv_rows` or `csv_rows`.
        request: what is wanted. For inputs, a first row that holds none of the named columns is no header.
        header: the first row is always a header and bounds the width (CSV); else only when a column is a name.

    Raises:
        DataError: a column that the header lacks or that no one named, two roles in one column by default.
    """
    layout: Layout | None = None
    first = next(rows, None)
    if first is None:
        return
    names = [column for column in request.columns.values() if isinstance(column, str)]
    named = any(name in first.cells for name in names) if request.inputs else bool(names)
    if header or named:
        layout = _header_layout(first, request, bounded=header)
    else:
        rows = chain([first], rows)
    said = not request.inputs
    for row in rows:
        if row.problem:
            yield BadRecord(row.problem, request.name, row.number, row.text)
        elif not row.text.strip():
            yield BadRecord("empty line", request.name, row.number, row.text)
        else:
            layout = layout or _plain_layout(row, request)
            if not said and layout.positions and len(row.cells) > len(request.roles):
                said = True
                request.ignored(_unread(len(row.cells), layout.positions, request.name))
            yield (_forgotten_header(row, layout, request) if row is first else None) or _pick(row, layout, request)


def _forgotten_header(row: Row, layout: Layout, request: Request) -> BadRecord | None:
    """A first line of training data that holds the name of each role in its column is no example."""
    cells = [cell.strip().lower() for cell in row.cells]
    positions = layout.positions or {}
    if request.inputs or len(positions) < 2:
        return None
    if any(at >= len(cells) or cells[at] != role for role, at in positions.items()):
        return None
    names = ", ".join(f"{role}: {row.cells[at].strip()}" for role, at in positions.items())
    return BadRecord(f"it reads like a header: name its columns to use it, data.columns={{{names}}}", request.name,
                     row.number, row.text)


def _pick(row: Row, layout: Layout, request: Request) -> Record | BadRecord:
    count = len(row.cells)
    positions = layout.compact if layout.compact and count == len(request.roles) else layout.positions
    reason = ""
    if layout.width is not None and count > layout.width:
        reason = f"too many columns: {count}, the header has {layout.width} (a comma that is not in quotes?)"
    elif positions is None:
        reason = f"unexpected columns: {count}, expected {len(request.roles)} as in the first line"
    else:
        missing = [f"{role} is column {at + 1}" for role, at in positions.items() if at >= count]
        if missing:
            found = "1 column (no separator in the line)" if count == 1 else f"{count} columns"
            reason = f"missing column: {found}, but {' and '.join(missing)}"
    if reason or positions is None:
        return BadRecord(reason, request.name, row.number, row.text)
    fields = {role: row.cells[at] for role, at in positions.items()}
    return checked_record(fields, request, row.number, row.text)


def _unread(count: int, positions: Mapping[str, int], name: str) -> str:
    read = ", ".join(f"{at + 1} ({role})" for role, at in positions.items())
    columns = f"column {read} is" if len(positions) == 1 else f"columns {read} are"
    return f"{name}: {count} columns, of which only {columns} read"


def _header_layout(row: Row, request: Request, *, bounded: bool) -> Layout:
    where = f"{request.name}:{row.number}"
    if row.problem:
        raise DataError(f"the header cannot be read: {row.problem}", where=where, fix="correct the first line")
    header = [cell.strip() for cell in row.cells]
    width = len(header) if bounded else None
    wanted = [request.columns.get(role) for role in request.roles]
    beyond = any(isinstance(column, int) and column > len(header) for column in wanted)
    if request.inputs and beyond and len(header) == len(request.roles):
        return Layout(None, _ranks(request), width)
    return Layout(_positions(request, header, where), None, width)


def _plain_layout(row: Row, request: Request) -> Layout:
    """The layout without a header: numbers as given; for inputs the first good row decides what is compact."""
    where = f"{request.name}:{row.number}"
    named = any(isinstance(request.columns.get(role), str) for role in request.roles)
    unsaid = any(role not in request.columns and role not in DEFAULT_COLUMNS for role in request.roles)
    compact = _ranks(request) if request.inputs and len(row.cells) == len(request.roles) else None
    if (named or unsaid) and compact:
        return Layout(None, compact)
    return Layout(_positions(request, row.cells if named else None, where), compact)


def _ranks(request: Request) -> dict[str, int]:
    """The wanted roles in the order of their columns; in the order asked for where columns are names."""
    given = {role: request.columns.get(role, DEFAULT_COLUMNS.get(role)) for role in request.roles}
    numbers = {role: column for role, column in given.items() if isinstance(column, int)}
    order = sorted(numbers, key=numbers.__getitem__) if len(numbers) == len(given) else list(request.roles)
    return {role: order.index(role) for role in request.roles}


def _positions(request: Request, header: list[str] | None, where: str) -> dict[str, int]:
    """The cell of each wanted role, from 0."""
    positions: dict[str, int] = {}
    for role in request.roles:
        column = request.columns.get(role)
        if column is None:
            column = role if header and role in header else DEFAULT_COLUMNS.get(role)
        if column is None:
            fix = LANGUAGE_FIX if role == LANGUAGE else f"name it: columns: {{{role}: 3}}, or a name in the header"
            raise DataError(f"no column is given for '{role}'", where=where, fix=fix)
        positions[role] = _position(role, column, header, where)
    _check_defaults(positions, request, where)
    return positions


def _position(role: str, column: Column, header: list[str] | None, where: str) -> int:
    listing = ", ".join(f"'{name}'" for name in header or []) or "no columns"
    if isinstance(column, str):
        count = (header or []).count(column)
        if count == 1:
            return (header or []).index(column)
        near = get_close_matches(column, header or [], 1)
        fix = f"did you mean '{near[0]}'?" if near and not count else "give its number, counted from 1"
        fault = f"{count} columns are" if count else "no column is"
        raise DataError(f"{fault} called '{column}' ({role}); the header has {listing}", where=where, fix=fix)
    if column < 1:
        raise DataError(f"column {column} ({role}): columns count from 1", where=where, fix="use 1 for the first")
    if header is not None and column > len(header):
        raise DataError(f"column {column} ({role}) is wanted; the header has {len(header)}: {listing}", where=where,
                        fix="give a number up to that, or a name")
    return column - 1


def _check_defaults(positions: Mapping[str, int], request: Request, where: str) -> None:
    """A column nobody asked for must not be one that was given to another role."""
    for role, position in positions.items():
        others = [other for other, at in positions.items() if at == position and other != role]
        if role not in request.columns and others:
            raise DataError(f"column {position + 1} is {others[0]}, and would by default be {role} as well",
                            where=where, fix=f"say which column {role} is: columns: {{{role}: {position + 2}}}")
