"""Pairs of sentences → train, dev and test that share none: python -m benchmarks.splits PAIRS OUT [--dev N] [--test N]

PAIRS  a file whose first two columns, with a tab between, are two sides of a pair, with or without further columns;
OUT    a new folder for train.tsv, dev.tsv and test.tsv, of these two columns.

A sentence that stands in one part, on either side, stands in no other, also with other capitals, spaces or marks: pairs
that are linked by such a sentence stay together. What is merely alike ("Tom ran", "Tom runs") may be parted. No line is
left out but copies of a line.
"""

from __future__ import annotations

import argparse
import random
import sys
import unicodedata
from pathlib import Path

Pair = tuple[str, str]
PARTS = ("train", "dev", "test")


def main(arguments: list[str] | None = None) -> int:
    """Write the parts and say how many pairs and sentences each has."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.splits", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dev", type=int, default=400, help="pairs, about (default: 400)")
    parser.add_argument("--test", type=int, default=400, help="pairs, about (default: 400)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    try:
        parts = split(read_pairs(given.pairs), dev=given.dev, test=given.test, seed=given.seed)
    except ValueError as error:
        parser.error(str(error))
    given.out.mkdir(parents=True, exist_ok=True)
    for name, pairs in parts.items():
        path = given.out / f"{name}.tsv"
        path.write_text("".join("\t".join(pair) + "\n" for pair in pairs), encoding="utf-8", newline="\n")
        first, second = (len({key(pair[side]) for pair in pairs}) for side in (0, 1))
        sys.stdout.write(f"{path}: {len(pairs):,} pairs of {first:,} and {second:,} sentences\n")
    return 0


def read_pairs(path: Path) -> list[Pair]:
    """The first two columns of each line, once each. Raises ValueError with file:line for a line without them."""
    pairs: dict[Pair, None] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        first, second = ([column.strip() for column in line.split("\t")] + ["", ""])[:2]
        if not (first and second):
            raise ValueError(f"{path}:{number}: two columns with a tab between are expected")
        pairs[first, second] = None
    return list(pairs)


def key(sentence: str) -> str:
    """What makes two sentences the same one: their letters and digits, without regard to capitals; all of a sentence
    that has none."""
    folded = unicodedata.normalize("NFKC", sentence).casefold()
    return "".join(sign for sign in folded if sign.isalnum()) or folded


def linked(pairs: list[Pair]) -> list[list[Pair]]:
    """Pairs that share a sentence, through other pairs too, together; in the order of their first pair."""
    above = list(range(len(pairs)))

    def top(number: int) -> int:
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    seen: dict[tuple[int, str], int] = {}
    for number, pair in enumerate(pairs):
        for side, sentence in enumerate(pair):
            one, other = top(number), top(seen.setdefault((side, key(sentence)), number))
            above[max(one, other)] = min(one, other)
    groups: dict[int, list[Pair]] = {}
    for number, pair in enumerate(pairs):
        groups.setdefault(top(number), []).append(pair)
    return list(groups.values())


def split(pairs: list[Pair], *, dev: int, test: int, seed: int) -> dict[str, list[Pair]]:
    """Linked pairs, shuffled by seed, fill test and dev until the next group would be too much; the rest is train.

    Raises ValueError where nothing would be left for it.
    """
    groups = linked(pairs)
    random.Random(seed).shuffle(groups)
    parts: dict[str, list[Pair]] = {name: [] for name in PARTS}
    wanted = {"test": test, "dev": dev}
    for group in groups:
        name = next((name for name, size in wanted.items() if len(parts[name]) + len(group) <= size), "train")
        parts[name] += group
    if not all(parts.values()):
        raise ValueError(f"{len(pairs):,} pairs in {len(groups):,} groups are too few for dev {dev:,}, "
                         f"test {test:,} and some to train on")
    for part in parts.values():
        random.Random(seed).shuffle(part)
    return parts


if __name__ == "__main__":
    raise SystemExit(main())
