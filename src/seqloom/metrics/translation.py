"""BLEU, chrF and TER through sacreBLEU, with its signatures; 0 to 100. sacreBLEU is imported when first needed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqloom.errors import UsageError
from seqloom.metrics.base import Metric
from seqloom.types import Floats

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacreMetric


class SacreBleuMetric(Metric):
    """A metric of sacreBLEU (Post 2018). The statistics and their formula are sacreBLEU's own, of any version's
    paired tests: `_extract_corpus_statistics` and `_compute_score_from_stats`."""

    @abstractmethod
    def scorer(self) -> SacreMetric:
        """A fresh sacreBLEU metric with our options."""

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """[N K] sacreBLEU's sentence statistics: n-gram matches and totals, lengths, edits."""
        scorer: Any = self.scorer()    # its annotations leave out None, which stands for "no such reference"
        return np.array(scorer._extract_corpus_statistics(outputs, _streams(references)), float)

    def score(self, totals: Floats) -> Floats:
        scorer = self.scorer()
        found = np.array([scorer._compute_score_from_stats(row.tolist()).score for row in totals])
        return found if self.better == "lower" else np.minimum(found, 100.0)  # a rounding above it is none

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """As sacreBLEU prints it: BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:…"""
        scorer: Any = self.scorer()
        counts = {len(texts) for texts in references}
        scorer.num_refs = counts.pop() if len(counts) == 1 else -1
        title = scorer._compute_score_from_stats(self.statistics([""], [[""]])[0].tolist()).name
        return f"{title}|{scorer.get_signature()}"


class Bleu(SacreBleuMetric):
    """Corpus BLEU (Papineni et al. 2002) of detokenised text, smoothing "exp"; words split by `tokenize`."""

    name = "bleu"
    better = "higher"

    def scorer(self) -> SacreMetric:
        return _bleu(self.tokenize)


class BleuFour(SacreBleuMetric):
    """BLEU over the whitespace tokens as they are, as captioning reports it; still 0 to 100."""

    name = "bleu_4"
    better = "higher"

    def scorer(self) -> SacreMetric:
        return _bleu("none")


class CharacterFScore(SacreBleuMetric):
    """chrF2 (Popović 2015): F-score (β = 2) of character n-grams, n = 1 … 6, without spaces."""

    name = "chrf"
    better = "higher"

    def scorer(self) -> SacreMetric:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()


class TranslationEditRate(SacreBleuMetric):
    """TER (Snover et al. 2006): word edits and shifts / reference words, lower-cased, times 100."""

    name = "ter"
    better = "lower"

    def scorer(self) -> SacreMetric:
        from sacrebleu.metrics.ter import TER

        return TER()


def _bleu(tokenize: str) -> SacreMetric:
    """Raises UsageError for a tokenizer that sacreBLEU does not have, or that lacks its own packages."""
    from sacrebleu.metrics.bleu import BLEU

    known = sorted(BLEU.TOKENIZERS)
    if tokenize not in known:
        raise UsageError(f"unknown tokenizer {tokenize!r} for BLEU", fix=f"one of: {', '.join(known)}")
    try:
        return BLEU(tokenize=tokenize, force=True)    # force: no warning about text that is tokenised on purpose
    except (ImportError, OSError, RuntimeError) as error:
        raise UsageError(f"the tokenizer {tokenize!r} for BLEU could not be loaded: {' '.join(str(error).split())}",
                         fix="install what it asks for, or choose another one, such as 13a, intl or char") from error


def _streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """sacreBLEU's layout: one list per reference number, None where a sentence has fewer."""
    most = max(len(texts) for texts in references)
    return [[texts[number] if number < len(texts) else None for texts in references] for number in range(most)]
