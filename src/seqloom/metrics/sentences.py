"""How wrong single sentences are: what training for the minimum risk makes small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqloom.metrics.base import DEFAULT_TOKENIZE, Metric
from seqloom.metrics.edits import CharacterErrorRate, ExactMatch, WordErrorRate
from seqloom.metrics.summaries import RougeL
from seqloom.metrics.translation import Bleu, CharacterFScore
from seqloom.types import Floats

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacreMetric


class SentenceBleu(Bleu):
    """BLEU of a sentence by itself: of the n-gram orders that it has (sacreBLEU's `effective_order`)."""

    def scorer(self) -> SacreMetric:
        scorer = super().scorer()
        scorer.effective_order = True  # type: ignore[attr-defined]
        return scorer


# Each with the score of what is right; where that is 0 the metric is an error itself.
ERRORS: dict[str, tuple[type[Metric], float]] = {
    "exact_match": (ExactMatch, 1.0),
    "cer": (CharacterErrorRate, 0.0),
    "wer": (WordErrorRate, 0.0),
    "bleu": (SentenceBleu, 100.0),
    "chrf": (CharacterFScore, 100.0),
    "rouge_l": (RougeL, 1.0),
}


def sentence_errors(name: str, outputs: Sequence[str], references: Sequence[str], *,
                    tokenize: str = DEFAULT_TOKENIZE) -> Floats:
    """[N] 0 for an output that is right, 1 for one that shares nothing with its reference.

    name: of ERRORS. cer and wer are rates and may exceed 1; of the others it is 1 − score / the highest score there is.
    tokenize: sacreBLEU's tokenizer for `bleu`. Raises UsageError for one that sacreBLEU does not have.
    """
    kind, right = ERRORS[name]
    metric = kind(tokenize=tokenize)
    scores = metric.score(metric.statistics(outputs, [[reference] for reference in references]))
    return (1 - scores / right).clip(min=0) if right else scores  # sacreBLEU's sums may round to above 100
