"""From an engine to hypotheses. NumPy; knows no model, no text and no files.

An engine (see `seqloom.types.Engine`) says how probable the next tokens are; what stands here decides which to take.
`search` is the door; `seqloom.search.scoring` is the way back, from given targets to their scores.

What holds for every strategy: `score` is the model's log-probability sum with the end symbol, whatever rules and
penalties were in force, and `ranking_score` is what the answers are sorted by. Lengths, limits among them, count the
end symbol; `min_length` alone does not. A hypothesis that reaches its limit is unfinished. The end symbol stands
exactly once, after the ids of a finished hypothesis; padding and start symbols are never produced. Answers never depend
on their neighbours.

A new strategy is a function from a `Request` to the answers, and a line in the table at the foot. `beam` and
`follow_rows` show what there is to build on: `Frontier` for everything that speaks to the engine, `Trail` for
back-pointers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from seqloom.config.sections import DecodingConfig
from seqloom.search.beam import beam
from seqloom.search.request import Request, size_of, target_limits
from seqloom.search.rows import greedy, sampling
from seqloom.types import Engine, Hypothesis, Ints, Padded

Strategy = Callable[[Request], list[list[Hypothesis]]]


def search(
    engine: Engine[Any],
    source: Padded | int,
    options: DecodingConfig,
    *,
    lines: Ints | None = None,
    weights: bool = False,
    prefixes: Sequence[Ints] | None = None,
    limits: Ints | None = None,
    shortlist: Ints | None = None,
) -> list[list[Hypothesis]]:
    """The answers of every sentence, in their order; at most `options.n_best` for each, best ranking first.

    source:   B sentences, or their number for engines without a source.
    lines:    [B] line numbers: they name sentences in errors and key their random numbers; 0, 1, … when not given.
    weights:  give hypotheses their attention, where the engine has any.
    prefixes: B arrays of ids with which each answer must begin.
    limits:   [B] most target tokens, the end symbol included; from max_length and max_length_ratio when not given.
    shortlist: [B L] the only ids that each answer is made of, -1 after them; those of its prefix are added.

    A sentence has fewer than n_best answers only when there are no more. Raises UsageError for options that contradict
    each other, a prefix that is too long or holds special symbols, or a coverage penalty without attention, and
    SeqloomError when the engine gives anything but log-probabilities.
    """
    size = size_of(source)
    if not size:
        return []
    if limits is None:
        limits = target_limits(options, None if isinstance(source, int) else np.asarray(source.lengths), size)
    empty: Ints = np.zeros(0, np.int64)
    request = Request(
        engine, source, options,
        lines=np.arange(size) if lines is None else np.asarray(lines),
        limits=np.asarray(limits),
        prefixes=[empty] * size if prefixes is None else prefixes,
        weights=weights, shortlist=shortlist)
    name = options.strategy
    if name == "auto":
        name = "beam" if options.beam_size > 1 else "greedy"
    return STRATEGIES[name](request)


STRATEGIES: dict[str, Strategy] = {
    "greedy": greedy,
    "beam": beam,
    "sampling": sampling,
}
