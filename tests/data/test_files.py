"""Files → records: every format through the two doors, parallel files, JSON, CoNLL-U, and what a folder can hold."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqloom.config.sections import CorpusConfig
from seqloom.data.files import FORMATS, format_of, read_inputs, read_records
from seqloom.errors import DataError, UsageError
from seqloom.types import BadRecord, Record

# Two cores are shared by whatever else runs: a slow moment is no fault of the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

BOTH = ("source", "target")
PAIRS = [("a b", "c"), ("안녕", "hi"), ("x", "y z")]
TOKEN = "{}\t{}\t_\t{}\t_\t_\t_\t_\t_\t_"


def written(folder: Path, format: str, zipped: bool = False) -> CorpusConfig:
    """A file of PAIRS in a format."""
    if format == "tsv":
        text = "".join(f"{source}\t{target}\n" for source, target in PAIRS)
    elif format == "csv":
        stream = io.StringIO()
        csv.writer(stream).writerows([BOTH, *PAIRS])
        text = stream.getvalue()
    elif format == "jsonl":
        text = "".join(json.dumps({"source": source, "target": target}) + "\n" for source, target in PAIRS)
    else:
        text = "".join(f"# comment\n{TOKEN.format(1, source, target)}\n\n" for source, target in PAIRS)
    path = folder / f"pairs.{format}{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return CorpusConfig(path=str(path))


def reasons(records: list[Record | BadRecord]) -> list[str]:
    return [record.reason if isinstance(record, BadRecord) else "" for record in records]


def from_json(*lines: str, roles: tuple[str, ...] = BOTH) -> list[Record | BadRecord]:
    data = "".join(f"{line}\n" for line in lines).encode()
    return list(read_inputs(io.BytesIO(data), "x.jsonl", {}, roles))


# --- every format ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_the_same_pairs(format: str, zipped: bool, tmp_path: Path) -> None:
    corpus = written(tmp_path, format, zipped)
    records = [record for record in read_records([corpus], None, BOTH) if isinstance(record, Record)]
    texts = [(record.text("source"), record.text("target")) for record in records]
    assert texts == [(source.replace(" ", "_"), target.replace(" ", "_")) if format == "conllu" else (source, target)
                     for source, target in PAIRS]
    assert all(record.path == corpus.path and record.line > 0 for record in records)
    assert corpus.path is not None
    inputs = list(read_inputs(corpus.path, corpus.path))
    assert [record.fields for record in inputs if isinstance(record, Record)] == [
        {"source": record.text("source")} for record in records]


@pytest.mark.parametrize("format", FORMATS)
def test_a_bad_line_in_every_format_is_one_bad_record(format: str, tmp_path: Path) -> None:
    corpus = written(tmp_path, format)
    assert corpus.path is not None
    data = Path(corpus.path).read_bytes()
    Path(corpus.path).write_bytes(data.replace("안녕".encode(), b"\xff\xfe", 1) if format != "jsonl" else
                                  data.replace(b"\\uc548", b"\xff", 1))
    records = list(read_records([corpus], None, BOTH))
    assert [isinstance(record, BadRecord) for record in records] == [False, True, False]
    assert reasons(records)[1].startswith("not UTF-8: byte 0xFF")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_is_an_error_in_every_format(format: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"empty.{format}"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"empty\.\w+: the file is empty"):
        list(read_records([CorpusConfig(path=str(path))], None, BOTH))
    with pytest.raises(DataError, match="the file is empty"):
        list(read_inputs(path, path.name))
    assert list(read_inputs(io.BytesIO(data), path.name)) == []  # nothing in, nothing out


def test_a_csv_file_with_a_header_alone_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("source,target\n")
    with pytest.raises(DataError, match="the file is empty"):
        list(read_records([CorpusConfig(path=str(tmp_path / "a.csv"))], None, BOTH))


def test_formats_by_suffix() -> None:
    names = {"a.tsv": "tsv", "a.txt": "tsv", "a": "tsv", "a.trn": "tsv", "a.CSV": "csv", "a.csv.gz": "csv",
             "a.jsonl": "jsonl", "a.json.GZ": "jsonl", "x.y/a.conllu": "conllu", "a.gz": "tsv"}
    assert {name: format_of(name) for name in names} == names
    with pytest.raises(UsageError, match="unknown format 'xlsx', expected one of: tsv, csv, jsonl, conllu"):
        list(read_inputs(io.BytesIO(b"a\n"), format="xlsx"))


def test_corpora_follow_each_other_and_their_columns_win(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("1\tx\ty\n")
    (tmp_path / "b.tsv").write_text("2\tx\ty\n")
    corpora = [CorpusConfig(path=str(tmp_path / "a.tsv")),
               CorpusConfig(path=str(tmp_path / "b.tsv"), columns={"target": 3}, weight=2)]
    records = list(read_records(corpora, {"source": 1, "target": 2}, BOTH))
    assert [dict(record.fields) for record in records if isinstance(record, Record)] == [
        {"source": "1", "target": "x"}, {"source": "2", "target": "y"}]


def test_a_missing_file_is_found_before_the_first_record(tmp_path: Path) -> None:
    corpus = written(tmp_path, "tsv")
    records = read_records([corpus, CorpusConfig(path=str(tmp_path / "missing.tsv"))], None, BOTH)
    with pytest.raises(DataError, match=r"there is no file '.*missing\.tsv'"):
        next(records)


@pytest.mark.parametrize("corpus", [{}, {"source": "a"}, {"path": "a", "source": "b", "target": "c"},
                                    {"path": "a", "target": "c"}])
def test_a_corpus_is_one_file_or_two(corpus: dict[str, str]) -> None:
    with pytest.raises(DataError, match="a corpus is `path`, or `source` and `target`; given: "):
        list(read_records([CorpusConfig(**corpus)], None, BOTH))  # type: ignore[arg-type]


def test_nothing_is_read_ahead_of_need() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            self.given += len(buffer)
            buffer[:] = (b"word word\n" * (len(buffer) // 10 + 1))[:len(buffer)]
            return len(buffer)

    stream = Endless()
    records = read_inputs(stream, "endless")  # type: ignore[arg-type]
    for _ in range(1000):
        next(records)
    assert stream.given < 50_000
    records.close()  # type: ignore[attr-defined]


# --- parallel files --------------------------------------------------------------------------------------------------


def parallel(folder: Path, source: bytes, target: bytes, roles: tuple[str, ...] = BOTH) -> list[Record | BadRecord]:
    (folder / "s").write_bytes(source)
    (folder / "t").write_bytes(target)
    return list(read_records([CorpusConfig(source=str(folder / "s"), target=str(folder / "t"))], None, roles))


def test_parallel_files(tmp_path: Path) -> None:
    records = parallel(tmp_path, b"a\tb\r\n\nc\nd\ne\n", gzip.compress(b"1\n2\n \n\xff\n5"))
    assert dict(records[0].fields) == {"source": "a\tb", "target": "1"}  # type: ignore[union-attr]
    assert reasons(records) == ["", "empty source", "empty target", "not UTF-8: byte 0xFF at byte 1 of the line", ""]
    assert [record.where for record in records] == [f"{tmp_path}/{place}" for place in ("s:1", "s:2", "s:3", "t:4",
                                                                                        "s:5")]
    assert isinstance(records[1], BadRecord)
    assert records[1].text == "\t2"


@UNHURRIED
@given(st.integers(1, 9), st.integers(1, 9))
def test_files_of_different_length_say_where(tmp_path_factory: pytest.TempPathFactory, left: int, right: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    if left == right:
        assert len(parallel(folder, b"x\n" * left, b"y\n" * right)) == left
        return
    longer = "s" if left > right else "t"
    with pytest.raises(DataError, match=rf"s has {left} lines and .*t has {right}; the first line without a partner is "
                                        rf".*{longer}:{min(left, right) + 1}\n"):
        parallel(folder, b"x\n" * left, b"y\n" * right)


def test_parallel_files_give_their_pairs_before_the_error(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"a\nb\nc\n")
    (tmp_path / "t").write_bytes(b"1\n")
    records = read_records([CorpusConfig(source=str(tmp_path / "s"), target=str(tmp_path / "t"))], None, BOTH)
    assert isinstance(next(records), Record)
    with pytest.raises(DataError, match=r"has 3 lines and .* has 1; the first line without a partner is .*s:2"):
        next(records)


def test_parallel_files_have_no_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'features' needs a column, and parallel files have none"):
        parallel(tmp_path, b"a\n", b"b\n", ("source", "features", "target"))
    with pytest.raises(DataError, match="the file is empty"):
        parallel(tmp_path, b"", b"")


# --- JSONL -----------------------------------------------------------------------------------------------------------


def test_json_values() -> None:
    records = from_json('{"source": "a", "target": ["b", "c"], "id": 7}', '{"source": ["One.", "Two."], "target": "x"}')
    assert [dict(record.fields) for record in records if isinstance(record, Record)] == [
        {"source": "a", "target": ["b", "c"]}, {"source": "One. Two.", "target": "x"}]
    features = from_json('{"source": "a", "features": "V;PST", "target": "b"}', roles=("source", "features", "target"))
    assert isinstance(features[0], Record)
    assert features[0].text("features") == "V;PST"


@pytest.mark.parametrize(("line", "reason"), [
    ("", "empty line"),
    ("{", "invalid JSON: "),
    ("[" * 50_000, "invalid JSON: nested too deeply"),
    ("9" * 5000, "invalid JSON: "),
    ('["a", "b"]', "wrong type: a list, expected one object"),
    ("null", "wrong type: null, expected one object"),
    ('{"source": "a", "tarqet": "b"}', "missing key: 'target' (target); the object has 'source', 'tarqet' (did you "
                                       "mean 'tarqet'?)"),
    ("{}", "missing key: 'source' (source); the object has none"),
    ('{"source": 1, "target": "b"}', "wrong type: 'source' is a number, expected a string or a list of strings"),
    ('{"source": "a", "target": {"b": 1}}', "wrong type: 'target' is an object, expected a string or a list"),
    ('{"source": "a", "target": ["b", null]}', "wrong type: 'target' is a list with null"),
    ('{"source": "a", "target": true}', "wrong type: 'target' is true or false"),
    ('{"source": "a\\ud800", "target": "b"}', "not Unicode: 'source' has half of a surrogate pair"),
    ('{"source": "a", "target": []}', "empty target"),
    ('{"source": "a", "target": ["b", " "]}', "empty target"),
    ('{"source": [], "target": "b"}', "empty source"),
])
def test_bad_json(line: str, reason: str) -> None:
    records = from_json('{"source": "a", "target": "b"}', line, '{"source": "\\ud83d\\ude00", "target": "b"}')
    assert [isinstance(record, BadRecord) for record in records] == [False, True, False]
    assert reasons(records)[1].startswith(reason)
    assert records[1].where == "x.jsonl:2"


def test_features_are_one_string() -> None:
    records = from_json('{"source": "a", "features": ["V"]}', roles=("source", "features"))
    assert reasons(records) == ["wrong type: 'features' is a list, expected a string"]


def test_json_keys_and_the_ignored_target() -> None:
    said: list[str] = []
    lines = io.BytesIO(b'{"q": "a"}\n{"q": "b", "answer": "x"}\n{"q": "c", "answer": "y"}\n')
    records = list(read_inputs(lines, "in.jsonl", {"source": "q", "target": "answer"}, ignored=said.append))
    assert [record.text("source") for record in records if isinstance(record, Record)] == ["a", "b", "c"]
    assert said == ["in.jsonl: the target is not read"]
    by_number = list(read_inputs(io.BytesIO(b'{"source": "a"}\n'), "in.jsonl", {"source": 3}))
    assert isinstance(by_number[0], Record)  # numbers mean nothing in JSON: the role is the key


# --- CoNLL-U ---------------------------------------------------------------------------------------------------------


def conllu(text: str, columns: dict[str, int | str] | None = None, roles: tuple[str, ...] = BOTH
           ) -> list[Record | BadRecord]:
    return list(read_inputs(io.BytesIO(text.encode()), "x.conllu", columns, roles))


def test_conllu_sentences() -> None:
    text = "\n".join(["# only a comment", "", "# text", TOKEN.format("1-2", "du", "_"), TOKEN.format(1, "de", "ADP"),
                      TOKEN.format(2, "le", "DET"), TOKEN.format("2.1", "nothing", "X"), "", "",
                      TOKEN.format(1, "a b", "NOUN")])
    records = conllu(text)
    assert [dict(record.fields) for record in records if isinstance(record, Record)] == [
        {"source": "de le", "target": "ADP DET"}, {"source": "a_b", "target": "NOUN"}]
    assert [record.line for record in records] == [4, 10]
    swapped = conllu(text, {"source": "upos", "target": 2})
    assert isinstance(swapped[0], Record)
    assert swapped[0].fields == {"source": "ADP DET", "target": "de le"}


def test_bad_conllu() -> None:
    good = TOKEN.format(1, "a", "X")
    records = conllu(f"{good}\n2\tb\n{TOKEN.format(3, 'c', 'X')}\n\n{good}\n\n{TOKEN.format('1-2', 'x', 'y')}\n")
    assert reasons(records) == ["missing column: 2 columns, a CoNLL-U token has 10", "", "empty source"]
    assert [record.line for record in records] == [2, 5, 7]
    with pytest.raises(DataError, match=r"x.conllu: column 'POS' \(target\) is not one of CoNLL-U\n.*UPOS"):
        conllu(good, {"target": "POS"})
    with pytest.raises(DataError, match="column '11'"):
        conllu(good, {"target": 11})
    with pytest.raises(DataError, match="no column is given for 'features'"):
        conllu(good, None, ("source", "features"))


# --- real files ------------------------------------------------------------------------------------------------------


def test_real_files_have_their_published_counts(shared_data: Path) -> None:
    def count(path: str, **columns: int | str) -> int:
        corpus = CorpusConfig(path=str(shared_data / path), columns=columns or None)
        records = list(read_records([corpus], None, BOTH))
        assert set(reasons(records)) == {""}
        return len(records)

    assert count("korean_chatbot/ChatbotData.csv", source="Q", target="A") == 11_823
    assert count("scitldr/dev.jsonl.gz") == 619
    assert count("inflection2023/fin.dev", source=1, target=3) == 1000
    assert count("ud_korean_gsd/ko_gsd-ud-dev.conllu.gz") == 950
    multi30k = CorpusConfig(source=str(shared_data / "multi30k/tok/val.lc.norm.tok.en.gz"),
                            target=str(shared_data / "multi30k/tok/val.lc.norm.tok.de.gz"))
    assert len(list(read_records([multi30k], None, BOTH))) == 1014
