"""Generated tasks: examples of any length and amount from a seed, small enough that a claim is tried in a minute.

Source and target are symbols with spaces between them. TASKS is at the foot.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Pair = tuple[str, str]
Lengths = tuple[int, int]
Maker = Callable[[random.Random, int], Pair]

LETTERS = [chr(ord("a") + number) for number in range(12)]
WORDS = [f"w{number}" for number in range(60)]


def _letters(draw: random.Random, length: int) -> list[str]:
    return draw.choices(LETTERS, k=length)


def copy(draw: random.Random, length: int) -> Pair:
    """c a b → c a b."""
    source = " ".join(_letters(draw, length))
    return source, source


def reverse(draw: random.Random, length: int) -> Pair:
    """c a b → b a c."""
    source = _letters(draw, length)
    return " ".join(source), " ".join(reversed(source))


def twice(draw: random.Random, length: int) -> Pair:
    """c a b → c c a a b b: longer than what was read."""
    source = _letters(draw, length)
    return " ".join(source), " ".join(letter for letter in source for _ in range(2))


def half(draw: random.Random, length: int) -> Pair:
    """c a b d → c b: shorter than what was read."""
    source = _letters(draw, length)
    return " ".join(source), " ".join(source[::2])


def dictionary() -> dict[str, list[str]]:
    """Each word's entry of one or two words, from a language of as many; the same in every run."""
    draw = random.Random(7)
    others = [f"v{number}" for number in range(len(WORDS))]
    return {word: draw.sample(others, draw.choice((1, 1, 2))) for word in WORDS}


def lookup(draw: random.Random, length: int) -> Pair:
    """Each word replaced by its entry in a dictionary, of one or two words, and the last word put first."""
    entries, source = dictionary(), draw.choices(WORDS, k=length)
    moved = [source[-1], *source[:-1]]
    return " ".join(source), " ".join(word for one in moved for word in entries[one])


def recall(draw: random.Random, length: int) -> Pair:
    """What was the first letter? The others do not matter."""
    source = _letters(draw, length)
    return " ".join(source), source[0]


def arithmetic(draw: random.Random, length: int) -> Pair:
    """1 2 + 4 5 → 5 7: two numbers of `length` digits are added."""
    one, other = (draw.randrange(10**length) for _ in range(2))
    return " ".join(f"{one:0{length}d}+{other:0{length}d}"), " ".join(f"{one + other:0{length + 1}d}")


TASKS: dict[str, Maker] = {
    "copy": copy, "reverse": reverse, "twice": twice, "half": half, "lookup": lookup, "recall": recall,
    "arithmetic": arithmetic,
}


def make_pairs(task: str, lengths: Lengths, count: int, seed: str) -> list[Pair]:
    """`count` pairs whose lengths are drawn evenly from `lengths`, both ends among them."""
    draw = random.Random(f"{task} {seed}")
    return [TASKS[task](draw, draw.randint(*lengths)) for _ in range(count)]
