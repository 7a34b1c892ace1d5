"""Paired bootstrap: is one system's score better than another's on the same sentences, or is it chance?

The sentences are drawn again with replacement, the same draw for both systems, and both are scored on each draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqloom.errors import UsageError
from seqloom.metrics.base import Metric, check_corpus
from seqloom.types import Floats

_CELLS = 4_000_000    # sentence numbers drawn at a time: 64 MB with their counts


@dataclass(frozen=True, slots=True)
class Comparison:
    """System B against system A by one metric.

    score_a, score_b: on the whole data; delta: score_b − score_a, in the metric's unit.
    interval: the middle 95 % of delta over the samples.
    wins:     share of samples in which B is the better one, ties half (Koehn 2004, §4: B is better at the 95 % level
              when this is 0.95 or more).
    p_value:  of the difference, two systems being equal: (c + 1) / (samples + 1), where c counts the samples with
              |delta_i| − mean |delta_i| ≥ |delta| (Riezler and Maxwell 2005, fig. 2). sacreBLEU
              reports the same but for ties, which it does not count: two equal systems have 1 here.
    """

    metric: str
    score_a: float
    score_b: float
    delta: float
    interval: tuple[float, float]
    wins: float
    p_value: float
    samples: int
    count: int


def compare(metric: Metric, outputs_a: Sequence[str], outputs_b: Sequence[str],
            references: Sequence[Sequence[str]], *, samples: int, seed: int) -> Comparison:
    """Compare two systems on N sentences; the same arguments give the same result.

    The draws are sacreBLEU's for the same seed. Raises DataError as `check_corpus` does, UsageError for samples < 1.
    """
    check_corpus(outputs_a, references)
    check_corpus(outputs_b, references)
    if samples < 1:
        raise UsageError(f"{samples} bootstrap samples, expected 1 or more", fix="1000 is usual")
    statistics = [metric.statistics(outputs, references) for outputs in (outputs_a, outputs_b)]
    score_a, score_b = (float(metric.score(found.sum(0)[None])[0]) for found in statistics)
    resampled_a, resampled_b = (metric.score(totals) for totals in _resampled(statistics, samples, seed))
    deltas = resampled_b - resampled_a
    delta = score_b - score_a
    gains = deltas if metric.better == "higher" else -deltas
    shifted = np.abs(deltas) - np.abs(deltas).mean()
    low, high = np.percentile(deltas, [2.5, 97.5])
    return Comparison(
        metric.name, score_a, score_b, delta, (float(low), float(high)),
        wins=float((gains > 0).mean() + (gains == 0).mean() / 2),
        p_value=(int((shifted >= abs(delta)).sum()) + 1) / (samples + 1), samples=samples, count=len(references))


def best_of_many(metric: Metric, outputs: Sequence[Sequence[str]], references: Sequence[Sequence[str]], *,
                 samples: int, seed: int) -> list[float]:
    """Is system k better than system 0, when the best of all is looked for? One-sided p-values of systems 1 … K − 1.

    The more systems are tried, the better the best of them by chance alone. So each gain is compared with the largest
    of the K − 1 gains on resampled sentences, each less its own mean there (White 2000, "A Reality Check for Data
    Snooping", §2; for each system and not the best alone as in Westfall and Young 1993). The same arguments give the
    same result. Raises as `compare`, and UsageError for fewer than two systems.
    """
    if len(outputs) < 2:
        raise UsageError(f"{len(outputs)} system, expected two or more", fix="give what it is compared with, too")
    if samples < 1:
        raise UsageError(f"{samples} bootstrap samples, expected 1 or more", fix="1000 is usual")
    for system in outputs:
        check_corpus(system, references)
    sign = 1.0 if metric.better == "higher" else -1.0
    statistics = [metric.statistics(system, references) for system in outputs]
    scores = sign * np.array([metric.score(found.sum(0)[None])[0] for found in statistics])
    resampled = sign * np.stack([metric.score(totals) for totals in _resampled(statistics, samples, seed)])
    gains = scores[1:] - scores[0]
    chance = resampled[1:] - resampled[0]
    largest = (chance - chance.mean(1, keepdims=True)).max(0)
    return [(int((largest >= gain).sum()) + 1) / (samples + 1) for gain in gains.tolist()]


def _resampled(statistics: Sequence[Floats], samples: int, seed: int) -> list[Floats]:
    """[N K] of each system → [samples K] sums over the same draws of N sentences."""
    size = len(statistics[0])
    generator = np.random.default_rng(seed)
    totals: list[list[Floats]] = [[] for _ in statistics]
    chunk = max(1, _CELLS // size)
    for start in range(0, samples, chunk):
        rows = min(chunk, samples - start)
        drawn = generator.choice(size, size=(rows, size), replace=True)
        drawn += size * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(float)
        for system, found in zip(totals, statistics, strict=True):
            system.append(counts @ found)
    return [np.concatenate(system) for system in totals]
