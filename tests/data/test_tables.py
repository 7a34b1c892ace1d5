"""TSV and CSV: cells, columns by number and name, headers, and every bad row."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqloom.data.files import read_inputs
from seqloom.data.lines import Line, read_lines
from seqloom.data.tables import Request, Row, csv_rows, table_records, tsv_rows
from seqloom.errors import DataError
from seqloom.types import BadRecord, Record

# Two cores are shared by whatever else runs: a slow moment is no fault of the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

BOTH = ("source", "target")


def tsv(text: str, roles: tuple[str, ...] = BOTH, columns: Mapping[str, int | str] | None = None
        ) -> list[Record | BadRecord]:
    lines = read_lines(io.BytesIO(text.encode()), "t.tsv")
    return list(table_records(tsv_rows(lines), Request("t.tsv", roles, columns or {}), header=False))


def from_csv(text: str, roles: tuple[str, ...] = BOTH, columns: Mapping[str, int | str] | None = None
             ) -> list[Record | BadRecord]:
    lines = read_lines(io.BytesIO(text.encode()), "t.csv")
    return list(table_records(csv_rows(lines), Request("t.csv", roles, columns or {}), header=True))


def inputs(text: str, columns: Mapping[str, int | str] | None = None, roles: tuple[str, ...] = ("source",),
           format: str = "tsv") -> tuple[list[Record | BadRecord], list[str]]:
    said: list[str] = []
    stream = io.BytesIO(text.encode())
    return list(read_inputs(stream, "in", columns, roles, format, ignored=said.append)), said


def fields(records: list[Record | BadRecord]) -> list[tuple[object, ...] | str]:
    return [tuple(one.fields.values()) if isinstance(one, Record) else one.reason for one in records]


# --- TSV -------------------------------------------------------------------------------------------------------------


def test_tsv_rows() -> None:
    records = tsv('a b\tc d\n"q\tx"\tmore\n\nonly\n\tb\na\t \nlast\tone')
    assert fields(records) == [
        ("a b", "c d"), ('"q', 'x"'), "empty line", "missing column: 1 column (no separator in the line), but target "
        "is column 2", "empty source", "empty target", ("last", "one")]
    assert [one.where for one in records] == [f"t.tsv:{line}" for line in range(1, 8)]
    assert records[3] == BadRecord(fields(records)[3], "t.tsv", 4, "only")  # type: ignore[arg-type]


def test_a_header_that_nobody_named_is_no_example() -> None:
    assert fields(tsv("Source\ttarget\na\tb\nsource\ttarget\n")) == [
        "it reads like a header: name its columns to use it, data.columns={source: Source, target: target}",
        ("a", "b"), ("source", "target")]
    assert fields(tsv("source\tx\na\tb\n")) == [("source", "x"), ("a", "b")]
    assert fields(tsv("source\nsource\n", ("source",))) == [("source",), ("source",)]


def test_columns_by_number() -> None:
    records = tsv("lemma\tV;PST\tform\nlemma\tV\n", ("source", "features", "target"), {"features": 2, "target": 3})
    assert fields(records) == [("lemma", "V;PST", "form"), "missing column: 2 columns, but target is column 3"]


def test_blank_features_are_allowed() -> None:
    assert fields(tsv("a\t\tb\n", ("source", "features", "target"), {"features": 2, "target": 3})) == [("a", "", "b")]


def test_columns_by_name_need_a_header() -> None:
    assert fields(tsv("id\tko\ten\n1\t가\tgo\n", columns={"source": "ko", "target": "en"})) == [("가", "go")]
    with pytest.raises(DataError, match=r"t.tsv:1: no column is called 'kor' \(source\); the header has 'id', 'ko'\n"
                                        r"  fix: did you mean 'ko'\?"):
        tsv("id\tko\n1\t가\n", columns={"source": "kor", "target": "id"})
    with pytest.raises(DataError, match=r"2 columns are called 'a'.*\n.*give its number"):
        tsv("a\ta\nx\ty\n", columns={"source": "a", "target": 2})
    with pytest.raises(DataError, match=r"column 3 \(target\) is wanted; the header has 2: 'a', 'b'"):
        tsv("a\tb\nx\ty\n", columns={"source": "a", "target": 3})


def test_columns_that_cannot_be() -> None:
    with pytest.raises(DataError, match="columns count from 1"):
        tsv("a\tb\n", columns={"source": 0})
    with pytest.raises(DataError, match="no column is given for 'features'"):
        tsv("a\tb\n", ("source", "features", "target"))
    with pytest.raises(DataError, match=r"column 2 is features, and would by default be target as well"):
        tsv("a\tb\tc\n", ("source", "features", "target"), {"features": 2})
    assert fields(tsv("a\n", columns={"source": 1, "target": 1})) == [("a", "a")]  # asked for: a copying task


def test_a_header_that_cannot_be_read() -> None:
    lines = iter([Line(1, "a\\xff\tb", "not UTF-8: byte 0xFF at byte 2 of the line"), Line(2, "x\ty")])
    with pytest.raises(DataError, match="the header cannot be read: not UTF-8"):
        list(table_records(tsv_rows(lines), Request("t", BOTH, {"source": "a"}), header=False))


# --- CSV -------------------------------------------------------------------------------------------------------------

CELL = st.text(st.characters(blacklist_characters="\0\r", blacklist_categories=["Cs"]), max_size=12)


@UNHURRIED
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_csv_reads_what_the_csv_module_writes(rows: list[tuple[str, str]], end: str) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator=end).writerows([("source", "target"), *rows])
    written = [(row.number, tuple(row.cells)) for row in csv_rows(
        Line(number, text.removesuffix("\r")) for number, text in enumerate(stream.getvalue().split("\n")[:-1], 1))]
    assert [cells for _, cells in written] == [("source", "target"), *rows]
    starts = [1]
    for row in [("source", "target"), *rows]:
        starts.append(starts[-1] + 1 + sum(cell.count("\n") for cell in row))
    assert [number for number, _ in written] == starts[:-1]


@UNHURRIED
@given(st.text(st.sampled_from('ab,"\n'), max_size=40))
def test_csv_never_fails_and_never_loses_a_line(text: str) -> None:
    lines = [Line(number, line) for number, line in enumerate(text.split("\n"), 1)]
    rows = list(csv_rows(iter(lines)))
    assert "\n".join(row.text for row in rows) == text


def test_csv_with_header() -> None:
    text = '\ufefftarget,source\n"say ""hi""","a, b"\n\n"two\nlines",x\nshort\na,b,c\n'
    assert fields(from_csv(text)) == [
        ("a, b", 'say "hi"'), "empty line", ("x", "two\nlines"),
        "missing column: 1 column (no separator in the line), but source is column 2",
        "too many columns: 3, the header has 2 (a comma that is not in quotes?)"]
    assert [one.line for one in from_csv(text)] == [2, 3, 4, 6, 7]
    assert fields(from_csv("Q,A\nx,y\n")) == [("x", "y")]
    assert fields(from_csv("Q,A\nx,y\n", columns={"source": "A", "target": "Q"})) == [("y", "x")]
    with pytest.raises(DataError, match=r"no column is called 'q'.*'Q', 'A'"):
        from_csv("Q,A\nx,y\n", columns={"source": "q"})


