"""TensorBoard: every number of a validation as an event, in <run>/tensorboard."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seqloom.errors import MissingExtraError

FOLDER = "tensorboard"


def check_tensorboard() -> None:
    """Raises MissingExtraError where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise MissingExtraError("tensorboard", "tensorboard", "training.tensorboard")


class Events:
    """Writes nothing unless `enabled`. A resumed run takes the place of what was written after `step`."""

    def __init__(self, folder: Path, *, enabled: bool, step: int) -> None:
        self._writer: Any = None
        if enabled:
            check_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / FOLDER), purge_step=step + 1 if step else None)

    def write(self, row: dict[str, Any]) -> None:
        """One event for each number of a row of metrics."""
        if self._writer is not None:
            for name, value in row.items():
                if isinstance(value, (int, float)) and name != "step":
                    self._writer.add_scalar(name, value, row["step"])
            self._writer.flush()

    def close(self) -> None:
        """Everything is written."""
        if self._writer is not None:
            self._writer.close()
