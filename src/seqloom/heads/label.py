"""kind: label — one label for the whole input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seqloom.config.sections import Config, DecodingConfig, LabelHeadConfig
from seqloom.data.batching import pad
from seqloom.data.labels import Labels
from seqloom.heads.base import ClassesHead
from seqloom.types import Engine, Floats, Ints, Item, Prediction, Record

if TYPE_CHECKING:
    from seqloom.nn.answers import LabelModule


class Head(ClassesHead):
    """Labels by their number; an answer is the distribution over them [C]."""

    kind = "label"
    what = "labels"
    metrics: ClassVar[Mapping[str, str]] = {"accuracy": "accuracy", "macro_f1": "macro_f1"}

    # --- reading ---

    @classmethod
    def fit(cls, config: Config, records: Iterable[Record]) -> Head:
        """Count the labels of training records. Raises DataError for fewer than two different ones."""
        assert isinstance(config.head, LabelHeadConfig)
        return cls(config.head, Labels.of((label_of(record.text("target")) for record in records), "label"))

    def read(self, record: Record, source: Item | None) -> Item:
        """The number of the label [1]. Raises DataError for a label that training data had not."""
        label = label_of(record.text("target"))
        return Item({"main": np.asarray([self.labels.number(label, "label", record.where)], np.int64)}, [label])

    def texts_of(self, record: Record) -> list[str]:
        return [label_of(text) for text in record.texts("target")]

    def tokens_of(self, text: str) -> list[str]:
        return [label_of(text)]

    # --- the network ---

    def build(self, config: Config, encoder: Any) -> LabelModule:
        """Pooling and output layer."""
        from seqloom.nn.answers import LabelModule

        weights = self.labels.balanced() if self.config.class_weights == "balanced" else None
        return LabelModule(encoder.memory_size, self.size, self.config.pooling, dropout=self.config.dropout,
                           label_smoothing=config.training.label_smoothing, class_weights=weights)

    # --- answering ---

    def answer(self, engine: Engine[Any], sources: Sequence[Item], options: DecodingConfig, *, lines: Ints,
               attention: bool = False, prefixes: Sequence[Ints] | None = None) -> list[list[Floats]]:
        """The log-probabilities [C] of every source."""
        return [[row[0]] for row in engine.answer(pad(sources))[0]]

    def prediction(self, answer: Floats, source: Item, source_tokens: list[str], options: DecodingConfig, *,
                   attention: bool = True) -> Prediction:
        """The best label (the first of equals), and the probability of all."""
        order = np.argsort(-answer, kind="stable")
        best = int(order[0])
        score = float(answer[best])
        probabilities = {self.labels.names[number]: float(np.exp(answer[number])) for number in order.tolist()}
        return Prediction(
            text=self.labels.names[best], score=score, tokens=[self.labels.names[best]],
            token_scores=answer[best:best + 1], source_tokens=source_tokens, ranking_score=score,
            probabilities=probabilities)

    def score(self, engine: Engine[Any], sources: Sequence[Item], targets: Sequence[Item], *, lines: Ints,
              attention: bool = False, candidates: int = 0) -> list[Prediction]:
        """Log-probability of each given label."""
        found = engine.answer(pad(sources))[0]
        scores = [row[0, target.fields["main"]] for row, target in zip(found, targets, strict=True)]
        return [Prediction(text=target.tokens[0], score=float(score[0]), tokens=target.tokens, token_scores=score)
                for score, target in zip(scores, targets, strict=True)]


def label_of(text: str) -> str:
    """A label as it counts: without white space around it."""
    return text.strip()
