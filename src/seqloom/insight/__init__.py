"""What happens inside a model while it answers, computed again in NumPy from the stored weights.

A plain reference of the network in float64, one sentence at a time, written from the papers: independent of the
engines, tested against them, and without torch. It is slow and keeps everything it computes, which is its purpose.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from seqloom.config.sections import LanguageHeadConfig
from seqloom.insight.hard_attention import network_of
from seqloom.insight.language import LanguageNetwork, Reading
from seqloom.insight.network import Encoded, Network, check_attention, check_covered
from seqloom.insight.steps import CANDIDATES, Steps, steps_of, written_ids
from seqloom.insight.weights import Weights
from seqloom.run import WEIGHTS, Run
from seqloom.types import END, SPECIAL_NAMES, Item


class Replay:
    """One answer and what is needed to compute it again: the run, the item that was read, and the hypothesis.

    Nothing is computed, and no weights are read, before something is asked for.
    """

    def __init__(self, run: Run, item: Item, source_tokens: list[str], hypothesis: Any) -> None:
        self.run, self.item, self.source_tokens, self.hypothesis = run, item, source_tokens, hypothesis

    @cached_property
    def weights(self) -> Weights:
        """The stored weights. Raises RunFolderError."""
        return Weights(self.run.weights(), self.run.config, str(self.run.folder / WEIGHTS))

    @cached_property
    def encoder(self) -> Network:
        """The NumPy reference as far as its encoder goes. Raises UsageError for other sources than text."""
        return network_of(self.run.config, self.weights)

    @property
    def network(self) -> Network:
        """All of the NumPy reference. Raises UsageError for a run that it does not cover, RunFolderError."""
        check_covered(self.run.config)
        return self.encoder

    @cached_property
    def encoded(self) -> Encoded:
        """The encoder's work."""
        return self.encoder.encode(self.item)

    @property
    def is_language(self) -> bool:
        """Whether the run is a language model, which has a reading in place of an encoder and steps."""
        return isinstance(self.run.config.head, LanguageHeadConfig)

    @cached_property
    def reading(self) -> Reading:
        """What a language model made of its prompt and of its answer, whose last symbol is written and not read."""
        return LanguageNetwork(self.run.config, self.weights).read(self.whole_text[:-1])

    @property
    def whole_text(self) -> Any:
        """Ids of a language model's text [T+1]: the line end before it, prompt, and answer."""
        return np.concatenate([self.item.fields["main"], np.asarray(self.hypothesis.ids, np.int64)])

    @property
    def whole_tokens(self) -> list[str]:
        """The same as tokens: the first as the symbol that it is."""
        return [SPECIAL_NAMES[END], *(self.run.head.token(int(number)) for number in self.whole_text[1:])]

    @cached_property
    def written(self) -> list[int]:
        """The ids of the answer, the end symbol too where the model wrote it."""
        network = self.network  # the first to say that a run is not covered
        assert network is not None
        return written_ids(self.hypothesis.ids, finished=self.hypothesis.finished)

    @cached_property
    def tokens(self) -> list[str]:
        """The same as tokens."""
        head, own = self.run.head, self.run.head.copied_tokens(self.item)
        return [SPECIAL_NAMES[END] if number == END else head.token(number, own) for number in self.written]

    @cached_property
    def steps(self) -> Steps:
        """The four steps of attention at each output token. Raises UsageError for hard attention."""
        return self.steps_with(CANDIDATES)

    def steps_with(self, candidates: int) -> Steps:
        """The same with so many of the best next tokens at each step."""
        check_attention(self.run.config)
        return steps_of(self.network, self.run.head, self.item, self.source_tokens, self.hypothesis.ids,
                        finished=self.hypothesis.finished, candidates=candidates)
