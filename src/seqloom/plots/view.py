"""What every picture of one prediction shows: checked once, before anything is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seqloom.errors import UsageError
from seqloom.insight.seen import Seen, seen_of
from seqloom.plots.colours import top_of
from seqloom.types import END, SPECIAL_NAMES, Floats, Prediction

MAXIMUM_CELLS = 1_000_000  # about 30 MB of SVG or HTML: the most that a browser still opens

NO_ATTENTION = "this prediction holds no attention weights"
NO_ATTENTION_FIX = ("from Python, ask for them with attention=True; only models with decoder.context: attention have "
                    "weights; .json, .html and .npz show tokens and probabilities without them")


@dataclass(frozen=True, slots=True)
class View:
    """One prediction, ready to draw. T steps (the end symbol is the last where `ended`), S source positions.

    steps [T] and columns [S] are labels; probabilities [T] may be empty; weights [T S] is None without attention, and
    `top` is the upper end of its colour scale; `note` says what is missing and why, "" when nothing is; `seen` is the
    input where it is no text: a picture, a sound, frames.
    """

    prediction: Prediction
    input_text: str | None
    steps: list[str]
    ended: bool
    probabilities: list[float]
    columns: list[str]
    weights: Floats | None
    top: float
    note: str
    seen: Seen | None = None

    @property
    def caption(self) -> str:
        """One line for titles: the input and the output."""
        given = " ".join(self.columns) if self.input_text is None else self.input_text
        return f"{given} → {self.prediction.text}"

    def drawable(self) -> Floats:
        """The weights [T S]; UsageError without them, or when the input was bad, or when they are too many."""
        if self.prediction.stopped == "error":
            raise UsageError(self.note, where=self.prediction.where, fix="correct the input")
        if self.weights is None:
            raise UsageError(NO_ATTENTION, fix=NO_ATTENTION_FIX)
        if self.weights.size > MAXIMUM_CELLS:
            height, width = self.weights.shape
            raise UsageError(f"{height} × {width} attention weights are too many to draw "
                             f"(at most {MAXIMUM_CELLS:,})", fix="write .npz or .json, which hold any number")
        return self.weights


def view_of(prediction: Prediction, input_text: str | None = None) -> View:
    """Check a prediction and name its rows and columns.

    Raises UsageError when the attention's shape does not fit the tokens, or a weight is not between 0 and 1.
    """
    steps, weights = list(prediction.tokens), prediction.attention
    height = len(prediction.token_scores) if weights is None else len(weights)
    ended = height == len(steps) + 1
    if ended:
        steps.append(SPECIAL_NAMES[END])
    columns = list(prediction.source_tokens)
    if weights is not None:
        columns = checked_columns(weights, len(steps), columns)
    scores = [float(score) for score in prediction.token_scores]
    probabilities = [math.exp(min(score, 0.0)) for score in scores] if len(scores) == len(steps) else []
    if prediction.stopped == "error":
        note = f"this input could not be used: {prediction.error or 'no reason was given'}"
    else:
        note = f"{NO_ATTENTION}: {NO_ATTENTION_FIX}" if weights is None else ""
    top = top_of(float(weights.max())) if weights is not None and weights.size else 1.0
    return View(prediction, input_text, steps, ended, probabilities, columns, weights, top, note,
                seen_of(prediction.replay))


def checked_columns(weights: Floats, height: int, columns: list[str]) -> list[str]:
    """The labels of the source positions, numbers from 1 where the source has no tokens (an image, sound)."""
    if weights.ndim == 2 and not columns:
        columns = [str(position + 1) for position in range(weights.shape[1])]
    if weights.shape != (height, len(columns)):
        raise UsageError(f"attention has the shape {weights.shape}, expected ({height}, {len(columns)}): one row for "
                         "each output token (one more for the end symbol), one column for each source token",
                         fix="pass the prediction as the model returned it")
    if weights.size and not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() <= 1 + 1e-3):
        raise UsageError("attention holds values that are not weights between 0 and 1",
                         fix="look at the run's metrics for a loss that is not finite, or train it again")
    return columns
