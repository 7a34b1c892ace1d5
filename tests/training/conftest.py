"""What tests of training share: two small files of pairs, one thread, no waiting for disks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from training_helpers import Files, letters, write_pairs


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """24 training pairs and 6 others for validation."""
    folder, sources = tmp_path_factory.mktemp("letters"), letters(30)
    return Files(write_pairs(folder / "train.tsv", sources[:24]), write_pairs(folder / "valid.tsv", sources[24:]))


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting until bytes are on the disk is all that fsync does, and tests cut no power."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """A few numbers are multiplied faster by one thread; whatever follows gets its own back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
