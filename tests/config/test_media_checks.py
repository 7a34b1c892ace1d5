"""Options of features, sound and pictures that contradict each other."""

from __future__ import annotations

import re
from typing import Any

import pytest

from seqloom.config.checks import check_config
from seqloom.config.media_checks import MEDIA_CHECKS
from seqloom.config.sections import Config
from seqloom.errors import ConfigError

PYRAMID = {"kind": "pyramid", "factor": 4}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"source": {"kind": "features", "subsampling": {"kind": "convolution"}}, "head": {"kind": "tags"}},
     "there would be one tag for 4 frames"),
    ({"source": {"kind": "features", "subsampling": PYRAMID}, "encoder": {"layers": 2}},
     "encoder.layers is 2, expected 3 or more"),
    ({"source": {"kind": "audio", "subsampling": PYRAMID}, "encoder": {"layers": 3, "residual": True}},
     "encoder.residual is true: a layer's input has other positions"),
    ({"source": {"kind": "audio", "sample_rate": 8000, "high_frequency": 5000}}, "holds frequencies up to 4000 Hz"),
    ({"source": {"kind": "audio", "low_frequency": 300, "high_frequency": 200}},
     "source.low_frequency is 300, expected less than the upper edge 200"),
    ({"source": {"kind": "audio", "window_milliseconds": 10, "hop_milliseconds": 20}},
     "sound between the frames would be lost"),
    ({"source": {"kind": "audio", "sample_rate": 8000, "hop_milliseconds": 0.01}},
     "source.hop_milliseconds is 0.01, less than one sample at source.sample_rate 8000"),
    ({"source": {"kind": "audio", "sample_rate": 8000, "filters": 80, "window_milliseconds": 15}},
     "no frequency of the spectrum lies in filter 1$"),
    ({"source": {"kind": "image", "height": 8, "width": 64}}, "source.height is 8, but source.channels has 4 blocks"),
    ({"source": {"kind": "frames", "height": 64, "width": 15}}, "source.width is 15"),
    ({"source": {"kind": "image", "backbone": "x", "colour": "grey"}}, "source.backbone is given: it reads three"),
    ({"source": {"kind": "image"}, "decoder": {"copy_source": True}}, "has no symbols to copy"),
    ({"source": {"kind": "image"}, "head": {"alignment_loss": 0.5}}, "whose regions have no order"),
    ({"decoder": {"copy_source": True}, "head": {"alignment_loss": 0.5}}, "copied symbols are none of the target's"),
    ({"source": {"kind": "features", "augmentation": {"tempo": 0.2}}, "head": {"kind": "tags"}},
     "source.augmentation.tempo is 0.2"),
    ({"source": {"kind": "image"}, "head": {"kind": "tags"}}, "which do not go together"),
    ({"source": {"kind": "audio"}, "decoder": {"context": "in_step", "first_input": True},
      "encoder": {"bidirectional": False}}, "decoder.first_input is true, but decoder.context is in_step"),
]
ACCEPTED: list[dict[str, Any]] = [
    {"source": {"kind": "features"}, "head": {"kind": "tags"}},
    {"source": {"kind": "features", "subsampling": PYRAMID}, "encoder": {"layers": 3}},
    {"source": {"kind": "audio", "subsampling": {"kind": "none"}}, "encoder": {"residual": True, "layers": 2}},
    {"source": {"kind": "audio", "sample_rate": 8000, "filters": 40, "high_frequency": 4000}},
    {"source": {"kind": "image", "height": 16, "width": 16}},
    {"source": {"kind": "image"}, "decoder": {"context": "initial", "first_input": True}, "bridge": {"kind": "zero"}},
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_contradictions(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.compile(message, re.MULTILINE)):
        check_config(Config.model_validate(values))


@pytest.mark.parametrize("number", range(len(ACCEPTED)))
def test_what_goes_together(number: int) -> None:
    check_config(Config.model_validate(ACCEPTED[number]))


def test_every_check_of_media_is_tried() -> None:
    tried = {check for values, _ in REFUSED for check in MEDIA_CHECKS
             if list(check(Config.model_validate(values)))}
    assert tried == set(MEDIA_CHECKS)


@pytest.mark.parametrize(("rate", "filters", "window"), [(8000, 40, 25.0), (16000, 80, 25.0), (8000, 60, 25.0),
                                                         (8000, 40, 10.0), (16000, 128, 25.0), (44100, 80, 25.0)])
def test_filters_that_hear_nothing_are_those_of_the_library(rate: int, filters: int, window: float) -> None:
    """An empty filter gives the logarithm of the smallest number, whatever the sound."""
    import numpy as np

    from seqloom.config.media_checks import spectrum

    values = {"source": {"kind": "audio", "sample_rate": rate, "filters": filters, "window_milliseconds": window}}
    refused = list(spectrum(Config.model_validate(values)))
    length = 1 << (int(rate * window / 1000) - 1).bit_length()
    edges = np.linspace(*(1127 * np.log(1 + np.array([20, rate / 2]) / 700)), filters + 2)
    bins = 1127 * np.log(1 + np.arange(length // 2) * rate / length / 700)
    heard = [bool(((bins > low) & (bins < high)).any()) for low, high in zip(edges[:-2], edges[2:], strict=True)]
    assert bool(refused) == (not all(heard))
