"""Scores of outputs against references, each with its signature; the table is at the foot.

`evaluate_outputs` is what `seqloom evaluate` prints, `paired_bootstrap` compares two systems. Rates and F-measures
are fractions (an error rate can pass 1), BLEU, chrF and TER keep their scale of 0 to 100. Nothing here reads files,
knows a model, or changes a text beyond what a metric's signature says.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from seqloom.errors import UsageError
from seqloom.metrics.base import DEFAULT_TOKENIZE, Metric, check_corpus
from seqloom.metrics.degeneration import degeneration_rates
from seqloom.metrics.edits import CharacterErrorRate, ExactMatch, WordErrorRate
from seqloom.metrics.labels import Accuracy, MacroF1, SpanF1, TokenAccuracy
from seqloom.metrics.likelihood import bits_per_character, perplexity
from seqloom.metrics.significance import Comparison, compare
from seqloom.metrics.summaries import RougeL, RougeOne, RougeTwo
from seqloom.metrics.translation import Bleu, BleuFour, CharacterFScore, TranslationEditRate

__all__ = ["METRICS", "Comparison", "Metric", "bits_per_character", "build_metric", "degeneration_rates",
           "evaluate_outputs", "paired_bootstrap", "perplexity"]


def build_metric(name: str, *, tokenize: str = DEFAULT_TOKENIZE) -> Metric:
    """The metric of a name in METRICS, or of "per", which is `wer` over phones. Raises UsageError for another name."""
    known = [*METRICS, *ALIASES]
    if name in ("perplexity", "bits_per_character"):
        raise UsageError(f"{name} is not measured on answers", fix="leave it out: evaluate says it of a language model "
                                                                   "without being asked")
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise UsageError(f"unknown metric {name!r}", fix=(f"did you mean {near[0]!r}? " if near else "")
                         + f"one of: {', '.join(known)}")
    return METRICS[ALIASES.get(name, name)](tokenize=tokenize)


def evaluate_outputs(outputs: Sequence[str], references: Sequence[Sequence[str]], names: Sequence[str], *,
                     tokenize: str = DEFAULT_TOKENIZE) -> dict[str, float | str]:
    """All metrics of `names` over N outputs and the references of each (one or more).

    The result has `count` (N), each metric by its name, the substitutions, insertions and deletions of `wer` when it
    is among them, and `signature`: those of all metrics, joined by "; ". tokenize: sacreBLEU's tokenizer for `bleu`.
    Raises DataError for no sentences, sides of different length or a sentence without reference, UsageError for an
    unknown metric or tokenizer.
    """
    check_corpus(outputs, references)
    result: dict[str, float | str] = {"count": len(outputs)}
    signatures = []
    for name in dict.fromkeys(ALIASES.get(name, name) for name in names):
        found = build_metric(name, tokenize=tokenize).compute(outputs, references)
        signatures.append(str(found.pop("signature")))
        result.update(found)
    return {**result, "signature": "; ".join(signatures)}


def paired_bootstrap(outputs_a: Sequence[str], outputs_b: Sequence[str], references: Sequence[Sequence[str]],
                     metric: str, *, samples: int = 1000, seed: int = 12345,
                     tokenize: str = DEFAULT_TOKENIZE) -> Comparison:
    """Is B better than A, or is it chance? Paired bootstrap resampling (Koehn 2004) by any metric of METRICS.

    The default seed and the draws are sacreBLEU's. Raises as `evaluate_outputs` does.
    """
    return compare(build_metric(metric, tokenize=tokenize), outputs_a, outputs_b, references,
                   samples=samples, seed=seed)


METRICS: dict[str, type[Metric]] = {
    "exact_match": ExactMatch,
    "wer": WordErrorRate,
    "cer": CharacterErrorRate,
    "bleu": Bleu,
    "bleu_4": BleuFour,
    "chrf": CharacterFScore,
    "ter": TranslationEditRate,
    "rouge_1": RougeOne,
    "rouge_2": RougeTwo,
    "rouge_l": RougeL,
    "accuracy": Accuracy,
    "token_accuracy": TokenAccuracy,
    "macro_f1": MacroF1,
    "span_f1": SpanF1,
}

ALIASES = {"per": "wer"}
