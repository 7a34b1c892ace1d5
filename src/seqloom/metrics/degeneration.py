"""Rates of outputs that have gone wrong in a way that an average score hides. Measured at each validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from seqloom.errors import DataError
from seqloom.types import SPECIAL_NAMES, UNKNOWN

_LONGEST, _TIMES = 4, 3


def degeneration_rates(outputs: Sequence[Sequence[str]], sources: Sequence[str],
                       references: Sequence[Sequence[str]] | None = None) -> dict[str, float]:
    """Rates over N outputs as tokens, each a fraction of all outputs between 0 and 1.

    empty_rate:     outputs without a token.
    repeated_rate:  outputs with a loop: an n-gram of 1 to 4 tokens that stands three or more times in a row. With
                    `references`, an output whose own reference has a loop is not counted ("2000" spelt in characters).
    identical_rate: how much more often the most frequent non-empty output is given than the data explain: its count
                    minus the count of the most frequent reference (of 1 without `references`), never below 0. A source
                    that occurs several times counts once, with its first output. Near 1 when the source is ignored.
    unknown_rate:   outputs that hold the unknown symbol.

    references: the tokens of one reference each. Raises DataError for no outputs or sides of different length.
    """
    if not outputs:
        raise DataError("there are no outputs to look at", fix="give at least one sentence")
    if len(sources) != len(outputs) or (references is not None and len(references) != len(outputs)):
        given = f"{len(outputs)} outputs, {len(sources)} sources"
        raise DataError(given if references is None else f"{given} and {len(references)} references",
                        fix="give as many of each")
    count = len(outputs)
    first = list({source: number for number, source in reversed(list(enumerate(sources)))}.values())
    expected = 1 if references is None else _most(tuple(references[number]) for number in first)
    surplus = _most(tuple(outputs[number]) for number in first) - expected
    excused = [False] * count if references is None else [_loops(reference) for reference in references]
    return {
        "empty_rate": sum(not output for output in outputs) / count,
        "repeated_rate": sum(_loops(output) and not spared
                             for output, spared in zip(outputs, excused, strict=True)) / count,
        "identical_rate": max(0, surplus) / count,
        "unknown_rate": sum(SPECIAL_NAMES[UNKNOWN] in output for output in outputs) / count,
    }


def _most(items: Iterable[tuple[Hashable, ...]]) -> int:
    """How often the most frequent non-empty item occurs; at least 1."""
    return max(Counter(item for item in items if item).values(), default=1)


def _loops(tokens: Sequence[str]) -> bool:
    """Whether an n-gram of 1 to 4 tokens stands three or more times in a row."""
    for size in range(1, _LONGEST + 1):
        run = 0    # neighbouring positions whose token comes again `size` later
        for token, later in zip(tokens, tokens[size:], strict=False):
            run = run + 1 if token == later else 0
            if run == size * (_TIMES - 1):
                return True
    return False
