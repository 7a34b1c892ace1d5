"""The works that are measured, and their data: files of symbols with spaces between them, which every entrant reads.

Work W: Multi30k en → de, lower-cased, words and signs apart, words that were seen twice. Work C: SIGMORPHON 2020 task 1
French, letters to phones. The data is looked for in ../shared/data or $SEQLOOM_SHARED_DATA; where it is not, symbols
are drawn with the lengths and frequencies that were counted in it, and every row says so.
"""

from __future__ import annotations

import bisect
import gzip
import itertools
import math
import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import ROOT

Pair = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Shape:
    """A work: the model's sizes and the batch. encoder: state of each of two directions; decoder: state."""

    name: str
    embedding: int
    encoder: int
    decoder: int
    batch: int
    min_frequency: int


SHAPES = {
    "W": Shape("W", embedding=256, encoder=256, decoder=512, batch=64, min_frequency=2),
    "C": Shape("C", embedding=128, encoder=128, decoder=256, batch=32, min_frequency=1),
}


@dataclass(frozen=True)
class Work:
    """A work with its files in `folder`: {train,valid,test}.{source,target} and {source,target}.symbols."""

    shape: Shape
    folder: Path
    data: str
    pairs: int
    source_symbols: int
    target_symbols: int
    source_length: float
    target_length: float

    def task(self) -> dict[str, Any]:
        """What an entrant is told, as JSON has it."""
        shape = self.shape
        return {"data": str(self.folder), "embedding": shape.embedding, "encoder": shape.encoder,
                "decoder": shape.decoder, "batch": shape.batch, "min_frequency": shape.min_frequency,
                "source_symbols": self.source_symbols, "target_symbols": self.target_symbols,
                "source_length": self.source_length, "target_length": self.target_length}

    @property
    def generated(self) -> bool:
        """Whether the symbols are drawn, not real."""
        return self.data.startswith("generated")


