"""Questions about millions of 64-bit fingerprints, with little more memory than they take themselves.

Two different texts share a fingerprint once in 2⁶⁴: of corpora with ten million records one in 370,000 has such a pair,
of which the second would count as a repetition of the first. Nothing here looks at texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fingerprints = NDArray[np.uint64]
Marks = NDArray[np.bool_]

PART_BITS = 4  # sorting goes by parts that share their highest bits, so that it holds a sixteenth of the places at once
CHUNK = 2**14  # what is compared at once


def repeated(fingerprints: Fingerprints) -> Marks:
    """[N] True where the same stands earlier."""
    marks = np.zeros(len(fingerprints), np.bool_)
    for places in _parts(fingerprints):
        values = fingerprints[places]
        order = values.argsort(kind="stable")
        values = values[order]
        marks[places[order[1:]]] = values[1:] == values[:-1]
    return marks


def of_several(groups: Fingerprints, members: Fingerprints) -> Marks:
    """[N] True where the group has different members, here or elsewhere."""
    marks = np.zeros(len(groups), np.bool_)
    for places in _parts(groups):
        group, member = groups[places], members[places]
        order = np.lexsort((member, group))
        group, member = group[order], member[order]
        several = group[1:][(group[1:] == group[:-1]) & (member[1:] != member[:-1])]
        if len(several):
            marks[places[order]] = np.isin(group, several)
    return marks


def first_places(fingerprints: Fingerprints, asked: Fingerprints) -> NDArray[np.int64]:
    """[len(asked)]: where each stands first among the fingerprints, −1 where it does not."""
    values, inverse = np.unique(asked, return_inverse=True)
    first = np.full(len(values), -1, np.int64)
    for begin in reversed(range(0, len(fingerprints) if len(values) else 0, CHUNK)):
        chunk = fingerprints[begin:begin + CHUNK]
        at = np.searchsorted(values, chunk)
        at[at == len(values)] = 0
        found = np.flatnonzero(values[at] == chunk)
        np.minimum.at(first.view(np.uint64), at[found], (begin + found).astype(np.uint64))  # −1 is the largest there
    result: NDArray[np.int64] = first[inverse]
    return result


def first_marked(marks: Marks, count: int) -> list[int]:
    """The first places that are marked, at most so many."""
    places: list[int] = []
    begin = 0
    while len(places) < count and begin < len(marks):
        begin += int(marks[begin:].argmax())
        if not marks[begin]:
            break
        places.append(begin)
        begin += 1
    return places


def outside(values: NDArray[np.floating[Any]], low: float, high: float) -> Marks:
    """[N] True below `low` and above `high`."""
    marks = np.empty(len(values), np.bool_)
    for begin in range(0, len(values), CHUNK):
        chunk = values[begin:begin + CHUNK].astype(np.float64)
        marks[begin:begin + CHUNK] = (chunk < low) | (chunk > high)
    return marks


def _parts(fingerprints: Fingerprints) -> Iterator[NDArray[np.intp]]:
    """Places, ascending, of those that share their highest bits."""
    part = np.empty(len(fingerprints), np.uint8)
    np.right_shift(fingerprints, np.uint64(64 - PART_BITS), out=part, casting="unsafe")
    for number in range(2**PART_BITS):
        places = np.flatnonzero(part == number)
        if len(places):
            yield places
