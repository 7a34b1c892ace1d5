"""What training left of one validation example: its answer and attention at each validation, and the accuracies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seqloom.data.storage import read_json
from seqloom.errors import RunFolderError, UsageError
from seqloom.run import COPY_AGAIN, Run, watched_file
from seqloom.types import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One validation: tokens [T], probabilities [T + ended], attention [T + ended, S] or None."""

    step: int
    source_tokens: list[str]
    tokens: list[str]
    probabilities: list[float]
    attention: list[list[float]] | None


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Frames in order, and the rows of metrics.jsonl."""

    run: str
    target_tokens: list[str]
    frames: list[Frame]
    rows: list[dict[str, Any]]


def history_of(run: Run) -> History:
    """The frames of those validations that metrics.jsonl knows. Raises UsageError without any, RunFolderError."""
    rows = [row for row in run.metrics() if isinstance(row.get("step"), int)]
    frames, target = [], []
    for row in rows:
        path = watched_file(run.folder, row["step"])
        if not path.is_file():
            continue
        seen = read_json(path, "step", "source_tokens", "target_tokens", "tokens", "probabilities", "attention")
        try:
            target = [str(token) for token in seen["target_tokens"]]
            frames.append(_frame(seen))
        except (TypeError, ValueError):
            raise RunFolderError("not an answer that training kept", where=str(path), fix=COPY_AGAIN) from None
    if not frames:
        raise UsageError(f"{run.folder} keeps no example of its training ({watched_file(run.folder, 0).parent.name}/)",
                         fix="train again with this version; draw the curves with: seqloom curves")
    return History(run.folder.resolve().name, target, frames, rows)


def _frame(seen: dict[str, Any]) -> Frame:
    """Checked. Raises TypeError or ValueError."""
    tokens, source = [str(token) for token in seen["tokens"]], [str(token) for token in seen["source_tokens"]]
    shares: Floats = np.asarray(seen["probabilities"], np.float64)
    weights = None if seen["attention"] is None else np.asarray(seen["attention"], np.float64)
    if shares.ndim != 1 or not len(tokens) <= len(shares) <= len(tokens) + 1:
        raise ValueError("probabilities")
    if weights is not None and weights.shape != (len(shares), len(source)):
        raise ValueError("attention")
    return Frame(int(seen["step"]), source, tokens, shares.tolist(), None if weights is None else weights.tolist())
