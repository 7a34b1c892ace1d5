"""The examination of data against brute force over small texts, the quarantine file, and the report's words."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqloom.config.sections import CorpusConfig
from seqloom.data.doctor import KEPT, Examination, Quarantine, examine, fingerprint, source_fingerprint
from seqloom.data.report import PERCENTILES, Lengths
from seqloom.errors import TrainingError
from seqloom.types import UNKNOWN, BadRecord, Record

# Two cores are shared by whatever else runs: a slow moment is no fault of the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def record(source: str, target: str | list[str], line: int = 1, path: str = "t.tsv") -> Record:
    return Record({"source": source, "target": target}, path, line)


def pairs_of(text: list[tuple[str, str]], path: str) -> list[Record | BadRecord]:
    return [record(source, target, line, path) for line, (source, target) in enumerate(text, 1)]


WORDS = st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y", "z"]))


@UNHURRIED
@given(st.lists(WORDS, max_size=12), st.lists(WORDS, max_size=8), st.booleans())
def test_duplicates_ambiguity_and_overlap_equal_brute_force(train: list[tuple[str, str]], valid: list[tuple[str, str]],
                                                            drop: bool) -> None:
    examination = Examination()
    taken = list(examination.train(pairs_of(train, "t")))
    if drop:
        taken = list(itertools.compress(taken, ~examination.leave_out_duplicates()))
    assert len(list(examination.valid(pairs_of(valid, "v")))) == len(valid)
    report = examination.report()
    repeated = [index for index, pair in enumerate(train) if pair in train[:index]]
    kept = [index for index in range(len(train)) if not drop or index not in repeated]
    assert [one.line - 1 for one in taken] == kept
    assert report.train.usable == len(taken)
    assert report.train.duplicates.where == [f"t:{index + 1} = line {train.index(train[index]) + 1}"
                                             for index in repeated]
    targets = {source: {t for s, t in train if s == source} for source, _ in train}
    ambiguous = [index + 1 for index, (source, _) in enumerate(train) if len(targets[source]) > 1]
    assert report.train.ambiguous_sources.where == [f"t:{line}" for line in ambiguous]
    overlapping = [index for index, pair in enumerate(valid) if pair in train]
    assert report.overlapping_pairs.where == [f"v:{index + 1} = t:{train.index(valid[index]) + 1}"
                                              for index in overlapping]
    sources = [source for source, _ in train]
    assert report.overlapping_sources.where == [f"v:{index + 1} = t:{sources.index(source) + 1}"
                                                for index, (source, _) in enumerate(valid) if source in sources]
    assert (report.valid is None) == (not valid)


@UNHURRIED
@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_length_statistics_equal_numpy(lengths: list[int]) -> None:
    found = Lengths.of(Counter(lengths))
    assert (found.count, found.minimum, found.maximum) == (len(lengths), min(lengths), max(lengths))
    assert math.isclose(found.mean, np.mean(lengths))
    assert [found.percentiles[p] for p in PERCENTILES] == np.percentile(
        lengths, PERCENTILES, method="inverted_cdf").tolist()
    assert sum(count for *_, count in found.histogram) == len(lengths)
    for first, last, count in found.histogram:
        assert count == sum(first <= length <= last for length in lengths)
        assert last == max(0, 2 * first - 1)


def test_lengths_are_in_words_and_characters() -> None:
    examination = Examination()
    list(examination.train([record("a bb", ["안녕", "x y  z"])]))
    lengths = examination.report().train.lengths
    assert {side: (units["words"].maximum, units["characters"].maximum) for side, units in lengths.items()} == {
        "source": (2, 4), "target": (3, 6)}
    assert lengths["target"]["words"].count == 2  # every reference counts


def test_bad_lines_are_counted_by_kind_with_the_first_places() -> None:
    examination = Examination()
    bad = [BadRecord(f"not UTF-8: byte 0xFF at byte {line} of the line", "t.tsv", line) for line in range(1, 31)]
    assert list(examination.train([*bad, BadRecord("empty target", "t.tsv", 31), BadRecord("empty line", "t.tsv", 32),
                                   record("a", "b", 33)])) == [record("a", "b", 33)]
    report = examination.report()
    assert {kind: finding.count for kind, finding in report.train.bad.items()} == {
        "not UTF-8": 30, "empty target": 1, "empty line": 1}
    assert report.train.bad["not UTF-8"].where == [f"t.tsv:{line}" for line in range(1, KEPT + 1)]
    assert (report.train.lines, report.train.usable, report.train.bad_lines, report.train.empty_sides) == (33, 1, 32, 2)
    assert report.lines()[:4] == [
        "train: 33 lines, 1 usable, 32 bad.",
        "  30 lines are bad: not UTF-8 (t.tsv:1, t.tsv:2, t.tsv:3, …); the first: byte 0xFF at byte 1 of the line.",
        "  1 line is bad: empty target (t.tsv:31).",
        "  1 line is bad: empty line (t.tsv:32)."]


def test_unusual_length_ratios() -> None:
    draw = random.Random(1)
    ordinary = [("x" * draw.randint(20, 60), 1.0) for _ in range(300)]
    texts = [(source, "y" * int(len(source) * draw.uniform(0.9, 1.3))) for source, _ in ordinary]
    texts[100] = ("x" * 30, "y" * 300)
    texts[200] = ("x" * 300, "y" * 30)
    examination = Examination()
    list(examination.train(pairs_of(texts, "t")))
    assert examination.report().train.ratio_outliers.where == ["t:101", "t:201"]
    regular = Examination()
    list(regular.train(pairs_of([("ab", "cd")] * 50 + [("abc", "cd"), ("ab", "c" * 20)], "t")))
    assert regular.report().train.ratio_outliers.where == ["t:52"]  # quartiles fall together: still no false alarm


def test_features_are_part_of_the_source_and_a_target_alone_is_its_own() -> None:
    one = Record({"source": "go", "features": "V;PST", "target": "went"})
    other = Record({"source": "go", "features": "V;PRS", "target": "goes"})
    examination = Examination()
    list(examination.train([one, other, Record({"target": "a line"}), Record({"target": "another"})]))
    assert examination.report().train.ambiguous_sources.count == 0
    assert source_fingerprint(one) != source_fingerprint(other)
    assert source_fingerprint(one) == source_fingerprint(Record({"features": "V;PST", "source": "go"}))


def test_fingerprints_keep_texts_apart_and_are_the_same_in_every_process() -> None:
    assert len({fingerprint("ab", "c"), fingerprint("a", "bc"), fingerprint("abc"), fingerprint("abc", "")}) == 4
    program = "from seqloom.data.doctor import fingerprint; print(fingerprint('안녕', 'hi'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == fingerprint("안녕", "hi") < 2**64


def test_records_put_aside_later_are_counted_and_listed(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "bad.tsv") as quarantine:
        examination = Examination(quarantine=quarantine)
        kept = list(examination.train([record("a b", "c", 1), record("d", "e", 2)]))
        bad = examination.set_aside(kept[0], "too long: 2 source tokens, at most 1")
    assert bad == BadRecord("too long: 2 source tokens, at most 1", "t.tsv", 1, "a b\tc")
    report = examination.report()
    assert (report.train.lines, report.train.usable, report.train.bad["too long"].count) == (2, 1, 1)
    assert (tmp_path / "bad.tsv").read_text() == "t.tsv:1\ttoo long: 2 source tokens, at most 1\ta b\\tc\n"
    assert report.lines()[-1] == f"warning: 1 bad line is left out; {tmp_path / 'bad.tsv'} says why"


def test_unknown_symbols_of_validation_data() -> None:
    vocabulary = {"a": 4, "b": 5}
    examination = Examination()
    records = [record("a b z", ["x", "a b"], 1, "v"), record("b", "b", 2, "v"), record("z z", "a", 3, "v")]

    def encode(text: str) -> list[int]:
        return [vocabulary.get(word, UNKNOWN) for word in text.split()]

    examination.add_unknown(records, {"source": encode, "target": encode})
    unknown = examination.report().unknown
    assert (unknown["source"].symbols, unknown["source"].unknown, unknown["source"].rate) == (6, 3, 0.5)
    assert unknown["source"].texts.where == ["v:1", "v:3"]
    assert (unknown["target"].symbols, unknown["target"].unknown) == (5, 1)
    assert "unknown symbols, source of validation: 3 of 6 (50.00%); 2 texts with one (v:1, v:3)." in (
        examination.report().lines())
    assert not [line for line in examination.report().lines() if "seldom seen" in line]  # no validation texts counted
    for one in records:
        examination.take(one, "valid")
    assert [line for line in examination.report().lines() if "seldom seen" in line] == [
        f"  The {side} has many symbols that are seldom seen: smaller ones would be known, with --set "
        f"{section}.tokenizer=character (or bpe, for long texts)."
        for side, section in (("source", "source"), ("target", "head"))]
    empty = Examination()
    empty.add_encoded("source", [4, 5], "v:1")
    assert empty.report().lines()[-1].endswith("0 of 2 (0.00%); no text with one.")
    empty.add_encoded("target", [], "v:1")
    assert empty.report().unknown["target"].rate == 0.0


# --- quarantine ------------------------------------------------------------------------------------------------------


def test_the_quarantine_is_made_only_when_there_is_something(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "bad.tsv"
    with Quarantine(path) as quarantine:
        assert not path.parent.exists()
        quarantine.add(BadRecord("empty target", "a.tsv", 7, "x\t\r\ny"))
        assert path.read_text(encoding="utf-8") == "a.tsv:7\tempty target\tx\\t\\r\\ny\n"  # there before it is closed
        quarantine.add(BadRecord("not Unicode", "a.jsonl", 8, "\ud800"))
    assert path.read_text(encoding="utf-8").splitlines()[1] == "a.jsonl:8\tnot Unicode\t\\ud800"
    assert quarantine.count == 2


def test_validation_lines_do_not_go_into_the_quarantine(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "bad.tsv") as quarantine:
        list(Examination(quarantine=quarantine).valid([BadRecord("empty line", "v.tsv", 1)]))
    assert not (tmp_path / "bad.tsv").exists()


def test_a_quarantine_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="the list of bad lines cannot be written: "):
        Quarantine(tmp_path / "file" / "bad.tsv").add(BadRecord("empty line", "a", 1))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_while_writing_the_quarantine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[IO[Any]] = []
    path_open = Path.open

    def open_full(self: Path, *arguments: Any, **options: Any) -> IO[Any]:
        opened.append(path_open(Path("/dev/full"), *arguments, **options))
        return opened[-1]

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(TrainingError, match=r"bad\.tsv: the list of bad lines cannot be written: No space left"):
        Quarantine(tmp_path / "bad.tsv").add(BadRecord("empty line", "a", 1))
    assert opened[0].closed


# --- from files ------------------------------------------------------------------------------------------------------


def test_examine_files(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes(b"a\tb\n\nno tab\na\tb\nc\xff\td\nc\td\nc\te\n")
    (tmp_path / "v.tsv").write_bytes(b"a\tb\nc\tf\n\tx\n")
    train, valid = (CorpusConfig(path=str(tmp_path / name)) for name in ("t.tsv", "v.tsv"))
    with Quarantine(tmp_path / "bad.tsv") as quarantine:
        report = examine([train], [valid], None, ("source", "target"), quarantine)
    assert report.valid is not None
    assert (report.train.lines, report.train.usable, report.valid.lines, report.valid.usable) == (7, 4, 3, 2)
    text = "\n".join(report.lines()).replace(f"{tmp_path}/", "")
    for sentence in ("train: 7 lines, 4 usable, 3 bad.", "1 line is bad: missing column (t.tsv:3)",
                     "1 pair repeats an earlier one (t.tsv:4 = line 1).",
                     "2 pairs share their source with another target (t.tsv:6, t.tsv:7).",
                     "1 validation pair is in the training data (v.tsv:1 = t.tsv:1).",
                     "2 validation sources are in the training data (v.tsv:1 = t.tsv:1, v.tsv:2 = t.tsv:6).",
                     "source: 1 to 1 words, median 1, 99 % have at most 1;",
                     "warning: 4 bad lines are left out; bad.tsv says why"):
        assert sentence in text
    assert [line.split("\t")[0].rpartition("/")[2] for line in (tmp_path / "bad.tsv").read_text().splitlines()] == [
        "t.tsv:2", "t.tsv:3", "t.tsv:5"]
    value = json.loads(json.dumps(report.to_json()))
    assert value["train"]["bad_lines"] == 3
    assert value["train"]["empty_sides"] == 1
    assert value["train"]["lengths"]["source"]["words"]["histogram"] == [[1, 1, 4]]
    assert value["overlapping_sources"]["count"] == 2


def test_a_report_without_data_says_so() -> None:
    assert Examination().report().lines() == ["train: 0 lines, 0 usable, 0 bad."]
    dropped = Examination()
    list(dropped.train([record("a", "b", 1), record("a", "b", 2)]))
    dropped.leave_out_duplicates()
    assert dropped.report().lines()[0] == "train: 2 lines, 1 usable, 0 bad, 1 left out as duplicates."
    assert dropped.report().to_json()["valid"] is None
