"""What if: courses against the engine's greedy search, forced prefixes, gold scoring, and hand-made edits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from seqloom.errors import UsageError
from seqloom.insight.whatif import Change, WhatIf, reversed_item, what_if
from seqloom.plots.whatif_page import whatif_html, whatif_json
from seqloom.predictor import Predictor

TEXT = "b c x e a f"
PredictorOf = Callable[..., Predictor]


def tried(predictor: Predictor, **change: Any) -> tuple[Any, WhatIf]:
    given: Any = {"source": TEXT, "features": "PRS"} if "features" in predictor.source.roles else TEXT
    answer = predictor.predict(given, beam_size=1)
    return answer, what_if(answer.replay, Change(**change))


@pytest.mark.parametrize("options", [{}, {"copying": True, "coverage": True}, {"context": "initial"},
                                     {"score": "location"}, {"features": "symbols"},
                                     {"kind": "hard", "feeding": False},
                                     {"kind": "hard_monotonic", "feeding": False, "copying": True}],
                         ids=lambda options: "-".join(map(str, options.values())) or "general")
def test_before_is_the_greedy_answer(options: dict[str, Any], predictor_of: PredictorOf) -> None:
    answer, found = tried(predictor_of(**options))
    assert found.before.tokens[: len(answer.tokens)] == answer.tokens
    assert (found.before.text, found.changed) == (answer.text, [])
    assert found.before.score == pytest.approx(answer.score, abs=1e-4)
    if answer.attention is not None:
        assert found.before.weights == pytest.approx(answer.attention, abs=1e-5)


def test_a_forced_token_goes_on_as_a_forced_prefix_does(predictor_of: PredictorOf) -> None:
    predictor = predictor_of()
    answer, found = tried(predictor, forced={0: "f"})
    prefixed = predictor.predict(TEXT, beam_size=1, prefix="f")
    assert found.after.tokens[: len(prefixed.tokens)] == prefixed.tokens
    assert found.after.score == pytest.approx(prefixed.score, abs=1e-4)
    assert found.after.best[0] == found.before.tokens[0]
    assert (0 in found.changed) == (answer.tokens[:1] != ["f"])


def test_gold_history_scores_what_scoring_scores(predictor_of: PredictorOf) -> None:
    predictor = predictor_of()
    _, found = tried(predictor, gold="a b c")
    assert found.gold == ["a", "b", "c", "</s>"]
    assert found.after.history == ["<s>", "a", "b", "c"]
    scored = predictor.score([TEXT], ["a b c"])[0]
    forced = what_if(predictor.predict(TEXT).replay, Change(gold="a b c", forced=dict(enumerate("abc"))))
    assert np.log(forced.after.probabilities[:3]) == pytest.approx(scored.token_scores[:3], abs=1e-4)
    assert found.right(found.after) == np.mean([a == b for a, b in zip(found.gold, found.after.tokens, strict=True)])


@pytest.mark.parametrize("options", [{"copying": True}, {"characters": True}])
def test_reversal_is_the_reversed_text(options: dict[str, bool], predictor_of: PredictorOf) -> None:
    predictor = predictor_of(**options)
    _, found = tried(predictor, reverse=True)
    other = predictor.predict(" ".join(reversed(TEXT.split())), beam_size=1)
    assert found.after.text == other.text
    assert found.after.score == pytest.approx(other.score, abs=1e-4)
    assert found.after.source_tokens == other.source_tokens


def test_features_stay_in_front_when_the_source_is_reversed(predictor_of: PredictorOf) -> None:
    predictor = predictor_of(features="symbols")
    replay = predictor.predict({"source": "a b c", "features": "PST;SG"}).replay
    item, names = reversed_item(replay.item, replay.source_tokens)
    assert names[2:] == ["c", "b", "a", "</s>"]
    assert names[:2] == replay.source_tokens[:2]
    assert item.fields["main"].tolist() == [replay.item.fields["main"].tolist()[i] for i in (0, 1, 4, 3, 2, 5)]


def test_an_edited_weight_is_what_the_step_uses(predictor_of: PredictorOf) -> None:
    _, found = tried(predictor_of(), edits={(0, 2): 0.75})
    before, after = found.before.weights, found.after.weights
    assert before is not None
    assert after is not None
    assert after[0, 2] == pytest.approx(0.75)
    others = np.delete(np.arange(before.shape[1]), 2)
    assert after[0, others] == pytest.approx(before[0, others] * 0.25 / before[0, others].sum())
    assert found.after.probabilities[0] != pytest.approx(found.before.probabilities[0], abs=1e-6)


def test_branches_follow_the_likeliest_others(predictor_of: PredictorOf) -> None:
    _, found = tried(predictor_of())
    assert {branch.step for branch in found.branches} == set(range(len(found.before.tokens)))
    for branch in found.branches:
        assert branch.token != found.before.tokens[branch.step]
        assert branch.course.tokens[: branch.step] == found.before.tokens[: branch.step]
        assert branch.probability <= max(found.before.probabilities[branch.step], 0.5)


@pytest.mark.parametrize(("options", "change", "message"), [
    ({}, {"forced": {0: "zebra"}}, "'zebra' is no symbol that this run writes"),
    ({}, {"forced": {6: "a"}}, r"step 7 is outside 1 … 6"),
    ({}, {"forced": {0: "</s>", 3: "a"}}, "past the end of the answer, which has 1"),
    ({}, {"gold": ""}, "--gold is empty"),
    ({}, {"edits": {(0, 40): 0.5}}, r"source position 41 is outside 1 … 7"),
    ({}, {"edits": {(0, 1): 1.5}}, "numbers from 0 to 1"),
    ({}, {"edits": {(0, 1): 0.6, (0, 2): 0.6}}, "sum to at most 1"),
    ({}, {"edits": {(0, place): 0.1 for place in range(7)}}, "to 1 where they are all"),
    ({"context": "initial"}, {"edits": {(0, 1): 0.5}}, "no attention weights that could be edited")])
def test_what_is_refused(options: dict[str, Any], change: dict[str, Any], message: str,
                         predictor_of: PredictorOf) -> None:
    with pytest.raises(UsageError, match=message):
        tried(predictor_of(**options), **change)


def test_copied_symbols_can_be_forced(predictor_of: PredictorOf) -> None:
    _, found = tried(predictor_of(copying=True), forced={0: "x"})
    assert found.after.tokens[0] == "x"


def test_documents(predictor_of: PredictorOf) -> None:
    answer, found = tried(predictor_of(), forced={0: "f"}, gold="a b", reverse=True, edits={(1, 0): 1.0})
    document = json.loads(whatif_json(found, answer, TEXT))
    assert len(document["changes"]) == 4
    assert document["after"]["forced"] == [1]
    assert np.shape(document["after"]["attention"]) == (3, 7)
    page = whatif_html(found, answer, "<i>").decode()
    assert "&lt;i&gt;" in page
    assert "forced; the model chose" in page
    assert "Right tokens:" in page
    assert "<script" not in page


def test_branches_of_long_answers_end_with_the_budget(predictor_of: PredictorOf,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqloom.insight.whatif.MOST_STEPS", 7)
    answer, found = tried(predictor_of())
    followed = {branch.step for branch in found.branches}
    assert 0 < len(followed) < len(found.before.tokens)
    assert f"Only the first {len(followed)} steps are followed" in whatif_html(found, answer, TEXT).decode()
