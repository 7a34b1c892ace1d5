"""Bytes → lines: gzip by content, strict UTF-8, line ends, limits, and every fault of a whole file."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqloom.data.lines import LONGEST, MAXIMUM_LINE, Line, open_file, read_lines
from seqloom.errors import DataError

# Two cores are shared by whatever else runs: a slow moment is no fault of the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def lines_of(data: bytes) -> list[Line]:
    return list(read_lines(io.BytesIO(data), "data"))


LINE_TEXT = st.text(st.characters(blacklist_characters="\0\n\r", blacklist_categories=["Cs"]), max_size=20)


@UNHURRIED
@given(st.lists(LINE_TEXT, min_size=1), st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.booleans(), st.booleans())
def test_lines_come_back_as_written(texts: list[str], end: bytes, mark: bool, last_end: bool, zipped: bool) -> None:
    texts = [text.lstrip("\ufeff") for text in texts]
    if not last_end and not texts[-1]:
        texts[-1] = "x"  # an empty last line without its end is no line
    data = (b"\xef\xbb\xbf" if mark else b"") + end.join(text.encode() for text in texts) + (end if last_end else b"")
    data = gzip.compress(data) if zipped else data
    assert lines_of(data) == [Line(number, text) for number, text in enumerate(texts, 1)]


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_bytes(b"a\nb\n")
    (tmp_path / "zipped.txt").write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))  # two members: one text
    for name in ("plain.gz", "zipped.txt"):
        assert [line.text for line in read_lines(tmp_path / name)] == ["a", "b"]


def test_wrong_byte_is_named_with_its_place() -> None:
    lines = lines_of(b"good\ncaf\xe9 x\n\xff\xfe\nend\n")
    assert lines[0] == Line(1, "good")
    assert lines[1].problem == "not UTF-8: byte 0xE9 at byte 4 of the line"
    assert lines[1].text == "caf\\xe9 x"
    assert lines[2].problem.endswith("byte 0xFF at byte 1 of the line")
    assert lines[3] == Line(4, "end")


def test_byte_counts_include_the_byte_order_mark() -> None:
    assert lines_of(b"\xef\xbb\xbfab\xff\n")[0].problem.endswith("byte 0xFF at byte 6 of the line")


@pytest.mark.parametrize("data", [b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe2\x82"],
                         ids=["surrogate", "overlong", "beyond Unicode", "cut off"])
def test_utf8_is_strict(data: bytes) -> None:
    assert "not UTF-8" in lines_of(data)[0].problem


@pytest.mark.parametrize("character", ["a", "é", "한", "😀"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_longest_line_is_read_and_one_more_character_is_not(character: str, end: str) -> None:
    data = "\ufeff" + character * MAXIMUM_LINE + end
    assert lines_of(data.encode()) == [Line(1, character * MAXIMUM_LINE)]
    line = lines_of(("\ufeff" + character * (MAXIMUM_LINE + 1) + end).encode())[0]
    assert line.problem == "line too long: more than 100,000 characters"


def test_an_endless_line_costs_no_memory_and_the_next_line_is_read() -> None:
    lines = lines_of(b"x" * (3 * LONGEST) + b"\nnext\n")
    assert [line.number for line in lines] == [1, 2]
    assert "too long" in lines[0].problem
    assert len(lines[0].text) < 1000
    assert lines[1] == Line(2, "next")


def test_nul_far_into_a_file_is_a_fault_of_its_line() -> None:
    lines = lines_of(b"text\n" * 5000 + b"a\0b\nend\n")
    assert lines[5000] == Line(5001, "a\0b", "NUL byte: at character 2 of the line")
    assert lines[5001].problem == ""


@pytest.mark.parametrize(("data", "message"), [
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "looks like a binary file"),
    (bytes(range(256)) * 4, "looks like a binary file"),
    (gzip.compress(bytes(range(256))), "looks like a binary file"),
    ("text\n".encode("utf-16"), "the file is UTF-16, expected UTF-8"),
    (b"one\rtwo\rthree\r", "lines end in a carriage return alone"),
    (gzip.compress(b"some text\n" * 50)[:-12], "the gzip data is cut off before its end"),
    (b"\x1f\x8b", "the gzip data is cut off before its end"),
    (gzip.compress(b"some text\n" * 50)[:-8] + b"\0" * 8, "the gzip data is damaged"),
    (b"\x1f\x8bgarbage that is no gzip at all", "the gzip data is damaged"),
])
def test_files_that_are_no_text_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        lines_of(data)
    assert caught.value.where.startswith("data")
    assert caught.value.fix


def test_what_stands_before_the_cut_is_read_first() -> None:
    data = gzip.compress("".join(f"{os.urandom(40).hex()}\n" for _ in range(4000)).encode())
    lines: list[Line] = []
    with pytest.raises(DataError, match=r"half\.gz:\d+: the gzip data is cut off"):
        lines.extend(read_lines(io.BytesIO(data[:len(data) // 2]), "half.gz"))
    assert len(lines) > 1000


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a\tb\n")
    with pytest.raises(DataError, match=r"there is no file '.*trian.tsv'\n.*did you mean '.*train.tsv'"):
        open_file(tmp_path / "trian.tsv")
    with pytest.raises(DataError, match="check the path"):
        open_file(tmp_path / "nothing-like-it")
    with pytest.raises(DataError, match="cannot be read either"):
        open_file(tmp_path / "no" / "folder")


def test_paths_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="is a directory, expected a file"):
        open_file(tmp_path)
    with pytest.raises(DataError, match="cannot open"):
        open_file(str(tmp_path / "a\0b"))
    with pytest.raises(DataError, match=r"cannot open.*too long"):
        open_file(tmp_path / ("x" * 5000))

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything, so no real file refuses it
    with pytest.raises(DataError, match="no permission to read"):
        open_file(tmp_path / "secret")


def test_a_disk_that_fails_while_reading_is_reported() -> None:
    class Failing(io.BytesIO):
        def readinto(self, buffer: object) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match="x:1: reading failed: Input/output error"):
        list(read_lines(Failing(), "x"))


def test_the_callers_stream_stays_open(tmp_path: Path) -> None:
    memory = io.BytesIO(b"a\n")
    assert len(list(read_lines(memory))) == 1
    assert not memory.closed
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(b"a\n"))
    with path.open("rb") as stream:
        assert [line.text for line in read_lines(stream)] == ["a"]
        assert not stream.closed


def test_lines_of_a_pipe_come_one_by_one() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        lines = read_lines(stream, "<stdin>")
        for text in ("hello", "안녕"):
            pipe.write(f"{text}\n".encode())
            assert next(lines).text == text  # would hang if the next line were waited for
