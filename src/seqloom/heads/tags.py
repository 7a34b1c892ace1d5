"""kind: tags — one tag for each step of the input, at once or as steps come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from seqloom.config.sections import Config, DecodingConfig, TagsHeadConfig
from seqloom.data.batching import pad
from seqloom.data.labels import Labels
from seqloom.errors import DataError, counted
from seqloom.heads.base import ClassesHead
from seqloom.types import END, Engine, Floats, Ints, Item, Prediction, Record

if TYPE_CHECKING:
    from seqloom.nn.answers import TagsModule


class Tagged(NamedTuple):
    """scores: log-probabilities [T C] of each step's tags."""

    scores: Floats


class Head(ClassesHead):
    """Tags by their number; an answer has a distribution for each step."""

    kind = "tags"
    what = "tags for each step"
    metrics: ClassVar[Mapping[str, str]] = {"accuracy": "token_accuracy", "span_f1": "span_f1",
                                            "exact_match": "exact_match"}

    @property
    def usual_metrics(self) -> list[str]:
        """Without entities (B-, I-) there are no spans to be found, and their F1 is 1 whatever is answered."""
        spans = any(name.startswith(("B-", "I-")) for name in self.labels.names)
        return [name for name in self.metrics if spans or name != "span_f1"]

    # --- reading ---

    @classmethod
    def fit(cls, config: Config, records: Iterable[Record]) -> Head:
        """Count the tags of training records. Raises DataError for fewer than two different ones."""
        assert isinstance(config.head, TagsHeadConfig)
        return cls(config.head, Labels.of((tag for record in records for tag in record.text("target").split()), "tag"))

    def read(self, record: Record, source: Item | None) -> Item:
        """The number of each step's tag [T]. Raises DataError for other counts, and for an unknown tag."""
        tags = record.text("target").split()
        steps = len(tags) if source is None else steps_of(source)
        if len(tags) != steps:
            raise DataError(f"other counts: {counted(len(tags), 'tag')} for {counted(steps, 'step')} of the input",
                            where=record.where, fix="give one tag, between spaces, for each step")
        numbers = [self.labels.number(tag, "tag", record.where) for tag in tags]
        return Item({"main": np.asarray(numbers, np.int64)}, tags)

    def texts_of(self, record: Record) -> list[str]:
        return [" ".join(text.split()) for text in record.texts("target")]

    def mismatch(self, record: Record, prediction: Prediction) -> str:
        """Other counts of tags and steps; of an input that could not be read nobody knows."""
        steps = len(prediction.tokens)
        counts = [len(text.split()) for text in self.texts_of(record)]
        if prediction.stopped == "error" or all(count == steps for count in counts):
            return ""
        return f"other counts: {counted(counts[0], 'tag')} for {counted(steps, 'step')} of the input"

    # --- the network ---

    def build(self, config: Config, encoder: Any) -> TagsModule:
        """The output layer."""
        from seqloom.nn.answers import TagsModule

        return TagsModule(encoder.memory_size, self.size, dropout=self.config.dropout,
                          label_smoothing=config.training.label_smoothing)

    # --- answering ---

    def answer(self, engine: Engine[Any], sources: Sequence[Item], options: DecodingConfig, *, lines: Ints,
               attention: bool = False, prefixes: Sequence[Ints] | None = None) -> list[list[Tagged]]:
        """The distributions of every source."""
        found = engine.answer(pad(sources))[0]
        return [[Tagged(row[: steps_of(source)])] for row, source in zip(found, sources, strict=True)]

    def streamed(self, engine: Engine[Any], step: Item, state: Any) -> tuple[Tagged, Any]:
        scores, after = engine.answer(pad([step]), state)
        return Tagged(scores[0]), after

    def prediction(self, answer: Tagged, source: Item, source_tokens: list[str], options: DecodingConfig, *,
                   attention: bool = True) -> Prediction:
        """The best tag of each step (the first of equals), with spaces between them."""
        best = answer.scores.argmax(1)
        scores = answer.scores[np.arange(len(best)), best]
        tags = [self.labels.names[number] for number in best]
        total = float(scores.sum())
        return Prediction(text=" ".join(tags), score=total, tokens=tags, token_scores=scores,
                          source_tokens=source_tokens[: len(tags)], ranking_score=total)

    def alternatives(self, engine: Engine[Any], source: Item, answer: Tagged, count: int
                     ) -> list[list[tuple[str, float]]]:
        order = np.argsort(-answer.scores, axis=1, kind="stable")[:, :count]
        return [[(self.labels.names[number], float(np.exp(row[number]))) for number in numbers]
                for row, numbers in zip(answer.scores, order.tolist(), strict=True)]

    def score(self, engine: Engine[Any], sources: Sequence[Item], targets: Sequence[Item], *, lines: Ints,
              attention: bool = False, candidates: int = 0) -> list[Prediction]:
        """Log-probability of each given tag."""
        found = engine.answer(pad(sources))[0]
        scores = [row[np.arange(target.length), target.fields["main"]]
                  for row, target in zip(found, targets, strict=True)]
        return [Prediction(text=" ".join(target.tokens), score=float(score.sum()), tokens=target.tokens,
                           token_scores=score) for score, target in zip(scores, targets, strict=True)]


def steps_of(source: Item) -> int:
    """Steps of an input that have a tag: all positions but the end symbol of a text."""
    main = source.fields["main"]
    ends = main.ndim == 1 and main.dtype.kind in "iu" and source.length > 0 and int(main[-1]) == END
    return source.length - ends
