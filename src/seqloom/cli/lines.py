"""One prediction → one line of output (tsv: one for each answer), for `predict --format` and `score`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from seqloom.types import Floats, Prediction

# What would end a line or a cell, for some reader or other: \n, \r, \t, and what str.splitlines splits at.
ESCAPES = str.maketrans({
    "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\f": "\\f", "\x1c": "\\x1c", "\x1d": "\\x1d",
    "\x1e": "\\x1e", "\x85": "\\x85", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def escaped(text: str) -> str:
    """Text that stays in its line and cell."""
    return text.translate(ESCAPES)


def text_line(number: int, prediction: Prediction) -> str:
    """--format text: the answer."""
    return f"{escaped(prediction.text)}\n"


def tsv_line(number: int, prediction: Prediction) -> str:
    """--format tsv: line number, rank, score, ranking score, answer; only the number for a bad line."""
    if prediction.stopped == "error":
        return f"{number}\t\t\t\t\n"
    answers = prediction.n_best or [prediction]
    return "".join(f"{number}\t{rank}\t{answer.score:.6f}\t{answer.ranking_score:.6f}\t{escaped(answer.text)}\n"
                   for rank, answer in enumerate(answers, 1))


def jsonl_line(number: int, prediction: Prediction) -> str:
    """--format jsonl: everything; a bad line has "error"."""
    text = json.dumps(as_json(prediction), ensure_ascii=False, allow_nan=False)
    return f"{text}\n".replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def scored_line(number: int, prediction: Prediction) -> str:
    """A scored pair: log-probability sum, number of tokens with the end, log-probability of each token."""
    if prediction.stopped == "error":
        return "\t\t\n"
    each = " ".join(f"{score:.6f}" for score in prediction.token_scores)
    return f"{prediction.score:.6f}\t{len(prediction.token_scores)}\t{each}\n"


def as_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as plain values; parts that are empty are left out."""
    if prediction.stopped == "error":
        return {"text": "", "error": prediction.error, "where": prediction.where}
    found = {**_answer(prediction), "source_tokens": prediction.source_tokens}
    if prediction.attention is not None:
        found["attention"] = _matrix(prediction.attention)
    if prediction.alternatives:
        found["alternatives"] = [[[token, _number(share)] for token, share in step] for step in prediction.alternatives]
    if prediction.probabilities:
        found["probabilities"] = prediction.probabilities
    if prediction.n_best:
        found["n_best"] = [_answer(answer) if answer.attention is None else
                           {**_answer(answer), "attention": _matrix(answer.attention)} for answer in prediction.n_best]
    return found


def _answer(prediction: Prediction) -> dict[str, Any]:
    """What each of several answers has of its own; a number that is not finite is null."""
    return {"text": prediction.text, "score": _number(prediction.score),
            "ranking_score": _number(prediction.ranking_score), "stopped": prediction.stopped,
            "engine": prediction.engine, "tokens": prediction.tokens,
            "token_scores": [_number(score) for score in prediction.token_scores]}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _matrix(weights: Floats) -> list[list[float]]:
    return [[round(float(weight), 6) for weight in row] for row in weights]


FORMATS: dict[str, Callable[[int, Prediction], str]] = {"text": text_line, "tsv": tsv_line, "jsonl": jsonl_line}
