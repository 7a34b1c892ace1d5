"""An engine whose symbols are called by the numbers of another run, so that the two can be averaged.

What the other run knows of a symbol that this one does not is nothing: its probability is 0. What this one gives to
symbols that the other has not is lost to both.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from seqloom.engines.ensemble import top_candidates
from seqloom.errors import UsageError
from seqloom.types import UNKNOWN, Engine, Floats, Ints, Padded, Step


class RenamedEngine:
    """`engine` with the ids of another vocabulary, reading its own numbers of each input.

    ids:   [V] the id in `engine` of each symbol of the other vocabulary, -1 where it has none.
    place: where its own reading stands among `Padded.others`; None: it reads what the first one does.
    """

    def __init__(self, engine: Engine[Any], ids: Ints, place: int | None = None) -> None:
        self.engine = engine
        self.name = engine.name
        self.end = engine.end
        self.place = place
        self._missing = ids < 0
        self._ids: Ints = np.where(self._missing, UNKNOWN, ids)

    @property
    def threads(self) -> int:
        return self.engine.threads

    def begin(self, source: Padded | int, shortlist: Ints | None = None) -> Any:
        """The engine's first state. Raises UsageError for a shortlist, which is of one run's symbols."""
        if shortlist is not None:
            raise UsageError("a shortlist is of the symbols of one run, and these have different ones",
                             fix="predict without a shortlist")
        return self.engine.begin(self._own(source))

    def step(self, state: Any, tokens: Ints, parents: Ints, candidates: int | None, *, wanted: Ints | None = None,
             weights: bool = False) -> tuple[Step, Any]:
        """One step; see `Engine.step`. Attention over positions of its own is nobody else's, and not given."""
        found, after = self.engine.step(state, self._ids[tokens], parents, None, weights=weights and self.place is None)
        scores = self._renamed(found.scores)
        given = None if wanted is None else np.take_along_axis(scores, wanted, axis=2)
        if candidates is None:
            return Step(scores, None, given, found.weights), after
        best = top_candidates(scores, candidates)
        return Step(np.take_along_axis(scores, best, axis=2), best, given, found.weights), after

    def keep(self, state: Any, sentences: Ints) -> Any:
        return self.engine.keep(state, sentences)

    def positions(self, state: Any) -> Ints | None:
        """See `Engine.positions`; None where it reads positions of its own."""
        return None if self.place is not None else self.engine.positions(state)

    def answer(self, source: Padded, state: Any = None) -> tuple[Floats, Any]:
        """Log-probabilities [B T C]; see `Engine.answer`."""
        own = self._own(source)
        assert isinstance(own, Padded)
        found, after = self.engine.answer(own, state)
        return self._renamed(found), after

    def encode(self, source: Padded) -> NoReturn:
        """Raises UsageError: it is one of several, and they have as many encodings."""
        raise UsageError("several runs have as many encodings of an input", fix="encode with one run")

    def _own(self, source: Padded | int) -> Padded | int:
        return source if isinstance(source, int) or self.place is None else source.others[self.place]

    def _renamed(self, scores: Floats) -> Floats:
        """Log-probabilities [B K V] of the other vocabulary's symbols."""
        found: Floats = np.take(scores, self._ids, axis=2)
        found[:, :, self._missing] = -np.inf
        return found
