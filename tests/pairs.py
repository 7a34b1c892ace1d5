"""All pairs of options: few cases that together hold every pair of values that a configuration accepts.

A deterministic greedy covering array (Cohen et al. 1997, "The AETG System"): bugs mostly need one option or two that
meet, and the number of cases grows with the logarithm of the number of options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product

Case = dict[str, object]
Pair = tuple[tuple[str, object], tuple[str, object]]


def pairs_of(case: Mapping[str, object]) -> set[Pair]:
    """Every two options of a case with their values."""
    return set(combinations(case.items(), 2))


def every_pair(factors: Mapping[str, Sequence[object]]) -> list[Pair]:
    """All pairs of values of different factors."""
    values = [[(name, value) for value in values] for name, values in factors.items()]
    return [pair for first, second in combinations(values, 2) for pair in product(first, second)]


def covering_cases(factors: Mapping[str, Sequence[object]],
                   valid: Callable[[Case], bool]) -> tuple[list[Case], list[Pair]]:
    """Cases that hold every pair that any valid case can hold, and the pairs that none does.

    The first value of each factor is its default; a pair counts as impossible when no valid case is found that differs
    from the defaults in at most two further factors.
    """
    cases: list[Case] = []
    impossible: list[Pair] = []
    left = dict.fromkeys(every_pair(factors))
    while left:
        pair = next(iter(left))
        case = next((case for case in completions(factors, pair) if valid(case)), None)
        if case is None:
            impossible.append(pair)
            del left[pair]
            continue
        case = enriched(case, pair, factors, valid, left)
        cases.append(case)
        for held in pairs_of(case):
            left.pop(held, None)
    return cases, impossible


def completions(factors: Mapping[str, Sequence[object]], pair: Pair) -> Iterator[Case]:
    """Cases that hold a pair: the defaults, then with one or two factors changed."""
    base = {name: values[0] for name, values in factors.items()} | dict(pair)
    yield base
    free = [(name, value) for name, values in factors.items() if name not in dict(pair) for value in values[1:]]
    yield from (base | {name: value} for name, value in free)
    yield from (base | dict(both) for both in combinations(free, 2) if both[0][0] != both[1][0])


def enriched(case: Case, pair: Pair, factors: Mapping[str, Sequence[object]], valid: Callable[[Case], bool],
             left: Mapping[Pair, None]) -> Case:
    """The case with every factor but those of the pair at the value that holds most pairs that are left."""
    for name, values in factors.items():
        if name in dict(pair):
            continue
        tried = [case | {name: value} for value in values]
        counts = [sum(held in left for held in pairs_of(other)) if valid(other) else -1 for other in tried]
        case = tried[counts.index(max(counts))]
    return case
