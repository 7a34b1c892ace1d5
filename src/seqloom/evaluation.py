"""Test files against a run: predictions, scores with signatures, likelihoods, and the comparison of two runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqloom.config.sections import Column, CorpusConfig, DecodingConfig
from seqloom.data.files import read_records
from seqloom.errors import DataError
from seqloom.metrics import bits_per_character, degeneration_rates, evaluate_outputs, paired_bootstrap, perplexity
from seqloom.metrics.significance import Comparison
from seqloom.predictor import Predictor
from seqloom.progress import Reporter
from seqloom.types import BadRecord, Prediction, Record

# Translation edit rate takes minutes on outputs that repeat themselves without end.
TER_WORDS, TER_OUTPUTS = 100, 10


@dataclass(frozen=True)
class Evaluation:
    """scores: the object of `evaluate --json`; outputs and references as compared; predictions; notes for people."""

    scores: dict[str, Any]
    outputs: list[str]
    references: list[list[str]]
    predictions: list[Prediction]
    notes: list[str]

    def compare(self, other: Evaluation, metric: str, *, samples: int = 1000, tokenize: str = "13a") -> Comparison:
        """Is `other` better by this metric, or is it chance (paired bootstrap, Koehn 2004)? Raises DataError when the
        two are not of the same test data, UsageError for an unknown metric or tokenizer."""
        if self.references != other.references:
            raise DataError("the two evaluations are not of the same test data", fix="evaluate both runs on one file")
        return paired_bootstrap(self.outputs, other.outputs, self.references, metric, samples=samples,
                                tokenize=tokenize)


def evaluate_files(predictor: Predictor, corpora: Sequence[CorpusConfig], *, metrics: Sequence[str] | None = None,
                   tokenize: str = "13a", options: DecodingConfig | None = None,
                   reporter: Reporter | None = None) -> Evaluation:
    """Predict every line of the files and score against their targets.

    Lines without a usable source or target are left out, counted as `bad_lines`, and the first ones named in the notes.
    Raises DataError when no line is left, and as `read_records` does.
    """
    reporter = reporter or Reporter()
    columns, roles = _columns(predictor)
    records, notes, bad = _usable(read_records(corpora, columns, roles))
    if not records:
        raise DataError(f"no usable test example; {notes[0].partition(';')[0]}",
                        fix="a test file needs the columns of the training data, the target too")
    began = time.perf_counter()
    predictions = []
    for number, prediction in enumerate(predictor.predict_records(records, options), 1):
        predictions.append(prediction)
        reporter.progress("predicting", number, len(records))
    seconds = time.perf_counter() - began
    outputs = [prediction.text for prediction in predictions]
    references = [predictor.head.texts_of(record) for record in records]
    names = list(metrics) if metrics else _default_metrics(predictor.head, outputs, notes)
    scores = compared(predictor.head, outputs, references, names, tokenize=tokenize)
    signature = scores.pop("signature")
    if predictor.head.is_free_text:
        scores.update(_likelihood(predictor, records, reporter))
        scores.update(degeneration_rates(
            [prediction.tokens for prediction in predictions], [record.text("source") for record in records],
            [predictor.head.tokens_of(texts[0]) for texts in references]))
    unread = [prediction for prediction in predictions if prediction.stopped == "error"]
    if unread:
        notes.append(f"{len(unread)} inputs could not be read and count as wrong; {unread[0].where}: {unread[0].error}")
    cut = sum(prediction.stopped == "max_length" for prediction in predictions)
    if cut:
        notes.append(f"{cut} outputs reached the maximum length without an end")
    scores.update(signature=signature, bad_lines=bad, engine=predictor.engine.name, seconds=round(seconds, 3))
    reporter.finish()
    return Evaluation(scores, outputs, references, predictions, notes)


def _columns(predictor: Predictor) -> tuple[dict[str, Column], tuple[str, ...]]:
    config = predictor.run.config if predictor.run is not None else None
    columns = dict(config.data.columns or {}) if config is not None else {}
    return {**columns, **predictor.source.columns}, (*predictor.source.roles, *predictor.head.roles)


def _usable(records: Iterable[Record | BadRecord]) -> tuple[list[Record], list[str], int]:
    """The records that can be scored, notes about the first bad ones, and the number of these."""
    usable: list[Record] = []
    notes: list[str] = []
    bad = 0
    for record in records:
        if isinstance(record, BadRecord):
            bad += 1
            if bad <= 3:
                notes.append(f"{record.where}: {record.reason}; the line is left out")
        else:
            usable.append(record)
    if bad > 3:
        notes.append(f"{bad} lines were left out in all")
    return usable, notes, bad


def compared(head: Any, outputs: Sequence[str], references: Sequence[Sequence[str]], names: Sequence[str], *,
             tokenize: str | None = None) -> dict[str, Any]:
    """`evaluate_outputs` by the names that this head has for metrics; tokenize: the head's own when not given."""
    own = {measured: name for name, measured in head.metrics.items()}
    found = evaluate_outputs(outputs, references, [head.metrics.get(name, name) for name in names],
                             tokenize=head.bleu_tokenize if tokenize is None else tokenize)
    return {own.get(name, name): value for name, value in found.items()}


def _default_metrics(head: Any, outputs: Sequence[str], notes: list[str]) -> list[str]:
    long = sum(len(output.split()) > TER_WORDS for output in outputs)
    if long <= TER_OUTPUTS or "ter" not in head.metrics:
        return list(head.metrics)
    notes.append(f"ter is left out: {long} outputs have more than {TER_WORDS} words; ask for it with --metrics")
    return [name for name in head.metrics if name != "ter"]


def _likelihood(predictor: Predictor, records: Sequence[Record], reporter: Reporter) -> dict[str, float]:
    """Perplexity for each target token and bits for each target character, gold history given."""
    total, tokens, characters = 0.0, 0, 0
    for number, scored in enumerate(predictor.score_records(records), 1):
        reporter.progress("scoring", number, len(records))
        if scored.stopped != "error":
            total += scored.score
            tokens += len(scored.token_scores)
            characters += len(scored.text)
    if not tokens or not characters:
        return {}
    found = {"perplexity": perplexity(total, tokens), "bits_per_character": bits_per_character(total, characters)}
    return {name: value for name, value in found.items() if np.isfinite(value)}
