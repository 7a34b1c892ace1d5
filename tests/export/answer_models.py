"""Small models that answer with labels or tags, for the tests of their graphs and of their runs."""

from __future__ import annotations

from seqloom.config.sections import Config
from seqloom.heads import head_class
from seqloom.model import build_model
from seqloom.sources import source_class
from tiny import Tiny, randomise, record

TRAINING = [record("a b c", "V C C", "PST;SG"), record("b c d e", "C C C V", "PRS"), record("f a", "C V", "SG")]


def made(config: Config, spread: float = 0.7) -> Tiny:
    """A model of this configuration over the symbols of TRAINING."""
    head = head_class(config.head.kind).fit(config, TRAINING)
    source = source_class("text").fit(config.source, TRAINING, None)
    model = build_model(config, source, head, seed=1)
    randomise(model, spread=spread)
    return Tiny(config, source, head, model)
