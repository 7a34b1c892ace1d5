"""Text → text: numbers as Koreans say them → digits; small enough for a page, which is what the lessons need.

이천이십일 is 이 (2) 천 (thousand), 이 (2) 십 (ten), 일 (1): 2021. Zeros are not said, nor is a 1 before a unit.
"""

from __future__ import annotations

import random
from pathlib import Path

DIGITS, UNITS = "영일이삼사오육칠팔구", ("천", "백", "십", "")
LARGEST = 9999


def korean(number: int) -> str:
    """A number from 1 to 9999 in Hangul."""
    said = []
    for digit, unit in zip(f"{number:04}", UNITS, strict=True):
        if digit != "0":
            said.append(("" if digit == "1" and unit else DIGITS[int(digit)]) + unit)
    return "".join(said)


def write(folder: str | Path, *, train: int = 2000, valid: int = 200, test: int = 200, seed: int = 1
          ) -> dict[str, Path]:
    """Write <split>.tsv (source, tab, target) for each split, all of different numbers; the files by split."""
    numbers = random.Random(seed).sample(range(1, LARGEST + 1), train + valid + test)
    paths, begin = {}, 0
    for split, count in (("train", train), ("valid", valid), ("test", test)):
        lines = [f"{korean(number)}\t{number}\n" for number in numbers[begin:begin + count]]
        paths[split] = Path(folder) / f"{split}.tsv"
        paths[split].parent.mkdir(parents=True, exist_ok=True)
        paths[split].write_text("".join(lines), encoding="utf-8", newline="\n")
        begin += count
    return paths
