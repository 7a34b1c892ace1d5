"""Test files against a run: predictions, scores with signatures, likelihoods, and the comparison of two runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqloom._version import __version__
from seqloom.config.sections import Column, CorpusConfig, DecodingConfig
from seqloom.data.files import header_notes, read_records
from seqloom.errors import DataError, UsageError, counted
from seqloom.metrics import degeneration_rates, evaluate_outputs, paired_bootstrap
from seqloom.metrics.confusion import Confusion
from seqloom.metrics.likelihood import likelihood_of
from seqloom.metrics.significance import Comparison
from seqloom.predictor import Predictor
from seqloom.progress import Reporter
from seqloom.types import BadRecord, Prediction, Record

# Translation edit rate takes minutes on outputs that repeat themselves without end.
TER_WORDS, TER_OUTPUTS = 100, 10
SHOWN = 3  # lines that notes name


@dataclass(frozen=True)
class Evaluation:
    """scores: the object of `evaluate --json`; outputs and references as compared; predictions; notes for people;
    confusion: of a head that answers with classes, which was taken for which."""

    scores: dict[str, Any]
    outputs: list[str]
    references: list[list[str]]
    predictions: list[Prediction]
    notes: list[str]
    confusion: Confusion | None = None

    def compare(self, other: Evaluation, metric: str, *, samples: int = 1000, tokenize: str = "13a") -> Comparison:
        """Is `other` better by this metric, or is it chance (paired bootstrap, Koehn 2004)? Raises DataError when the
        two are not of the same test data, UsageError for an unknown metric or tokenizer."""
        if self.references != other.references:
            raise DataError("the two evaluations are not of the same test data", fix="evaluate both runs on one file")
        return paired_bootstrap(self.outputs, other.outputs, self.references, metric, samples=samples,
                                tokenize=tokenize)


def evaluate_files(predictor: Predictor, corpora: Sequence[CorpusConfig], *, metrics: Sequence[str] | None = None,
                   tokenize: str = "13a", options: DecodingConfig | None = None, dynamic: float | None = None,
                   reporter: Reporter | None = None) -> Evaluation:
    """Predict every line of the files and score against their targets.

    Lines without a usable source or target are left out, counted as `bad_lines`, and the first ones named in the notes.
    dynamic: a language model goes on learning from the text with this rate; see engines/dynamic.py.
    Raises DataError when no line is left, and as `read_records` does; UsageError for `dynamic` with other models.
    """
    reporter = reporter or Reporter()
    for corpus in corpora:
        predictor.in_language(corpus.language)  # one that the run knows
    if predictor.head.is_stream:
        return _evaluate_text(predictor, corpora, metrics, dynamic, reporter)
    if dynamic is not None:
        raise UsageError("dynamic evaluation is about language models, and this run answers with "
                         f"{predictor.head.describe()}", fix="leave --dynamic out")
    predictor.head.check_metrics(metrics or [])
    records, notes, bad = read_examples(predictor, corpora)
    if not records:
        raise DataError(f"no usable test example; {notes[0].partition(';')[0]}",
                        fix="a test file needs the columns of the training data, the target too")
    began = time.perf_counter()
    predictions = []
    for number, prediction in enumerate(predictor.predict_records(records, options), 1):
        predictions.append(prediction)
        reporter.progress("predicting", number, len(records))
    seconds = time.perf_counter() - began
    records, predictions, uncomparable = _comparable(predictor.head, records, predictions, notes)
    bad += uncomparable
    outputs = [prediction.text for prediction in predictions]
    references = [predictor.head.texts_of(record) for record in records]
    names = list(metrics) if metrics else _default_metrics(predictor.head, outputs, notes)
    scores = compared(predictor.head, outputs, references, names, tokenize=tokenize)
    signature = scores.pop("signature")
    scores.update(by_language(predictor.head, records, outputs, references, names, tokenize=tokenize))
    if predictor.head.is_free_text:
        scores.update(_likelihood(predictor, records, reporter, notes))
        scores.update(degeneration_rates(
            [prediction.tokens for prediction in predictions], [record.text("source") for record in records],
            [predictor.head.tokens_of(texts[0]) for texts in references]))
    unread = [prediction for prediction in predictions if prediction.stopped == "error"]
    if unread:
        notes.append(f"{counted(len(unread), 'input')} could not be read: a wrong answer each")
        notes += [f"{prediction.where}: {prediction.error}" for prediction in unread[:SHOWN]]
    cut = sum(prediction.stopped == "max_length" for prediction in predictions)
    if cut:
        notes.append(f"{cut} outputs reached the maximum length without an end")
    confusion = _confusion(predictor.head, predictions, references) if predictor.head.has_classes else None
    if confusion is not None:
        scores["confusion"] = confusion.to_json()
    scores.update(signature=signature, bad_lines=bad, engine=predictor.engine.name, seconds=round(seconds, 3))
    reporter.finish()
    return Evaluation(scores, outputs, references, predictions, notes, confusion)


def _evaluate_text(predictor: Predictor, corpora: Sequence[CorpusConfig], metrics: Sequence[str] | None,
                   dynamic: float | None, reporter: Reporter) -> Evaluation:
    """The files as one text, each symbol scored after all that stand before it: `count` symbols, line ends among them.

    Raises UsageError for metrics, which compare answers with targets, and as DynamicEngine does.
    """
    if metrics:
        raise UsageError(f"metrics are asked for ({', '.join(metrics)}), but a language model has no answers to "
                         "compare", fix="leave them out: perplexity and bits_per_character are always there")
    engine, how = predictor.engine, ""
    if dynamic is not None:
        from seqloom.engines.dynamic import LARGEST, SEGMENT, DynamicEngine

        how = f"dynamic:rate {dynamic:g} each {SEGMENT} symbols, gradients to norm {LARGEST:g}|"
        engine = DynamicEngine(engine, dynamic)
    records, notes, bad = read_examples(predictor, corpora)
    began = time.perf_counter()

    def lines() -> Iterator[str]:
        for number, record in enumerate(records):
            reporter.progress("scoring", number, len(records))
            yield record.text("text")

    found = predictor.head.score_text(engine, lines())
    if found.unknown:
        notes.append(f"{counted(found.unknown, 'symbol')} of the text stand in no training text: each counts as the "
                     "unknown symbol")
    scores = {"count": found.symbols, "characters": found.characters, "unknown": found.unknown,
              "loss": -found.score / max(found.symbols, 1),
              **likelihood_of(found.score, found.symbols, found.characters),
              "signature": f"bits_per_character|characters:code points with line ends|state:carried|{how}"
                           f"version:{__version__}", "bad_lines": bad, "engine": engine.name,
              "seconds": round(time.perf_counter() - began, 3)}
    reporter.finish()
    return Evaluation(scores, [], [], [], notes, None)


def read_examples(predictor: Predictor, corpora: Sequence[CorpusConfig]) -> tuple[list[Record], list[str], int]:
    """The lines of files that a run can be measured on, notes about the first that it cannot, and the number of these.

    Raises as `read_records` does.
    """
    columns, roles = _columns(predictor)
    headers = header_notes(corpora, columns, roles)
    records, notes, bad = _usable(read_records(corpora, columns, roles))
    return records, [*headers, *notes] if records else notes, bad


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
            if bad <= SHOWN:
                notes.append(f"{record.where}: {record.reason}; the line is left out")
        else:
            usable.append(record)
    if bad > SHOWN:
        notes.append(f"{bad} lines were left out in all")
    return usable, notes, bad


def _comparable(head: Any, records: Sequence[Record], predictions: Sequence[Prediction], notes: list[str]
                ) -> tuple[list[Record], list[Prediction], int]:
    """Without the records whose target no answer can be compared with: how many there are, and notes on the first.

    A class that the run does not know stays: an answer to it is wrong. Raises DataError when no record is left.
    """
    kept, answers, bad = [], [], 0
    unknown: list[str] = []
    for record, prediction in zip(records, predictions, strict=True):
        reason = head.mismatch(record, prediction)
        if reason:
            bad += 1
            if bad <= SHOWN:
                notes.append(f"{record.where}: {reason}; the line is left out")
            continue
        kept.append(record)
        answers.append(prediction)
        unknown += [f"{record.where}: '{name}'" for name in head.unknown_classes(record)]
    if not kept:
        raise DataError(f"no usable test example; {notes[-1].partition(';')[0]}",
                        fix="a test file needs a tag for each step of its inputs")
    if bad > SHOWN:
        notes.append(f"{bad} such lines were left out in all")
    if unknown:
        more = ", …" if len(unknown) > SHOWN else ""
        is_one = "right answer is" if len(unknown) == 1 else "right answers are"
        notes.append(f"{len(unknown)} {is_one} of no class that the run has learned: an answer to it is wrong "
                     f"({', '.join(unknown[:SHOWN])}{more})")
    return kept, answers, bad


def _confusion(head: Any, predictions: Sequence[Prediction], references: Sequence[Sequence[str]]) -> Confusion:
    """Right and answered classes; an input that could not be read is answered with "" throughout."""

    def pairs() -> Iterator[tuple[str, str]]:
        for prediction, texts in zip(predictions, references, strict=True):
            right = head.tokens_of(prediction.text if prediction.text in texts else texts[0])
            yield from zip(right, prediction.tokens or [""] * len(right), strict=True)

    return Confusion.of(pairs())


def compared(head: Any, outputs: Sequence[str], references: Sequence[Sequence[str]], names: Sequence[str], *,
             tokenize: str | None = None) -> dict[str, Any]:
    """`evaluate_outputs` by the names that this head has for metrics; tokenize: the head's own when not given."""
    own = {measured: name for name, measured in head.metrics.items()}
    found = evaluate_outputs(outputs, references, [head.metrics.get(name, name) for name in names],
                             tokenize=head.bleu_tokenize if tokenize is None else tokenize)
    return {own.get(name, name): value for name, value in found.items()}


