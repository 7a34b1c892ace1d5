"""Decoding options chosen on development data: beam size, then length penalty, then coverage penalty.

The best of many trials is better than the first by chance alone. So the verdict takes into account how many there were
(`metrics.significance.best_of_many`), and options that win by no more than chance are not written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seqloom.config.sections import CorpusConfig, DecodingConfig
from seqloom.errors import DataError, UsageError
from seqloom.evaluation import read_examples
from seqloom.metrics import build_metric
from seqloom.metrics.significance import best_of_many
from seqloom.predictor import Predictor
from seqloom.progress import Reporter

# What is tried of each option, in this order; the best so far of one is kept while the next is tried.
TRIED: dict[str, tuple[float, ...]] = {
    "beam_size": (1, 2, 3, 5, 8, 12),
    "length_penalty": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5),
    "coverage_penalty": (0.0, 0.05, 0.1, 0.2, 0.4),
}
SEARCHED = ("auto", "beam")
LEVEL = 0.05  # p-value below which a gain counts as more than chance


@dataclass(frozen=True)
class Trial:
    """Options that differ from the run's own (none: the run's own), their score, and seconds of decoding.

    p_value: of being no better than the run's own options, as one of all these trials; 1 for those themselves.
    """

    changes: dict[str, float]
    score: float
    seconds: float
    p_value: float = 1.0


@dataclass(frozen=True)
class Tuning:
    """trials: the run's own options first, then in the order tried; metric: its name; better: higher or lower."""

    metric: str
    better: str
    signature: str
    count: int
    trials: list[Trial]

    @property
    def best(self) -> Trial:
        """The trial with the best score; of equals the first, which is the run's own where it is among them."""
        sign = 1 if self.better == "higher" else -1
        return max(self.trials, key=lambda trial: sign * trial.score)

    @property
    def holds(self) -> bool:
        """Whether the best is better than the run's own by more than chance."""
        return self.best.p_value < LEVEL

    def to_json(self) -> dict[str, Any]:
        """What `tune-decoding --json` prints."""
        def told(trial: Trial) -> dict[str, Any]:
            return {"options": trial.changes, "score": trial.score, "seconds": round(trial.seconds, 3),
                    "p_value": trial.p_value}
        return {"metric": self.metric, "better": self.better, "count": self.count, "best": told(self.best),
                "significant": self.holds, "trials": [told(trial) for trial in self.trials],
                "signature": self.signature}


def tune(predictor: Predictor, corpora: Sequence[CorpusConfig], *, metric: str | None = None,
         tokenize: str | None = None, tried: Mapping[str, Sequence[float]] | None = None,
         changes: Mapping[str, Any] | None = None, samples: int = 1000, seed: int = 12345,
         reporter: Reporter | None = None) -> Tuning:
    """Try decoding options of a run on development files.

    One option after the other, each with the best of those before it: as many answers as there are values, and not as
    many as there are combinations. A beam of one is greedy search, on which penalties have no effect: they are not
    tried then.

    Args:
        metric: a name of METRICS; the one that chose the run's checkpoint, where that compares outputs.
        tokenize: sacreBLEU's tokenizer; that of validation when not given.
        tried: values of each option, in place of those in TRIED; an option that is left out is not tried.
        changes: decoding options that all trials have.
        samples, seed: of the bootstrap.

    Raises:
        UsageError: the run's answers are not searched for, an unknown metric or option, or a strategy without a beam.
        ConfigError: a value that the option cannot have.
        DataError: no usable example.
    """
    reporter = reporter or Reporter()
    common = {"n_best": 1, **dict(changes or {})}
    start = _start(predictor, common, tried or {})
    measure = build_metric(metric or _metric_of(predictor), tokenize=tokenize or predictor.head.bleu_tokenize)
    records, notes, _ = read_examples(predictor, corpora)
    if not records:
        raise DataError("no usable development example", fix="give lines with a source and a target")
    for sentence in notes:
        reporter.say(f"note: {sentence}")
    references = [predictor.head.texts_of(record) for record in records]
    trials: list[Trial] = []
    answers: list[list[str]] = []

    def attempt(chosen: dict[str, float]) -> float:
        options = predictor.options({**common, **chosen})
        began = time.perf_counter()
        texts = []
        for number, prediction in enumerate(predictor.predict_records(records, options), 1):
            reporter.progress(_named(chosen), number, len(records))
            texts.append(prediction.text)
        score = float(measure.score(measure.statistics(texts, references).sum(0)[None])[0])
        trials.append(Trial(chosen, score, time.perf_counter() - began))
        answers.append(texts)
        reporter.finish()
        reporter.say(f"{_named(chosen)}: {measure.name} {score:.4f} in {trials[-1].seconds:.1f} s")
        return score if measure.better == "higher" else -score

    covers = _covers(predictor)
    if not covers and (tried or TRIED).get("coverage_penalty"):
        reporter.say("note: no coverage penalty is tried, because this model has no attention for it to look at")
    _search(attempt, attempt({}), start, tried or TRIED, with_coverage=covers)
    if len(trials) > 1:
        p_values = best_of_many(measure, answers, references, samples=samples, seed=seed)
        trials[1:] = [replace(trial, p_value=p_value) for trial, p_value in zip(trials[1:], p_values, strict=True)]
    return Tuning(measure.name, measure.better, measure.signature(references), len(records), trials)


def _start(predictor: Predictor, common: dict[str, Any], tried: Mapping[str, Sequence[float]]) -> DecodingConfig:
    """The options that the trials start from. Raises UsageError where there is nothing to tune."""
    if not predictor.head.is_free_text:
        raise UsageError(f"this run has head.kind {predictor.head.kind}: there is no search whose answers to compare",
                         fix="give a run whose head.kind is sequence")
    unknown = [option for option in tried if option not in TRIED]
    if unknown:
        raise UsageError(f"unknown option '{unknown[0]}'", fix=f"choose from {', '.join(TRIED)}")
    start = predictor.options(common)
    if start.strategy not in SEARCHED:
        raise UsageError(f"decoding.strategy is {start.strategy}, which keeps no beam: there is nothing to tune",
                         fix="add --set strategy=auto")
    return start


def _search(attempt: Callable[[dict[str, float]], float], found: float, start: DecodingConfig,
            tried: Mapping[str, Sequence[float]], *, with_coverage: bool) -> None:
    """One option after the other; `found`: the score, higher being better, of the options at the start."""
    chosen: dict[str, float] = {}

    def value_of(option: str) -> float:
        return float(chosen.get(option, getattr(start, option)))

    for option, values in tried.items():
        if option != "beam_size" and value_of("beam_size") == 1:
            continue
        if option == "coverage_penalty" and not with_coverage:
            continue
        best = value_of(option)
        for value in _others(values, value_of(option)):
            score = attempt({**chosen, option: int(value) if option == "beam_size" else value})
            if score > found:
                found, best = score, value
        if best != value_of(option):
            chosen[option] = int(best) if option == "beam_size" else best


def _others(values: Sequence[float], present: float) -> Iterator[float]:
    return (value for value in dict.fromkeys(values) if value != present)


def _covers(predictor: Predictor) -> bool:
    """Whether there is attention, which a coverage penalty looks at."""
    return predictor.run is None or predictor.run.config.decoder.context == "attention"


def _metric_of(predictor: Predictor) -> str:
    named = "exact_match" if predictor.run is None else predictor.run.config.training.metric
    return named if named in predictor.head.metrics else "exact_match"


def _named(changes: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in changes.items()) or "the run's own options"
