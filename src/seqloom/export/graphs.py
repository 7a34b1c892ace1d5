"""The graphs of a model: which there are, by the kind of its head. They share one store of large arrays, and each is
opened only where it is used. What builds a source's encoder stands in builder.EXPORTED_SOURCES.

sequence (export/sequence.py)
  encoder: main, lengths (and features, copy) → summary, `memory.…` once per sentence [B …], `state.…` [B …].
  best:    tokens [B K], rows [R] into the given state, `memory.…`, `state.…`, candidates [1] → scores and ids `best`
           [R C], weights [B K S], `next.…` [R …]. Its first nodes gather the state by `rows`.
  step:    the same, and wanted [R W] → wanted_scores [R W], dense [R V].
  listed:  the same as best, over the rows of the output layer that are given: `best` are places in each one's list.
  search:  last [B 1], rows [B] into the given state, `memory.…`, `state.…`, limits [B], fewest, mask [V] → tokens and
           scores [T B], weights [T B 1 S], ended [B], `next.…` [B …]: greedy steps until no more than `fewest` of the
           sentences are open (export/searching.py). search_listed: the same over rows that are given, as listed has
           it; mask and their ids [B L].
  greedy, greedy_listed: the same from the encoder's inputs on, until all sentences have ended; without the state.
label, tags (export/answers.py)
  encoder: main, lengths (and features) → summary, states.
  answer:  the same, and `state.…` [B …] of what stood before where the encoder reads in one direction → answer [B T C],
           `next.…` [B …].
language (export/language.py)
  encoder: a prompt's main, lengths → `memory.last` [B], `state.…` [B …] behind all of it but that last symbol.
  best, step: as above, without weights.
  answer:  main, lengths, `state.…` [B …] of what stood before → answer [B S V], states [B S H], `next.…` [B …].
"""

from __future__ import annotations

from seqloom.config.sections import Config
from seqloom.errors import UsageError
from seqloom.export.answers import LabelBuilder, TagsBuilder
from seqloom.export.builder import Builder
from seqloom.export.language import LanguageBuilder
from seqloom.export.sequence import SequenceBuilder

# From a head's kind to what builds the graphs of its models.
EXPORTED_HEADS: dict[str, type[Builder]] = {
    "sequence": SequenceBuilder,
    "label": LabelBuilder,
    "tags": TagsBuilder,
    "language": LanguageBuilder,
}


def builder_class(config: Config) -> type[Builder]:
    """What builds the graphs of a model of this configuration. Raises UsageError for parts that have no builder."""
    if config.head.kind not in EXPORTED_HEADS:
        raise UsageError(f"head.kind {config.head.kind} cannot be exported: it has no builder",
                         fix="predict with --engine torch, or add it to export/graphs.py")
    found = EXPORTED_HEADS[config.head.kind]
    found.check(config)
    return found