def by_language(head: Any, records: Sequence[Record], outputs: Sequence[str], references: Sequence[Sequence[str]],
                names: Sequence[str], *, tokenize: str | None = None) -> dict[str, Any]:
    """`compared` for the records of each language, and the mean over languages: {} where records say no language.

    languages: name → count and its metrics; macro: metric → mean, each language counting the same.
    """
    places: dict[str, list[int]] = {}
    for number, record in enumerate(records):
        if "language" in record.fields:
            places.setdefault(record.text("language").strip(), []).append(number)
    if not places:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for language in sorted(places):
        scores = compared(head, [outputs[number] for number in places[language]],
                          [references[number] for number in places[language]], names, tokenize=tokenize)
        found[language] = {"count": len(places[language]), **{name: scores[name] for name in names if name in scores}}
    macro = {name: sum(float(one[name]) for one in found.values()) / len(found) for name in names
             if all(name in one for one in found.values())}
    return {"languages": found, "macro": macro}


def _default_metrics(head: Any, outputs: Sequence[str], notes: list[str]) -> list[str]:
    long = sum(len(output.split()) > TER_WORDS for output in outputs)
    if long <= TER_OUTPUTS or "ter" not in head.metrics:
        return list(head.usual_metrics)
    notes.append(f"ter is left out: {long} outputs have more than {TER_WORDS} words; ask for it with --metrics")
    return [name for name in head.usual_metrics if name != "ter"]


def _likelihood(predictor: Predictor, records: Sequence[Record], reporter: Reporter, notes: list[str]
                ) -> dict[str, float]:
    """Perplexity for each target token and bits for each target character, gold history given.

    Both are infinite where a target has probability 0, as one of a sparse output may: then the share of such tokens
    stands in their place, `impossible_rate`.
    """
    total, tokens, characters, impossible = 0.0, 0, 0, 0
    for number, scored in enumerate(predictor.score_records(records), 1):
        reporter.progress("scoring", number, len(records))
        if scored.stopped != "error":
            total += scored.score
            tokens += len(scored.token_scores)
            characters += len(scored.text)
            impossible += int(np.isneginf(scored.token_scores).sum())
    if impossible:
        notes.append(f"{impossible} of {counted(tokens, 'target token')} have probability 0: perplexity is infinite, "
                     "and left out")
        return {"impossible_rate": impossible / tokens}
    return likelihood_of(total, tokens, characters)
