"""Predictions to draw: many scripts, hostile texts, many tokens. Weights are made up but are weights."""

from __future__ import annotations

import dataclasses

import numpy as np

from seqloom.types import Prediction

SCRIPT = "<script>alert(1)</script>"
QUOTES = "\"'&]]>--><"


def predicted(source: list[str], output: list[str], *, ended: bool = True, text: str | None = None) -> Prediction:
    """A prediction whose attention runs down the diagonal, with rows that sum to 1."""
    draw = np.random.default_rng(len(source) * 1000 + len(output))
    steps = len(output) + ended
    weights = draw.exponential(1.0, (steps, len(source)))
    if source:
        distance = np.linspace(0, len(source) - 1, steps)[:, None] - np.arange(len(source))[None]
        weights *= np.exp(-0.5 * distance**2)
        weights /= weights.sum(1, keepdims=True)
    scores = -draw.exponential(0.2, steps).astype(np.float32)
    return Prediction(text=" ".join(output) if text is None else text, score=float(scores.sum()), tokens=output,
                      token_scores=scores, source_tokens=source, attention=weights.astype(np.float32),
                      ranking_score=-0.25, stopped="end" if ended else "max_length")


def rich(prediction: Prediction) -> Prediction:
    """The same with three alternatives a step and two answers."""
    steps = len(prediction.token_scores)
    others = [[("x", 0.5), (SCRIPT, 0.25), ("한", 0.125)]] * steps
    second = dataclasses.replace(prediction, text=prediction.text + " !", score=prediction.score - 1)
    return dataclasses.replace(prediction, alternatives=others, n_best=[prediction, second])


DATES = rich(predicted(list("2019년 3월 4일"), list("2019-03-04"), text="2019-03-04"))
WORDS = predicted("저는 어제 영화를 보러 갔습니다".split(), "yesterday I went to see a movie".split())
SCRIPTS = rich(predicted(
    ["مرحبا", "नमस्ते", "👩‍👩‍👧", "🇰🇷", " ", "\n", "\u0301", "\u202e", "\x00", "\ud800", "한국어", "中文",
     SCRIPT, QUOTES],
    ["سلام", "दुनिया", "🙂", "", "\u200d", SCRIPT, "&amp;"]))
CUT = predicted(list("abc"), list("abcabc"), ended=False)
LONG = predicted([f"source{place}" for place in range(80)], [f"output{place}" for place in range(60)])
NO_OUTPUT = predicted(list("ab"), [], text="")
NO_SOURCE = predicted([], list("ab"))
NOTHING = predicted([], [], ended=False, text="")
NO_ATTENTION = dataclasses.replace(WORDS, attention=None)
BAD = Prediction(text="", score=float("nan"), stopped="error", error="the input is <empty>", where="words.txt:3")

DRAWN = {"dates": DATES, "words": WORDS, "scripts": SCRIPTS, "cut": CUT, "long": LONG, "no output": NO_OUTPUT,
         "no source": NO_SOURCE, "nothing": NOTHING}
ALL = {**DRAWN, "no attention": NO_ATTENTION, "bad": BAD}
