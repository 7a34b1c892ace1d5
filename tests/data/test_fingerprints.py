"""What repeats among fingerprints, against brute force; where records came from; and how much memory that takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.data import fingerprints
from seqloom.data.doctor import Examination
from seqloom.data.fingerprints import first_marked, first_places, of_several, outside, repeated
from seqloom.data.origins import Origins
from seqloom.types import Record

# Few values, in several parts, the first and last of them too.
FEW = st.sampled_from([0, 1, 2**60, 2**63, 2**63 + 5, 2**64 - 1])
PAIRS = st.lists(st.tuples(FEW, FEW), max_size=30)


def array_of(values: list[int]) -> fingerprints.Fingerprints:
    return np.asarray(values, np.uint64)


@given(PAIRS)
def test_repetitions_and_groups_equal_brute_force(pairs: list[tuple[int, int]]) -> None:
    groups, members = [group for group, _ in pairs], [member for _, member in pairs]
    assert repeated(array_of(groups)).tolist() == [group in groups[:index] for index, group in enumerate(groups)]
    assert of_several(array_of(groups), array_of(members)).tolist() == [
        len({other for one, other in pairs if one == group}) > 1 for group in groups]


@given(st.lists(FEW, max_size=30), st.lists(FEW, max_size=9), st.integers(1, 40))
def test_first_places_equal_brute_force_across_chunks(known: list[int], asked: list[int], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprints, "CHUNK", chunk)
        assert first_places(array_of(known), array_of(asked)).tolist() == [
            known.index(one) if one in known else -1 for one in asked]
        values = np.asarray(known, np.float64)
        assert outside(values, 1.0, 2.0**63).tolist() == [one < 1 or one > 2**63 for one in values.tolist()]


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 9))
def test_first_marked_places(marks: list[bool], count: int) -> None:
    assert first_marked(np.asarray(marks, np.bool_), count) == [n for n, mark in enumerate(marks) if mark][:count]


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 2**33)), max_size=20), st.integers(1, 5))
def test_origins_keep_every_place(starts: list[tuple[str, int]], run: int) -> None:
    origins = Origins()
    places = [(path, line + step) for path, line in starts for step in range(run)]
    for path, line in places:
        origins.add(path, line)
    assert len(origins) == len(places)
    assert [origins.where(index) for index in range(len(places))] == [f"{path}:{line}" for path, line in places]


def test_an_examination_takes_few_bytes_for_a_record() -> None:
    """20 to keep, and half as many for a report; a Python set of as many hashes takes 64 and more."""
    count = 60_000
    warm = Examination()
    list(warm.train([Record({"source": "a", "target": "b"}, "t", 1)]))
    warm.report()  # what NumPy imports on the way does not count
    records = (Record({"source": str(number % (count - 9)), "target": "b"}, "t", number + 1) for number in range(count))
    tracemalloc.start()
    try:
        examination = Examination()
        for record in records:
            examination.take(record)
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        marks = examination.leave_out_duplicates()
        report = examination.report()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert int(marks.sum()) == report.train.duplicates.count == 9
    assert report.train.usable == count - 9
    assert report.train.duplicates.where[0] == f"t:{count - 8} = line 1"
    assert kept < 25 * count  # arrays grow by an eighth at a time
    assert peak - kept < 10 * count
