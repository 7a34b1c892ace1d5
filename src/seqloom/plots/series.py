"""The numbers of a run's metrics as series over the updates, sorted into small panels that share one meaning.

Knows no file format: `curves.py` draws the panels by hand (SVG, HTML), `curve_figure.py` with matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqloom.errors import UsageError

AXES = ("step", "epoch")  # what may run across; never drawn itself
POINTS = 600  # most points of a drawn line: more than pixels
LOGARITHMIC_FROM = 100.0  # ratio of the largest to the smallest value from which an axis is logarithmic
# Neither losses nor worth of answers: how training went, and parts of other metrics.
BOOKKEEPING = ("teacher_forcing_ratio", "clipped_share", "bad_updates", "split_batches", "count", "substitutions",
               "insertions", "deletions", "accuracy_gap")
SERIES_LIMIT = 6  # lines in one panel: as many as there are colours


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: points (x, y) in order of x, both finite."""

    key: str
    points: list[tuple[float, float]]

    @property
    def values(self) -> list[float]:
        return [y for _, y in self.points]

    def thinned(self) -> list[tuple[float, float]]:
        """At most POINTS points: of each run of neighbours, the lowest and the highest, so that no peak is lost."""
        if len(self.points) <= POINTS:
            return self.points
        run = math.ceil(len(self.points) * 2 / POINTS)
        kept: list[tuple[float, float]] = []
        for start in range(0, len(self.points), run):
            part = self.points[start:start + run]
            ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
            kept += sorted(ends)
        return kept


@dataclass(frozen=True, slots=True)
class Panel:
    """Series that can share a vertical axis."""

    title: str
    series: list[Series]

    @property
    def logarithmic(self) -> bool:
        values = [value for series in self.series for value in series.values]
        return min(values) > 0 and max(values) / min(values) >= LOGARITHMIC_FROM


def usual_keys(series: Mapping[str, Series]) -> list[str]:
    """The metrics that matter to a reader at first sight: losses, token accuracies, and what the answers are worth.

    Those of speed, rates and bookkeeping are left out, and those that never change; all where nothing else is there.
    """
    kept = [key for key, one in series.items() if group_of(key)[0] <= 2 and key not in BOOKKEEPING
            and (len(set(one.values)) > 1 or len(one.values) == 1)]
    return kept or list(series)


def group_of(key: str) -> tuple[int, str]:
    """Which panel a metric belongs to, as (place, title); a metric of no family has a panel to itself."""
    if key == "loss" or key.endswith("_loss"):
        return 0, "loss"
    if key.endswith("_token_accuracy") or key == "accuracy_gap":
        return 1, "token accuracy"
    if key == "learning_rate":
        return 4, "learning rate"
    if key.endswith("_rate"):
        return 3, "rates"
    return (5 if key.endswith(("_per_second", "seconds", "minutes", "memory")) else 2), key.replace("_", " ")


def is_number(value: object) -> bool:
    """A number that can be drawn; truth values are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def series_of(metrics: Iterable[Mapping[str, Any]]) -> tuple[str, dict[str, Series], int]:
    """Every numeric key of the records as a series; the name of the horizontal axis; how many values are not finite.

    The axis is step where records have it, else epoch, else the number of the record. A record without it stands at the
    one before. Where a step comes twice, as after a resumed run, the later value counts.
    """
    records = list(metrics)
    axis = next((name for name in AXES if any(is_number(record.get(name)) for record in records)), "record")
    found: dict[str, dict[float, float]] = {}
    place, broken = 0.0, 0
    for count, record in enumerate(records, start=1):
        here = record.get(axis, place) if axis != "record" else count
        place = float(here) if is_number(here) else place
        for key, value in record.items():
            if key in AXES or not is_number(value):
                continue
            points = found.setdefault(key, {})
            if math.isfinite(value):
                points[place] = float(value)
            else:
                broken += 1
    series = {key: Series(key, sorted(points.items())) for key, points in found.items() if points}
    return axis, series, broken


def panels_of(series: Mapping[str, Series], keys: Sequence[str] | None = None) -> list[Panel]:
    """The panels in reading order: losses, token accuracies, metrics, rates, learning rate, speed.

    `keys` chooses metrics; all of them by default. Raises UsageError when there is nothing to draw or a key is unknown.
    """
    if not series:
        raise UsageError("the metrics hold no numbers to draw",
                         fix="train for at least one validation, then look at metrics.jsonl in the run folder")
    unknown = [key for key in keys or () if key not in series]
    if unknown:
        raise UsageError(f"no metric named {', '.join(map(repr, unknown))}", fix=f"choose from: {', '.join(series)}")
    groups: dict[tuple[int, str], list[Series]] = {}
    for key in series if keys is None else dict.fromkeys(keys):
        groups.setdefault(group_of(key), []).append(series[key])
    panels = []
    for (_, title), members in sorted(groups.items(), key=lambda item: item[0][0]):
        for first in range(0, len(members), SERIES_LIMIT):
            panels.append(Panel(title, members[first:first + SERIES_LIMIT]))
    return panels


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers between two values, about `count` of them: steps of 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next((factor * power for factor in (1, 2, 2.5, 5, 10) if span / (factor * power) <= count), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) if abs(step) > 1e-9 else index * step
            for index in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten from `low` to `high`, at most about five of them; for logarithmic axes."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / 5))
    return [10.0 ** power for power in range(first, last + 1, stride)] or [low, high]


def short(value: float) -> str:
    """A number in few characters: 12k, 3.4M, 0.25, 1e-05."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / min(size, 1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:.4g}"
