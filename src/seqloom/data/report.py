"""What was found in the data: as numbers, as sentences for a terminal, and as JSON. `doctor.py` fills it in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from seqloom.errors import counted

# Where more than this share of the texts of a side holds an unknown symbol, symbols are too large for the data.
MANY_UNKNOWN = 0.2
SECTIONS = {"source": "source", "target": "head"}  # section of the configuration that holds a side's tokenizer
SHOWN = 3  # places that a sentence names; the JSON has all that were kept
PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True, slots=True)
class Finding:
    """How often something was found, and where first: "file:line", or "file:line = file:line" for a pair of places.

    `example` is the whole reason of the first, where there are reasons.
    """

    count: int = 0
    where: list[str] = field(default_factory=list)
    example: str = ""

    def says(self, singular: str, plural: str) -> list[str]:
        """No sentence, or one: the count, the words for it, and the first places."""
        if not self.count:
            return []
        more = ", …" if self.count > SHOWN else ""
        places = f" ({', '.join(self.where[:SHOWN])}{more})" if self.where else ""
        detail = self.example.partition(": ")[2]
        example = f"; the first: {detail}" if detail else ""
        return [f"{self.count:,} {singular if self.count == 1 else plural}{places}{example}."]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of one side in one unit.

    percentiles: p → the smallest length that at least p % of the texts do not exceed.
    histogram:   (first, last, number of texts) for the lengths 0, 1, 2-3, 4-7, 8-15, …
    """

    count: int
    minimum: int
    mean: float
    maximum: int
    percentiles: dict[int, int]
    histogram: list[tuple[int, int, int]]

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Lengths:
        """From length → number of texts, at least one."""
        total, seen = sum(counts.values()), 0
        percentiles: dict[int, int] = {}
        bars: Counter[int] = Counter()
        for length in sorted(counts):
            seen += counts[length]
            bars[length.bit_length()] += counts[length]
            for percent in PERCENTILES:
                if percent not in percentiles and seen * 100 >= percent * total:
                    percentiles[percent] = length
        histogram = [((1 << bits) >> 1, (1 << bits) - 1, bars[bits]) for bits in sorted(bars)]
        mean = sum(length * count for length, count in counts.items()) / total
        return cls(total, min(counts), mean, max(counts), percentiles, histogram)

    def says(self, unit: str) -> str:
        return (f"{self.minimum:,} to {self.maximum:,} {unit}, median {self.percentiles[50]:,}, "
                f"99 % have at most {self.percentiles[99]:,}")


@dataclass(frozen=True, slots=True)
class SplitReport:
    """One part of the data.

    lines:             records read, bad ones included (a CSV record or a sentence of CoNLL-U counts as one).
    usable:            records handed on; the rest is bad, or a duplicate left out.
    bad:               kind of fault → finding.
    lengths:           side → unit ("words", "characters") → lengths.
    duplicates:        records equal to an earlier one of this part on both sides.
    ambiguous_sources: records whose source stands with another target elsewhere in this part.
    ratio_outliers:    records whose ratio of source to target length is far from the others'.
    languages:         language → usable records, bad ones set aside later among them; empty where records say none.
    """

    name: str
    lines: int
    usable: int
    bad: dict[str, Finding]
    lengths: dict[str, dict[str, Lengths]]
    duplicates: Finding
    ambiguous_sources: Finding
    ratio_outliers: Finding
    languages: dict[str, int] = field(default_factory=dict)

    @property
    def bad_lines(self) -> int:
        return sum(finding.count for finding in self.bad.values())

    @property
    def empty_sides(self) -> int:
        """Bad lines whose source or target is blank, blank lines among them."""
        return sum(finding.count for kind, finding in self.bad.items() if kind.startswith("empty"))

    def sentences(self) -> list[str]:
        left_out = self.lines - self.bad_lines - self.usable
        also = f", {left_out:,} left out as duplicates" if left_out else ""
        result = [f"{self.name}: {self.lines:,} lines, {self.usable:,} usable, {self.bad_lines:,} bad{also}."]
        details: list[str] = []
        for kind, finding in sorted(self.bad.items(), key=lambda entry: -entry[1].count):
            details += finding.says(f"line is bad: {kind}", f"lines are bad: {kind}")
        if self.languages:
            counts = ", ".join(f"{name} {count:,}" for name, count in self.languages.items())
            details.append(f"languages: {counts}.")
        for side, units in self.lengths.items():
            details.append(f"{side}: {'; '.join(lengths.says(unit) for unit, lengths in units.items())}.")
        details += self.duplicates.says("pair repeats an earlier one", "pairs repeat an earlier one")
        details += self.ambiguous_sources.says("pair shares its source with another target",
                                               "pairs share their source with another target")
        details += self.ratio_outliers.says("pair has an unusual ratio of source to target length",
                                            "pairs have an unusual ratio of source to target length")
        return result + [f"  {detail}" for detail in details]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Symbols of one side of the validation data that the vocabulary lacks. `texts`: those with at least one."""

    symbols: int
    unknown: int
    texts: Finding

    @property
    def rate(self) -> float:
        """Share of symbols that are unknown, 0 to 1."""
        return self.unknown / self.symbols if self.symbols else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found. `valid` is None when no validation data was seen; `answers_steps`: each source symbol has a
    tag."""

    train: SplitReport
    valid: SplitReport | None
    overlapping_pairs: Finding
    overlapping_sources: Finding
    unknown: dict[str, Unknown]
    quarantine: str = ""
    answers_steps: bool = False

    def _advice(self, side: str) -> str:
        if side == "source" and self.answers_steps:
            return ("each has a tag, so they stay as they are; read their letters too, with --set source.characters={} "
                    "(preset tag does), or start from pretrained vectors (source.pretrained).")
        return f"smaller ones would be known, with --set {SECTIONS[side]}.tokenizer=character (or bpe, for long texts)."

    def lines(self) -> list[str]:
        """Sentences for a terminal, one a line."""
        result = self.train.sentences() + (self.valid.sentences() if self.valid else [])
        result += self.overlapping_pairs.says("validation pair is in the training data",
                                              "validation pairs are in the training data")
        result += self.overlapping_sources.says("validation source is in the training data",
                                                "validation sources are in the training data")
        for side, unknown in self.unknown.items():
            texts = unknown.texts.says("text with one", "texts with one") or ["no text with one."]
            result.append(f"unknown symbols, {side} of validation: {unknown.unknown:,} of {unknown.symbols:,} "
                          f"({unknown.rate:.2%}); {texts[0]}")
            if self.valid and unknown.texts.count > MANY_UNKNOWN * self.valid.usable:
                result.append(f"  The {side} has many symbols that are seldom seen: {self._advice(side)}")
        if self.quarantine:
            bad = self.train.bad_lines + (self.valid.bad_lines if self.valid else 0)
            result.append(f"warning: {counted(bad, 'bad line')} {'is' if bad == 1 else 'are'} left out; "
                          f"{self.quarantine} says why")
        return result

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers, for `json.dumps`."""
        value = asdict(self)
        for name, split in (("train", self.train), ("valid", self.valid)):
            if split is not None:
                value[name] |= {"bad_lines": split.bad_lines, "empty_sides": split.empty_sides}
        for side, unknown in self.unknown.items():
            value["unknown"][side]["rate"] = unknown.rate
        return value
