"""Tiny products run in one thread; tiny models as run folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqloom.predictor import Predictor, load_predictor
from seqloom.run import WEIGHTS, write_description, write_weights
from tiny import Tiny, one_thread, tiny

__all__ = ["one_thread"]


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., tuple[Path, Tiny]]:
    """A tiny model of these options as a run folder."""

    def build(**options: Any) -> tuple[Path, Tiny]:
        from seqloom.model import stored_weights

        task = tiny(**options)
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        write_description(folder, task.config, task.source, task.head)
        write_weights(folder / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
        return folder, task

    return build


@pytest.fixture
def predictor_of(run_of: Callable[..., tuple[Path, Tiny]]) -> Callable[..., Predictor]:
    """The same, opened with the torch engine."""
    return lambda **options: load_predictor(run_of(**options)[0], engine="torch", device="cpu")