def prepare_work(name: str, folder: Path, *, pairs: int | None = None, shared: Path | None = None) -> Work:
    """Write the files of a work; at most `pairs` training pairs where that is given."""
    shape = SHAPES[name]
    parts = _real(name, shared or shared_data())
    data = {"W": "Multi30k", "C": "SIGMORPHON 2020 French"}[name]
    if parts is None:
        parts, data = drawn(name, pairs), f"generated, as {data}"
    if pairs is not None:
        parts = {part: given[:pairs] for part, given in parts.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for part, given in parts.items():
        for number, texts in enumerate(zip(*given, strict=True)):
            write_lines(folder / f"{part}.{('source', 'target')[number]}", map(" ".join, texts))
    sides = list(zip(*parts["train"], strict=True))
    symbols = [frequent(side, shape.min_frequency) for side in sides]
    for side, counted in zip(("source", "target"), symbols, strict=True):
        write_lines(folder / f"{side}.symbols", counted)
    lengths = [sum(map(len, side)) / len(side) for side in sides]
    return Work(shape, folder, data, len(parts["train"]), len(symbols[0]), len(symbols[1]), lengths[0], lengths[1])


def shared_data() -> Path:
    """The folder of real data sets, which is no part of the repository."""
    return Path(os.environ.get("SEQLOOM_SHARED_DATA", ROOT.parent / "shared" / "data"))


def frequent(texts: Iterable[Sequence[str]], least: int) -> list[str]:
    """Symbols seen at least so often, most frequent first."""
    return [symbol for symbol, count in Counter(itertools.chain.from_iterable(texts)).most_common() if count >= least]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """A text file, one line each."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


# --- real data -------------------------------------------------------------------------------------------------------


def _real(name: str, shared: Path) -> dict[str, list[Pair]] | None:
    if name == "W":
        folder = shared / "multi30k" / "raw"
        parts = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
        files = {part: [folder / f"{stem}.{language}.gz" for language in ("en", "de")] for part, stem in parts.items()}
        if not all(path.exists() for paths in files.values() for path in paths):
            return None
        return {part: list(zip(*map(words_of, paths), strict=True)) for part, paths in files.items()}
    folder = shared / "sigmorphon2020_g2p"
    tables = {part: folder / stem / f"fre_{stem}.tsv" for part, stem in
              {"train": "train", "valid": "dev", "test": "test"}.items()}
    if not all(path.exists() for path in tables.values()):
        return None
    return {part: [(list(word), phones.split()) for word, phones in rows_of(path)] for part, path in tables.items()}


def words_of(path: Path) -> Iterator[list[str]]:
    """Words and signs of a gzipped text, lower-cased."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield re.findall(r"\w+|[^\w\s]", line.lower())


def rows_of(path: Path) -> Iterator[list[str]]:
    """Columns of a table without quoting."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\n").split("\t")


# --- drawn data ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statistics:
    """What was counted in the training data of a work.

    lengths: of one side, at 0, 5, 10 … 100 per cent of the pairs; ratios: target length by source length, likewise.
    source_counts, target_counts: how often the symbols of rank 1, 2, 4, 8 … were seen; source_types, target_types: how
    many different ones there are.
    """

    pairs: int
    lengths: tuple[int, ...]
    ratios: tuple[float, ...]
    source_types: int
    source_counts: tuple[int, ...]
    target_types: int
    target_counts: tuple[int, ...]


COUNTED = {
    "W": Statistics(
        29_000, (4, 8, 9, 9, 10, 10, 11, 11, 12, 12, 12, 13, 13, 14, 15, 15, 16, 17, 19, 21, 41),
        (.22, .73, .78, .8, .83, .86, .88, .9, .91, .92, .94, 1., 1., 1., 1., 1.07, 1.09, 1.12, 1.18, 1.26, 2.2),
        9_779, (49_172, 27_657, 10_955, 7_379, 3_122, 1_675, 724, 360, 167, 67, 27, 10, 3, 1),
        17_911, (28_855, 18_855, 11_895, 8_844, 3_479, 1_412, 772, 323, 147, 61, 25, 10, 4, 1, 1)),
    "C": Statistics(
        3_600, (2, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 10, 10, 12, 20),
        (.29, .54, .6, .62, .67, .67, .69, .71, .73, .75, .75, .8, .8, .83, .83, .86, .88, .9, 1., 1., 2.),
        37, (3_353, 2_315, 2_042, 1_521, 421, 12), 37, (1_930, 1_502, 1_283, 908, 547, 73)),
}


def drawn(name: str, limit: int | None = None) -> dict[str, list[Pair]]:
    """Training, validation and test pairs of a work, drawn; at most `limit` of each."""
    counted, stream = COUNTED[name], drawn_pairs(name)
    sizes = {"train": counted.pairs, "valid": counted.pairs // 8, "test": min(1_000, counted.pairs // 8)}
    return {part: list(itertools.islice(stream, min(size, limit or size))) for part, size in sizes.items()}


def drawn_pairs(name: str, seed: int = 1) -> Iterator[Pair]:
    """Pairs without end, with the lengths and frequencies of a work's data; the sides have nothing to do with each
    other."""
    counted, draw = COUNTED[name], random.Random(seed)
    source = Symbols("s", counted.source_types, counted.source_counts)
    target = Symbols("t", counted.target_types, counted.target_counts)
    while True:
        length = max(1, round(between(counted.lengths, draw.random())))
        wanted = max(1, round(length * between(counted.ratios, draw.random())))
        yield source.draw(draw, length), target.draw(draw, wanted)


class Symbols:
    """Symbols "s1", "s2" … that come as often as counted; between the counted ranks the counts are interpolated."""

    def __init__(self, prefix: str, types: int, counts: Sequence[int]) -> None:
        logarithms = [math.log(count) for count in counts]
        shares = []
        for rank in range(1, types + 1):
            place = min(math.log2(rank), len(counts) - 1)
            low = min(int(place), len(counts) - 2)
            shares.append(math.exp(logarithms[low] + (place - low) * (logarithms[low + 1] - logarithms[low])))
        self.names = [f"{prefix}{rank}" for rank in range(1, types + 1)]
        self.sums = list(itertools.accumulate(shares))

    def draw(self, random: random.Random, length: int) -> list[str]:
        """So many symbols."""
        total = self.sums[-1]
        last = len(self.names) - 1
        return [self.names[min(last, bisect.bisect(self.sums, random.random() * total))] for _ in range(length)]


def between(marks: Sequence[float], share: float) -> float:
    """The value below which this share of the data lies, from marks at equal distances."""
    place = share * (len(marks) - 1)
    low = min(int(place), len(marks) - 2)
    return marks[low] + (place - low) * (marks[low + 1] - marks[low])
