"""The four steps: the output tokens' probabilities recomputed from the numbers that JSON shows, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from seqloom.errors import UsageError
from seqloom.plots.steps_page import steps_json
from seqloom.predictor import Predictor
from seqloom.types import Prediction

CASES: dict[str, dict[str, Any]] = {
    "general": {}, "dot": {"score": "dot"}, "scaled": {"score": "scaled_dot", "cell": "gru"},
    "concat": {"score": "concat", "query": "previous", "combination": "concat"},
    "deep": {"score": "concat", "score_layers": 2, "bidirectional": True},
    "location": {"score": "location", "coverage": True}, "copying": {"copying": True, "coverage": True},
    "copying features": {"copying": True, "features": "encoder"},
    "every step": {"context": "every_step"}, "initial": {"context": "initial", "layers": 2},
    "in step": {"context": "in_step"}, "tied": {"tie": "all", "combination": "concat", "residual": True, "layers": 2},
    "entmax15": {"normalization": "entmax15", "output": "entmax15"},
    "sparsemax": {"normalization": "sparsemax", "output": "sparsemax", "score": "concat", "coverage": True},
    "local": {"window": 2}, "local sparse": {"window": 3, "normalization": "entmax15", "query": "previous"},
    "copying sparse": {"copying": True, "normalization": "sparsemax"},
}
FACTORS, POWERS = {"sparsemax": 1.0, "entmax15": 0.5}, {"sparsemax": 1, "entmax15": 2}
INPUT = {"source": "b c x e d y x", "features": "PRS"}


def explained(predictor: Predictor, **options: Any) -> tuple[Prediction, dict[str, Any]]:
    given = INPUT if "features" in predictor.source.roles else INPUT["source"]
    prediction = predictor.predict(given, attention=True, **options)
    steps = prediction.replay.steps_with(4)
    return prediction, json.loads(steps_json(steps, prediction, INPUT["source"]))


@pytest.mark.parametrize("case", CASES)
def test_the_probabilities_follow_from_the_shown_numbers(case: str, predictor_of: Callable[..., Predictor]) -> None:
    prediction, document = explained(predictor_of(**CASES[case]), max_length=5)
    assert len(document["steps"]) == len(prediction.token_scores)
    found = [recomputed(document, step) for step in document["steps"]]
    assert found == pytest.approx(np.exp(prediction.token_scores), abs=2e-5)
    assert found == pytest.approx([step["probability"] for step in document["steps"]], abs=1e-6)
    assert [step["token"] for step in document["steps"]][: len(prediction.tokens)] == prediction.tokens


def recomputed(document: dict[str, Any], step: dict[str, Any]) -> float:
    """The probability of the step's token from keys, values, queries, states and weights, as the papers have them."""
    attention, shown = document["attention"], step["attention"]
    assert (attention is None) == (shown is None) == bool(document["note"])
    parts, weights = np.array(step["state"]), np.zeros(0)
    if attention is not None:
        keys, values, asking = np.array(attention["keys"]), np.array(attention["values"]), np.array(shown["asking"])
        scores = scored(attention, shown, keys, asking)
        if attention["coverage_weight"] is not None:
            scores = scores + attention["coverage_weight"] * np.array(shown["coverage"])
        close(scores, shown["scores"])
        close([key @ asking / np.linalg.norm(key) / np.linalg.norm(asking) for key in keys], shown["cosines"])
        close([np.linalg.norm(key) for key in keys], shown["norms"])
        weights = distributed(attention, shown, scores)
        close(weights, shown["weights"])
        close(weights @ values, shown["value"])
        assert shown["highest_weight_is_not_highest_cosine"] == (
            np.argmax(shown["weights"]) != np.argmax(shown["cosines"]))
        parts = np.concatenate([weights @ values, parts])
        if attention["combination"] is not None:
            parts = np.tanh(np.array(attention["combination"]) @ parts)
    elif document["summary"] is not None:
        parts = np.concatenate([parts, document["summary"]])
    close(parts, step["outputs"])
    layer = document["output_layer"]
    logits = {one["id"]: np.array(layer["weights"][str(one["id"])]) @ parts + layer["biases"][str(one["id"])]
              for one in step["candidates"] if one["logit"] is not None}
    close(list(logits.values()), [one["logit"] for one in step["candidates"] if one["logit"] is not None])
    kind = layer["normalization"]
    if kind == "softmax":
        assert step["threshold"] is None
        shares = {number: np.exp(logit - step["highest_logit"]) for number, logit in logits.items()}
    else:
        shares = {number: max(0.0, FACTORS[kind] * logit - step["threshold"]) ** POWERS[kind]
                  for number, logit in logits.items()}
        assert sum(shares.values()) + step["rest"] == pytest.approx(1)
        assert list(logits.values())[:-1] == sorted(list(logits.values())[:-1], reverse=True)
    whole = sum(shares.values()) + step["rest"]
    generated = shares.get(step["id"], 0.0) / whole
    if step["copy_gate"] is None:
        return float(generated)
    copyable = np.array(document["copy_ids"]) >= 0
    copied = weights[np.array(document["copy_ids"]) == step["id"]].sum() / weights[copyable].sum()
    return float(step["copy_gate"] * generated + (1 - step["copy_gate"]) * copied)


