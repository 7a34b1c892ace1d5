"""The path: sizes of the stages against the configuration, and what padding, reversal and context do."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from seqloom.insight.path import path_of
from seqloom.plots.path_page import path_html, path_json, path_svg
from seqloom.predictor import Predictor
from tiny import SIZE


def looked_at(predictor: Predictor, text: str = "b c x e", **options: Any) -> tuple[Any, Any]:
    given = {"source": text, "features": "PST;SG"} if "features" in predictor.source.roles else text
    prediction = predictor.predict(given, attention=True, **options)
    return prediction, path_of(prediction.replay)


@pytest.mark.parametrize("options", [
    {}, {"layers": 2, "bidirectional": True, "cell": "gru"}, {"context": "every_step"}, {"context": "initial"},
    {"context": "in_step"}, {"feeding": False, "combination": "concat"}, {"query": "previous", "score": "location"},
    {"features": "encoder"}, {"features": "symbols"}, {"characters": True},
    {"kind": "hard_monotonic", "feeding": False, "features": "embedding"}, {"copying": True},
    {"kind": "hard_monotonic", "feeding": False, "copying": True}],
    ids=lambda options: "-".join(map(str, options.values())) or "attention")
def test_sizes(options: dict[str, Any], predictor_of: Callable[..., Predictor]) -> None:
    prediction, path = looked_at(predictor_of(**options), min_length=2)
    stages = {stage.name: stage for stage in path.stages}
    S, T, F = 5, len(prediction.token_scores), 2 if options.get("features") == "encoder" else 0
    S += 2 if options.get("features") == "symbols" else 0
    memory = 8
    read = 8 if "characters" in options else 4  # the symbol's embedding, and two states that read its characters
    sizes = {"embedding": (S, read), "encoder 1": (S, memory // (1 + options.get("bidirectional", False))),
             "values": (S + F, memory), "summary": (1, memory)}
    if options.get("context") != "in_step":
        sizes |= {"first state": (options.get("layers", 1), SIZE), "decoder": (T, SIZE), "history": (T, 5)}
    if options.get("context", "attention") == "attention":
        sizes["weights"] = (T, S + F)
    for name, shape in sizes.items():
        assert stages[name].array.shape == shape, name
        assert str(list(shape)) in stages[name].shape or name == "summary"
    if "weights" in stages and prediction.attention is not None:
        np.testing.assert_allclose(stages["weights"].array, prediction.attention, atol=1e-5)
    own = next(row for row in path.contexts if row[0] == path.context)
    assert own[4] == stages["outputs"].array.shape[1]
    fed = stages["fed"].array.shape[1] if "fed" in stages else 0
    assert own[2] == (0 if path.context == "in_step" else 5 + fed)
    trial = path.padding
    assert max(trial.summary, trial.values, trial.carried) < 1e-12
    assert trial.weight == (0.0 if path.context == "attention" else None)


def test_reversal_turns_the_distances(predictor_of: Callable[..., Predictor]) -> None:
    _, path = looked_at(predictor_of())
    assert (path.as_read, path.reversed, path.reverse) == ([5, 4, 3, 2, 1], [1, 2, 3, 4, 5], False)


def test_documents(predictor_of: Callable[..., Predictor]) -> None:
    prediction, path = looked_at(predictor_of(bidirectional=True), " ".join("abcdef"[i % 6] for i in range(60)))
    document = json.loads(path_json(path, prediction, "x"))
    assert np.shape(next(stage for stage in document["stages"] if stage["name"] == "embedding")["array"]) == (61, 4)
    picture = ElementTree.fromstring(path_svg(path, prediction, "x"))
    shown = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "h1" in shown
    assert "h61" in shown
    assert "h30" not in shown
    page = path_html(path, prediction, "<b>&\u05d0").decode()
    assert "&lt;b&gt;&amp;\u05d0" in page
    assert "40 of 61 rows" in page
    assert not re.search(r"(?:src|href)=|<script|https?:(?!//www\.w3\.org/2000/svg)", page)
