"""Files → records: TSV, CSV, JSONL, CoNLL-U, and two parallel text files. Streamed; nothing is ever left out silently.

A line that cannot be used becomes a BadRecord whose reason reads "kind: detail"; a fault of the whole file (missing,
binary, empty, a column that its header lacks) is a DataError. Does not tokenise, weigh, shuffle or count (`doctor.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

from seqloom.config.sections import Column, CorpusConfig
from seqloom.data.lines import Line, open_file, read_lines
from seqloom.data.tables import LANGUAGE, LANGUAGE_FIX, Request, checked_record, csv_rows, table_records, tsv_rows
from seqloom.errors import DataError, UsageError
from seqloom.types import BadRecord, Record

TEXT = ("text",)  # the roles of a language model
CONLLU_COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
CONLLU_DEFAULTS: dict[str, Column] = {"source": 2, "target": 4}


# --- doors -----------------------------------------------------------------------------------------------------------


def read_records(corpora: Sequence[CorpusConfig], columns: Mapping[str, Column] | None, roles: Sequence[str]
                 ) -> Iterator[Record | BadRecord]:
    """Stream training or validation files, corpus after corpus.

    Args:
        corpora: files; a corpus's own `columns` win, role by role, over `columns`. Weights are not looked at.
        columns: column of each role: a number from 1, or a name. In JSONL names are keys and numbers mean nothing (the
            role's own name is the key); in CoNLL-U names are those of its ten columns.
        roles: what a record must have, such as ("source", "features", "target"). A corpus's own `language` fills the
            role of that name, whatever its columns.

    Yields:
        One Record or BadRecord for every line (CSV: record; CoNLL-U: sentence; parallel files: pair of lines).

    Raises:
        DataError: a file is missing, unreadable, binary, empty or cut off; a column is not there; parallel files differ
            in length (raised after their last pair). Every file is opened once before the first record comes.
    """
    for corpus in corpora:
        for path in _paths(corpus):
            open_file(path).close()
    for corpus in corpora:
        if corpus.language is None or LANGUAGE not in roles:
            yield from _corpus_records(corpus, columns, roles)
            continue
        said = {LANGUAGE: corpus.language.strip()}
        for record in _corpus_records(corpus, columns, [role for role in roles if role != LANGUAGE]):
            yield Record({**record.fields, **said}, record.path, record.line) if isinstance(record, Record) else record


def _corpus_records(corpus: CorpusConfig, columns: Mapping[str, Column] | None, roles: Sequence[str]
                    ) -> Iterator[Record | BadRecord]:
    if corpus.path is None:
        yield from _parallel_records(corpus, roles)
        return
    request = Request(corpus.path, tuple(roles), {**(columns or {}), **(corpus.columns or {})})
    yield from _filled(_records(read_lines(corpus.path), request, format_of(corpus.path)), corpus.path)


def read_inputs(source: str | Path | BinaryIO, name: str = "<input>", columns: Mapping[str, Column] | None = None,
                roles: Sequence[str] = ("source",), format: str | None = None, *,
                ignored: Callable[[str], None] | None = None) -> Iterator[Record | BadRecord]:
    """Stream what is to be predicted: one Record or BadRecord for every input line, in order.

    Plain text is TSV with one column: an input with exactly as many columns as `roles` holds them in the order of the
    training columns, so a bare list of sources is read whatever column the source had. With more columns those of the
    roles are read and the others are not.

    Args:
        source: a path, or an open binary stream such as `sys.stdin.buffer`.
        name: how the input is called in messages and in `Record.path`.
        columns: columns of the run; the target's may be among them.
        roles: what the model reads, such as ("source",) or ("source", "features").
        format: a key of FORMATS; None goes by the name's suffix.
        ignored: told once, in a sentence, when columns are not read.

    Raises:
        DataError: as in `read_records`; an empty stream is no error, an empty file is.
        UsageError: the format is not known.
    """
    request = Request(name, tuple(roles), columns or {}, True, ignored or (lambda sentence: None))
    records = _records(read_lines(source, name), request, format or format_of(name))
    return _filled(records, name) if isinstance(source, str | Path) else records


def header_notes(corpora: Sequence[CorpusConfig], columns: Mapping[str, Column] | None, roles: Sequence[str]
                 ) -> list[str]:
    """A sentence for each CSV file whose first line is taken for a header that nobody named and that names no role.

    It may be an example, which would be lost silently. Raises DataError as `read_records`.
    """
    notes = []
    for corpus in corpora:
        given = {**(columns or {}), **(corpus.columns or {})}
        if corpus.path is None or format_of(corpus.path) != "csv" or any(isinstance(given.get(role), str)
                                                                         for role in roles):
            continue
        first = next(csv_rows(read_lines(corpus.path)), None)
        if first is None or first.problem or set(roles) & {cell.strip() for cell in first.cells}:
            continue
        shown = ", ".join(f"'{cell.strip()}'" for cell in first.cells[:5])
        notes.append(f"{corpus.path}: its first line is the header and no example ({shown}); if it is an example, put "
                     f"a header above it: {','.join(roles)}")
    return notes


def format_of(name: str) -> str:
    """The format that a file name's suffix says, `.gz` set aside; "tsv" (plain text included) for all others."""
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    return next((format for known, format in SUFFIXES.items() if known == suffix), "tsv")


def _text_records(lines: Iterator[Line], request: Request) -> Iterator[Record | BadRecord]:
    """Every line as it is: no columns, and an empty one is one."""
    for line in lines:
        yield (BadRecord(line.problem, request.name, line.number, line.text) if line.problem else
               Record({TEXT[0]: line.text}, request.name, line.number))


def _records(lines: Iterator[Line], request: Request, format: str) -> Iterator[Record | BadRecord]:
    if format not in FORMATS:
        raise UsageError(f"unknown format '{format}', expected one of: {', '.join(FORMATS)}", fix="use one of them")
    if request.roles == TEXT:
        if format != "tsv":
            raise DataError(f"{format} has columns, and a language model reads plain text", where=request.name,
                            fix="give a text file (.txt), all of whose characters count, tabs and empty lines too")
        return _text_records(lines, request)
    return FORMATS[format](lines, request)


def _filled(records: Iterator[Record | BadRecord], name: str) -> Iterator[Record | BadRecord]:
    """The same records, or a DataError when there are none."""
    found = False
    for record in records:
        found = True
        yield record
    if not found:
        raise DataError("the file is empty: not one example in it", where=name, fix="name a file with examples")


def _paths(corpus: CorpusConfig) -> list[str]:
    given = [path for path in (corpus.source, corpus.target) if path is not None]
    if corpus.path is not None and not given:
        return [corpus.path]
    if corpus.path is None and len(given) == 2:
        return given
    raise DataError(f"a corpus is `path`, or `source` and `target`; given: {_given(corpus)}",
                    fix="name one file with both sides, or one file for each")


def _given(corpus: CorpusConfig) -> str:
    parts = (("path", corpus.path), ("source", corpus.source), ("target", corpus.target))
    return ", ".join(f"{key}: {value}" for key, value in parts if value is not None) or "none of them"


# --- parallel files --------------------------------------------------------------------------------------------------


def _parallel_records(corpus: CorpusConfig, roles: Sequence[str]) -> Iterator[Record | BadRecord]:
    source, target = _paths(corpus)
    for role in roles:
        if role not in ("source", "target"):
            raise DataError(f"'{role}' needs a column, and parallel files have none", where=source,
                            fix=LANGUAGE_FIX if role == LANGUAGE else "put the columns into one .tsv file")
    request = Request(source, tuple(roles))
    sides = read_lines(source), read_lines(target)
    number = 0
    for left, right in zip_longest(*sides):
        if left is None or right is None:
            rest = 1 + sum(1 for _ in (sides[1] if left is None else sides[0]))
            counts = (number, number + rest) if left is None else (number + rest, number)
            longer = target if left is None else source
            raise DataError(f"{source} has {counts[0]:,} lines and {target} has {counts[1]:,}; the first line without "
                            f"a partner is {longer}:{number + 1}", where=f"{longer}:{number + 1}",
                            fix="the files must have one line for each pair; correct the one that slipped")
        number += 1
        text = f"{left.text}\t{right.text}"
        if left.problem or right.problem:
            yield BadRecord(left.problem or right.problem, source if left.problem else target, number, text)
        else:
            both = {"source": left.text, "target": right.text}
            yield checked_record({role: both[role] for role in roles}, request, number, text)
    if not number:
        raise DataError("the file is empty: not one example in it", where=source, fix="name a file with examples")


# --- TSV and CSV -----------------------------------------------------------------------------------------------------


def _tsv_records(lines: Iterator[Line], request: Request) -> Iterator[Record | BadRecord]:
    return table_records(tsv_rows(lines), request, header=False)


def _csv_records(lines: Iterator[Line], request: Request) -> Iterator[Record | BadRecord]:
    return table_records(csv_rows(lines), request, header=True)


# --- JSONL -----------------------------------------------------------------------------------------------------------


def _json_records(lines: Iterator[Line], request: Request) -> Iterator[Record | BadRecord]:
    """One object a line. A list of targets is several references; a list of sources is one text in parts."""
    keys = {role: column if isinstance(column := request.columns.get(role), str) else role for role in request.roles}
    target = column if isinstance(column := request.columns.get("target"), str) else "target"
    said = not request.inputs
    for line in lines:
        reason, fields = line.problem, {}
        if not reason:
            reason, found = _object(line.text)
            if not said and target in found:
                said = True
                request.ignored(f"{request.name}: the target is not read")
            for role, key in keys.items():
                reason = reason or _wrong_value(role, key, found)
            if not reason:
                fields = {role: _text_of(role, found[key]) for role, key in keys.items()}
        if reason:
            yield BadRecord(reason, request.name, line.number, line.text)
        else:
            yield checked_record(fields, request, line.number, line.text)


def _text_of(role: str, value: str | list[str]) -> str | list[str]:
    return " ".join(value) if role == "source" and isinstance(value, list) else value


def _object(text: str) -> tuple[str, dict[str, Any]]:
    """(reason why this is no JSON object, {}) or ("", the object)."""
    if not text.strip():
        return "empty line", {}
    try:
        value = json.loads(text)
    except RecursionError:
        return "invalid JSON: nested too deeply", {}
    except ValueError as error:  # also a number of thousands of digits
        return f"invalid JSON: {error}", {}
    if not isinstance(value, dict):
        return f"wrong type: {_kind(value)}, expected one object {{…}} a line", {}
    return "", value


def _wrong_value(role: str, key: str, found: dict[str, Any]) -> str:
    """Why the value of a key cannot be used; "" when it can."""
    if key not in found:
        near = get_close_matches(key, found, 1)
        listing = ", ".join(f"'{name}'" for name in list(found)[:10])
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        return f"missing key: '{key}' ({role}); the object has {listing or 'none'}{hint}"
    value = found[key]
    many = role in ("source", "target") and isinstance(value, list)
    if not all(isinstance(one, str) for one in (value if many else [value])):
        expected = "a string or a list of strings" if role in ("source", "target") else "a string"
        return f"wrong type: '{key}' is {_kind(value)}, expected {expected}"
    for one in value if many else [value]:
        if any("\ud800" <= character <= "\udfff" for character in one):
            return f"not Unicode: '{key}' has half of a surrogate pair"
    return ""


def _kind(value: object) -> str:
    if isinstance(value, list) and value and not all(isinstance(one, str) for one in value):
        return f"a list with {_kind(next(one for one in value if not isinstance(one, str)))}"
    names = {str: "a string", bool: "true or false", int: "a number", float: "a number", list: "a list",
             dict: "an object"}
    return "null" if value is None else names[type(value)]


# --- CoNLL-U ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sentence:
    """The lines of one sentence as they come: cells of each token by role, and the first fault."""

    number: int
    texts: list[str] = field(default_factory=list)
    cells: dict[str, list[str]] = field(default_factory=dict)
    fault: tuple[int, str] | None = None


def _conllu_records(lines: Iterator[Line], request: Request) -> Iterator[Record | BadRecord]:
    """One record a sentence: the cells of a column joined by spaces, a space inside a cell written "_".

    Comments, ranges (1-2) and empty nodes (1.1) carry no token. https://universaldependencies.org/format.html
    """
    positions = {role: _conllu_position(role, request) for role in request.roles}
    sentence: _Sentence | None = None
    for line in lines:
        if not line.problem and not line.text.strip():
            if sentence is not None:
                yield _sentence_record(sentence, request)
            sentence = None
        elif line.problem or not line.text.startswith("#"):
            sentence = sentence or _Sentence(line.number)
            _add_token(sentence, line, positions)
    if sentence is not None:
        yield _sentence_record(sentence, request)


def _add_token(sentence: _Sentence, line: Line, positions: Mapping[str, int]) -> None:
    sentence.texts.append(line.text)
    cells = line.text.split("\t")
    if line.problem:
        sentence.fault = sentence.fault or (line.number, line.problem)
    elif len(cells) != len(CONLLU_COLUMNS):
        reason = f"missing column: {len(cells)} columns, a CoNLL-U token has {len(CONLLU_COLUMNS)}"
        sentence.fault = sentence.fault or (line.number, reason)
    elif cells[0].isdigit():
        for role, position in positions.items():
            sentence.cells.setdefault(role, []).append(cells[position].replace(" ", "_"))


def _sentence_record(sentence: _Sentence, request: Request) -> Record | BadRecord:
    text = "\n".join(sentence.texts)
    if sentence.fault:
        return BadRecord(sentence.fault[1], request.name, sentence.fault[0], text)
    fields = {role: " ".join(sentence.cells[role]) if role in sentence.cells else "" for role in request.roles}
    return checked_record(fields, request, sentence.number, text)


def _conllu_position(role: str, request: Request) -> int:
    defaults = CONLLU_DEFAULTS if role not in request.columns else request.columns
    if role not in defaults:
        raise DataError(f"no column is given for '{role}'", where=request.name, fix=f"name it: columns: {{{role}: 6}}")
    column = defaults[role]
    if isinstance(column, str) and column.upper() in CONLLU_COLUMNS:
        return CONLLU_COLUMNS.index(column.upper())
    if isinstance(column, int) and 1 <= column <= len(CONLLU_COLUMNS):
        return column - 1
    raise DataError(f"column '{column}' ({role}) is not one of CoNLL-U", where=request.name,
                    fix=f"give a number from 1 to 10, or one of {', '.join(CONLLU_COLUMNS)}")


FORMATS: dict[str, Callable[[Iterator[Line], Request], Iterator[Record | BadRecord]]] = {
    "tsv": _tsv_records,
    "csv": _csv_records,
    "jsonl": _json_records,
    "conllu": _conllu_records,
}
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl", ".conllu": "conllu"}