def distributed(attention: dict[str, Any], shown: dict[str, Any], scores: Any) -> Any:
    """Weights of scores: Martins & Astudillo 2016, eq. 3; Peters et al. 2019, eq. 10; Luong et al. 2015, eq. 10."""
    kind, reach = attention["normalization"], attention["local_window"]
    within, factors = np.ones(len(scores), bool), np.ones(len(scores))
    if reach is not None:
        away = np.arange(len(scores)) - shown["centre"]
        within, factors = abs(away) <= reach, np.exp(-(away**2) / (2 * (reach / 2) ** 2))
    if kind == "softmax":
        assert shown["threshold"] is None
        shares = np.exp(scores) * within
        shares = shares / shares.sum()
    else:
        shares = np.maximum(0, FACTORS[kind] * scores - shown["threshold"]) ** POWERS[kind] * within
        assert shares.sum() == pytest.approx(1)
    return shares * factors


def scored(attention: dict[str, Any], shown: dict[str, Any], keys: Any, asking: Any) -> Any:
    """Luong et al. 2015, eq. 8; Bahdanau et al. 2015, A.1.2; Chorowski et al. 2015, eqs. 8-9."""
    parameters = {name: np.array(values) for name, values in attention["parameters"].items()}
    if attention["bilinear"]:
        return keys @ asking
    hidden = keys + asking
    if attention["score"] == "location":
        filters = parameters["filters"]
        around = np.pad(shown["last"], filters.shape[1] // 2)
        moved = np.array([[filter_ @ around[s:s + len(filter_)] for filter_ in filters] for s in range(len(keys))])
        hidden = hidden + moved @ parameters["U"].T
    hidden = np.tanh(hidden)
    if "deeper.0.weight" in parameters:
        hidden = np.tanh(hidden @ parameters["deeper.0.weight"].T + parameters["deeper.0.bias"])
    return hidden @ parameters["v"]


def close(ours: Any, shown: Any) -> None:
    np.testing.assert_allclose(ours, shown, rtol=1e-6, atol=1e-7)


def test_steps_come_with_the_prediction(predictor_of: Callable[..., Predictor]) -> None:
    predictor = predictor_of()
    prediction = predictor.predict("a b c")
    assert prediction.steps is prediction.steps
    assert prediction.attention is not None
    weights = np.stack([step.attention.weights for step in prediction.steps.steps])
    assert weights == pytest.approx(prediction.attention, abs=1e-5)
    assert [step.probability for step in prediction.steps.steps] == pytest.approx(
        np.exp(prediction.token_scores), abs=1e-5)


def test_beam_search_and_cut_answers_have_steps_too(predictor_of: Callable[..., Predictor]) -> None:
    predictor = predictor_of(copying=True)
    for options in ({"beam_size": 4}, {"beam_size": 1, "max_length": 2}):
        prediction = predictor.predict("x b y", **options)
        assert sum(np.log(step.probability) for step in prediction.steps.steps) == pytest.approx(
            prediction.score, abs=1e-4)


def test_steps_that_were_not_asked_for_are_told(predictor_of: Callable[..., Predictor]) -> None:
    answers = predictor_of().predict(["a b", "c"])
    with pytest.raises(UsageError, match="does not know how it came about"):
        _ = answers[0].steps


def test_an_empty_answer_has_its_views_too(predictor_of: Callable[..., Predictor]) -> None:
    """The model ends at once: one step, that of the end symbol."""
    from seqloom.insight.gates import gates_of
    from seqloom.insight.path import path_of
    from seqloom.insight.whatif import Change, what_if
    from seqloom.plots.gates_page import Microscope, gates_html
    from seqloom.plots.path_page import path_html
    from seqloom.plots.steps_page import steps_html
    from seqloom.plots.whatif_page import whatif_html

    prediction = next(found for context in ("every_step", "attention", "initial") for text in ("b c x e", "a", "f e d")
                      if not (found := predictor_of(context=context).predict(text, attention=True)).tokens)
    assert (prediction.text, [step.token for step in prediction.steps.steps]) == ("", ["</s>"])
    pages = [steps_html(prediction.steps, prediction, "x"), path_html(path_of(prediction.replay), prediction, "x"),
             gates_html([Microscope(gates_of(prediction.replay, ""), None)], prediction, "x"),
             whatif_html(what_if(prediction.replay, Change(reverse=True)), prediction, "x")]
    for page in pages:
        assert '<span class="muted">empty</span>' in page.decode()
