"""What happens inside a model while it answers, computed again in NumPy from the stored weights.

A plain reference of the network in float64, one sentence at a time, written from the papers: independent of the
engines, tested against them, and without torch. It is slow and keeps everything it computes, which is its purpose.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from seqloom.insight.network import Encoded, Network
from seqloom.insight.steps import CANDIDATES, Steps, network_of, steps_of, written_ids
from seqloom.run import Run
from seqloom.types import Item


class Replay:
    """One answer and what is needed to compute it again: the run, the item that was read, and the hypothesis.

    Nothing is computed, and no weights are read, before something is asked for.
    """

    def __init__(self, run: Run, item: Item, source_tokens: list[str], hypothesis: Any) -> None:
        self.run, self.item, self.source_tokens, self.hypothesis = run, item, source_tokens, hypothesis

    @cached_property
    def network(self) -> Network:
        """The NumPy reference. Raises UsageError for a run that it does not cover, RunFolderError."""
        return network_of(self.run)

    @cached_property
    def encoded(self) -> Encoded:
        """The encoder's work."""
        return self.network.encode(self.item)

    @cached_property
    def written(self) -> list[int]:
        """The ids of the answer, the end symbol too where the model wrote it."""
        network = self.network  # the first to say that a run is not covered
        assert network is not None
        return written_ids(self.hypothesis.ids, finished=self.hypothesis.finished)

    @cached_property
    def steps(self) -> Steps:
        """The four steps of attention at each output token."""
        return self.steps_with(CANDIDATES)

    def steps_with(self, candidates: int) -> Steps:
        """The same with so many of the best next tokens at each step."""
        return steps_of(self.network, self.run.head, self.item, self.source_tokens, self.hypothesis.ids,
                        finished=self.hypothesis.finished, candidates=candidates)
