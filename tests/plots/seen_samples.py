"""Inputs that are no text, and answers to them with drawn weights, as the predictor gives them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from seqloom.config.media_sections import (
    AudioSourceConfig,
    FeaturesSourceConfig,
    FramesSourceConfig,
    ImageSourceConfig,
    SubsamplingConfig,
)
from seqloom.data.statistics import FrameScaler
from seqloom.sources import audio, features, frames, image
from seqloom.types import Item, Prediction

DRAW = np.random.default_rng(1)
CONVOLUTION = SubsamplingConfig(kind="convolution", factor=4)
SCALER = FrameScaler("none", 6)
KINDS: dict[str, tuple[Any, np.ndarray[Any, Any], int]] = {  # source, what it read, positions of its memory
    "image": (image.Source(ImageSourceConfig(height=16, width=24, channels=[4, 4, 4])),
              DRAW.integers(0, 256, (16, 24, 3)).astype(np.uint8), 6),
    "audio": (audio.Source(AudioSourceConfig(filters=6, subsampling=CONVOLUTION), SCALER),
              DRAW.normal(size=(30, 6)).astype(np.float32), 8),
    "features": (features.Source(FeaturesSourceConfig(), SCALER), DRAW.normal(size=(9, 6)).astype(np.float32), 9),
    "frames": (frames.Source(FramesSourceConfig(height=8, width=8, colour="grey", channels=[4])),
               DRAW.integers(0, 256, (7, 8, 8, 1)).astype(np.uint8), 7),
}


def predicted(kind: str, tokens: list[str], *, attention: bool = True) -> Prediction:
    """An answer to an input of this kind with drawn weights, as the predictor gives it."""
    source, main, positions = KINDS[kind]
    weights = DRAW.exponential(1.0, (len(tokens) + 1, positions)).astype(np.float32)
    weights /= weights.sum(1, keepdims=True)
    item = Item({"main": main}, [])
    replay = SimpleNamespace(run=SimpleNamespace(source=source), item=item)
    return Prediction(
        text=" ".join(tokens), score=-1.0, tokens=tokens, token_scores=np.full(len(tokens) + 1, -0.1, np.float32),
        source_tokens=source.memory_tokens(item, None), attention=weights if attention else None, replay=replay)