def test_a_quote_that_never_closes_costs_its_own_line_alone() -> None:
    rows = list(csv_rows(Line(number, text) for number, text in enumerate(
        ["s,t", '"open,x', "a,b", 'c,"d', "e,f"], 1)))
    assert [(row.number, row.cells) for row in rows] == [(1, ["s", "t"]), (2, []), (3, ["a", "b"]), (4, []),
                                                         (5, ["e", "f"])]
    assert rows[1].problem == "unclosed quote: the quoted cell that starts here has no end"
    assert [row.problem[:12] for row in csv_rows(iter([Line(1, '"a"b,c')]))] == ["invalid CSV:"]


def test_a_quoted_cell_has_the_limit_of_a_line() -> None:
    texts = ['"' + "x" * 60_000, "x" * 60_000, "x" * 60_000 + '"', "a,b"]
    rows = list(csv_rows(Line(number, text) for number, text in enumerate(texts, 1)))
    assert rows[0].problem.startswith("unclosed quote")
    assert rows[-1] == Row(4, ["a", "b"], "a,b")
    long = list(csv_rows(iter([Line(1, "x…", "line too long: more than 100,000 characters"), Line(2, "a,b")])))
    assert [row.problem[:13] for row in long] == ["line too long", ""]


def test_a_wrong_byte_inside_a_quoted_cell_spoils_one_record_and_no_other() -> None:
    data = b's,t\n"one\nt\xffo",x\na,b\n'
    request = Request("t.csv", BOTH)
    records = list(table_records(csv_rows(read_lines(io.BytesIO(data))), request, header=True))
    assert fields(records) == ["not UTF-8: byte 0xFF at byte 2 of the line", ("a", "b")]
    assert records[0].line == 3


# --- inputs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [{}, {"source": 2, "target": 1}, {"source": "Q", "target": "A"}])
def test_plain_text_is_read_whatever_the_columns_were(columns: dict[str, int | str]) -> None:
    records, said = inputs("one line\n\nx, \"y\n", columns)
    assert fields(records) == [("one line",), "empty line", ('x, "y',)]
    assert said == []


def test_a_target_column_is_ignored_and_said_once() -> None:
    records, said = inputs("a\tb\nc\td\n")
    assert fields(records) == [("a",), ("c",)]
    assert said == ["in: 2 columns, of which only column 1 (source) is read"]
    records, said = inputs("a\tb\nc\n", {"source": 2, "target": 1})
    assert fields(records) == [("b",), "missing column: 1 column (no separator in the line), but source is column 2"]


def test_input_headers() -> None:
    columns: dict[str, int | str] = {"source": "Q", "target": "A"}
    assert fields(inputs("A\tQ\nx\ty\n", columns)[0]) == [("y",)]
    assert fields(inputs("Q\ny\n", columns)[0]) == [("y",)]
    with pytest.raises(DataError, match=r"in:1: no column is called 'Q' \(source\); the header has 'x', 'y'"):
        inputs("x\ty\n", columns)
    assert fields(inputs("one\nt\two\n", columns)[0])[1] == "unexpected columns: 2, expected 1 as in the first line"


def test_inputs_of_two_roles() -> None:
    roles = ("source", "features")
    columns: dict[str, int | str] = {"source": 1, "target": 2, "features": 3}
    assert fields(inputs("a\tform\tV\n", columns, roles)[0]) == [("a", "V")]
    assert fields(inputs("a\tV\nb\tform\tN\n", columns, roles)[0]) == [("a", "V"), ("b", "N")]
    swapped: dict[str, int | str] = {"source": 3, "target": 2, "features": 1}
    assert fields(inputs("V\ta\n", swapped, roles)[0]) == [("a", "V")]  # in the order of the training columns
    assert fields(inputs("a\n", columns, roles)[0]) == [
        "missing column: 1 column (no separator in the line), but features is column 3"]


def test_csv_inputs_have_a_header() -> None:
    columns: dict[str, int | str] = {"source": 2, "target": 1}
    assert fields(inputs("text\na\n", columns, format="csv")[0]) == [("a",)]
    records, said = inputs("source,target\na,b\n", format="csv")
    assert fields(records) == [("a",)]
    assert len(said) == 1
